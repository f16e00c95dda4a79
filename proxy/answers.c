#include "proxy/answers.h"

#include "config/alloc.h"
#include "proxy/prepared.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWERS_FIRST = 8 };

static __attribute__((cold)) void grow(struct answers *answers) {
    size_t capacity = answers->capacity > 0 ? answers->capacity * 2 : ANSWERS_FIRST;
    struct request *ring = alloc_new(capacity * sizeof *ring);
    for (size_t i = 0; i < answers->count; i++)
        ring[i] = *answers_at(answers, i);
    free(answers->ring);
    answers->ring = ring;
    answers->head = 0;
    answers->capacity = capacity;
}

struct request *answers_push(struct answers *answers, enum request_kind kind,
                             enum audience audience) {
    if (answers->count == answers->capacity)
        grow(answers);
    answers->count++;
    struct request *request = answers_last(answers);
    *request = (struct request){.kind = kind, .audience = audience, .database = -1};
    return request;
}

void answers_pop(struct answers *answers) {
    struct request *request = answers_front(answers);
    assert(request != NULL);
    if (request->query != NULL)
        query_unref(request->query);
    if (request->prepared != NULL)
        prepared_unref(request->prepared);
    answers->head = (answers->head + 1) & (answers->capacity - 1);
    answers->count--;
}

void answers_drop_last(struct answers *answers) {
    assert(answers->count > 0);
    struct request *request = answers_last(answers);
    if (request->query != NULL)
        query_unref(request->query);
    if (request->prepared != NULL)
        prepared_unref(request->prepared);
    answers->count--;
}

void answers_clear(struct answers *answers) {
    while (answers->count > 0)
        answers_pop(answers);
}

void answers_close(struct answers *answers) {
    answers_clear(answers);
    free(answers->ring);
    memset(answers, 0, sizeof *answers);
}
