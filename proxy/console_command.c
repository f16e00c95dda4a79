#include "proxy/console_command.h"

#include <string.h>
#include <strings.h>

enum { WORD_MAX = 40 };

/* How far a command goes behind its verb and object. */
enum tail { TAIL_NONE, TAIL_TRANSACTION, TAIL_MODES, TAIL_SETTING };

static const struct {
    const char *verb, *object, *name, *tag, *help;
    enum tail tail;
} commands[CONSOLE_COMMANDS] = {
    [CONSOLE_SHOW_CLIENTS] = {"SHOW", "CLIENTS", "SHOW CLIENTS", "SHOW",
                              "clients, and why they keep which connections"},
    [CONSOLE_SHOW_CONFIG] = {"SHOW", "CONFIG", "SHOW CONFIG", "SHOW",
                             "the settings, without secrets"},
    [CONSOLE_SHOW_DATABASES] = {"SHOW", "DATABASES", "SHOW DATABASES", "SHOW",
                                "databases, and who leads to them"},
    [CONSOLE_SHOW_HELP] = {"SHOW", "HELP", "SHOW HELP", "SHOW", "this list"},
    [CONSOLE_SHOW_POOLS] = {"SHOW", "POOLS", "SHOW POOLS", "SHOW",
                            "pools of connections, for each database and user"},
    [CONSOLE_SHOW_SERVERS] = {"SHOW", "SERVERS", "SHOW SERVERS", "SHOW",
                              "connections to databases"},
    [CONSOLE_SHOW_STATS] = {"SHOW", "STATS", "SHOW STATS", "SHOW",
                            "what each database was asked since the start"},
    [CONSOLE_SHOW_VERSION] = {"SHOW", "VERSION", "SHOW VERSION", "SHOW", "the version"},
    [CONSOLE_SHOW_VIOLATIONS] = {"SHOW", "VIOLATIONS", "SHOW VIOLATIONS", "SHOW",
                                 "rules that were broken since the start, and what became of it"},
    [CONSOLE_RELOAD] = {"RELOAD", NULL, "RELOAD", "RELOAD",
                        "reads the settings anew, as SIGHUP does; no ROLLBACK undoes it"},
    [CONSOLE_BEGIN] = {"BEGIN", NULL, "BEGIN", "BEGIN",
                       "for drivers that send it: what is shown is of the moment nevertheless",
                       TAIL_MODES},
    [CONSOLE_COMMIT] = {"COMMIT", NULL, "COMMIT", "COMMIT", "the end of BEGIN", TAIL_TRANSACTION},
    [CONSOLE_ROLLBACK] = {"ROLLBACK", NULL, "ROLLBACK", "ROLLBACK", "the end of BEGIN",
                          TAIL_TRANSACTION},
    [CONSOLE_SET] = {"SET", NULL, "SET", "SET",
                     "for drivers that set client_encoding and the like: without effect",
                     TAIL_SETTING},
    [CONSOLE_RESET] = {"RESET", NULL, "RESET", "RESET", "as SET", TAIL_SETTING},
    [CONSOLE_DISCARD] = {"DISCARD", "ALL", "DISCARD ALL", "DISCARD ALL",
                         "forgets the session's prepared statements"},
};

/* Other words for the same. */
static const struct {
    const char *verb;
    enum console_command command;
} synonyms[] = {
    {"START", CONSOLE_BEGIN}, /* TRANSACTION */
    {"END", CONSOLE_COMMIT},
    {"ABORT", CONSOLE_ROLLBACK},
};
enum { SYNONYMS = sizeof synonyms / sizeof synonyms[0] };

/* What drivers and psql set for themselves; nothing here depends on it. */
static const char *const settings[] = {
    "application_name",
    "bytea_output",
    "client_encoding",
    "client_min_messages",
    "datestyle",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "extra_float_digits",
    "idle_in_transaction_session_timeout",
    "intervalstyle",
    "lock_timeout",
    "names",
    "search_path",
    "standard_conforming_strings",
    "statement_timeout",
    "timezone",
};
enum { SETTINGS = sizeof settings / sizeof settings[0] };

const char *console_command_name(enum console_command command) {
    return commands[command].name;
}

const char *console_command_help(enum console_command command) {
    return commands[command].help;
}

const char *console_command_tag(enum console_command command) {
    return commands[command].tag;
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

static bool is_word(const struct word *word, const char *text) {
    return strcasecmp(word->text, text) == 0;
}

static bool is_one_of(const struct word *word, const char *const *list, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (is_word(word, list[i]))
            return true;
    return false;
}

static bool is_over(const struct word *word) {
    return word->begin == word->end;
}

/* -- what follows a verb ----------------------------------------------------------------------- */

static enum console_reading fail(const struct word *word, size_t *at, struct error *error) {
    *at = word->begin;
    if (is_over(word))
        error_set(error, "syntax error at end of input");
    else
        error_set(error, "syntax error at or near \"%s\"", word->text);
    return CONSOLE_WRONG;
}

/* Nothing but the end of the statement. */
static enum console_reading read_end(const char *text, size_t *at, struct error *error) {
    struct word after = read_word(text, *at);
    if (!is_over(&after))
        return fail(&after, at, error);
    *at = after.begin + (text[after.begin] == ';');
    return CONSOLE_COMMAND;
}

/* WORK or TRANSACTION, which may be left out; `modes`: then how it is to be. */
static enum console_reading read_transaction(const char *text, size_t *at, bool modes,
                                             struct error *error) {
    static const char *const words[] = {"ISOLATION", "LEVEL", "SERIALIZABLE", "REPEATABLE",
                                        "READ",      "WRITE", "COMMITTED",    "UNCOMMITTED",
                                        "ONLY",      "NOT",   "DEFERRABLE",   ","};
    struct word word = read_word(text, *at);
    if (is_word(&word, "WORK") || is_word(&word, "TRANSACTION")) {
        *at = word.end;
        word = read_word(text, *at);
    }
    while (modes && is_one_of(&word, words, sizeof words / sizeof words[0])) {
        *at = word.end;
        word = read_word(text, *at);
    }
    return read_end(text, at, error);
}

/* Behind the quote that ends it, or the text's end; a quote that is doubled, or escaped in E'…', is
 * within. */
static size_t skip_quoted(const char *text, size_t at) {
    char quote = text[at];
    bool escapes = quote == '\'' && at > 0 && (text[at - 1] == 'E' || text[at - 1] == 'e');
    for (at++; text[at] != '\0'; at++) {
        if (escapes && text[at] == '\\' && text[at + 1] != '\0')
            at++;
        else if (text[at] == quote && text[at + 1] == quote)
            at++;
        else if (text[at] == quote)
            return at + 1;
    }
    return at;
}

/* Whatever is set, up to the end of the statement. */
static size_t skip_value(const char *text, size_t at) {
    for (;;) {
        struct word word = read_word(text, at);
        if (is_over(&word))
            return word.begin;
        char first = text[word.begin];
        at = first == '\'' || first == '"' ? skip_quoted(text, word.begin) : word.end;
    }
}

/* The value is this word, in quotes or not. */
static bool is_value(const char *text, size_t begin, const char *word) {
    size_t length = strlen(word);
    begin += text[begin] == '\'' || text[begin] == '"';
    return strncasecmp(text + begin, word, length) == 0 && !is_of_word(text[begin + length]) &&
           text[begin + length] != '-';
}

static bool is_utf8(const char *text, size_t begin) {
    return is_value(text, begin, "UTF8") || is_value(text, begin, "UTF-8") ||
           is_value(text, begin, "UNICODE") || is_value(text, begin, "DEFAULT");
}

/* SET [SESSION | LOCAL] name TO value, SET TIME ZONE, SET NAMES, SET TRANSACTION and SET SESSION
 * CHARACTERISTICS. */
static enum console_reading read_set(const char *text, size_t *at, struct error *error) {
    struct word name = read_word(text, *at);
    if (is_word(&name, "SESSION") || is_word(&name, "LOCAL"))
        name = read_word(text, name.end);
    if (is_word(&name, "TRANSACTION") || is_word(&name, "CHARACTERISTICS")) {
        *at = skip_value(text, name.end);
        return read_end(text, at, error);
    }
    struct word to = read_word(text, name.end);
    bool zone = is_word(&name, "TIME") && is_word(&to, "ZONE");
    bool names = is_word(&name, "NAMES");
    if (!zone && !is_one_of(&name, settings, SETTINGS)) {
        if (is_over(&name) || !is_of_word(text[name.begin]))
            return fail(&name, at, error);
        *at = name.begin;
        error_set(error, "the console has no setting \"%s\"", name.text);
        return CONSOLE_UNKNOWN_SETTING;
    }
    if (!zone && !names && !is_word(&to, "TO") && !is_word(&to, "="))
        return fail(&to, at, error);
    struct word value = names ? to : read_word(text, to.end);
    if (is_over(&value))
        return fail(&value, at, error);
    if ((names || is_word(&name, "client_encoding")) && !is_utf8(text, value.begin)) {
        *at = value.begin;
        error_set(error, "the console speaks no other encoding than UTF8");
        return CONSOLE_FOREIGN_ENCODING;
    }
    *at = skip_value(text, value.begin);
    return read_end(text, at, error);
}

static enum console_reading read_reset(const char *text, size_t *at, struct error *error) {
    struct word name = read_word(text, *at);
    if (is_over(&name) || !is_of_word(text[name.begin]))
        return fail(&name, at, error);
    if (!is_word(&name, "ALL") && !is_one_of(&name, settings, SETTINGS)) {
        *at = name.begin;
        error_set(error, "the console has no setting \"%s\"", name.text);
        return CONSOLE_UNKNOWN_SETTING;
    }
    *at = name.end;
    return read_end(text, at, error);
}

/* -- commands ---------------------------------------------------------------------------------- */

static bool find(const struct word *verb, const struct word *object,
                 enum console_command *command) {
    for (int i = 0; i < SYNONYMS; i++)
        if (is_word(verb, synonyms[i].verb)) {
            *command = synonyms[i].command;
            return true;
        }
    for (int i = 0; i < CONSOLE_COMMANDS; i++) {
        if (is_word(verb, commands[i].verb) &&
            (commands[i].object == NULL || is_word(object, commands[i].object))) {
            *command = (enum console_command)i;
            return true;
        }
    }
    return false;
}

/* Whether there is such a verb, so that what is wrong is the word behind it. */
static bool is_verb(const struct word *word) {
    for (int i = 0; i < CONSOLE_COMMANDS; i++)
        if (is_word(word, commands[i].verb))
            return true;
    return false;
}

static enum console_reading read_command(const char *text, const struct word *verb, size_t *at,
                                         enum console_command *command, struct error *error) {
    struct word object = read_word(text, verb->end);
    if (!find(verb, &object, command))
        return fail(is_verb(verb) ? &object : verb, at, error);
    *at = commands[*command].object == NULL ? verb->end : object.end;
    switch (commands[*command].tail) {
    case TAIL_TRANSACTION:
    case TAIL_MODES:
        if (is_word(verb, "START") && !is_word(&object, "TRANSACTION"))
            return fail(&object, at, error);
        return read_transaction(text, at, commands[*command].tail == TAIL_MODES, error);
    case TAIL_SETTING:
        return *command == CONSOLE_SET ? read_set(text, at, error) : read_reset(text, at, error);
    case TAIL_NONE:
        break;
    }
    return read_end(text, at, error);
}

enum console_reading console_read_command(const char *text, size_t *at,
                                          enum console_command *command, struct error *error) {
    struct word verb = read_word(text, *at);
    while (is_over(&verb) && text[verb.begin] == ';')
        verb = read_word(text, verb.begin + 1);
    if (is_over(&verb)) {
        *at = verb.begin;
        return CONSOLE_END;
    }
    return read_command(text, &verb, at, command, error);
}
