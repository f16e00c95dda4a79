#include "proxy/server_statements.h"

#include "config/alloc.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>
#define HASH_FUNCTION(key, length, hash) (hash) = (unsigned)XXH3_64bits(key, length)
#include <uthash.h>

/* -- what clients share ------------------------------------------------------------------------ */

struct shared_statements {
    struct shared_statement *table;
    uint64_t last_id;
};

struct shared_statement {
    struct shared_statements *all;
    unsigned references;
    bool listed;
    bool retired;
    uint64_t result;
    uint64_t structure;
    uint64_t id;
    char name[SERVER_STATEMENT_NAME]; /* by it */
    UT_hash_handle hh;
    size_t length;
    uint8_t key[]; /* the types, then the text */
};

struct shared_statements *shared_statements_new(void) {
    return alloc_new(sizeof(struct shared_statements));
}

void shared_statements_free(struct shared_statements *all) {
    assert(all->table == NULL);
    free(all);
}

static void name_of(uint64_t id, char name[SERVER_STATEMENT_NAME]) {
    snprintf(name, SERVER_STATEMENT_NAME, "pginterlock_%" PRIu64, id);
}

static void unlist(struct shared_statement *statement) {
    if (statement->listed)
        HASH_DEL(statement->all->table, statement);
    statement->listed = false;
}

struct shared_statement *shared_statement_get(struct shared_statements *all, const char *meaning,
                                              const char *text, size_t text_length,
                                              const uint8_t *types, size_t types_length,
                                              uint64_t structure) {
    /* The meaning ends with its NUL and the count of types stands in front of them, so that no part
     * can be taken for another. */
    uint32_t count = (uint32_t)(types_length / 4);
    size_t meaning_length = strlen(meaning) + 1;
    size_t length = meaning_length + sizeof count + types_length + text_length;
    struct shared_statement *made = alloc_new(sizeof *made + length), *found;
    uint8_t *at = made->key;
    memcpy(at, meaning, meaning_length);
    at += meaning_length;
    memcpy(at, &count, sizeof count);
    at += sizeof count;
    if (types_length > 0)
        memcpy(at, types, types_length);
    memcpy(at + types_length, text, text_length);
    HASH_FIND(hh, all->table, made->key, length, found);
    if (found != NULL && found->structure == structure) {
        free(made);
        return shared_statement_ref(found);
    }
    if (found != NULL)
        unlist(found);
    made->all = all;
    made->references = 1;
    made->listed = true;
    made->structure = structure;
    made->id = ++all->last_id;
    name_of(made->id, made->name);
    made->length = length;
    HASH_ADD_KEYPTR(hh, all->table, made->key, length, made);
    return made;
}

bool shared_statement_means(const struct shared_statement *statement, const char *meaning) {
    return strcmp((const char *)statement->key, meaning) == 0;
}

struct shared_statement *shared_statement_ref(struct shared_statement *statement) {
    statement->references++;
    return statement;
}

void shared_statement_unref(struct shared_statement *statement) {
    if (statement == NULL || --statement->references > 0)
        return;
    unlist(statement);
    free(statement);
}

void shared_statement_retire(struct shared_statement *statement) {
    unlist(statement);
    statement->retired = true;
}

bool shared_statement_is_retired(const struct shared_statement *statement) {
    return statement->retired;
}

uint64_t shared_statement_result(const struct shared_statement *statement) {
    return statement->result;
}

void shared_statement_set_result(struct shared_statement *statement, uint64_t sum) {
    assert(statement->result == 0);
    statement->result = sum;
}

const char *shared_statement_name(const struct shared_statement *statement) {
    return statement->name;
}

/* -- what one connection knows ----------------------------------------------------------------- */

/* uthash keeps its elements in the order of their insertion: taken out and put in again with each
 * use, the first is the one used longest ago. */
struct known_statement {
    uint64_t id;
    UT_hash_handle hh;
};

struct server_statements {
    struct known_statement *table;
};

static struct known_statement *find(struct server_statements *known,
                                    const struct shared_statement *statement) {
    struct known_statement *found = NULL;
    if (known != NULL)
        HASH_FIND(hh, known->table, &statement->id, sizeof statement->id, found);
    return found;
}

bool server_statements_use(struct server_statements *known,
                           const struct shared_statement *statement) {
    struct known_statement *found = find(known, statement);
    if (found == NULL)
        return false;
    if (found->hh.next != NULL) {
        HASH_DEL(known->table, found);
        HASH_ADD(hh, known->table, id, sizeof found->id, found);
    }
    return true;
}

static void enter(struct server_statements *known, struct known_statement *entry, uint64_t id) {
    entry->id = id;
    HASH_ADD(hh, known->table, id, sizeof entry->id, entry);
}

uint64_t server_statements_add(struct server_statements **known,
                               const struct shared_statement *statement, size_t limit,
                               char evicted[SERVER_STATEMENT_NAME]) {
    if (*known == NULL)
        *known = alloc_new(sizeof **known);
    struct server_statements *all = *known;
    assert(find(all, statement) == NULL);
    struct known_statement *entry = NULL;
    uint64_t id = 0;
    evicted[0] = '\0';
    if (HASH_COUNT(all->table) >= limit) {
        entry = all->table;
        id = entry->id;
        name_of(id, evicted);
        HASH_DEL(all->table, entry);
    } else {
        entry = alloc_new(sizeof *entry);
    }
    enter(all, entry, statement->id);
    return id;
}

void server_statements_restore(struct server_statements *known, uint64_t evicted) {
    enter(known, alloc_new(sizeof(struct known_statement)), evicted);
}

void server_statements_remove(struct server_statements *known,
                              const struct shared_statement *statement) {
    struct known_statement *found = find(known, statement);
    if (found == NULL)
        return;
    HASH_DEL(known->table, found);
    free(found);
}

void server_statements_free(struct server_statements **known) {
    if (*known == NULL)
        return;
    struct known_statement *entry, *next;
    HASH_ITER(hh, (*known)->table, entry, next) {
        HASH_DEL((*known)->table, entry);
        free(entry);
    }
    free(*known);
    *known = NULL;
}

size_t server_statements_count(const struct server_statements *known) {
    return known != NULL ? HASH_COUNT(known->table) : 0;
}
