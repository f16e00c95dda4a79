#include "protocol/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void test_numbers_are_big_endian(void **state) {
    (void)state;
    uint8_t bytes[4];
    wire_put_u32(bytes, 0x81020304);
    assert_memory_equal(bytes, "\x81\x02\x03\x04", 4);
    assert_int_equal(wire_get_u32(bytes), 0x81020304);
    wire_put_u16(bytes, 0xfffe);
    assert_memory_equal(bytes, "\xff\xfe", 2);
    assert_int_equal(wire_get_u16(bytes), 0xfffe);
}

static void test_a_header_split_at_any_byte_is_incomplete(void **state) {
    (void)state;
    const uint8_t message[] = {'Q', 0, 0, 0, 6, 'x', 0};
    struct frame frame;
    for (size_t size = 0; size < FRAME_HEADER; size++)
        assert_int_equal(frame_read(message, size, &frame), FRAME_INCOMPLETE);
    for (size_t size = FRAME_HEADER; size <= sizeof message; size++) {
        assert_int_equal(frame_read(message, size, &frame), FRAME_OK);
        assert_int_equal(frame.type, 'Q');
        assert_int_equal(frame.length, sizeof message);
    }
}

static enum frame_result read_length(uint32_t length, struct frame *out) {
    uint8_t header[FRAME_HEADER] = {'d'};
    wire_put_u32(header + 1, length);
    return frame_read(header, sizeof header, out);
}

static void test_lengths_outside_the_limits_are_bad(void **state) {
    (void)state;
    struct frame frame;
    assert_int_equal(read_length(0, &frame), FRAME_BAD_LENGTH);
    assert_int_equal(read_length(3, &frame), FRAME_BAD_LENGTH);
    assert_int_equal(read_length(4, &frame), FRAME_OK);
    assert_int_equal(read_length(FRAME_LENGTH_MAX, &frame), FRAME_OK);
    assert_int_equal(frame.length, (size_t)FRAME_LENGTH_MAX + 1);
    assert_int_equal(read_length((uint32_t)FRAME_LENGTH_MAX + 1, &frame), FRAME_BAD_LENGTH);
    assert_int_equal(read_length(UINT32_MAX, &frame), FRAME_BAD_LENGTH);
}

static void test_every_frontend_type_has_the_servers_class(void **state) {
    (void)state;
    for (int type = 1; type < 256; type++) {
        enum frontend_class expected = strchr("QPBFd", type)       ? FRONTEND_LARGE
                                       : strchr("CDEHSXcfp", type) ? FRONTEND_SMALL
                                                                   : FRONTEND_UNKNOWN;
        assert_int_equal(frame_frontend_class((char)type), expected);
    }
    assert_int_equal(frame_frontend_class('\0'), FRONTEND_UNKNOWN);
}

static void test_a_small_message_fits_up_to_the_servers_limit(void **state) {
    (void)state;
    assert_true(frame_frontend_fits(&(struct frame){'E', FRAME_SMALL_MAX + 1}));
    assert_false(frame_frontend_fits(&(struct frame){'E', FRAME_SMALL_MAX + 2}));
    assert_true(frame_frontend_fits(&(struct frame){'p', FRAME_AUTHENTICATION_MAX + 1}));
    assert_false(frame_frontend_fits(&(struct frame){'p', FRAME_AUTHENTICATION_MAX + 2}));
    assert_true(frame_frontend_fits(&(struct frame){'d', (size_t)FRAME_LARGE_MAX + 1}));
    assert_false(frame_frontend_fits(&(struct frame){'d', (size_t)FRAME_LARGE_MAX + 2}));
    assert_false(frame_frontend_fits(&(struct frame){'!', 5}));
}

static void test_backend_types_are_those_of_the_manual(void **state) {
    (void)state;
    for (int type = 1; type < 256; type++)
        assert_int_equal(frame_backend_known((char)type),
                         strchr("RSKZCTDENA123nstIGHWVcdv", type) != NULL);
    assert_false(frame_backend_known('\0'));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_are_big_endian),
        cmocka_unit_test(test_a_header_split_at_any_byte_is_incomplete),
        cmocka_unit_test(test_lengths_outside_the_limits_are_bad),
        cmocka_unit_test(test_every_frontend_type_has_the_servers_class),
        cmocka_unit_test(test_a_small_message_fits_up_to_the_servers_limit),
        cmocka_unit_test(test_backend_types_are_those_of_the_manual),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
