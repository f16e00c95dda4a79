#include "protocol/startup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A packet: length, code and the bytes after it. */
static struct wire_buffer make_packet(uint32_t code, const void *rest, size_t length) {
    struct wire_buffer packet = {0};
    message_put_u32(&packet, (uint32_t)length + 8);
    message_put_u32(&packet, code);
    wire_append(&packet, rest, length);
    return packet;
}

static void read_packet(uint32_t code, const void *rest, size_t length, struct startup *out,
                        struct error *error) {
    struct wire_buffer packet = make_packet(code, rest, length);
    uint8_t *exact = malloc(packet.length); /* so that a sanitizer sees a read past the end */
    assert_non_null(exact);
    memcpy(exact, packet.data, packet.length);
    startup_read(exact, packet.length, out, error);
    free(exact);
    wire_buffer_close(&packet);
}
#define READ(code, text, out, error) read_packet(code, text, sizeof(text) - 1, out, error)

enum { VERSION_3 = 3 << 16, SSL_CODE = 80877103, GSSENC_CODE = 80877104, CANCEL_CODE = 80877102 };

static void assert_bad(const struct startup *startup, const struct error *error,
                       const char *sqlstate, const char *text) {
    assert_int_equal(startup->kind, STARTUP_BAD);
    assert_string_equal(startup->sqlstate, sqlstate);
    assert_string_equal(error->text, text);
    assert_null(startup->user);
    assert_null(startup->parameters);
}

static void test_a_startup_message_is_read(void **state) {
    (void)state;
    struct startup startup;
    struct error error;
    READ(VERSION_3,
         "user\0alice\0database\0app\0application_name\0psql\0"
         "client_encoding\0UTF8\0\0",
         &startup, &error);
    assert_int_equal(startup.kind, STARTUP_MESSAGE);
    assert_int_equal(startup.major, 3);
    assert_int_equal(startup.minor, 0);
    assert_string_equal(startup.user, "alice");
    assert_string_equal(startup.database, "app");
    assert_int_equal(startup.parameter_count, 2);
    assert_string_equal(startup.parameters[0].name, "application_name");
    assert_string_equal(startup.parameters[0].value, "psql");
    assert_string_equal(startup.parameters[1].name, "client_encoding");
    assert_string_equal(startup.parameters[1].value, "UTF8");
    assert_false(startup.replication);
    startup_close(&startup);
}

static void test_a_packet_split_at_any_byte_is_incomplete(void **state) {
    (void)state;
    static const char rest[] = "user\0alice\0options\0-c x=1\0";
    struct wire_buffer packet = make_packet(VERSION_3, rest, sizeof rest);
    struct startup startup;
    struct error error;
    for (size_t size = 0; size < packet.length; size++) {
        startup_read(packet.data, size, &startup, &error);
        assert_int_equal(startup.kind, STARTUP_INCOMPLETE);
        assert_int_equal(startup.length, size < 4 ? 0 : packet.length);
    }
    /* What follows belongs to the next message. */
    message_put_u32(&packet, 0xffffffff);
    startup_read(packet.data, packet.length, &startup, &error);
    assert_int_equal(startup.kind, STARTUP_MESSAGE);
    assert_int_equal(startup.length, packet.length - 4);
    startup_close(&startup);
    wire_buffer_close(&packet);
}

static void test_parameters_cut_at_any_byte_are_a_bad_layout(void **state) {
    (void)state;
    static const char rest[] = "user\0alice\0options\0-c x=1\0";
    struct startup startup;
    struct error error;
    for (size_t length = 0; length < sizeof rest; length++) {
        read_packet(VERSION_3, rest, length, &startup, &error);
        assert_int_equal(startup.kind, STARTUP_BAD);
        assert_string_equal(startup.sqlstate, "08P01");
        startup_close(&startup);
    }
}

static void test_bytes_after_the_terminator_are_a_bad_layout(void **state) {
    (void)state;
    struct startup startup;
    struct error error;
    READ(VERSION_3, "user\0alice\0\0x", &startup, &error);
    assert_bad(&startup, &error, "08P01",
               "invalid startup packet layout: expected terminator as last byte");
    READ(VERSION_3, "user\0alice\0\0\0", &startup, &error);
    assert_int_equal(startup.kind, STARTUP_BAD);
}

static void test_the_database_defaults_to_the_user(void **state) {
    (void)state;
    struct startup startup;
    struct error error;
    READ(VERSION_3, "user\0alice\0database\0\0\0", &startup, &error);
    assert_string_equal(startup.database, "alice");
    startup_close(&startup);
    READ(VERSION_3, "user\0alice\0\0", &startup, &error);
    assert_string_equal(startup.database, "alice");
    startup_close(&startup);
}

static void test_without_a_user_nobody_gets_in(void **state) {
    (void)state;
    struct startup startup;
    struct error error;
    READ(VERSION_3, "database\0app\0\0", &startup, &error);
    assert_bad(&startup, &error, "28000", "no PostgreSQL user name specified in startup packet");
    READ(VERSION_3, "user\0\0\0", &startup, &error);
    assert_bad(&startup, &error, "28000", "no PostgreSQL user name specified in startup packet");
}

static void test_of_a_name_given_twice_the_last_counts(void **state) {
    (void)state;
    struct startup startup;
    struct error error;
    READ(VERSION_3,
         "user\0alice\0user\0bob\0database\0a\0database\0b\0"
         "TimeZone\0UTC\0timezone\0CET\0\0",
         &startup, &error);
    assert_string_equal(startup.user, "bob");
    assert_string_equal(startup.database, "b");
    assert_string_equal(startup_find(&startup, "timezone"), "CET");
    assert_null(startup_find(&startup, "datestyle"));
    startup_close(&startup);
}

static void test_newer_minors_and_options_are_negotiated(void **state) {
    (void)state;
    struct startup startup;
    struct error error;
    READ(VERSION_3 | 2, "_pq_.a\0001\0user\0alice\0_pq_.b\0002\0\0", &startup, &error);
    assert_int_equal(startup.kind, STARTUP_MESSAGE);
    assert_int_equal(startup.minor, 2);
    assert_int_equal(startup.parameter_count, 0);
    assert_int_equal(startup.unknown_option_count, 2);
    struct wire_buffer answer = {0};
    startup_put_negotiation(&answer, &startup);
    static const char expected[] = "v\0\0\0\x1a\0\3\0\0\0\0\0\2_pq_.a\0_pq_.b";
    assert_int_equal(answer.length, sizeof expected);
    assert_memory_equal(answer.data, expected, sizeof expected);
    wire_buffer_close(&answer);
    startup_close(&startup);
}

static void test_other_major_versions_are_refused_in_the_servers_words(void **state) {
    (void)state;
    struct startup startup;
    struct error error;
    READ(2 << 16, "", &startup, &error);
    assert_bad(&startup, &error, "0A000",
               "unsupported frontend protocol 2.0: server supports 3.0 to 3.0");
    READ(4 << 16 | 1, "user\0alice\0\0", &startup, &error);
    assert_bad(&startup, &error, "0A000",
               "unsupported frontend protocol 4.1: server supports 3.0 to 3.0");
}

static bool replication_of(const char *value, enum startup_kind *kind) {
    struct wire_buffer rest = {0};
    message_put_string(&rest, "user");
    message_put_string(&rest, "alice");
    message_put_string(&rest, "replication");
    message_put_string(&rest, value);
    message_put_u8(&rest, 0);
    struct startup startup;
    struct error error;
    read_packet(VERSION_3, rest.data, rest.length, &startup, &error);
    bool replication = startup.replication;
    *kind = startup.kind;
    if (*kind == STARTUP_BAD)
        assert_string_equal(startup.sqlstate, "22023");
    else
        assert_int_equal(startup.parameter_count, 0);
    startup_close(&startup);
    wire_buffer_close(&rest);
    return replication;
}

static void test_replication_takes_what_the_server_takes(void **state) {
    (void)state;
    const char *yes[] = {"database", "true", "T", "yes", "on", "1", "tru"};
    const char *no[] = {"false", "f", "no", "off", "OF", "0"};
    const char *neither[] = {"", "o", "maybe", "trues", "2", "DATABASE"};
    enum startup_kind kind;
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        assert_true(replication_of(yes[i], &kind));
        assert_int_equal(kind, STARTUP_MESSAGE);
    }
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
        assert_false(replication_of(no[i], &kind));
        assert_int_equal(kind, STARTUP_MESSAGE);
    }
    for (size_t i = 0; i < sizeof neither / sizeof *neither; i++) {
        assert_false(replication_of(neither[i], &kind));
        assert_int_equal(kind, STARTUP_BAD);
    }
}

static void test_encryption_requests_are_recognised(void **state) {
    (void)state;
    struct startup startup;
    struct error error;
    READ(SSL_CODE, "", &startup, &error);
    assert_int_equal(startup.kind, STARTUP_SSL);
    assert_int_equal(startup.length, 8);
    READ(GSSENC_CODE, "", &startup, &error);
    assert_int_equal(startup.kind, STARTUP_GSSENC);
    READ(SSL_CODE, "x", &startup, &error);
    assert_bad(&startup, &error, "08P01", "invalid length of startup packet");
}

static void test_a_cancel_request_gives_pid_and_key(void **state) {
    (void)state;
    struct startup startup;
    struct error error;
    READ(CANCEL_CODE, "\0\0\1\0\xff\0\0\1", &startup, &error);
    assert_int_equal(startup.kind, STARTUP_CANCEL);
    assert_int_equal(startup.pid, 256);
    assert_int_equal(startup.key, 0xff000001);
    READ(CANCEL_CODE, "\0\0\1\0\xff\0\0\1\0", &startup, &error);
    assert_bad(&startup, &error, "08P01", "invalid length of cancel request packet");
    assert_true(startup.unanswered);
    READ(CANCEL_CODE, "\0\0\1\0\xff\0\0", &startup, &error);
    assert_bad(&startup, &error, "08P01", "invalid length of cancel request packet");
}

static void test_a_cancel_request_is_written_as_it_is_read(void **state) {
    (void)state;
    uint8_t packet[STARTUP_CANCEL_LENGTH];
    struct startup startup;
    struct error error;
    startup_write_cancel(packet, 256, 0xff000001);
    startup_read(packet, sizeof packet, &startup, &error);
    assert_int_equal(startup.kind, STARTUP_CANCEL);
    assert_int_equal(startup.pid, 256);
    assert_int_equal(startup.key, 0xff000001);
}

static enum startup_kind kind_of_length(uint32_t length) {
    uint8_t bytes[4];
    struct startup startup;
    struct error error;
    wire_put_u32(bytes, length);
    startup_read(bytes, sizeof bytes, &startup, &error);
    return startup.kind;
}

static void test_a_length_outside_the_limits_is_refused_at_once(void **state) {
    (void)state;
    assert_int_equal(kind_of_length(0), STARTUP_BAD);
    assert_int_equal(kind_of_length(7), STARTUP_BAD);
    assert_int_equal(kind_of_length(8), STARTUP_INCOMPLETE);
    assert_int_equal(kind_of_length(10004), STARTUP_INCOMPLETE);
    assert_int_equal(kind_of_length(10005), STARTUP_BAD);
    assert_int_equal(kind_of_length(UINT32_MAX), STARTUP_BAD);
    assert_int_equal(kind_of_length(0x16030100), STARTUP_BAD); /* a TLS ClientHello */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_startup_message_is_read),
        cmocka_unit_test(test_a_packet_split_at_any_byte_is_incomplete),
        cmocka_unit_test(test_parameters_cut_at_any_byte_are_a_bad_layout),
        cmocka_unit_test(test_bytes_after_the_terminator_are_a_bad_layout),
        cmocka_unit_test(test_the_database_defaults_to_the_user),
        cmocka_unit_test(test_without_a_user_nobody_gets_in),
        cmocka_unit_test(test_of_a_name_given_twice_the_last_counts),
        cmocka_unit_test(test_newer_minors_and_options_are_negotiated),
        cmocka_unit_test(test_other_major_versions_are_refused_in_the_servers_words),
        cmocka_unit_test(test_replication_takes_what_the_server_takes),
        cmocka_unit_test(test_encryption_requests_are_recognised),
        cmocka_unit_test(test_a_cancel_request_gives_pid_and_key),
        cmocka_unit_test(test_a_cancel_request_is_written_as_it_is_read),
        cmocka_unit_test(test_a_length_outside_the_limits_is_refused_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
