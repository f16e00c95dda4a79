#include "proxy/console_command.h"

#include <string.h>
#include <strings.h>

enum { WORD_MAX = 32 };

static const struct {
    const char *verb, *object, *name, *help;
} commands[CONSOLE_COMMANDS] = {
    [CONSOLE_SHOW_CLIENTS] = {"SHOW", "CLIENTS", "SHOW CLIENTS",
                              "clients, and why they keep which connections"},
    [CONSOLE_SHOW_CONFIG] = {"SHOW", "CONFIG", "SHOW CONFIG", "the settings, without secrets"},
    [CONSOLE_SHOW_DATABASES] = {"SHOW", "DATABASES", "SHOW DATABASES",
                                "databases, and who leads to them"},
    [CONSOLE_SHOW_HELP] = {"SHOW", "HELP", "SHOW HELP", "this list"},
    [CONSOLE_SHOW_POOLS] = {"SHOW", "POOLS", "SHOW POOLS",
                            "pools of connections, for each database and user"},
    [CONSOLE_SHOW_SERVERS] = {"SHOW", "SERVERS", "SHOW SERVERS", "connections to databases"},
    [CONSOLE_SHOW_STATS] = {"SHOW", "STATS", "SHOW STATS",
                            "what each database was asked since the start"},
    [CONSOLE_SHOW_VERSION] = {"SHOW", "VERSION", "SHOW VERSION", "the version"},
    [CONSOLE_SHOW_VIOLATIONS] = {"SHOW", "VIOLATIONS", "SHOW VIOLATIONS",
                                 "rules that were broken since the start, and what became of it"},
    [CONSOLE_RELOAD] = {"RELOAD", NULL, "RELOAD", "reads the settings anew, as SIGHUP does"},
};

const char *console_command_name(enum console_command command) {
    return commands[command].name;
}

const char *console_command_help(enum console_command command) {
    return commands[command].help;
}

/* -- words ------------------------------------------------------------------------------------- */

static bool is_blank(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_of_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (unsigned char)c >= 0x80;
}

/* Comments nest, as SQL's do; one that is left open ends with the text. */
static size_t skip_comment(const char *text, size_t at) {
    size_t depth = 0;
    do {
        if (text[at] == '/' && text[at + 1] == '*') {
            depth++;
            at += 2;
        } else if (text[at] == '*' && text[at + 1] == '/') {
            depth--;
            at += 2;
        } else {
            at++;
        }
    } while (depth > 0 && text[at] != '\0');
    return at;
}

static size_t skip_blank(const char *text, size_t at) {
    for (;;) {
        if (is_blank(text[at]))
            at++;
        else if (text[at] == '-' && text[at + 1] == '-')
            at += strcspn(text + at, "\r\n");
        else if (text[at] == '/' && text[at + 1] == '*')
            at = skip_comment(text, at);
        else
            return at;
    }
}

struct word {
    size_t begin, end;       /* begin == end: the text or the statement is over */
    char text[WORD_MAX + 1]; /* cut off where it is longer */
};

static struct word read_word(const char *text, size_t at) {
    struct word word = {.begin = skip_blank(text, at)};
    word.end = word.begin;
    while (is_of_word(text[word.end]))
        word.end++;
    if (word.end == word.begin && text[word.end] != '\0' && text[word.end] != ';')
        word.end++; /* some other character: it is no word of ours */
    size_t length = word.end - word.begin;
    memcpy(word.text, text + word.begin, length < WORD_MAX ? length : WORD_MAX);
    return word;
}

/* -- commands ---------------------------------------------------------------------------------- */

static bool fail(const struct word *word, size_t *at, struct error *error) {
    *at = word->begin;
    return word->begin == word->end
               ? error_set(error, "syntax error at end of input")
               : error_set(error, "syntax error at or near \"%s\"", word->text);
}

static bool find(const struct word *verb, const struct word *object,
                 enum console_command *command) {
    for (int i = 0; i < CONSOLE_COMMANDS; i++) {
        if (strcasecmp(commands[i].verb, verb->text) == 0 &&
            (commands[i].object == NULL || strcasecmp(commands[i].object, object->text) == 0)) {
            *command = (enum console_command)i;
            return true;
        }
    }
    return false;
}

static bool read_command(const char *text, const struct word *verb, size_t *at,
                         enum console_command *command, struct error *error) {
    struct word object = read_word(text, verb->end), after;
    bool shows = strcasecmp(verb->text, "SHOW") == 0;
    if (!find(verb, &object, command))
        return fail(shows ? &object : verb, at, error);
    after = commands[*command].object == NULL ? object : read_word(text, object.end);
    if (after.begin != after.end)
        return fail(&after, at, error);
    *at = after.begin + (text[after.begin] == ';');
    return true;
}

enum console_reading console_read_command(const char *text, size_t *at,
                                          enum console_command *command, struct error *error) {
    struct word verb = read_word(text, *at);
    while (verb.begin == verb.end && text[verb.begin] == ';')
        verb = read_word(text, verb.begin + 1);
    if (verb.begin == verb.end) {
        *at = verb.begin;
        return CONSOLE_END;
    }
    return read_command(text, &verb, at, command, error) ? CONSOLE_COMMAND : CONSOLE_WRONG;
}
