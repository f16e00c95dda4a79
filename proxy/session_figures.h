/* What SHOW CLIENTS says of a session, and SHOW SERVERS of its links. On its worker's thread. */
#ifndef PGINTERLOCK_SESSION_FIGURES_H
#define PGINTERLOCK_SESSION_FIGURES_H

#include "config/classification.h"
#include "proxy/figures_table.h"

#include <time.h>

struct database_figures;
struct link;
struct session;
struct worker;

extern const struct figures_kind console_clients, console_servers;

/* One look at a worker, with what is worth working out only once for all rows. */
struct filling {
    struct worker *worker;
    struct figures_table *table;
    uint64_t now; /* uv_now() */
    time_t clock; /* the same, for people */
    struct written_time {
        time_t at;
        char text[32];
    } connected, asked; /* the last times that were written, as text */
    /* The users that connection strings name. */
    struct named_user {
        const char *conninfo; /* borrowed */
        char *user;           /* NULL: none */
    } users[DATABASES_MAX];
    size_t user_count;
    /* Sums over the links to one database. */
    const struct database_figures *of;
    size_t links;
    uint64_t received, sent;
};

void filling_begin(struct filling *filling, struct worker *worker, struct figures_table *table);
void filling_end(struct filling *filling);

/* The user that this connection string names, or `otherwise`. Borrowed until the filling's end. */
const char *filling_user(struct filling *filling, const char *conninfo, const char *otherwise);

/* A row of console_clients. */
void session_put_client(const struct session *s, struct filling *filling);

/* A row of console_servers; `session` NULL: the pool's own. */
void link_put_server(const struct link *link, const struct session *session,
                     struct filling *filling);

/* Calls `visit` for every link that the session has. */
void session_visit_links(const struct session *s,
                         void (*visit)(const struct link *link, const struct session *session,
                                       struct filling *filling),
                         struct filling *filling);

#endif
