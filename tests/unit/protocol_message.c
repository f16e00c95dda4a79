#include "protocol/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A string literal as a body: its own NUL is not part of it. */
#define BODY(text) (const uint8_t *)(text), sizeof(text) - 1

/* A copy of exactly `length` bytes, so that a sanitizer sees a read past the end. */
static uint8_t *exact_copy(const void *data, size_t length) {
    uint8_t *copy = malloc(length > 0 ? length : 1);
    assert_non_null(copy);
    if (length > 0)
        memcpy(copy, data, length);
    return copy;
}

static void assert_bytes(const struct wire_buffer *buffer, const void *expected, size_t length) {
    assert_int_equal(buffer->length, length);
    assert_memory_equal(buffer->data, expected, length);
}
#define ASSERT_WRITTEN(buffer, text) assert_bytes(buffer, text, sizeof(text) - 1)

static void test_a_query_is_read(void **state) {
    (void)state;
    const char *text;
    size_t length;
    struct error error;
    assert_true(message_read_query(BODY("SELECT 1\0"), &text, &length, &error));
    assert_string_equal(text, "SELECT 1");
    assert_int_equal(length, 8);
}

static void test_an_empty_query_is_read(void **state) {
    (void)state;
    const char *text;
    size_t length;
    struct error error;
    assert_true(message_read_query(BODY("\0"), &text, &length, &error));
    assert_int_equal(length, 0);
}

static void test_a_query_without_nul_is_an_invalid_string(void **state) {
    (void)state;
    const char *text;
    size_t length;
    struct error error;
    assert_false(message_read_query(BODY("SELECT 1"), &text, &length, &error));
    assert_string_equal(error.text, "invalid string in message");
    assert_false(message_read_query(NULL, 0, &text, &length, &error));
}

static void test_a_query_with_an_embedded_nul_is_an_invalid_message(void **state) {
    (void)state;
    const char *text;
    size_t length;
    struct error error;
    assert_false(message_read_query(BODY("SELECT\0 1\0"), &text, &length, &error));
    assert_string_equal(error.text, "invalid message format");
}

static const char parse_body[] = "name\0SELECT $1, $2\0\0\2\0\0\0\x17\0\0\0\x19";

static void test_parse_is_read_with_its_types(void **state) {
    (void)state;
    struct parse_message parse;
    struct error error;
    assert_true(message_read_parse(BODY(parse_body), &parse, &error));
    assert_string_equal(parse.name, "name");
    assert_string_equal(parse.text, "SELECT $1, $2");
    assert_int_equal(parse.text_length, 13);
    assert_int_equal(parse.type_count, 2);
    assert_int_equal(wire_get_u32(parse.types), 23);
    assert_int_equal(wire_get_u32(parse.types + 4), 25);
}

static void test_parse_cut_at_any_byte_is_malformed(void **state) {
    (void)state;
    for (size_t length = 0; length < sizeof parse_body - 1; length++) {
        uint8_t *body = exact_copy(parse_body, length);
        struct parse_message parse;
        struct error error;
        assert_false(message_read_parse(body, length, &parse, &error));
        free(body);
    }
}

static void test_parse_with_bytes_left_over_is_malformed(void **state) {
    (void)state;
    struct parse_message parse;
    struct error error;
    assert_false(message_read_parse(BODY("\0S\0\0\0\0"), &parse, &error));
    assert_string_equal(error.text, "invalid message format");
}

static void test_parse_with_more_types_than_bytes_is_malformed(void **state) {
    (void)state;
    struct parse_message parse;
    struct error error;
    assert_false(message_read_parse(BODY("\0S\0\xff\xff\0\0\0\1"), &parse, &error));
    assert_string_equal(error.text, "insufficient data left in message");
}

static const char bind_body[] = "portal\0statement\0\0\0\0\0\0\0";
enum { BIND_NAMES = sizeof "portal\0statement" };

static void test_bind_names_need_more_until_both_are_there(void **state) {
    (void)state;
    struct bind_message bind;
    struct error error;
    bool need_more;
    for (size_t available = 0; available < BIND_NAMES; available++) {
        uint8_t *body = exact_copy(bind_body, available);
        assert_false(message_read_bind_names(body, available, false, &need_more, &bind, &error));
        assert_true(need_more);
        assert_false(message_read_bind_names(body, available, true, &need_more, &bind, &error));
        assert_false(need_more);
        assert_string_equal(error.text, "invalid string in message");
        free(body);
    }
    for (size_t available = BIND_NAMES; available < sizeof bind_body; available++) {
        assert_true(message_read_bind_names((const uint8_t *)bind_body, available, false,
                                            &need_more, &bind, &error));
        assert_string_equal(bind.portal, "portal");
        assert_string_equal(bind.statement, "statement");
    }
}

static void test_describe_and_close_are_read(void **state) {
    (void)state;
    struct named_message named;
    struct error error;
    assert_true(message_read_named(BODY("Sname\0"), &named, &error));
    assert_int_equal(named.kind, 'S');
    assert_string_equal(named.name, "name");
    assert_true(message_read_named(BODY("P\0"), &named, &error));
    assert_int_equal(named.kind, 'P');
    assert_string_equal(named.name, "");
}

static void test_malformed_describe_and_close_are_told_apart(void **state) {
    (void)state;
    struct named_message named;
    struct error error;
    assert_false(message_read_named(NULL, 0, &named, &error));
    assert_string_equal(error.text, "no data left in message");
    assert_false(message_read_named(BODY("Sname"), &named, &error));
    assert_string_equal(error.text, "invalid string in message");
    assert_false(message_read_named(BODY("Sname\0x"), &named, &error));
    assert_string_equal(error.text, "invalid message format");
    assert_false(message_read_named(BODY("Xname\0"), &named, &error));
    assert_string_equal(error.text, "invalid DESCRIBE or CLOSE message subtype 88");
}

static const char execute_body[] = "portal\0\0\0\1\0";

static void test_execute_is_read(void **state) {
    (void)state;
    struct execute_message execute;
    struct error error;
    assert_true(message_read_execute(BODY(execute_body), &execute, &error));
    assert_string_equal(execute.portal, "portal");
    assert_int_equal(execute.max_rows, 256);
}

static void test_execute_cut_at_any_byte_or_too_long_is_malformed(void **state) {
    (void)state;
    struct execute_message execute;
    struct error error;
    for (size_t length = 0; length < sizeof execute_body - 1; length++) {
        uint8_t *body = exact_copy(execute_body, length);
        assert_false(message_read_execute(body, length, &execute, &error));
        free(body);
    }
    assert_false(
        message_read_execute((const uint8_t *)execute_body, sizeof execute_body, &execute, &error));
}

static const struct diagnostic full_diagnostic = {
    .severity = "ERROR",
    .severity_nonlocalized = "ERROR",
    .sqlstate = "XD001",
    .message = "m",
    .detail = "d",
    .hint = "h",
    .position = "7",
    .internal_position = "8",
    .internal_query = "q",
    .context = "w",
    .schema = "s",
    .table = "t",
    .column = "c",
    .type = "dt",
    .constraint = "n",
    .file = "f",
    .line = "1",
    .routine = "r",
};
#define FULL_DIAGNOSTIC_BODY                                                                       \
    "SERROR\0VERROR\0CXD001\0Mm\0Dd\0Hh\0Ww\0ss\0tt\0cc\0ddt\0nn\0P7\0p8\0qq\0Ff\0L1\0Rr\0\0"

static void test_a_diagnostic_is_written_in_the_servers_order(void **state) {
    (void)state;
    struct wire_buffer buffer = {0};
    message_put_diagnostic(&buffer, 'E', &full_diagnostic);
    struct frame frame;
    assert_int_equal(frame_read(buffer.data, buffer.length, &frame), FRAME_OK);
    assert_int_equal(frame.length, buffer.length);
    assert_int_equal(frame.type, 'E');
    assert_int_equal(buffer.length, FRAME_HEADER + sizeof FULL_DIAGNOSTIC_BODY - 1);
    assert_memory_equal(buffer.data + FRAME_HEADER, FULL_DIAGNOSTIC_BODY,
                        sizeof FULL_DIAGNOSTIC_BODY - 1);
    wire_buffer_close(&buffer);
}

static void test_a_written_diagnostic_reads_back(void **state) {
    (void)state;
    struct diagnostic read;
    struct error error;
    assert_true(message_read_diagnostic(BODY(FULL_DIAGNOSTIC_BODY), &read, &error));
    assert_string_equal(read.severity, "ERROR");
    assert_string_equal(read.sqlstate, "XD001");
    assert_string_equal(read.position, "7");
    assert_string_equal(read.internal_position, "8");
    assert_string_equal(read.internal_query, "q");
    assert_string_equal(read.context, "w");
    assert_string_equal(read.schema, "s");
    assert_string_equal(read.table, "t");
    assert_string_equal(read.column, "c");
    assert_string_equal(read.type, "dt");
    assert_string_equal(read.constraint, "n");
    assert_string_equal(read.routine, "r");
}

static void test_absent_fields_are_left_out_and_severity_stands_for_both(void **state) {
    (void)state;
    struct wire_buffer buffer = {0};
    message_put_diagnostic(&buffer, 'N', &(struct diagnostic){.severity = "NOTICE"});
    ASSERT_WRITTEN(&buffer, "N\0\0\0\x15SNOTICE\0VNOTICE\0\0");
    wire_buffer_close(&buffer);
}

static void test_fatal_and_panic_are_the_last_words(void **state) {
    (void)state;
    assert_true(diagnostic_is_fatal(&(struct diagnostic){.severity = "FATAL"}));
    assert_true(diagnostic_is_fatal(&(struct diagnostic){.severity_nonlocalized = "PANIC"}));
    assert_true(diagnostic_is_fatal(
        &(struct diagnostic){.severity = "FATALE", .severity_nonlocalized = "FATAL"}));
    assert_false(diagnostic_is_fatal(
        &(struct diagnostic){.severity = "FATAL", .severity_nonlocalized = "ERROR"}));
    assert_false(diagnostic_is_fatal(&(struct diagnostic){0}));
}

static void test_unknown_diagnostic_fields_are_skipped(void **state) {
    (void)state;
    struct diagnostic read;
    struct error error;
    assert_true(message_read_diagnostic(BODY("zfuture\0Mtext\0\0"), &read, &error));
    assert_string_equal(read.message, "text");
    assert_null(read.severity);
}

static void test_a_diagnostic_cut_at_any_byte_is_malformed(void **state) {
    (void)state;
    struct diagnostic read;
    struct error error;
    for (size_t length = 0; length < sizeof FULL_DIAGNOSTIC_BODY - 1; length++) {
        uint8_t *body = exact_copy(FULL_DIAGNOSTIC_BODY, length);
        assert_false(message_read_diagnostic(body, length, &read, &error));
        free(body);
    }
    assert_false(message_read_diagnostic(BODY("Mtext\0\0x"), &read, &error));
}

static void test_backend_messages_are_written_as_the_manual_says(void **state) {
    (void)state;
    struct wire_buffer buffer = {0};
    message_put_ready(&buffer, 'T');
    message_put_command_complete(&buffer, "SET");
    message_put_empty(&buffer, '1');
    message_put_parameter_status(&buffer, "a", "b");
    message_put_backend_key(&buffer, 1, 0xfffffffe);
    ASSERT_WRITTEN(&buffer, "Z\0\0\0\5T"
                            "C\0\0\0\x08SET\0"
                            "1\0\0\0\4"
                            "S\0\0\0\x08"
                            "a\0b\0"
                            "K\0\0\0\x0c\0\0\0\1\xff\xff\xff\xfe");
    wire_buffer_close(&buffer);
}

static void test_a_text_column_and_its_rows_are_written_as_show_does(void **state) {
    (void)state;
    struct wire_buffer buffer = {0};
    message_put_text_column(&buffer, "x");
    message_put_text_row(&buffer, "on");
    message_put_text_row(&buffer, NULL);
    ASSERT_WRITTEN(&buffer, "T\0\0\0\x1a\0\1x\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"
                            "D\0\0\0\x0c\0\1\0\0\0\2on"
                            "D\0\0\0\x0a\0\1\xff\xff\xff\xff");
    wire_buffer_close(&buffer);
}

static void test_frontend_messages_read_back(void **state) {
    (void)state;
    struct wire_buffer buffer = {0};
    message_put_parse(&buffer, "s", "SELECT 1");
    message_put_bind(&buffer, "p", "s");
    message_put_execute(&buffer, "p");
    message_put_close(&buffer, 'S', "s");
    message_put_sync(&buffer);
    ASSERT_WRITTEN(&buffer, "P\0\0\0\x11s\0SELECT 1\0\0\0"
                            "B\0\0\0\x0ep\0s\0\0\0\0\0\0\0"
                            "E\0\0\0\x0ap\0\0\0\0\0"
                            "C\0\0\0\7Ss\0"
                            "S\0\0\0\4");
    wire_buffer_close(&buffer);
}

static void test_a_stream_of_messages_is_framed_wherever_it_is_split(void **state) {
    (void)state;
    struct wire_buffer stream = {0};
    message_put_parse(&stream, "", "SELECT 1");
    message_put_bind(&stream, "", "");
    message_put_sync(&stream);
    for (size_t split = 0; split <= stream.length; split++) {
        struct wire_buffer received = {0};
        const char expected[] = "PBS";
        size_t at = 0, seen = 0;
        for (int part = 0; part < 2; part++) {
            wire_append(&received, stream.data + (part ? split : 0),
                        part ? stream.length - split : split);
            struct frame frame;
            while (frame_read(received.data + at, received.length - at, &frame) == FRAME_OK &&
                   frame.length <= received.length - at) {
                assert_int_equal(frame.type, expected[seen++]);
                at += frame.length;
            }
        }
        assert_int_equal(seen, 3);
        assert_int_equal(at, stream.length);
        wire_buffer_close(&received);
    }
    wire_buffer_close(&stream);
}

static void test_a_buffer_grows_by_doubling(void **state) {
    (void)state;
    struct wire_buffer buffer = {0};
    size_t growths = 0, capacity = 0;
    for (uint32_t i = 0; i < 100000; i++) {
        message_put_u32(&buffer, i);
        growths += buffer.capacity != capacity;
        capacity = buffer.capacity;
    }
    assert_true(growths < 20);
    assert_int_equal(wire_get_u32(buffer.data + 4 * 99999), 99999);
    wire_buffer_close(&buffer);
    assert_null(buffer.data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_query_is_read),
        cmocka_unit_test(test_an_empty_query_is_read),
        cmocka_unit_test(test_a_query_without_nul_is_an_invalid_string),
        cmocka_unit_test(test_a_query_with_an_embedded_nul_is_an_invalid_message),
        cmocka_unit_test(test_parse_is_read_with_its_types),
        cmocka_unit_test(test_parse_cut_at_any_byte_is_malformed),
        cmocka_unit_test(test_parse_with_bytes_left_over_is_malformed),
        cmocka_unit_test(test_parse_with_more_types_than_bytes_is_malformed),
        cmocka_unit_test(test_bind_names_need_more_until_both_are_there),
        cmocka_unit_test(test_describe_and_close_are_read),
        cmocka_unit_test(test_malformed_describe_and_close_are_told_apart),
        cmocka_unit_test(test_execute_is_read),
        cmocka_unit_test(test_execute_cut_at_any_byte_or_too_long_is_malformed),
        cmocka_unit_test(test_a_diagnostic_is_written_in_the_servers_order),
        cmocka_unit_test(test_a_written_diagnostic_reads_back),
        cmocka_unit_test(test_absent_fields_are_left_out_and_severity_stands_for_both),
        cmocka_unit_test(test_fatal_and_panic_are_the_last_words),
        cmocka_unit_test(test_unknown_diagnostic_fields_are_skipped),
        cmocka_unit_test(test_a_diagnostic_cut_at_any_byte_is_malformed),
        cmocka_unit_test(test_backend_messages_are_written_as_the_manual_says),
        cmocka_unit_test(test_a_text_column_and_its_rows_are_written_as_show_does),
        cmocka_unit_test(test_frontend_messages_read_back),
        cmocka_unit_test(test_a_stream_of_messages_is_framed_wherever_it_is_split),
        cmocka_unit_test(test_a_buffer_grows_by_doubling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
