/* How connections to databases are shared: what of it is for all, for a database, for an
 * entrypoint. */
#include "tests/unit/config_fixture.h"

#define BASE DATABASES TABLES TRUST "entrypoints: {app: routed, app_ci: ci}\n"

static const struct entrypoint *entrypoint(const struct settings *s, const char *name) {
    return &s->entrypoints[settings_find_entrypoint(s, name)];
}

static void without_the_key_nothing_is_shared(void **state) {
    const struct settings *s = fixture_load(*state, BASE);
    for (size_t i = 0; i < s->entrypoint_count; i++)
        assert_int_equal(s->entrypoints[i].pool.mode, POOL_OFF);
    assert_int_equal(s->max_client_conn, 0);
}

static void an_empty_pool_is_as_pgbouncer_without_settings(void **state) {
    const struct settings *s = fixture_load(*state, BASE "pool: {}\n");
    const struct pool_settings *clients = &entrypoint(s, "app")->pool;
    assert_string_equal(pool_mode_name(clients->mode), "session");
    assert_int_equal(clients->query_wait_timeout, 120);
    assert_int_equal(clients->idle_transaction_timeout, 0);
    assert_int_equal(clients->client_idle_timeout, 0);
    for (size_t i = 0; i < s->database_count; i++) {
        const struct pool_settings *pool = &s->databases[i].pool;
        assert_int_equal(pool->size, 20);
        assert_int_equal(pool->min_size, 0);
        assert_int_equal(pool->reserve_size, 0);
        assert_int_equal(pool->reserve_timeout, 5);
        assert_int_equal(pool->max_db_connections, 0);
        assert_int_equal(pool->max_prepared_statements, 200);
        assert_int_equal(pool->server_lifetime, 3600);
        assert_int_equal(pool->server_idle_timeout, 600);
    }
    assert_int_equal(s->max_client_conn, 0);
}

static void each_key_sets_its_own(void **state) {
    const struct settings *s = fixture_load(
        *state, BASE "pool: {mode: transaction, size: 11, min_size: 2, reserve_size: 3, "
                     "reserve_timeout: 4, max_db_connections: 5, max_prepared_statements: 6, "
                     "server_lifetime: 7, server_idle_timeout: 8, query_wait_timeout: 9, "
                     "idle_transaction_timeout: 10, client_idle_timeout: 12, max_client_conn: "
                     "13}\n");
    const struct pool_settings *pool = &s->databases[1].pool;
    assert_int_equal(pool->size, 11);
    assert_int_equal(pool->min_size, 2);
    assert_int_equal(pool->reserve_size, 3);
    assert_int_equal(pool->reserve_timeout, 4);
    assert_int_equal(pool->max_db_connections, 5);
    assert_int_equal(pool->max_prepared_statements, 6);
    assert_int_equal(pool->server_lifetime, 7);
    assert_int_equal(pool->server_idle_timeout, 8);
    pool = &entrypoint(s, "app_ci")->pool;
    assert_int_equal(pool->mode, POOL_TRANSACTION);
    assert_int_equal(pool->query_wait_timeout, 9);
    assert_int_equal(pool->idle_transaction_timeout, 10);
    assert_int_equal(pool->client_idle_timeout, 12);
    assert_int_equal(s->max_client_conn, 13);
}

static void a_database_has_its_own_sizes(void **state) {
    const struct settings *s =
        fixture_load(*state, BASE "pool:\n"
                                  "  databases: {ci: {size: 3, server_lifetime: 0}}\n"
                                  "  size: 7\n"
                                  "  min_size: 1\n");
    assert_int_equal(s->databases[0].pool.size, 7);
    assert_int_equal(s->databases[0].pool.server_lifetime, 3600);
    assert_int_equal(s->databases[1].pool.size, 3);
    assert_int_equal(s->databases[1].pool.server_lifetime, 0);
    assert_int_equal(s->databases[1].pool.min_size, 1);
}

static void an_entrypoint_has_its_own_mode(void **state) {
    const struct settings *s =
        fixture_load(*state, BASE "pool: {mode: transaction, client_idle_timeout: 60, entrypoints: "
                                  "{app_ci: {mode: off, query_wait_timeout: 1}}}\n");
    assert_int_equal(entrypoint(s, "app")->pool.mode, POOL_TRANSACTION);
    assert_int_equal(entrypoint(s, "app")->pool.query_wait_timeout, 120);
    assert_int_equal(entrypoint(s, "app_ci")->pool.mode, POOL_OFF);
    assert_int_equal(entrypoint(s, "app_ci")->pool.query_wait_timeout, 1);
    assert_int_equal(entrypoint(s, "app_ci")->pool.client_idle_timeout, 60);
}

static void a_key_in_the_wrong_place_is_told_from_an_unknown_one(void **state) {
    fixture_refuse(*state, BASE "pool: {pool_size: 5}\n",
                   "settings.yml:5: unknown key \"pool_size\" in pool: write one of mode, size, "
                   "min_size, reserve_size, reserve_timeout, max_db_connections, server_lifetime, "
                   "server_idle_timeout, max_prepared_statements, query_wait_timeout, "
                   "idle_transaction_timeout, client_idle_timeout, max_client_conn");
    fixture_refuse(*state, BASE "pool: {databases: {ci: {mode: off}}}\n",
                   "settings.yml:5: misplaced key \"mode\" in pool.databases.ci: write one of "
                   "size, min_size, reserve_size, reserve_timeout, max_db_connections, "
                   "server_lifetime, server_idle_timeout, max_prepared_statements");
    fixture_refuse(*state, BASE "pool: {entrypoints: {app: {size: 5}}}\n",
                   "settings.yml:5: misplaced key \"size\" in pool.entrypoints.app: write one of "
                   "mode, query_wait_timeout, idle_transaction_timeout, client_idle_timeout");
    fixture_refuse(*state, BASE "pool: {entrypoints: {app: {max_client_conn: 5}}}\n",
                   "settings.yml:5: misplaced key \"max_client_conn\" in pool.entrypoints.app: "
                   "write one of mode, query_wait_timeout, idle_transaction_timeout, "
                   "client_idle_timeout");
    fixture_refuse(*state, BASE "pool: {databases: {ci: {databases: {}}}}\n",
                   "settings.yml:5: unknown key \"databases\" in pool.databases.ci: write one of "
                   "size, min_size, reserve_size, reserve_timeout, max_db_connections, "
                   "server_lifetime, server_idle_timeout, max_prepared_statements");
}

static void only_known_names_are_accepted(void **state) {
    fixture_refuse(*state, BASE "pool: {databases: {geo: {size: 5}}}\n",
                   "settings.yml:5: pool.databases: unknown database \"geo\": name one of this "
                   "file");
    fixture_refuse(*state, BASE "pool: {entrypoints: {ci: {mode: off}}}\n",
                   "settings.yml:5: pool.entrypoints: unknown entrypoint \"ci\": name one of this "
                   "file");
    fixture_refuse(*state,
                   "databases: {main: dbname=app, ci: {same_as: main}}\n" TABLES TRUST
                   "pool: {databases: {ci: {size: 5}}}\n",
                   "settings.yml:4: pool.databases: \"ci\" is stored in \"main\" and shares its "
                   "connections: set them there");
}

static void wrong_values_are_refused(void **state) {
    fixture_refuse(*state, BASE "pool: transaction\n",
                   "settings.yml:5: pool is a single value: write a map, {key: value}");
    fixture_refuse(*state, BASE "pool: {mode: statement}\n",
                   "settings.yml:5: pool.mode is \"statement\": write off, session or transaction");
    fixture_refuse(*state, BASE "pool: {size: 0}\n",
                   "settings.yml:5: pool.size is \"0\": write a whole number from 1 to 100000");
    fixture_refuse(*state, BASE "pool: {max_prepared_statements: 0}\n",
                   "settings.yml:5: pool.max_prepared_statements is \"0\": write a whole number "
                   "from 1 to 100000");
    fixture_refuse(*state, BASE "pool: {query_wait_timeout: 5s}\n",
                   "settings.yml:5: pool.query_wait_timeout is \"5s\": write a whole number from 0 "
                   "to 31536000");
    fixture_refuse(*state, BASE "pool: {databases: {ci: {size: -1}}}\n",
                   "settings.yml:5: pool.databases.ci.size is \"-1\": write a whole number from 1 "
                   "to 100000");
    fixture_refuse(*state, BASE "pool: {max_client_conn: 1000001}\n",
                   "settings.yml:5: pool.max_client_conn is \"1000001\": write a whole number from "
                   "0 to 1000000");
}

static void what_is_kept_ready_fits_into_the_size(void **state) {
    fixture_refuse(*state, BASE "pool: {min_size: 21}\n",
                   "settings.yml:5: pool: min_size 21 is over size 20: lower it");
    fixture_refuse(*state, BASE "pool: {min_size: 5, databases: {ci: {size: 4}}}\n",
                   "settings.yml:5: pool.databases.ci: min_size 5 is over size 4: lower it");
    (void)fixture_load(*state, BASE "pool: {min_size: 5, size: 5}\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(without_the_key_nothing_is_shared),
        fixture_test(an_empty_pool_is_as_pgbouncer_without_settings),
        fixture_test(each_key_sets_its_own),
        fixture_test(a_database_has_its_own_sizes),
        fixture_test(an_entrypoint_has_its_own_mode),
        fixture_test(a_key_in_the_wrong_place_is_told_from_an_unknown_one),
        fixture_test(only_known_names_are_accepted),
        fixture_test(wrong_values_are_refused),
        fixture_test(what_is_kept_ready_fits_into_the_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
