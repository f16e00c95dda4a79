#include "config/error.h"

#include <stdarg.h>
#include <stdio.h>

bool error_set(struct error *error, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    /* One line is promised; a name that a file gave may hold anything. */
    for (char *at = error->text; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || *at == 127)
            *at = ' ';
    }
    return false;
}
