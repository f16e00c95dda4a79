/* Keys derived once for a list of users, and handed on to the next list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/scram_keys.h"

static char verifier[] =
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
static char md5[] = "md520c46e3762c864548e296b33c3406aa9";

static void assert_keys(const struct scram_keys *keys, const char *user, const char *password) {
    const struct secret_verifier *found = scram_keys_find(keys, user);
    struct secret_verifier expected = {0};
    assert_non_null(found);
    assert_true(secret_derive_salt(user, &expected));
    assert_true(secret_derive_keys(password, &expected));
    assert_int_equal(found->iterations, expected.iterations);
    assert_int_equal(found->salt_length, expected.salt_length);
    assert_memory_equal(found->salt, expected.salt, expected.salt_length);
    assert_memory_equal(found->stored_key, expected.stored_key, CRYPTO_KEY);
    assert_memory_equal(found->server_key, expected.server_key, CRYPTO_KEY);
}

static void plain_passwords_are_derived(void **state) {
    (void)state;
    const struct user users[] = {{"ann", "secret"}, {"bob", "other"}};
    struct scram_keys *keys = scram_keys_new(users, 2, NULL);
    assert_keys(keys, "ann", "secret");
    assert_keys(keys, "bob", "other");
    assert_null(scram_keys_find(keys, "carl"));
    scram_keys_unref(keys);
}

static void other_secrets_are_not(void **state) {
    (void)state;
    const struct user users[] = {{"ann", ""}, {"bob", md5}, {"carl", verifier}, {"dan", "x"}};
    struct scram_keys *keys = scram_keys_new(users, 4, NULL);
    assert_null(scram_keys_find(keys, "ann"));
    assert_null(scram_keys_find(keys, "bob"));
    assert_null(scram_keys_find(keys, "carl"));
    assert_keys(keys, "dan", "x");
    scram_keys_unref(keys);
}

static void a_changed_password_gets_new_keys(void **state) {
    (void)state;
    const struct user old_users[] = {{"ann", "secret"}, {"bob", "other"}};
    const struct user new_users[] = {{"ann", "changed"}, {"bob", "other"}};
    struct scram_keys *old = scram_keys_new(old_users, 2, NULL);
    struct scram_keys *keys = scram_keys_new(new_users, 2, old);
    scram_keys_unref(old);
    assert_keys(keys, "ann", "changed");
    assert_keys(keys, "bob", "other");
    scram_keys_unref(keys);
}

static void no_list_has_no_keys(void **state) {
    (void)state;
    struct scram_keys *keys = scram_keys_new(NULL, 0, NULL);
    assert_null(scram_keys_find(keys, "ann"));
    assert_null(scram_keys_find(NULL, "ann"));
    scram_keys_unref(keys);
    scram_keys_unref(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_passwords_are_derived),
        cmocka_unit_test(other_secrets_are_not),
        cmocka_unit_test(a_changed_password_gets_new_keys),
        cmocka_unit_test(no_list_has_no_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
