#include "commands/check.h"

#include "commands/live.h"
#include "config/allowlist.h"
#include "config/conninfo.h"
#include "config/settings.h"
#include "proxy/allowlist_use.h"
#include "proxy/tls.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static void print_databases(const struct settings *settings) {
    puts("databases:");
    for (size_t i = 0; i < settings->database_count; i++) {
        const struct database *database = &settings->databases[i];
        char text[1024];
        if (database->physical != (int)i)
            snprintf(text, sizeof text, "same as %s", settings->databases[database->physical].name);
        else
            conninfo_redact(database->conninfo, text, sizeof text);
        printf("  %-16s %s\n", database->name, text);
    }
}

/* Which databases hold a schema: their names, or that all do. */
static void print_schema(const struct settings *settings, int schema) {
    const struct classification *c = settings->classification;
    database_set holders = classification_schema_databases(c, schema);
    printf("  %-32s %5zu tables in", classification_schema_name(c, schema),
           classification_schema_table_count(c, schema));
    if (classification_schema_is_neutral(c, schema)) {
        puts(" every database");
        return;
    }
    for (size_t i = 0; i < settings->database_count; i++)
        if (holders >> i & 1)
            printf(" %s", settings->databases[i].name);
    puts("");
}

static void print_classification(const struct settings *settings) {
    const struct classification *c = settings->classification;
    int count = classification_schema_count(c);
    printf("classification: %zu tables in %d schemas, %s\n", classification_table_count(c), count,
           classification_has_permissions(c) ? "with permissions between schemas"
                                             : "without permissions between schemas");
    for (int i = 0; i < count; i++)
        print_schema(settings, i);
}

static void print_entrypoints(const struct settings *settings) {
    puts("entrypoints:");
    for (size_t i = 0; i < settings->entrypoint_count; i++) {
        const struct entrypoint *e = &settings->entrypoints[i];
        bool routed = e->database == ENTRYPOINT_ROUTED;
        printf("  %-16s %s%s\n", e->name, routed ? "routed" : "pinned to ",
               routed ? "" : settings->databases[e->database].name);
    }
}

static void print_rules(const struct settings *settings) {
    puts("rules:");
    for (int rule = 0; rule < RULE_UNROUTABLE; rule++)
        printf("  %-20s %s\n", rule_name((enum rule)rule), rule_mode_name(settings->rules[rule]));
    printf("  %-20s %s\n", "outer_transaction",
           settings->outer_transaction_ignored ? "ignore" : "count");
}

static void print_notice(void *unused, const char *text) {
    (void)unused;
    printf("notice: %s\n", text);
}

static void print_allowlist(const struct settings *settings) {
    if (settings->allowlist != NULL)
        printf("allowlist: %zu entries in %s\n", settings->allowlist->count,
               settings->allowlist->path);
}

static void print_admin(const struct settings *settings) {
    if (settings->admin.database == NULL)
        return;
    printf("console: %s, for", settings->admin.database);
    for (size_t i = 0; i < settings->admin.user_count; i++)
        printf(" %s", settings->admin.users[i]);
    puts("");
}

static void print_summary(const struct settings *settings) {
    printf("configuration: %s\n", settings->path);
    fputs("listen:", stdout);
    for (size_t i = 0; i < settings->listen_count; i++)
        printf(" %s", settings->listen[i].text);
    printf("\nauth: %s, %zu users\ntls: %s\n", auth_method_name(settings->auth.method),
           settings->auth.user_count, tls_mode_name(settings->tls.mode));
    print_databases(settings);
    print_classification(settings);
    print_entrypoints(settings);
    print_admin(settings);
    print_rules(settings);
    print_allowlist(settings);
    for (size_t i = 0; i < settings->notice_count; i++)
        print_notice(NULL, settings->notices[i]);
    allowlist_tell_unused(settings, SIZE_MAX, print_notice, NULL);
}

/* What is in the files is fine; is what is in the databases? */
static int check_databases(const struct settings *settings, const struct check_options *options) {
    if (!options->json)
        print_summary(settings);
    if (options->live)
        return live_audit(settings, options->json);
    puts("fine");
    return 0;
}

int check_command(const struct check_options *options) {
    struct error error;
    struct settings *settings;
    SSL_CTX *tls = NULL;
    if (!settings_load(options->config, &settings, &error)) {
        fprintf(stderr, "%s\n", error.text);
        return 2;
    }
    int status = 2;
    if (settings_check_violations(settings, &error) && tls_context_new(settings, &tls, &error))
        status = check_databases(settings, options);
    else
        fprintf(stderr, "%s\n", error.text);
    SSL_CTX_free(tls);
    settings_unref(settings);
    return status;
}
