#include "proxy/startup_options.h"

#include "config/alloc.h"
#include "routing/session_state.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static bool is_space(char c) {
    return c != '\0' && strchr(" \t\n\r\f\v", c) != NULL;
}

/* The next word without its escapes, to be freed; NULL at the end. */
static char *next_word(const char **at) {
    while (is_space(**at))
        (*at)++;
    if (**at == '\0')
        return NULL;
    char *word = alloc_new(strlen(*at) + 1);
    size_t length = 0;
    for (; **at != '\0' && !is_space(**at); (*at)++) {
        if (**at == '\\' && (*at)[1] != '\0')
            (*at)++;
        word[length++] = **at;
    }
    return word;
}

void startup_options_append(struct wire_buffer *options, const char *word) {
    wire_append(options, " ", 1);
    for (; *word != '\0'; word++) {
        if (*word == '\\' || is_space(*word))
            wire_append(options, "\\", 1);
        wire_append(options, word, 1);
    }
}

/* The "name=value" of an option, in the word itself or in the next one; NULL: it is no setting. */
static const char *assignment(const char *word, const char *next) {
    if (strncmp(word, "--", 2) == 0)
        return word + 2;
    if (strncmp(word, "-c", 2) == 0)
        return word[2] != '\0' ? word + 2 : next;
    return NULL;
}

/* Splits a setting at its `=`. False: it has none. */
static bool split(char *setting) {
    char *equals = strchr(setting, '=');
    if (equals == NULL)
        return false;
    *equals = '\0';
    for (char *c = setting; *c != '\0'; c++)
        *c = (char)(*c == '-' ? '_' : tolower((unsigned char)*c));
    return true;
}

/* Splits an own setting. False: it is the server's. */
static bool is_own(char *setting) {
    return split(setting) && session_is_own_setting(setting);
}

bool startup_options_read(const char *options,
                          bool (*own)(void *context, const char *name, const char *value),
                          void *context, struct wire_buffer *rest) {
    bool ok = true;
    const char *at = options;
    char *word = next_word(&at);
    while (word != NULL && ok) {
        bool alone = strcmp(word, "-c") == 0;
        char *next = alone ? next_word(&at) : NULL;
        const char *found = assignment(word, next);
        char *setting = alloc_text(found);
        if (setting != NULL && is_own(setting)) {
            ok = own == NULL || own(context, setting, setting + strlen(setting) + 1);
        } else if (rest != NULL) {
            startup_options_append(rest, word);
            if (next != NULL)
                startup_options_append(rest, next);
        }
        free(setting);
        free(next);
        free(word);
        word = next_word(&at);
    }
    free(word);
    return ok;
}

bool startup_options_settings(const char *options,
                              void (*setting)(void *context, const char *name, const char *value),
                              void *context, struct error *error) {
    bool ok = true;
    const char *at = options;
    for (char *word; ok && (word = next_word(&at)) != NULL;) {
        char *next = strcmp(word, "-c") == 0 ? next_word(&at) : NULL;
        char *text = alloc_text(assignment(word, next));
        if (text == NULL)
            ok = error_set(error, "invalid command-line argument for server process: %s", word);
        else if (!split(text))
            ok = error_set(error, "%s%s requires a value", word[1] == '-' ? "--" : "-c ", text);
        else
            setting(context, text, text + strlen(text) + 1);
        free(text);
        free(next);
        free(word);
    }
    return ok;
}
