#include "proxy/config_line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

unsigned config_line_find(const char *path, const char *text, const char *key) {
    const char *slash = strrchr(text, '/');
    const char *wanted = slash != NULL && slash[1] != '\0' ? slash + 1 : text;
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t size = 0;
    unsigned number = 0, with_text = 0, with_key = 0;
    if (file == NULL)
        return 1;
    while (with_text == 0 && getline(&line, &size, file) >= 0) {
        number++;
        if (line[strspn(line, " \t")] == '#')
            continue;
        if (strstr(line, wanted) != NULL)
            with_text = number;
        if (with_key == 0 && strstr(line, key) != NULL)
            with_key = number;
    }
    free(line);
    fclose(file);
    return with_text > 0 ? with_text : with_key > 0 ? with_key : 1;
}
