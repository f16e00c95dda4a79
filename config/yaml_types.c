/* What a node of a tree must be, and the errors where it isn't. */
#include "config/yaml.h"

#include "config/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct tree_node *tree_find(const struct tree_node *map, const char *key) {
    if (map->kind != TREE_MAP)
        return NULL;
    for (size_t i = 0; i < map->count; i++) {
        if (strcmp(map->keys[i]->text, key) == 0)
            return map->values[i];
    }
    return NULL;
}

bool tree_error(const struct tree_node *node, struct error *error, const char *format, ...) {
    char message[ERROR_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return error_set(error, "%s:%d: %s", node->path, node->line, message);
}

static const char *kind_name(enum tree_kind kind) {
    static const char *const names[] = {"empty", "a single value", "a list", "a map"};
    return names[kind];
}

bool tree_expect(const struct tree_node *node, const char *what, enum tree_kind kind,
                 struct error *error) {
    static const char *const forms[] = {"nothing", "a single value", "a list, [a, b]",
                                        "a map, {key: value}"};
    if (node->kind == kind)
        return true;
    return tree_error(node, error, "%s is %s: write %s", what, kind_name(node->kind), forms[kind]);
}

bool tree_text(const struct tree_node *node, const char *what, const char **out,
               struct error *error) {
    if (!tree_expect(node, what, TREE_SCALAR, error))
        return false;
    if (node->text[0] == '\0')
        return tree_error(node, error, "%s is empty: give a value", what);
    *out = node->text;
    return true;
}

bool tree_bool(const struct tree_node *node, const char *what, bool *out, struct error *error) {
    if (!tree_expect(node, what, TREE_SCALAR, error))
        return false;
    *out = strcmp(node->text, "true") == 0;
    if (!node->plain || (!*out && strcmp(node->text, "false") != 0))
        return tree_error(node, error, "%s is \"%s\": write true or false", what, node->text);
    return true;
}

bool tree_unsigned(const struct tree_node *node, const char *what, unsigned least, unsigned most,
                   unsigned *out, struct error *error) {
    if (!tree_expect(node, what, TREE_SCALAR, error))
        return false;
    size_t digits = strspn(node->text, "0123456789");
    unsigned long value = strtoul(node->text, NULL, 10);
    if (!node->plain || digits == 0 || digits > 9 || node->text[digits] != '\0' || value < least ||
        value > most)
        return tree_error(node, error, "%s is \"%s\": write a whole number from %u to %u", what,
                          node->text, least, most);
    *out = (unsigned)value;
    return true;
}

bool tree_choice(const struct tree_node *node, const char *what, const char *const *names,
                 size_t count, unsigned *out, struct error *error) {
    if (!tree_expect(node, what, TREE_SCALAR, error))
        return false;
    char list[256] = "";
    for (size_t i = 0; i < count; i++) {
        if (strcmp(node->text, names[i]) == 0) {
            *out = (unsigned)i;
            return true;
        }
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s",
                 i == 0           ? ""
                 : i + 1 == count ? " or "
                                  : ", ",
                 names[i]);
    }
    return tree_error(node, error, "%s is \"%s\": write %s", what, node->text, list);
}
