/* The settings file: what each key does, and what is said where one is wrong. */
#include "tests/unit/config_fixture.h"

#define BASE DATABASES TABLES

static void defaults_are_those_of_the_contract(void **state) {
    const struct settings *s = fixture_load(*state, BASE TRUST);
    assert_int_equal(s->listen_count, 1);
    assert_string_equal(s->listen[0].host, "127.0.0.1");
    assert_int_equal(s->listen[0].port, 6432);
    for (int rule = 0; rule < RULE_COUNT; rule++)
        assert_int_equal(s->rules[rule], RULE_ENFORCE);
    assert_int_equal(s->tls.mode, TLS_DISABLE);
    assert_int_equal(s->log.level, LOG_INFO);
    assert_int_equal(s->log.format, LOG_TEXT);
    assert_int_equal(s->workers, 0);
    assert_int_equal(s->shutdown_timeout, 30);
    assert_int_equal(s->login_timeout, 60);
    assert_true(s->tcp.keepalive);
    assert_int_equal(s->tcp.keepidle, 0);
    assert_int_equal(s->connect_timeout, 15);
    assert_int_equal(s->notice_count, 0);
    assert_true(s->generation > 0);
}

static void scram_is_the_default_method(void **state) {
    fixture_write(*state, "userlist.txt", "\"app\" \"secret\"\n");
    const struct settings *s = fixture_load(*state, BASE "auth: {users: userlist.txt}\n");
    assert_int_equal(s->auth.method, AUTH_SCRAM_SHA_256);
    assert_string_equal(settings_find_user(s, "app")->secret, "secret");
    assert_null(settings_find_user(s, "other"));
}

static void every_key_is_read(void **state) {
    fixture_write(*state, "server.crt", "x");
    fixture_write(*state, "server.key", "x");
    fixture_write(*state, "root.crt", "x");
    fixture_write(*state, "run/x", "");
    const struct settings *s = fixture_load(
        *state, "listen: [\"0.0.0.0:1\", \"[::1]:65535\", \"./run:6432\", \"localhost:5\"]\n" BASE
                "rules: {cross_join: report, unparsed: off, outer_transaction: ignore}\n"
                "auth: {method: cert, allow_insecure: false}\n"
                "tls: {mode: verify-full, cert: server.crt, key: server.key, ca: root.crt}\n"
                "log: {level: debug, format: json}\n"
                "workers: 3\nshutdown_timeout: 1\nlogin_timeout: 2\nconnect_timeout: 4\n"
                "tcp_keepalive: 0\ntcp_keepidle: 5\ntcp_keepintvl: 6\ntcp_keepcnt: 7\n"
                "tcp_user_timeout: 8000\n");
    struct fixture *f = *state;
    assert_int_equal(s->listen_count, 4);
    assert_string_equal(s->listen[0].host, "0.0.0.0");
    assert_string_equal(s->listen[1].host, "::1");
    assert_int_equal(s->listen[1].port, 65535);
    assert_null(s->listen[2].host);
    assert_true(strncmp(s->listen[2].folder, f->folder, strlen(f->folder)) == 0);
    assert_string_equal(s->listen[2].text, "./run:6432");
    assert_int_equal(s->rules[RULE_CROSS_JOIN], RULE_REPORT);
    assert_int_equal(s->rules[RULE_UNPARSED], RULE_OFF);
    assert_int_equal(s->rules[RULE_WRITE_LOCK], RULE_ENFORCE);
    assert_true(s->outer_transaction_ignored);
    assert_int_equal(s->auth.method, AUTH_CERT);
    assert_int_equal(s->tls.mode, TLS_VERIFY_FULL);
    assert_true(s->tls.key[0] == '/');
    assert_int_equal(s->log.level, LOG_DEBUG);
    assert_int_equal(s->log.format, LOG_JSON);
    assert_int_equal(s->workers, 3);
    assert_int_equal(s->shutdown_timeout, 1);
    assert_int_equal(s->login_timeout, 2);
    assert_false(s->tcp.keepalive);
    assert_int_equal(s->tcp.keepidle, 5);
    assert_int_equal(s->tcp.keepintvl, 6);
    assert_int_equal(s->tcp.keepcnt, 7);
    assert_int_equal(s->tcp.user_timeout, 8000);
    assert_int_equal(s->connect_timeout, 4);
}

static void tls_is_preferred_where_a_certificate_is_given(void **state) {
    fixture_write(*state, "server.crt", "x");
    fixture_write(*state, "server.key", "x");
    const struct settings *s =
        fixture_load(*state, BASE TRUST "tls: {cert: server.crt, key: server.key}\n");
    assert_int_equal(s->tls.mode, TLS_PREFER);
}

static void without_entrypoints_the_dbname_is_routed_and_databases_are_pinned(void **state) {
    const struct settings *s = fixture_load(*state, BASE TRUST);
    assert_int_equal(s->entrypoint_count, 3);
    assert_int_equal(s->entrypoints[settings_find_entrypoint(s, "app")].database,
                     ENTRYPOINT_ROUTED);
    assert_int_equal(s->entrypoints[settings_find_entrypoint(s, "main")].database, 0);
    assert_int_equal(s->entrypoints[settings_find_entrypoint(s, "ci")].database, 1);
    assert_int_equal(settings_find_entrypoint(s, "other"), -1);
}

static void entrypoints_are_routed_or_pinned(void **state) {
    const struct settings *s =
        fixture_load(*state, BASE TRUST "entrypoints: {app: routed, app_ci: ci}\n");
    assert_int_equal(s->entrypoint_count, 2);
    assert_int_equal(s->entrypoints[0].database, ENTRYPOINT_ROUTED);
    assert_int_equal(s->entrypoints[1].database, 1);
}

static void a_database_can_be_stored_in_another(void **state) {
    const struct settings *s = fixture_load(
        *state,
        "databases: {main: dbname=app, sec: {same_as: ci}, ci: {same_as: main}}\n" TABLES TRUST);
    assert_int_equal(s->databases[1].physical, 0);
    assert_int_equal(s->databases[2].physical, 0);
    assert_string_equal(s->databases[1].conninfo, "dbname=app");
}

static void the_same_server_and_dbname_are_found_out(void **state) {
    const struct settings *s = fixture_load(
        *state,
        "databases: {main: host=h dbname=app, ci: 'postgresql://u@H:5432/app', sec: {same_as: "
        "ci}}\n" TABLES TRUST);
    /* Host names differ in case here, and are told apart: only what is surely equal is merged. */
    assert_int_equal(s->databases[1].physical, 1);
    s = fixture_load(*state,
                     "databases: {main: host=h dbname=app, ci: 'postgresql://u@h:5432/app', sec: "
                     "{same_as: ci}}\n" TABLES TRUST);
    assert_int_equal(s->databases[1].physical, 0);
    assert_int_equal(s->databases[2].physical, 0);
    assert_string_equal(s->databases[2].conninfo, "host=h dbname=app");
    assert_int_equal(s->notice_count, 1);
    assert_string_equal(s->notices[0], "database \"ci\" is the same server and dbname as \"main\": "
                                       "it is treated as {same_as: main}");
}

static void variables_come_from_the_environment(void **state) {
    setenv("PGINTERLOCK_TEST", "host=m dbname=env", 1);
    unsetenv("PGINTERLOCK_NONE");
    const struct settings *s = fixture_load(
        *state,
        "databases: {main: \"${PGINTERLOCK_TEST} user=${PGINTERLOCK_NONE:-me}\"}\n" TABLES TRUST);
    assert_string_equal(s->databases[0].conninfo, "host=m dbname=env user=me");
    fixture_refuse(*state, "databases:\n  main: \"dbname=${PGINTERLOCK_NONE}\"\n" TABLES TRUST,
                   "settings.yml:2: the environment variable PGINTERLOCK_NONE is not set: set it, "
                   "or write ${PGINTERLOCK_NONE:-default}");
    fixture_refuse(*state, "databases:\n  main: \"dbname=${a b}\"\n" TABLES TRUST,
                   "settings.yml:2: \"${\" doesn't begin a variable: write ${NAME} or "
                   "${NAME:-default}");
}

static void a_snapshot_lives_until_its_last_reference(void **state) {
    struct fixture *f = *state;
    const struct settings *s = fixture_load(f, BASE TRUST);
    struct settings *second = settings_ref(s);
    settings_unref(s);
    f->settings = second;
    assert_string_equal(second->databases[0].name, "main");
    settings_unref(NULL);
}

static void the_same_databases_are_recognised_after_a_reload(void **state) {
    struct fixture *f = *state;
    struct settings *a = settings_ref(fixture_load(f, BASE TRUST));
    const struct settings *b = fixture_load(f, BASE TRUST "workers: 2\n");
    assert_true(settings_same_databases(a, b));
    assert_true(a->generation != b->generation);
    b = fixture_load(f, "databases: {main: host=m dbname=app, ci: host=x dbname=a}\n" TABLES TRUST);
    assert_false(settings_same_databases(a, b));
    settings_unref(a);
}

struct refusal {
    const char *text, *error;
};

static void refuse_all(struct fixture *f, const struct refusal *cases, size_t count) {
    for (size_t i = 0; i < count; i++)
        fixture_refuse(f, cases[i].text, cases[i].error);
}

#define REFUSE_ALL(state, cases) refuse_all(state, cases, sizeof(cases) / sizeof *(cases))

static void wrong_keys_and_types_are_refused(void **state) {
    static const struct refusal cases[] = {
        {"", "settings.yml:1: the settings file is empty: write a map, {key: value}"},
        {"[]", "settings.yml:1: the settings file is a list: write a map, {key: value}"},
        {"a: b\n]", "settings.yml:2: not valid YAML, did not find expected key: correct the "
                    "syntax"},
        {BASE "lisen: []\n",
         "settings.yml:3: unknown key \"lisen\" in the settings file: write one of listen, "
         "databases, "
         "databases_from, classification, entrypoints, rules, auth, tls, log, workers, "
         "shutdown_timeout, login_timeout, connect_timeout, tcp_keepalive, tcp_keepidle, "
         "tcp_keepintvl, tcp_keepcnt, tcp_user_timeout, allowlist, violations, pool, admin"},
        {BASE "workers: 1\nworkers: 2\n",
         "settings.yml:4: \"workers\" is given twice, first in line 3: remove one of them"},
        {BASE "workers: many\n",
         "settings.yml:3: workers is \"many\": write a whole number from 0 to 1024"},
        {BASE "workers: \"2\"\n",
         "settings.yml:3: workers is \"2\": write a whole number from 0 to 1024"},
        {BASE "workers: -1\n",
         "settings.yml:3: workers is \"-1\": write a whole number from 0 to 1024"},
        {BASE "tcp_keepalive: yes\n",
         "settings.yml:3: tcp_keepalive is \"yes\": write true or false"},
        {BASE "tcp_keepcnt: 128\n",
         "settings.yml:3: tcp_keepcnt is \"128\": write a whole number from 0 to 127"},
        {BASE "login_timeout: 0\n",
         "settings.yml:3: login_timeout is \"0\": write a whole number from 1 to 86400"},
        {BASE "log: verbose\n", "settings.yml:3: log is a single value: write a map, {key: value}"},
        {BASE "log:\n  level: loud\n",
         "settings.yml:4: log.level is \"loud\": write debug, info, warning or error"},
        {BASE "log:\n  format: xml\n", "settings.yml:4: log.format is \"xml\": write text or json"},
        {BASE "rules:\n  cross_join: warn\n",
         "settings.yml:4: rules.cross_join is \"warn\": write enforce, report or off"},
        {BASE "rules:\n  cross_joins: off\n",
         "settings.yml:4: unknown rule \"cross_joins\": write one of cross_join, "
         "cross_transaction, cross_foreign_key, wrong_database, write_lock, unclassified, "
         "unparsed, outer_transaction"},
        {BASE "rules:\n  outer_transaction: enforce\n",
         "settings.yml:4: rules.outer_transaction is \"enforce\": write count or ignore"},
        {BASE "rules:\n  allowed_gitlab_schemas: off\n",
         "settings.yml:4: unknown rule \"allowed_gitlab_schemas\": write one of cross_join, "
         "cross_transaction, cross_foreign_key, wrong_database, write_lock, unclassified, "
         "unparsed, outer_transaction"},
        {BASE "---\na: b\n", "settings.yml:3: a second YAML document begins: keep one in a file"},
        {"? [a]\n: b\n", "settings.yml:1: a key must be a name: write `name: value`"},
        {"a: &a [*a]\n", "settings.yml:1: this anchor contains itself: remove the alias inside it"},
        {"a: !ruby/object {}\n",
         "settings.yml:1: the tag !ruby/object isn't understood: remove it"},
        {"a: \"\\0\"\n", "settings.yml:1: this text holds a NUL: remove it"},
    };
    REFUSE_ALL(*state, cases);
}

static void depth_and_anchors_are_bounded(void **state) {
    enum { DEPTH = 200000 };
    char *text = malloc(DEPTH + 1);
    assert_non_null(text);
    memset(text, '[', DEPTH);
    text[DEPTH] = '\0';
    fixture_refuse(*state, text, "settings.yml:1: nested deeper than 32 levels: flatten it");
    text[0] = '\0';
    char *at = text;
    for (int i = 0; i < 300; i++)
        at += snprintf(at, 64, "k%d: &a%d 1\n", i, i);
    fixture_refuse(*state, text, "settings.yml:257: more than 256 anchors: write some of them out");
    free(text);
}

static void wrong_databases_are_refused(void **state) {
    static const struct refusal cases[] = {
        {TABLES, "settings.yml:1: no databases: add `databases: {main: \"host=… dbname=…\"}`"},
        {DATABASES "databases_from: {file: a, environment: b}\n" TABLES,
         "settings.yml:2: databases and databases_from are both given: remove one of them"},
        {"databases: {}\n" TABLES,
         "settings.yml:1: databases is empty: add `main: \"host=… dbname=…\"`"},
        {"databases:\n  ci: dbname=c\n  main: dbname=m\n" TABLES,
         "settings.yml:2: database \"ci\" is listed first: put main first"},
        {"databases:\n  main: dbname=m\n  routed: dbname=c\n" TABLES,
         "settings.yml:3: a database can't be called \"routed\", which is what entrypoints say: "
         "rename it"},
        {"databases:\n  main: dbname=m\n  main: dbname=c\n" TABLES,
         "settings.yml:3: \"main\" is given twice, first in line 2: remove one of them"},
        {"databases:\n  main:\n" TABLES, "settings.yml:2: databases.main has no value: write a "
                                         "connection string or {same_as: DATABASE}"},
        {"databases:\n  main: [a]\n" TABLES, "settings.yml:2: databases.main has no value: write a "
                                             "connection string or {same_as: DATABASE}"},
        {"databases:\n  main: app\n" TABLES,
         "settings.yml:2: databases.main: missing \"=\" after \"app\" in connection info string: "
         "correct the connection string"},
        {"databases:\n  main: hots=a\n" TABLES,
         "settings.yml:2: databases.main: invalid connection option \"hots\": correct the "
         "connection string"},
        {"databases:\n  main: dbname=a port=99999\n" TABLES,
         "settings.yml:2: databases.main: port is \"99999\": write a number from 1 to 65535: "
         "correct the connection string"},
        {"databases:\n  main: dbname=a sslmode=on\n" TABLES,
         "settings.yml:2: databases.main: sslmode is \"on\": write one of disable, allow, prefer, "
         "require, verify-ca, verify-full: correct the connection string"},
        {"databases:\n  main: dbname=a\n  ci: {same_as: other}\n" TABLES,
         "settings.yml:3: same_as: unknown database \"other\": name one of this file"},
        {"databases:\n  main: dbname=a\n  ci: {same_as: ci}\n" TABLES,
         "settings.yml:3: same_as of \"ci\" leads back to itself: give one of them a connection "
         "string"},
        {"databases:\n  main: dbname=a\n  ci: {same_as: sec}\n  sec: {same_as: ci}\n" TABLES,
         "settings.yml:4: same_as of \"sec\" leads back to itself: give one of them a connection "
         "string"},
        {"databases:\n  main: dbname=a\n  ci: {same: main}\n" TABLES,
         "settings.yml:3: unknown key \"same\" in databases.ci: write a connection string or "
         "{same_as: DATABASE}"},
    };
    REFUSE_ALL(*state, cases);
}

static void no_error_shows_a_password(void **state) {
    fixture_refuse(*state, "databases:\n  main: dbname=a password=top secret\n" TABLES,
                   "settings.yml:2: databases.main: libpq can't read it (its message could quote "
                   "the password): write key=value pairs, and values with blanks in single quotes: "
                   "correct the connection string");
    fixture_refuse(*state, "databases:\n  main: 'postgresql://u:secret@[::1/app'\n" TABLES,
                   "settings.yml:2: databases.main: libpq can't read it (its message could quote "
                   "the password): write key=value pairs, and values with blanks in single quotes: "
                   "correct the connection string");
}

static void wrong_entrypoints_are_refused(void **state) {
    static const struct refusal cases[] = {
        {BASE TRUST "entrypoints: {}\n",
         "settings.yml:4: entrypoints is empty: add `NAME: routed`, or remove it for the default"},
        {BASE TRUST "entrypoints:\n  app: other\n",
         "settings.yml:5: entrypoints.app: unknown database \"other\": write routed or a database "
         "of this file"},
        {BASE TRUST "entrypoints:\n  app:\n",
         "settings.yml:5: entrypoints.app is empty: write a single value"},
        {"databases:\n  main: host=m\n" TABLES TRUST,
         "settings.yml:2: main's connection string has no dbname that could be the routed "
         "entrypoint: add it, or add `entrypoints: {NAME: routed}`"},
    };
    REFUSE_ALL(*state, cases);
}

static void wrong_addresses_are_refused(void **state) {
    static const struct refusal cases[] = {
        {"listen: 127.0.0.1:6432\n" BASE TRUST,
         "settings.yml:1: listen is a single value: write a list, [a, b]"},
        {"listen: []\n" BASE TRUST, "settings.yml:1: listen is empty: add an address, HOST:PORT"},
        {"listen: [\"6432\"]\n" BASE TRUST,
         "settings.yml:1: listen: \"6432\" has no port or no host: write HOST:PORT, [V6]:PORT or "
         "FOLDER:PORT"},
        {"listen: [\":6432\"]\n" BASE TRUST,
         "settings.yml:1: listen: \":6432\" has no port or no host: write HOST:PORT, [V6]:PORT or "
         "FOLDER:PORT"},
        {"listen: [\"h:0\"]\n" BASE TRUST,
         "settings.yml:1: listen: \"0\" is no port: write a number from 1 to 65535"},
        {"listen: [\"h:65536\"]\n" BASE TRUST,
         "settings.yml:1: listen: \"65536\" is no port: write a number from 1 to 65535"},
        {"listen: [\"h:64x\"]\n" BASE TRUST,
         "settings.yml:1: listen: \"64x\" is no port: write a number from 1 to 65535"},
        {"listen: [\"*:6432\"]\n" BASE TRUST,
         "settings.yml:1: listen: \"*\" is no address: write 0.0.0.0:PORT, [::]:PORT or both"},
        {"listen: [\"::1:6432\"]\n" BASE TRUST,
         "settings.yml:1: listen: IPv6 needs brackets: write [::1]:PORT"},
        {"listen: [\"[x]:6432\"]\n" BASE TRUST,
         "settings.yml:1: listen: \"x\" is no IPv6 address: correct it"},
        {"listen: [\"127.0.0.256:6432\"]\n" BASE TRUST,
         "settings.yml:1: listen: \"127.0.0.256\" is no host: write an address or a name"},
        {"listen: [\"./none:6432\"]\n" BASE TRUST,
         "settings.yml:1: listen: there is no folder ./none: create it"},
        {"listen:\n- \"localhost:1\"\n- \"LOCALHOST:1\"\n" BASE TRUST,
         "settings.yml:3: listen: localhost:1 and LOCALHOST:1 can't both be used: change one's "
         "port, or remove it"},
        {"listen:\n- \"127.0.0.1:1\"\n- \"0.0.0.0:1\"\n" BASE TRUST,
         "settings.yml:3: listen: 127.0.0.1:1 and 0.0.0.0:1 can't both be used: change one's port, "
         "or remove it"},
    };
    REFUSE_ALL(*state, cases);
}

static void trust_is_for_this_machine_unless_allowed(void **state) {
    fixture_refuse(*state, "listen: [\"127.0.0.1:1\", \"10.0.0.1:2\"]\n" BASE TRUST,
                   "settings.yml:1: auth.method trust lets everyone in who reaches 10.0.0.1:2: "
                   "choose another method, a loopback address, or set auth.allow_insecure: true");
    fixture_load(*state,
                 "listen: [\"10.0.0.1:2\"]\n" BASE "auth: {method: trust, allow_insecure: true}\n");
    fixture_load(*state, "listen: [\"127.0.0.2:2\", \"[::1]:2\", \"/tmp:5\"]\n" BASE TRUST);
}

static void wrong_authentication_is_refused(void **state) {
    static const struct refusal cases[] = {
        {BASE, "settings.yml:1: auth.method scram-sha-256 (the default) needs a list of users: add "
               "`auth: {users: userlist.txt}`"},
        {BASE "auth:\n  method: md5\n",
         "settings.yml:4: auth.method md5 needs a list of users: add "
         "`auth: {users: userlist.txt}`"},
        {BASE "auth: {method: peer}\n", "settings.yml:3: auth.method is \"peer\": write trust, "
                                        "password, md5, scram-sha-256 or cert"},
        {BASE "auth: {method: cert}\n", "settings.yml:3: auth.method cert needs TLS with client "
                                        "certificates: add tls with cert, key and ca"},
        {BASE "auth: {user: x}\n", "settings.yml:3: unknown key \"user\" in auth: write one of "
                                   "method, users, allow_insecure"},
        {BASE "auth: {users: none.txt}\n",
         "settings.yml:3: auth.users: can't read none.txt: No such file or directory: correct the "
         "path or its permissions"},
        {BASE "auth: {method: trust, allow_insecure: yes}\n",
         "settings.yml:3: auth.allow_insecure is \"yes\": write true or false"},
    };
    REFUSE_ALL(*state, cases);
    fixture_write(*state, "userlist.txt", "\"app\" \"a\"\n\"x\" secret\n");
    fixture_refuse(*state, BASE "auth: {users: userlist.txt}\n",
                   "userlist.txt:2: no secret after the user: write \"user\" \"secret\", both in "
                   "double quotes");
}

static void wrong_tls_is_refused(void **state) {
    static const struct refusal cases[] = {
        {BASE TRUST "tls: {mode: prefer}\n",
         "settings.yml:4: tls.mode prefer needs a certificate: add cert and key"},
        {BASE TRUST "tls: {mode: on}\n", "settings.yml:4: tls.mode is \"on\": write disable, "
                                         "prefer, require, verify-ca or verify-full"},
        {BASE TRUST "tls: {cert: tables.yml}\n",
         "settings.yml:4: tls has a cert without a key: add the other file"},
        {BASE TRUST "tls: {key: tables.yml}\n",
         "settings.yml:4: tls has a key without a cert: add the other file"},
        {BASE TRUST "tls: {mode: verify-ca, cert: tables.yml, key: tables.yml}\n",
         "settings.yml:4: tls.mode verify-ca needs the authority of the clients: add ca"},
        {BASE TRUST "tls: {cert: none.crt, key: tables.yml}\n",
         "settings.yml:4: tls.cert: can't read none.crt: No such file or directory: correct the "
         "path or its permissions"},
        {BASE TRUST "tls: {cert: ., key: tables.yml}\n",
         "settings.yml:4: tls.cert: can't read .: it is a folder: correct the path or its "
         "permissions"},
    };
    REFUSE_ALL(*state, cases);
}

static void a_secret_that_everyone_can_read_is_said(void **state) {
    struct fixture *f = *state;
    char path[256];
    fixture_write(f, "userlist.txt", "\"app\" \"secret\"\n");
    fixture_path(f, "userlist.txt", path, sizeof path);
    assert_int_equal(chmod(path, 0644), 0);
    const struct settings *s = fixture_load(f, BASE "auth: {users: userlist.txt}\n");
    assert_int_equal(s->notice_count, 1);
    assert_non_null(strstr(s->notices[0], "every user of this machine can read the passwords"));
}

static void a_file_that_is_not_there_is_named(void **state) {
    (void)state;
    struct settings *settings;
    struct error error;
    assert_false(settings_load("/nonexistent/p.yml", &settings, &error));
    assert_string_equal(error.text, "/nonexistent/p.yml:1: can't read /nonexistent/p.yml: No such "
                                    "file or directory: name a settings file with --config");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(defaults_are_those_of_the_contract),
        fixture_test(scram_is_the_default_method),
        fixture_test(every_key_is_read),
        fixture_test(tls_is_preferred_where_a_certificate_is_given),
        fixture_test(without_entrypoints_the_dbname_is_routed_and_databases_are_pinned),
        fixture_test(entrypoints_are_routed_or_pinned),
        fixture_test(a_database_can_be_stored_in_another),
        fixture_test(the_same_server_and_dbname_are_found_out),
        fixture_test(variables_come_from_the_environment),
        fixture_test(the_same_databases_are_recognised_after_a_reload),
        fixture_test(a_snapshot_lives_until_its_last_reference),
        fixture_test(wrong_keys_and_types_are_refused),
        fixture_test(depth_and_anchors_are_bounded),
        fixture_test(wrong_databases_are_refused),
        fixture_test(no_error_shows_a_password),
        fixture_test(wrong_entrypoints_are_refused),
        fixture_test(wrong_addresses_are_refused),
        fixture_test(trust_is_for_this_machine_unless_allowed),
        fixture_test(wrong_authentication_is_refused),
        fixture_test(wrong_tls_is_refused),
        fixture_test(a_secret_that_everyone_can_read_is_said),
        fixture_test(a_file_that_is_not_there_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
