/* Sessions by process id and key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/cancel_keys.h"

/* What stands for a session is an address only. */
static struct session *session_number(uintptr_t number) {
    return (struct session *)number; // NOLINT(performance-no-int-to-ptr)
}

static void every_one_of_many_is_found_and_no_other(void **state) {
    (void)state;
    enum { MANY = 10000 };
    struct cancel_keys keys = {0};
    struct cancel_entry *entries = calloc(MANY, sizeof *entries);
    for (uint32_t i = 0; i < MANY; i++)
        cancel_keys_enter(&keys, &entries[i], 100 + i % 7, i * 2, session_number(i + 1));
    for (uint32_t i = 0; i < MANY; i++) {
        assert_ptr_equal(cancel_keys_find(&keys, 100 + i % 7, i * 2), session_number(i + 1));
        assert_null(cancel_keys_find(&keys, 100 + i % 7, i * 2 + 1));
        assert_null(cancel_keys_find(&keys, 107 + i % 7, i * 2));
    }
    cancel_keys_close(&keys);
    free(entries);
}

static void who_left_is_not_found_and_the_others_are(void **state) {
    (void)state;
    enum { MANY = 1000 };
    struct cancel_keys keys = {0};
    struct cancel_entry entries[MANY] = {0};
    for (uint32_t i = 0; i < MANY; i++)
        cancel_keys_enter(&keys, &entries[i], 7, i, session_number(i + 1));
    for (uint32_t i = 0; i < MANY; i += 2)
        cancel_keys_leave(&keys, &entries[i]);
    for (uint32_t i = 0; i < MANY; i++)
        assert_ptr_equal(cancel_keys_find(&keys, 7, i), i % 2 ? session_number(i + 1) : NULL);
    assert_int_equal(keys.count, MANY / 2);
    cancel_keys_close(&keys);
}

static void leaving_twice_and_without_having_entered_is_safe(void **state) {
    (void)state;
    struct cancel_keys keys = {0};
    struct cancel_entry entry = {0};
    cancel_keys_leave(&keys, &entry);
    assert_null(cancel_keys_find(&keys, 1, 2));
    cancel_keys_enter(&keys, &entry, 1, 2, session_number(1));
    cancel_keys_leave(&keys, &entry);
    cancel_keys_leave(&keys, &entry);
    assert_null(cancel_keys_find(&keys, 1, 2));
    cancel_keys_enter(&keys, &entry, 3, 4, session_number(1));
    assert_non_null(cancel_keys_find(&keys, 3, 4));
    cancel_keys_close(&keys);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_one_of_many_is_found_and_no_other),
        cmocka_unit_test(who_left_is_not_found_and_the_others_are),
        cmocka_unit_test(leaving_twice_and_without_having_entered_is_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
