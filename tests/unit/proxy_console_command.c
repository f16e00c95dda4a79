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
    if (reading == CONSOLE_WRONG)
        snprintf(out + length, sizeof out - length, "!%zu", at);
    return out;
}

static void every_command_is_known_by_its_name(void **state) {
    (void)state;
    for (int i = 0; i < CONSOLE_COMMANDS; i++) {
        const char *name = console_command_name((enum console_command)i);
        assert_string_equal(commands_of(name), name);
        assert_true(strlen(console_command_help((enum console_command)i)) > 0);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_is_known_by_its_name),
        cmocka_unit_test(case_blanks_and_comments_do_not_matter),
        cmocka_unit_test(a_text_can_have_many_commands_or_none),
        cmocka_unit_test(a_mistake_is_told_with_its_place),
        cmocka_unit_test(a_word_of_any_length_is_none_of_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
