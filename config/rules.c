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
