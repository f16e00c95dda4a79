/* The words of the settings file for what it chooses among. */
#include "config/settings.h"

#include <assert.h>

static const struct {
    const char *name, *sqlstate;
} rules[RULE_COUNT] = {
    [RULE_UNCLASSIFIED] = {"unclassified", "XD005"},
    [RULE_UNPARSED] = {"unparsed", "XD006"},
    [RULE_CROSS_FOREIGN_KEY] = {"cross_foreign_key", "XD003"},
    [RULE_CROSS_JOIN] = {"cross_join", "XD001"},
    [RULE_WRITE_LOCK] = {"write_lock", "2F002"},
    [RULE_WRONG_DATABASE] = {"wrong_database", "XD004"},
    [RULE_CROSS_TRANSACTION] = {"cross_transaction", "XD002"},
    [RULE_UNROUTABLE] = {"unroutable", "XD007"},
    [RULE_ALLOWED_SCHEMAS] = {"allowed_gitlab_schemas", "XD008"},
};

const char *rule_name(enum rule rule) {
    assert(rule < RULE_COUNT);
    return rules[rule].name;
}

const char *rule_sqlstate(enum rule rule) {
    assert(rule < RULE_COUNT);
    return rules[rule].sqlstate;
}

const char *rule_mode_name(enum rule_mode mode) {
    static const char *const names[] = {
        [RULE_ENFORCE] = "enforce", [RULE_REPORT] = "report", [RULE_OFF] = "off"};
    return names[mode];
}

const char *auth_method_name(enum auth_method method) {
    static const char *const names[] = {[AUTH_TRUST] = "trust",
                                        [AUTH_PASSWORD] = "password",
                                        [AUTH_MD5] = "md5",
                                        [AUTH_SCRAM_SHA_256] = "scram-sha-256",
                                        [AUTH_CERT] = "cert"};
    return names[method];
}

const char *tls_mode_name(enum tls_mode mode) {
    static const char *const names[] = {[TLS_DISABLE] = "disable",
                                        [TLS_PREFER] = "prefer",
                                        [TLS_REQUIRE] = "require",
                                        [TLS_VERIFY_CA] = "verify-ca",
                                        [TLS_VERIFY_FULL] = "verify-full"};
    return names[mode];
}

const char *pool_mode_name(enum pool_mode mode) {
    static const char *const names[] = {
        [POOL_OFF] = "off", [POOL_SESSION] = "session", [POOL_TRANSACTION] = "transaction"};
    return names[mode];
}

const char *log_level_name(enum log_level level) {
    static const char *const names[] = {[LOG_DEBUG] = "debug",
                                        [LOG_INFO] = "info",
                                        [LOG_WARNING] = "warning",
                                        [LOG_ERROR] = "error"};
    return names[level];
}

const char *log_format_name(enum log_format format) {
    static const char *const names[] = {[LOG_TEXT] = "text", [LOG_JSON] = "json"};
    return names[format];
}
