#include "proxy/figures.h"

#include "config/alloc.h"

#include <stdlib.h>
#include <string.h>

struct database_figures *figures_of_database(struct figures *figures, const char *name) {
    for (struct database_figures *d = figures->databases; d != NULL; d = d->next)
        if (strcmp(d->name, name) == 0)
            return d;
    struct database_figures *made = alloc_new(sizeof *made);
    made->name = alloc_text(name);
    made->next = figures->databases;
    figures->databases = made;
    return made;
}

void figures_close(struct figures *figures) {
    for (struct database_figures *d = figures->databases, *next; d != NULL; d = next) {
        next = d->next;
        free(d->name);
        free(d);
    }
    figures->databases = NULL;
}
