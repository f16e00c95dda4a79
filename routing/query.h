/* Making queries: for the router alone. Users of queries find everything in router.h. */
#ifndef PGINTERLOCK_QUERY_H
#define PGINTERLOCK_QUERY_H

#include "routing/router.h"

/* What a query is made of, all of it borrowed and copied. */
struct query_source {
    const char *text;
    size_t length;
    const struct query_facts *facts;
    const char *parse_error; /* or NULL */
    struct lexing lexing;
    const char *shape; /* NULL: none; else the text and every position in it are left out */
    size_t shape_length;
};

/* The caller has the one reference. */
struct query *query_new(const struct query_source *source, const struct settings *settings);

/* Whether these facts hold for every text of the same shape. */
bool query_has_shape(const struct query_facts *facts);

#endif
