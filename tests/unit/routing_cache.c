/* The cache of queries by their text or shape. */
#include "routing/cache.h"
#include "tests/unit/routing_session.h"

static const unsigned char secret[CACHE_SECRET_SIZE] = {
    1, 2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83,
};

static struct query *query_of(const char *sql) {
    struct query *query = calloc(1, sizeof *query);
    assert_non_null(query);
    query->text = sql;
    query->length = strlen(sql);
    query->references = 1;
    return query;
}

static void put(struct cache *cache, const char *sql, unsigned flags, size_t bytes) {
    struct query *query = query_of(sql);
    struct cache_key key = cache_key_of(cache, query->text, query->length, flags);
    cache_put(cache, &key, query, bytes);
    query_unref(query);
}

static struct query *find(struct cache *cache, const char *text, size_t length, unsigned flags) {
    struct cache_key key = cache_key_of(cache, text, length, flags);
    return cache_find(cache, &key);
}

static void a_text_is_found_again(void **unused) {
    (void)unused;
    struct cache *cache = cache_new(100000, secret);
    put(cache, "SELECT 1", 0, 100);
    struct query *found = find(cache, "SELECT 1", 8, 0);
    assert_non_null(found);
    assert_string_equal(found->text, "SELECT 1");
    cache_free(cache);
}

static void another_text_is_not_found(void **unused) {
    (void)unused;
    struct cache *cache = cache_new(100000, secret);
    put(cache, "SELECT 1", 0, 100);
    assert_null(find(cache, "SELECT 2", 8, 0));
    assert_null(find(cache, "SELECT 1", 7, 0));
    cache_free(cache);
}

static void the_same_text_read_otherwise_is_another(void **unused) {
    (void)unused;
    struct cache *cache = cache_new(100000, secret);
    put(cache, "SELECT 1", 0, 100);
    assert_null(find(cache, "SELECT 1", 8, 1));
    cache_free(cache);
}

static void what_was_used_longest_ago_goes_first(void **unused) {
    (void)unused;
    struct cache *cache = cache_new(16 * 1024, secret);
    put(cache, "a", 0, 1900);
    put(cache, "b", 0, 1900);
    assert_non_null(find(cache, "a", 1, 0));
    for (int i = 0; i < 7; i++) {
        static const char *const texts[] = {"c", "d", "e", "f", "g", "h", "i"};
        if (cache_bytes(cache) + 2000 > 16 * 1024) {
            break;
        }
        put(cache, texts[i], 0, 1900);
    }
    put(cache, "z", 0, 1900);
    assert_non_null(find(cache, "a", 1, 0));
    assert_null(find(cache, "b", 1, 0));
    cache_free(cache);
}

static void bytes_stay_within_the_bound(void **unused) {
    (void)unused;
    static char texts[5000][8];
    struct cache *cache = cache_new(64 * 1024, secret);
    for (int i = 0; i < 5000; i++) {
        snprintf(texts[i], sizeof texts[i], "%d", i);
        put(cache, texts[i], 0, 100);
        assert_true(cache_bytes(cache) <= 64 * 1024);
    }
    assert_non_null(find(cache, "4999", 4, 0));
    assert_null(find(cache, "0", 1, 0));
    cache_free(cache);
}

static void many_texts_are_all_found(void **unused) {
    (void)unused;
    static char texts[5000][8];
    struct cache *cache = cache_new(64 * 1024 * 1024, secret);
    for (int i = 0; i < 5000; i++) {
        snprintf(texts[i], sizeof texts[i], "%d", i);
        put(cache, texts[i], 0, 100);
    }
    assert_int_equal(cache_count(cache), 5000);
    for (int i = 0; i < 5000; i++) {
        assert_non_null(find(cache, texts[i], strlen(texts[i]), 0));
    }
    cache_free(cache);
}

static void what_is_bigger_than_its_share_is_not_kept(void **unused) {
    (void)unused;
    struct cache *cache = cache_new(16 * 1024, secret);
    put(cache, "big", 0, 8 * 1024);
    assert_int_equal(cache_count(cache), 0);
    cache_free(cache);
}

static void a_query_in_use_outlives_its_eviction(void **unused) {
    (void)unused;
    struct cache *cache = cache_new(1024, secret);
    struct query *query = query_of("SELECT 1");
    struct cache_key key = cache_key_of(cache, query->text, query->length, 0);
    cache_put(cache, &key, query, 10);
    cache_free(cache);
    assert_int_equal(query->references, 1);
    assert_string_equal(query->text, "SELECT 1");
    query_unref(query);
}

static void a_key_need_not_be_the_query_s_text(void **unused) {
    (void)unused;
    struct cache *cache = cache_new(100000, secret);
    struct query *query = query_of("SELECT 1");
    char shape[] = "SELECT x";
    struct cache_key key = cache_key_of(cache, shape, 8, 0);
    cache_put(cache, &key, query, 10);
    query_unref(query);
    shape[7] = 'y'; /* it was borrowed */
    assert_ptr_equal(find(cache, "SELECT x", 8, 0), query);
    assert_null(find(cache, "SELECT 1", 8, 0));
    cache_free(cache);
}

static void what_came_before_is_wanted(void **unused) {
    (void)unused;
    struct cache *cache = cache_new(100000, secret);
    struct cache_key first = cache_key_of(cache, "SELECT 1", 8, 0),
                     second = cache_key_of(cache, "SELECT 2", 8, 0);
    assert_false(cache_wants(cache, &first));
    assert_false(cache_wants(cache, &second));
    assert_true(cache_wants(cache, &first));
    assert_true(cache_wants(cache, &second));
    cache_free(cache);
}

static void a_router_gives_the_same_query_for_a_text_that_came_twice(void **unused) {
    (void)unused;
    struct fixture f;
    fixture_open(&f, RULES_ENFORCED, "app");
    fixture_statement(&f, "SELECT 1 FROM projects");
    const struct query *first = query_ref(fixture_statement(&f, "SELECT 1 FROM projects")->query);
    fixture_statement(&f, "SELECT 1 FROM ci_builds");
    assert_ptr_equal(fixture_statement(&f, "SELECT 1 FROM projects")->query, first);
    query_unref((struct query *)(uintptr_t)first);
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_is_found_again),
        cmocka_unit_test(another_text_is_not_found),
        cmocka_unit_test(the_same_text_read_otherwise_is_another),
        cmocka_unit_test(what_was_used_longest_ago_goes_first),
        cmocka_unit_test(bytes_stay_within_the_bound),
        cmocka_unit_test(many_texts_are_all_found),
        cmocka_unit_test(what_is_bigger_than_its_share_is_not_kept),
        cmocka_unit_test(a_query_in_use_outlives_its_eviction),
        cmocka_unit_test(a_key_need_not_be_the_query_s_text),
        cmocka_unit_test(what_came_before_is_wanted),
        cmocka_unit_test(a_router_gives_the_same_query_for_a_text_that_came_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
