#include "proxy/console_gather.h"

#include "config/alloc.h"
#include "proxy/console_internal.h"

#include <stdlib.h>

enum { CLIENTS_PART = 256 };

/* Only the asking worker's thread looks inside; the others carry a pointer to it. */
struct gathering {
    gathered_callback *done; /* NULL: who asked has gone */
    void *owner;
    size_t outstanding;
    struct figures_table table;
};

struct question {
    struct letter letter; /* first */
    struct gathering *gathering;
    struct worker *from, *to; /* `to` NULL: the main thread */
    enum console_command command;
    bool begun; /* SHOW CLIENTS: the worker knows… */
    struct session_walk walk;
    struct figures_table rows;
    bool failed; /* RELOAD */
    struct error error;
};

static void question_free(struct question *question) {
    figures_table_close(&question->rows);
    free(question);
}

static void gathering_free(struct gathering *gathering) {
    figures_table_close(&gathering->table);
    free(gathering);
}

/* -- answers ----------------------------------------------------------------------------------- */

static void on_answer(struct letter *letter, void *owner) {
    struct question *question = (struct question *)(void *)letter;
    struct gathering *gathering = question->gathering;
    (void)owner;
    if (question->to != NULL)
        figures_table_take(&gathering->table, &question->rows);
    gathering->outstanding--;
    if (gathering->outstanding == 0) {
        if (gathering->done != NULL && question->to == NULL) {
            gathering->done(gathering->owner, NULL, question->failed ? &question->error : NULL);
        } else if (gathering->done != NULL) {
            figures_table_merge(&gathering->table);
            gathering->done(gathering->owner, &gathering->table, NULL);
        }
        gathering_free(gathering);
    }
    question_free(question);
}

/* Every thread that could read it has ended, and who asked with them. */
static void drop(struct letter *letter) {
    struct question *question = (struct question *)(void *)letter;
    question->gathering->outstanding--;
    if (question->gathering->outstanding == 0)
        gathering_free(question->gathering);
    question_free(question);
}

static void answer(struct question *question) {
    question->letter.deliver = on_answer;
    mailbox_post(&question->from->mailbox, &question->letter);
}

/* -- questions --------------------------------------------------------------------------------- */

static void on_figures_wanted(struct letter *letter, void *owner) {
    struct question *question = (struct question *)(void *)letter;
    console_fill(owner, question->command, &question->rows);
    answer(question);
}

/* Of clients there may be thousands: some at a time, so that each of them is served in between. */
static void on_clients_wanted(struct letter *letter, void *owner) {
    struct question *question = (struct question *)(void *)letter;
    struct worker *worker = owner;
    if (!question->begun)
        worker_begin_walk(worker, &question->walk);
    question->begun = true;
    console_fill_clients(worker, &question->walk, CLIENTS_PART, &question->rows);
    if (question->walk.at != NULL) {
        mailbox_post(&worker->mailbox, &question->letter);
        return;
    }
    worker_end_walk(worker, &question->walk);
    answer(question);
}

static void on_reload_wanted(struct letter *letter, void *owner) {
    struct question *question = (struct question *)(void *)letter;
    const struct workers *workers = question->from->workers;
    question->failed = !workers->reload(owner, &question->error);
    answer(question);
}

static struct gathering *gathering_new(gathered_callback *done, void *owner, size_t outstanding) {
    struct gathering *gathering = alloc_new(sizeof *gathering);
    gathering->done = done;
    gathering->owner = owner;
    gathering->outstanding = outstanding;
    return gathering;
}

static struct question *question_new(struct gathering *gathering, struct worker *from,
                                     void (*deliver)(struct letter *letter, void *owner)) {
    struct question *question = alloc_new(sizeof *question);
    question->letter.deliver = deliver;
    question->letter.drop = drop;
    question->gathering = gathering;
    question->from = from;
    return question;
}

struct gathering *gather_figures(struct worker *worker, enum console_command command,
                                 const struct figures_kind *kind, gathered_callback *done,
                                 void *owner) {
    const struct workers *workers = worker->workers;
    struct gathering *gathering = gathering_new(done, owner, workers->count);
    gathering->table.kind = kind;
    for (size_t i = 0; i < workers->count; i++) {
        bool clients = command == CONSOLE_SHOW_CLIENTS;
        struct question *question =
            question_new(gathering, worker, clients ? on_clients_wanted : on_figures_wanted);
        question->to = workers->list[i];
        question->command = command;
        question->rows.kind = kind;
        mailbox_post(&workers->list[i]->mailbox, &question->letter);
    }
    return gathering;
}

struct gathering *gather_reload(struct worker *worker, gathered_callback *done, void *owner) {
    struct gathering *gathering = gathering_new(done, owner, 1);
    struct question *question = question_new(gathering, worker, on_reload_wanted);
    mailbox_post(worker->workers->main, &question->letter);
    return gathering;
}

struct gathering *gather_turn(struct worker *worker, gathered_callback *done, void *owner) {
    struct gathering *gathering = gathering_new(done, owner, 1);
    answer(question_new(gathering, worker, on_answer));
    return gathering;
}

void gathering_abandon(struct gathering *gathering) {
    gathering->done = NULL;
}
