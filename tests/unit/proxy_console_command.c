/* Texts of the console: what is a command, where a mistake is. */
#include "proxy/console_command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* The names of the commands of a text, with commas; "!POSITION" where the text is wrong. */
static const char *commands_of(const char *text) {
    static char out[512];
    struct error error;
    enum console_command command;
    enum console_reading reading;
    size_t at = 0, length = 0;
    out[0] = '\0';
    while ((reading = console_read_command(text, &at, &command, &error)) == CONSOLE_COMMAND)
        length += (size_t)snprintf(out + length, sizeof out - length, "%s%s", length > 0 ? "," : "",
                                   console_command_name(command));
    if (reading != CONSOLE_END)
        snprintf(out + length, sizeof out - length, "!%zu", at);
    return out;
}

static void every_command_is_known_by_its_name(void **state) {
    (void)state;
    for (int i = 0; i < CONSOLE_COMMANDS; i++) {
        const char *name = console_command_name((enum console_command)i);
        const char *rest = i == CONSOLE_SET     ? " datestyle TO ISO"
                           : i == CONSOLE_RESET ? " ALL"
                                                : "";
        char text[80];
        snprintf(text, sizeof text, "%s%s", name, rest);
        assert_string_equal(commands_of(text), name);
        assert_true(strlen(console_command_help((enum console_command)i)) > 0);
        assert_int_equal(0, strncmp(name, console_command_tag((enum console_command)i),
                                    strlen(console_command_tag((enum console_command)i))));
    }
}

static void case_blanks_and_comments_do_not_matter(void **state) {
    (void)state;
    assert_string_equal(commands_of("show clients"), "SHOW CLIENTS");
    assert_string_equal(commands_of("\t SHOW\r\n\f\vPools ;"), "SHOW POOLS");
    assert_string_equal(commands_of("/* a /* b */ ; */SHOW--;\nSTATS/**/;--"), "SHOW STATS");
}

static void a_text_can_have_many_commands_or_none(void **state) {
    (void)state;
    assert_string_equal(commands_of("reload;;show help; SHOW VERSION"),
                        "RELOAD,SHOW HELP,SHOW VERSION");
    assert_string_equal(commands_of(""), "");
    assert_string_equal(commands_of(" ; /* ; */ ;-- RELOAD"), "");
    assert_string_equal(commands_of("/* never /* closed */ RELOAD"), "");
}

static void a_mistake_is_told_with_its_place(void **state) {
    (void)state;
    assert_string_equal(commands_of("SELECT 1"), "!0");
    assert_string_equal(commands_of("SHOW"), "!4");
    assert_string_equal(commands_of("SHOW ;"), "!5");
    assert_string_equal(commands_of("SHOW CLIENT"), "!5");
    assert_string_equal(commands_of("SHOW CLIENTSS"), "!5");
    assert_string_equal(commands_of("SHOWCLIENTS"), "!0");
    assert_string_equal(commands_of("SHOW CLIENTS POOLS"), "!13");
    assert_string_equal(commands_of("RELOAD 'x'"), "!7");
    assert_string_equal(commands_of("SHOW VERSION; 'a;b'"), "SHOW VERSION!14");
    assert_string_equal(commands_of("/"), "!0");
    assert_string_equal(commands_of("-"), "!0");
    assert_string_equal(commands_of("SHOW \"CLIENTS\""), "!5");
}

static void a_word_of_any_length_is_none_of_ours(void **state) {
    (void)state;
    char text[2000];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    assert_string_equal(commands_of(text), "!0");
    memcpy(text, "RELOAD", 6);
    assert_string_equal(commands_of(text), "!0");
}

static void a_value_goes_on_to_the_end_of_its_statement(void **state) {
    (void)state;
    assert_string_equal(commands_of("SET application_name = 'a;b'; RELOAD"), "SET,RELOAD");
    assert_string_equal(commands_of("SET application_name = 'a'';b'; RELOAD"), "SET,RELOAD");
    assert_string_equal(commands_of("SET application_name = E'a\\';b'; RELOAD"), "SET,RELOAD");
    assert_string_equal(commands_of("SET application_name = 'a\\'; RELOAD"), "SET,RELOAD");
    assert_string_equal(commands_of("SET search_path TO \"a;\"\"b\", c; RELOAD"), "SET,RELOAD");
    assert_string_equal(commands_of("SET application_name = 'never closed; RELOAD"), "SET");
    assert_string_equal(commands_of("SET application_name = E'never closed\\"), "SET");
}

static void the_encoding_is_utf8(void **state) {
    (void)state;
    assert_string_equal(commands_of("SET client_encoding TO 'Utf-8'; SET NAMES UNICODE"),
                        "SET,SET");
    assert_string_equal(commands_of("SET client_encoding = UTF8X"), "!22");
    assert_string_equal(commands_of("SET client_encoding = 'UTF8-1'"), "!22");
}

static void words_for_the_same_are_known(void **state) {
    (void)state;
    assert_string_equal(commands_of("START TRANSACTION; END; ABORT WORK"), "BEGIN,COMMIT,ROLLBACK");
    assert_string_equal(commands_of("BEGIN READ ONLY, ISOLATION LEVEL READ COMMITTED;"), "BEGIN");
    assert_string_equal(commands_of("START WORK"), "!6");
    assert_string_equal(commands_of("COMMIT AND CHAIN"), "!7");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_is_known_by_its_name),
        cmocka_unit_test(case_blanks_and_comments_do_not_matter),
        cmocka_unit_test(a_text_can_have_many_commands_or_none),
        cmocka_unit_test(a_mistake_is_told_with_its_place),
        cmocka_unit_test(a_word_of_any_length_is_none_of_ours),
        cmocka_unit_test(a_value_goes_on_to_the_end_of_its_statement),
        cmocka_unit_test(the_encoding_is_utf8),
        cmocka_unit_test(words_for_the_same_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
