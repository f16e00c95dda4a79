#include "commands/lint_findings.h"

#include "config/alloc.h"

#include <stdlib.h>
#include <string.h>

#define uthash_fatal(message) abort()
#include <uthash.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

struct kept {
    struct lint_finding finding;
    UT_hash_handle hh; /* by fingerprint, of the distinct ones */
};

struct lint_findings {
    struct kept **list;
    size_t count;
    struct kept *distinct;
    uint64_t total, dropped;
};

struct lint_findings *lint_findings_new(void) {
    return alloc_new(sizeof(struct lint_findings));
}

static void finding_close(struct lint_finding *finding) {
    free(finding->sqlstate);
    free(finding->kind);
    free(finding->message);
    free(finding->detail);
    free(finding->hint);
    free(finding->table);
    free(finding->statement);
    free(finding->tables);
}

void lint_findings_free(struct lint_findings *findings) {
    if (findings == NULL) {
        return;
    }
    HASH_CLEAR(hh, findings->distinct);
    for (size_t i = 0; i < findings->count; i++) {
        finding_close(&findings->list[i]->finding);
        free(findings->list[i]);
    }
    free(findings->list);
    free(findings);
}

bool lint_findings_count(struct lint_findings *findings, const struct lint_fingerprint *fingerprint,
                         uint64_t count) {
    struct kept *kept = NULL;
    HASH_FIND(hh, findings->distinct, fingerprint, sizeof *fingerprint, kept);
    if (kept != NULL) {
        kept->finding.count += count;
        findings->total += count;
    }
    return kept != NULL;
}

void lint_findings_take(struct lint_findings *findings, struct lint_finding *finding,
                        bool distinct) {
    findings->total += finding->count;
    if (findings->count == LINT_FINDINGS_MAX) {
        findings->dropped += finding->count;
        finding_close(finding);
        return;
    }
    struct kept *kept = alloc_new(sizeof *kept);
    kept->finding = *finding;
    findings->list = alloc_grow(findings->list, findings->count, sizeof(struct kept *));
    findings->list[findings->count++] = kept;
    if (distinct) {
        HASH_ADD(hh, findings->distinct, finding.fingerprint, sizeof kept->finding.fingerprint,
                 kept);
    }
}

size_t lint_findings_size(const struct lint_findings *findings) {
    return findings->count;
}

const struct lint_finding *lint_findings_at(const struct lint_findings *findings, size_t index) {
    return &findings->list[index]->finding;
}

uint64_t lint_findings_total(const struct lint_findings *findings) {
    return findings->total;
}

uint64_t lint_findings_dropped(const struct lint_findings *findings) {
    return findings->dropped;
}

struct lint_fingerprint lint_fingerprint_of(enum rule rule, const char *normalized, size_t length,
                                            const struct statement *subject) {
    XXH128_hash_t hash = XXH3_128bits_withSeed(normalized, length, (XXH64_hash_t)rule);
    for (size_t i = 0; i < subject->facts->table_count; i++) {
        const struct routed_table *table = &subject->tables[i];
        if (table->role != ROLE_IGNORED) {
            const char *name = table->facts->name;
            XXH64_hash_t of_table = XXH3_64bits_withSeed(name, strlen(name), table->databases);
            hash.low64 = (hash.low64 ^ of_table) * 0x9E3779B97F4A7C15U;
            hash.high64 += of_table;
        }
    }
    return (struct lint_fingerprint){hash.high64, hash.low64};
}
