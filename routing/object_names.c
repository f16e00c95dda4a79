#include "routing/object_names.h"

#include "config/alloc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define uthash_fatal(message) abort()
#include <uthash.h>

enum {
    FOUND_LASTS =
        60 * 1000,        /* structure changes seldom, and past this worker not at once noticed */
    UNSURE_LASTS = 1000,  /* not found, not everybody asked, or for one session only */
    NAME_MAX_BYTES = 255, /* PostgreSQL's own are 63 */
    KEY_MAX = 2 * NAME_MAX_BYTES + 3,
};

struct object_entry {
    UT_hash_handle hh; /* the list that uthash keeps is in the order of use, oldest first */
    struct object_table table;
    database_set asked;
    uint64_t only_for; /* asker, or 0: everybody */
    uint64_t until;
    size_t key_length;
    char key[];
};

struct object_names {
    const struct settings *settings;
    struct object_entry *entries;
    size_t limit;
    uint64_t askers;
    uint64_t seed; /* secret: clients choose the names, for each other */
};

struct object_names *object_names_new(const struct settings *settings, size_t limit) {
    struct object_names *map = alloc_new(sizeof *map);
    map->settings = settings;
    map->limit = limit;
    ssize_t got = getrandom(&map->seed, sizeof map->seed, 0);
    assert(got == (ssize_t)sizeof map->seed);
    return map;
}

static void entry_remove(struct object_names *map, struct object_entry *entry) {
    HASH_DEL(map->entries, entry);
    free((char *)(uintptr_t)entry->table.table_schema);
    free((char *)(uintptr_t)entry->table.table);
    free(entry);
}

void object_names_forget(struct object_names *map) {
    struct object_entry *entry, *next;
    HASH_ITER(hh, map->entries, entry, next) {
        entry_remove(map, entry);
    }
}

void object_names_free(struct object_names *map) {
    if (map != NULL) {
        object_names_forget(map);
        free(map);
    }
}

size_t object_names_count(const struct object_names *map) {
    return HASH_COUNT(map->entries);
}

uint64_t object_names_new_asker(struct object_names *map) {
    return ++map->askers;
}

/* Kind, schema, NUL, name: no name has a NUL. */
static size_t make_key(const struct object_name *name, char key[KEY_MAX]) {
    size_t schema = name->schema != NULL ? strlen(name->schema) : 0;
    size_t length = strlen(name->name);
    key[0] = (char)('0' + (int)name->kind * 2 + (name->schema != NULL));
    if (schema > 0) {
        memcpy(key + 1, name->schema, schema);
    }
    key[1 + schema] = '\0';
    memcpy(key + 2 + schema, name->name, length);
    return 2 + schema + length;
}

static unsigned hash_key(const struct object_names *map, const char *key, size_t length) {
    return (unsigned)XXH3_64bits_withSeed(key, length, map->seed);
}

static struct object_entry *find_key(const struct object_names *map, const char *key,
                                     size_t length) {
    struct object_entry *found = NULL;
    unsigned hash = hash_key(map, key, length);
    HASH_FIND_BYHASHVALUE(hh, map->entries, key, length, hash, found);
    return found;
}

static void entry_add_newest(struct object_names *map, struct object_entry *entry) {
    unsigned hash = hash_key(map, entry->key, entry->key_length);
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, map->entries, entry->key, entry->key_length, hash, entry);
}

static struct object_entry *find_entry(const struct object_names *map,
                                       const struct object_name *name, uint64_t asker) {
    char key[KEY_MAX];
    size_t length = make_key(name, key);
    struct object_entry *found = find_key(map, key, length);
    bool others = found != NULL && found->only_for != 0 && found->only_for != asker;
    return others ? NULL : found;
}

bool object_names_knows(struct object_names *map, const struct object_name *name, uint64_t asker,
                        database_set databases, uint64_t now) {
    struct object_entry *entry = find_entry(map, name, asker);
    if (entry == NULL || entry->until <= now || (databases & ~entry->asked) != 0) {
        return false;
    }
    HASH_DEL(map->entries, entry);
    entry_add_newest(map, entry);
    return true;
}

const struct object_table *object_names_find(const struct object_names *map,
                                             const struct object_name *name, uint64_t asker) {
    const struct object_entry *entry = find_entry(map, name, asker);
    return entry != NULL ? &entry->table : NULL;
}

void object_names_make_room(struct object_names *map, size_t count) {
    size_t keep = count < map->limit ? map->limit - count : 0;
    while (HASH_COUNT(map->entries) > keep) {
        entry_remove(map, map->entries);
    }
}

/* -- which of several answers --------------------------------------------------------------------
 */

struct choice {
    const struct object_answer *answer; /* NULL: none */
    int schema;                         /* of its table; -1: unclassified */
    bool by_path;                       /* search_path decided it, or is why it can't be told */
};

static int answer_schema(const struct object_names *map, const struct object_answer *answer) {
    return classification_lookup(map->settings->classification, answer->schema, answer->table);
}

static bool is_at_home(const struct object_names *map, const struct object_answer *answer) {
    int schema = answer_schema(map, answer);
    if (schema < 0) {
        return false;
    }
    const struct classification *c = map->settings->classification;
    database_set home = classification_schema_databases(c, schema);
    return (settings_physical_databases(map->settings, home) >> answer->database & 1) != 0;
}

/* How much an answer says for itself: an index or sequence before a mere table of the name, and a
 * table where it is at home before its empty likeness elsewhere. */
static int answer_rank(const struct object_names *map, const struct object_answer *answer) {
    if (answer->table == NULL) {
        return 0;
    }
    return (answer->belongs ? 4 : 1) + (is_at_home(map, answer) ? 2 : 0);
}

/* The answer of that rank if all of them (or all visible ones) are of one gitlab_schema. */
static bool choose_among(const struct object_names *map, const struct object_answer *answers,
                         size_t count, int rank, bool visible_only, struct choice *choice) {
    choice->answer = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct object_answer *answer = &answers[i];
        if (answer_rank(map, answer) != rank || (visible_only && !answer->visible)) {
            continue;
        }
        int schema = answer_schema(map, answer);
        if (choice->answer != NULL && choice->schema != schema) {
            choice->answer = NULL;
            return false;
        }
        choice->answer = choice->answer != NULL ? choice->answer : answer;
        choice->schema = schema;
    }
    return choice->answer != NULL;
}

static struct choice choose(const struct object_names *map, const struct object_answer *answers,
                            size_t count) {
    struct choice choice = {.schema = -1};
    int best = 0;
    for (size_t i = 0; i < count; i++) {
        int rank = answer_rank(map, &answers[i]);
        best = rank > best ? rank : best;
    }
    if (best > 0 && !choose_among(map, answers, count, best, false, &choice)) {
        choice.by_path = true;
        (void)choose_among(map, answers, count, best, true, &choice);
    }
    return choice;
}

static const struct object_answer *find_temporary(const struct object_answer *answers,
                                                  size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (answers[i].temporary) {
            return &answers[i];
        }
    }
    return NULL;
}

/* True: what was found out is for the asker only. */
static bool conclude(const struct object_names *map, const struct object_answer *answers,
                     size_t count, struct object_table *out) {
    *out = (struct object_table){.role = ROLE_IGNORED, .schema = -1, .belongs = true};
    const struct object_answer *temporary = find_temporary(answers, count);
    if (temporary != NULL) { /* PostgreSQL looks there first */
        out->role = ROLE_TEMPORARY;
        out->databases = (database_set)1 << temporary->database;
        out->table_schema = alloc_text(temporary->schema);
        out->table = alloc_text(temporary->table);
        return true;
    }
    struct choice choice = choose(map, answers, count);
    if (choice.answer == NULL) {
        return choice.by_path;
    }
    out->belongs = choice.answer->belongs;
    out->schema = choice.schema;
    out->role = choice.schema >= 0 ? ROLE_COUNTS : ROLE_UNKNOWN;
    out->table_schema = alloc_text(choice.answer->schema);
    out->table = alloc_text(choice.answer->table);
    if (choice.schema >= 0) {
        out->databases =
            classification_schema_databases(map->settings->classification, choice.schema);
    }
    return choice.by_path;
}

void object_names_put(struct object_names *map, const struct object_name *name,
                      const struct object_answer *answers, size_t count,
                      const struct object_inquiry *inquiry) {
    char key[KEY_MAX];
    size_t length = make_key(name, key);
    struct object_entry *entry = find_key(map, key, length);
    if (entry != NULL) {
        entry_remove(map, entry);
    }
    entry = alloc_new(sizeof *entry + length);
    memcpy(entry->key, key, length);
    entry->key_length = length;
    bool own = conclude(map, answers, count, &entry->table) || inquiry->uncommitted;
    bool sure = !own && count > 0 && (inquiry->asked & ~inquiry->answered) == 0;
    entry->only_for = own ? inquiry->asker : 0;
    entry->asked = inquiry->asked;
    entry->until = inquiry->now + (sure ? FOUND_LASTS : UNSURE_LASTS);
    entry_add_newest(map, entry);
}

/* -- which names
 * ------------------------------------------------------------------------------------ */

/* Of what was classified by its name, nothing is asked; nor of what the statement makes, nor of
 * what is no object of a table. */
static bool is_asked_for(const struct statement *statement, const struct routed_table *table) {
    unsigned flags = table->facts->flags;
    enum statement_kind kind = statement->facts->kind;
    unsigned never = TABLE_CREATED | TABLE_TEMPORARY | TABLE_TYPE;
    if ((flags & never) != 0 || kind == KIND_UNPARSED ||
        ((flags & TABLE_IN_BODY) != 0 && kind != KIND_DO)) {
        return false;
    }
    if (table->role == ROLE_UNKNOWN) { /* SELECT FROM a sequence, ALTER TABLE of an index */
        return table->facts->access == ACCESS_READ || table->facts->access == ACCESS_DDL;
    }
    if ((flags & TABLE_OTHER_OBJECT) != 0) {
        return (flags & (TABLE_INDEX | TABLE_STATISTICS | TABLE_CONSTRAINT)) != 0;
    }
    return table->role == ROLE_IGNORED && (flags & (TABLE_SEQUENCE | TABLE_NAMED_IN_STRING)) != 0;
}

bool statement_object_name(const struct statement *statement, size_t index,
                           struct object_name *out) {
    const struct routed_table *table = &statement->tables[index];
    const struct table_facts *facts = table->facts;
    if (!is_asked_for(statement, table) || strncmp(facts->name, "pg_", 3) == 0 ||
        strlen(facts->name) > NAME_MAX_BYTES ||
        (facts->schema != NULL && strlen(facts->schema) > NAME_MAX_BYTES)) {
        return false;
    }
    out->kind = (facts->flags & TABLE_STATISTICS) != 0   ? OBJECT_NAME_STATISTICS
                : (facts->flags & TABLE_CONSTRAINT) != 0 ? OBJECT_NAME_CONSTRAINT
                                                         : OBJECT_NAME_RELATION;
    out->schema = facts->schema;
    out->name = facts->name;
    return true;
}
