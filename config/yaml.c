#include "config/yaml.h"

#include "config/alloc.h"
#include "config/file.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum {
    DEPTH_MAX = 32,    /* of nested lists and maps: more than any file of ours has */
    ANCHORS_MAX = 256, /* in one file */
    MERGED_MAX = 5000, /* keys that `<<` copies in one file: nested merges double each time */
};

struct tree {
    char *path;
    struct tree_node *nodes; /* parallel to the document's */
    size_t count;
    struct tree_node *root;
};

struct conversion {
    struct tree *tree;
    yaml_document_t *document;
    enum { NEW, OPEN, DONE } * states; /* of each node */
    unsigned options;
    size_t merged;
};

/* What a first pass over a text counts. */
struct shape {
    size_t documents, anchors;
    int depth;
};

static bool convert(struct conversion *c, int id, struct tree_node **out, struct error *error);

static bool is_null_text(const char *text) {
    return text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0 ||
           strcmp(text, "Null") == 0 || strcmp(text, "NULL") == 0;
}

static size_t variable_name_length(const char *text) {
    size_t length = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
    return length > 0 && (text[0] < '0' || text[0] > '9') ? length : 0;
}

/* Appends what the reference at `*at` (just after its "${") stands for and moves `*at` behind its
 * "}". */
static bool substitute_one(const struct tree_node *node, const char **at, FILE *out,
                           struct error *error) {
    const char *name = *at, *end = strchr(name, '}');
    size_t length = variable_name_length(name);
    const char *rest = name + length;
    bool has_default = length > 0 && strncmp(rest, ":-", 2) == 0;
    if (end == NULL || length == 0 || (rest != end && !has_default))
        return tree_error(node, error,
                          "\"${\" doesn't begin a variable: write ${NAME} or ${NAME:-default}");
    char *key = alloc_copy(name, length);
    const char *value = getenv(key);
    bool found = true;
    if (has_default && (value == NULL || value[0] == '\0'))
        fwrite(rest + 2, 1, (size_t)(end - rest - 2), out);
    else if (value != NULL)
        fputs(value, out);
    else
        found = tree_error(
            node, error, "the environment variable %s is not set: set it, or write ${%s:-default}",
            key, key);
    free(key);
    *at = end + 1;
    return found;
}

static bool substitute(struct tree_node *node, struct error *error) {
    if (strstr(node->text, "${") == NULL)
        return true;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert(out != NULL);
    bool ok = true;
    const char *at = node->text, *next;
    while (ok && (next = strstr(at, "${")) != NULL) {
        fwrite(at, 1, (size_t)(next - at), out);
        at = next + 2;
        ok = substitute_one(node, &at, out, error);
    }
    fputs(ok ? at : "", out);
    fclose(out);
    free(node->text);
    node->text = text;
    return ok;
}

static bool convert_scalar(struct conversion *c, const yaml_node_t *from, struct tree_node *node,
                           struct error *error) {
    const char *value = (const char *)from->data.scalar.value;
    size_t length = from->data.scalar.length;
    node->kind = TREE_SCALAR;
    node->text = alloc_copy(value, length);
    node->plain = from->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (strlen(node->text) != length)
        return tree_error(node, error, "this text holds a NUL: remove it");
    if (node->plain && is_null_text(node->text)) {
        node->kind = TREE_NULL;
        node->text[0] = '\0';
    }
    return (c->options & TREE_ENVIRONMENT) == 0 || substitute(node, error);
}

static bool convert_list(struct conversion *c, const yaml_node_t *from, struct tree_node *node,
                         struct error *error) {
    size_t count = (size_t)(from->data.sequence.items.top - from->data.sequence.items.start);
    node->kind = TREE_LIST;
    node->values = alloc_zeroed(count, sizeof(struct tree_node *));
    for (; node->count < count; node->count++) {
        if (!convert(c, from->data.sequence.items.start[node->count], &node->values[node->count],
                     error))
            return false;
    }
    return true;
}

static bool is_merge(const struct tree_node *key) {
    return key->plain && strcmp(key->text, "<<") == 0;
}

static int compare_keys(const void *a, const void *b) {
    const struct tree_node *left = *(const struct tree_node *const *)a;
    const struct tree_node *right = *(const struct tree_node *const *)b;
    int order = strcmp(left->text, right->text);
    return order != 0 ? order : (left->line > right->line) - (left->line < right->line);
}

static bool check_duplicates(const struct tree_node *map, struct error *error) {
    struct tree_node **sorted = alloc_zeroed(map->count, sizeof *sorted);
    if (map->count > 0)
        memcpy(sorted, map->keys, map->count * sizeof *sorted);
    qsort(sorted, map->count, sizeof *sorted, compare_keys);
    bool ok = true;
    for (size_t i = 1; ok && i < map->count; i++) {
        if (strcmp(sorted[i - 1]->text, sorted[i]->text) == 0 && !is_merge(sorted[i]))
            ok = tree_error(sorted[i], error,
                            "\"%s\" is given twice, first in line %d: remove one of them",
                            sorted[i]->text, sorted[i - 1]->line);
    }
    free(sorted);
    return ok;
}

static void append_pair(struct tree_node *map, struct tree_node *key, struct tree_node *value) {
    map->keys = alloc_grow(map->keys, map->count, sizeof *map->keys);
    map->values = alloc_grow(map->values, map->count, sizeof *map->values);
    map->keys[map->count] = key;
    map->values[map->count++] = value;
}

/* Adds the pairs of `source` that neither the file's own map `own` nor an earlier merge has. */
static bool merge_map(struct conversion *c, const struct tree_node *own, struct tree_node *into,
                      const struct tree_node *source, struct error *error) {
    if (source->kind != TREE_MAP)
        return tree_error(source, error,
                          "\"<<\" takes a map or a list of maps: name an anchor of a map");
    for (size_t i = 0; i < source->count; i++) {
        if (++c->merged > MERGED_MAX)
            return tree_error(source, error, "\"<<\" copies more than %d keys: write them out",
                              MERGED_MAX);
        const char *key = source->keys[i]->text;
        if (tree_find(own, key) == NULL && tree_find(into, key) == NULL)
            append_pair(into, source->keys[i], source->values[i]);
    }
    return true;
}

static bool resolve_merges(struct conversion *c, struct tree_node *node, struct error *error) {
    struct tree_node own = *node;
    node->keys = node->values = NULL;
    node->count = 0;
    /* Each copied key is looked for among these. */
    bool ok = own.count <= MERGED_MAX ||
              tree_error(node, error, "a map with \"<<\" has more than %d keys: write them out",
                         MERGED_MAX);
    for (size_t i = 0; ok && i < own.count; i++) {
        struct tree_node *value = own.values[i];
        if (!is_merge(own.keys[i]))
            append_pair(node, own.keys[i], value);
        else if (value->kind != TREE_LIST)
            ok = merge_map(c, &own, node, value, error);
        else
            for (size_t n = 0; ok && n < value->count; n++)
                ok = merge_map(c, &own, node, value->values[n], error);
    }
    free(own.keys);
    free(own.values);
    return ok;
}

static bool convert_map(struct conversion *c, const yaml_node_t *from, struct tree_node *node,
                        struct error *error) {
    bool merges = false;
    node->kind = TREE_MAP;
    for (const yaml_node_pair_t *pair = from->data.mapping.pairs.start;
         pair < from->data.mapping.pairs.top; pair++) {
        struct tree_node *key, *value;
        if (!convert(c, pair->key, &key, error) || !convert(c, pair->value, &value, error))
            return false;
        if (key->kind != TREE_SCALAR)
            return tree_error(key, error, "a key must be a name: write `name: value`");
        merges = merges || is_merge(key);
        append_pair(node, key, value);
    }
    return check_duplicates(node, error) && (!merges || resolve_merges(c, node, error));
}

/* Recursive: check_shape() has bounded the depth, and a shared node is converted once. */
static bool convert(struct conversion *c, int id, struct tree_node **out, struct error *error) {
    const yaml_node_t *from = yaml_document_get_node(c->document, id);
    struct tree_node *node = &c->tree->nodes[id - 1];
    *out = node;
    if (c->states[id - 1] == DONE)
        return true;
    if (c->states[id - 1] == OPEN)
        return tree_error(node, error, "this anchor contains itself: remove the alias inside it");
    c->states[id - 1] = OPEN;
    node->path = c->tree->path;
    node->line = (int)from->start_mark.line + 1;
    const char *tag = (const char *)from->tag;
    if (tag != NULL && strcmp(tag, "!") != 0 && strncmp(tag, "tag:yaml.org,2002:", 18) != 0)
        return tree_error(node, error, "the tag %s isn't understood: remove it", tag);
    bool ok = from->type == YAML_SCALAR_NODE     ? convert_scalar(c, from, node, error)
              : from->type == YAML_SEQUENCE_NODE ? convert_list(c, from, node, error)
                                                 : convert_map(c, from, node, error);
    c->states[id - 1] = DONE;
    return ok;
}

static bool convert_document(struct tree *tree, yaml_document_t *document, unsigned options,
                             struct error *error) {
    tree->count = (size_t)(document->nodes.top - document->nodes.start);
    /* One more than the document has: the root of an empty file. */
    tree->nodes = alloc_zeroed(tree->count + 1, sizeof *tree->nodes);
    if (tree->count == 0) {
        tree->root = tree->nodes;
        *tree->root = (struct tree_node){.line = 1, .path = tree->path, .text = alloc_text("")};
        tree->count = 1;
        return true;
    }
    struct conversion c = {.tree = tree, .document = document, .options = options};
    c.states = alloc_zeroed(tree->count, sizeof *c.states);
    bool ok = convert(&c, 1, &tree->root, error);
    free(c.states);
    return ok;
}

static bool parser_error(const yaml_parser_t *parser, const char *path, const char *data,
                         size_t length, struct error *error) {
    size_t line = parser->problem_mark.line + 1;
    if (parser->error == YAML_READER_ERROR) {
        line = 1;
        for (size_t i = 0; i < parser->problem_offset && i < length; i++)
            line += data[i] == '\n';
    }
    return error_set(error, "%s:%zu: not valid YAML, %s: correct the syntax", path, line,
                     parser->problem != NULL ? parser->problem : "out of memory");
}

/* One event of the first pass; false with the error set. */
static bool check_event(const yaml_event_t *event, struct shape *shape, const char *path,
                        struct error *error) {
    const yaml_char_t *anchor = NULL;
    size_t line = event->start_mark.line + 1;
    if (event->type == YAML_DOCUMENT_START_EVENT && ++shape->documents > 1)
        return error_set(error, "%s:%zu: a second YAML document begins: keep one in a file", path,
                         line);
    if (event->type == YAML_SCALAR_EVENT)
        anchor = event->data.scalar.anchor;
    if (event->type == YAML_SEQUENCE_START_EVENT)
        anchor = event->data.sequence_start.anchor;
    if (event->type == YAML_MAPPING_START_EVENT)
        anchor = event->data.mapping_start.anchor;
    if (anchor != NULL && ++shape->anchors > ANCHORS_MAX)
        return error_set(error, "%s:%zu: more than %d anchors: write some of them out", path, line,
                         ANCHORS_MAX);
    if (event->type == YAML_SEQUENCE_START_EVENT || event->type == YAML_MAPPING_START_EVENT)
        shape->depth++;
    if (event->type == YAML_SEQUENCE_END_EVENT || event->type == YAML_MAPPING_END_EVENT)
        shape->depth--;
    return shape->depth <= DEPTH_MAX ||
           error_set(error, "%s:%zu: nested deeper than %d levels: flatten it", path, line,
                     DEPTH_MAX);
}

/* A first pass, because libyaml's time is quadratic in depth and in the number of anchors. */
static bool check_shape(const char *path, const char *data, size_t length, struct error *error) {
    yaml_parser_t parser;
    yaml_event_t event;
    struct shape shape = {0};
    if (yaml_parser_initialize(&parser) == 0)
        return error_set(error, "%s:1: out of memory", path);
    yaml_parser_set_input_string(&parser, (const unsigned char *)data, length);
    bool ok = true, more = true;
    while (ok && more) {
        if (yaml_parser_parse(&parser, &event) == 0) {
            ok = parser_error(&parser, path, data, length, error);
            break;
        }
        ok = check_event(&event, &shape, path, error);
        more = event.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return ok;
}

static bool parse(struct tree *tree, const char *data, size_t length, unsigned options,
                  struct error *error) {
    yaml_parser_t parser;
    yaml_document_t document;
    if (!check_shape(tree->path, data, length, error))
        return false;
    if (yaml_parser_initialize(&parser) == 0)
        return error_set(error, "%s:1: out of memory", tree->path);
    yaml_parser_set_input_string(&parser, (const unsigned char *)data, length);
    bool ok = yaml_parser_load(&parser, &document) != 0;
    if (ok) {
        ok = convert_document(tree, &document, options, error);
        yaml_document_delete(&document);
    } else {
        parser_error(&parser, tree->path, data, length, error);
    }
    yaml_parser_delete(&parser);
    return ok;
}

/* ERB runs before YAML is read, so its lines are looked for in the text; comment lines are let
 * pass. */
static bool check_erb(const char *path, const char *data, size_t length, struct error *error) {
    size_t line = 1;
    const char *end = data + length;
    for (const char *at = data; at < end; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop == NULL ? end : stop;
        const char *first = at;
        while (first < stop && (*first == ' ' || *first == '\t'))
            first++;
        if (first < stop && *first != '#' && memmem(first, (size_t)(stop - first), "<%", 2) != NULL)
            return error_set(error,
                             "%s:%zu: ERB (<%% … %%>) can't be evaluated here: render the file "
                             "first, and name the rendered one",
                             path, line);
        at = stop + 1;
    }
    return true;
}

bool tree_load_buffer(const char *path, const char *data, size_t length, unsigned options,
                      struct tree **out, struct error *error) {
    if ((options & TREE_NO_ERB) != 0 && !check_erb(path, data, length, error))
        return false;
    struct tree *tree = alloc_zeroed(1, sizeof *tree);
    tree->path = alloc_text(path);
    if (!parse(tree, data, length, options, error)) {
        tree_free(tree);
        return false;
    }
    *out = tree;
    return true;
}

bool tree_load_file(const char *path, unsigned options, struct tree **out, struct error *error) {
    char *data;
    size_t length;
    if (!file_read(path, &data, &length, error))
        return false;
    bool ok = tree_load_buffer(path, data, length, options, out, error);
    free(data);
    return ok;
}

void tree_free(struct tree *tree) {
    if (tree == NULL)
        return;
    for (size_t i = 0; i < tree->count; i++) {
        free(tree->nodes[i].text);
        free(tree->nodes[i].keys);
        free(tree->nodes[i].values);
    }
    free(tree->nodes);
    free(tree->path);
    free(tree);
}

const struct tree_node *tree_root(const struct tree *tree) {
    return tree->root;
}
