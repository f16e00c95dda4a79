/* The program: reads the command line and calls the command. */
#include "commands/allowlist_make.h"
#include "commands/check.h"
#include "commands/explain.h"
#include "commands/lint.h"
#include "commands/lock_writes.h"
#include "proxy/process.h"

#include <getopt.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    EXIT_USAGE = 2,
    PARSING_STACK = 256 * 1024 * 1024, /* as a worker's: parsing is recursive */
};

#define LOCK_HELP                                                                                  \
    "  -d, --database NAME      this database only\n"                                              \
    "  -n, --dry-run            print the SQL, change nothing\n"                                   \
    "  -r, --retries N          how often to come back to tables that are busy (default 10)\n"

struct arguments {
    const char *config, *entrypoint, *file, *sql;
    const char *database, *retries; /* of lock-writes, unlock-writes and lock-status */
    const char *format, *prefix;    /* of lint */
    char *const *operands;          /* likewise */
    size_t operand_count;
    const char *from, *url, *until; /* of allowlist */
    bool json, live, dry_run, help;
};

struct command {
    const char *name;
    int (*run)(const struct arguments *arguments);
    const char *options; /* letters of the table below that it takes */
    const char *usage;
    const char *help;
};

static int run_run(const struct arguments *arguments) {
    return run_command(arguments->config);
}

static int run_locking(const struct arguments *arguments,
                       int (*command)(const struct lock_options *options)) {
    struct lock_options lock = {.config = arguments->config,
                                .database = arguments->database,
                                .dry_run = arguments->dry_run,
                                .retries = LOCK_RETRIES};
    if (arguments->retries != NULL) {
        char *end;
        unsigned long retries = strtoul(arguments->retries, &end, 10);
        if (arguments->retries[0] < '0' || arguments->retries[0] > '9' || *end != '\0' ||
            retries > LOCK_RETRIES_MAX) {
            fprintf(stderr, "pginterlock: --retries %s is no number from 0 to %d: give one\n",
                    arguments->retries, LOCK_RETRIES_MAX);
            return EXIT_USAGE;
        }
        lock.retries = (unsigned)retries;
    }
    return command(&lock);
}

static int run_lock_writes(const struct arguments *arguments) {
    return run_locking(arguments, lock_writes_command);
}

static int run_unlock_writes(const struct arguments *arguments) {
    return run_locking(arguments, unlock_writes_command);
}

static int run_lock_status(const struct arguments *arguments) {
    return run_locking(arguments, lock_status_command);
}

/* A command that parses SQL, on a thread with a stack for that. */
struct parsing_call {
    const struct arguments *arguments;
    int (*run)(const struct arguments *arguments);
    int status;
};

static void *run_on_thread(void *argument) {
    struct parsing_call *call = argument;
    call->status = call->run(call->arguments);
    return NULL;
}

static int run_parsing(const struct arguments *arguments, const char *name,
                       int (*run)(const struct arguments *arguments)) {
    struct parsing_call call = {.arguments = arguments, .run = run, .status = EXIT_USAGE};
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, PARSING_STACK);
    int result = pthread_create(&thread, &attributes, run_on_thread, &call);
    pthread_attr_destroy(&attributes);
    if (result != 0) {
        fprintf(stderr, "pginterlock: %s can't start its thread: %s: raise the memory limit\n",
                name, strerror(result));
        return EXIT_USAGE;
    }
    pthread_join(thread, NULL);
    return call.status;
}

static int check_on_thread(const struct arguments *arguments) {
    struct check_options check = {
        .config = arguments->config, .live = arguments->live, .json = arguments->json};
    return check_command(&check);
}

static int run_check(const struct arguments *arguments) {
    if (arguments->json && !arguments->live) {
        fputs("pginterlock: --json goes with check --live: add --live\n", stderr);
        return EXIT_USAGE;
    }
    return run_parsing(arguments, "check", check_on_thread);
}

static int explain_here(const struct arguments *a) {
    return explain_command(a->config, a->entrypoint, a->json, a->sql, a->file);
}

static int run_explain(const struct arguments *arguments) {
    if (arguments->sql != NULL && arguments->file != NULL) {
        fputs("pginterlock: explain takes SQL or -f FILE, not both: leave one out\n", stderr);
        return EXIT_USAGE;
    }
    return run_parsing(arguments, "explain", explain_here);
}

static int lint_here(const struct arguments *a) {
    const struct lint_options options = {.config = a->config,
                                         .entrypoint = a->entrypoint,
                                         .format = a->format,
                                         .prefix = a->prefix,
                                         .files = a->operands,
                                         .file_count = a->operand_count};
    return lint_command(&options);
}

static int run_lint(const struct arguments *arguments) {
    if (arguments->operand_count == 0) {
        fputs("pginterlock: lint needs a FILE, or - for the standard input: name one\n", stderr);
        return EXIT_USAGE;
    }
    return run_parsing(arguments, "lint", lint_here);
}

static int run_allowlist(const struct arguments *a) {
    if (a->from == NULL) {
        fputs("pginterlock: allowlist needs --from FILE, a record of violations, or - for the "
              "standard input: give it\n",
              stderr);
        return EXIT_USAGE;
    }
    const struct allowlist_options options = {
        .config = a->config, .from = a->from, .url = a->url, .until = a->until};
    return allowlist_command(&options);
}

static const struct command commands[] = {
    {"run", run_run, "c", "run --config FILE",
     "Run the proxy in the foreground.\n\n"
     "SIGTERM and SIGINT let running transactions finish, a second one ends at once; SIGHUP "
     "reloads the\n"
     "configuration without dropping a connection.\n"},
    {"check", run_check, "clj", "check --config FILE [--live [--json]]",
     "Validate the configuration and the classification, and say what they amount to.\n\n"
     "  -l, --live               hold the databases against the classification and against each "
     "other too;\n"
     "                           exit status 1: something in them stands in the split's way\n"
     "  -j, --json               with --live: one JSON object a line for what is found\n"},
    {"explain", run_explain, "cejf",
     "explain --config FILE [--entrypoint NAME] [--json] [SQL | -f FILE]",
     "Tell how each statement would be routed, and why. No server is needed. The statements are "
     "one session,\n"
     "in order; they are read from standard input where neither SQL nor -f is given.\n\n"
     "  -e, --entrypoint NAME    the database name that the session asks for (default: the first "
     "routed one)\n"
     "  -j, --json               one JSON object a line for each statement\n"
     "  -f, --file FILE          read the statements from FILE\n"},
    {"lint", run_lint, "ceFP",
     "lint --config FILE [--format text|json|junit|sarif] [--log-line-prefix P] FILE... | -",
     "Tell which statements of SQL files, PostgreSQL logs (stderr, csvlog, jsonlog) and CSV of "
     "pg_stat_statements\n"
     "break a rule, and which transactions. No server is needed. - is the standard input. Exit "
     "status 1: some do.\n\n"
     "  -F, --format FORMAT      text (default), json, junit or sarif\n"
     "  -P, --log-line-prefix P  what SHOW log_line_prefix says (default: '%m [%p] ')\n"
     "  -e, --entrypoint NAME    the database name that the sessions ask for (default: the first "
     "routed one)\n"},
    {"lock-writes", run_lock_writes, "cdnr",
     "lock-writes --config FILE [--database NAME] [--dry-run] [--retries N]",
     "Lock, on every database, the tables that don't belong to it against writes, and unlock those "
     "that do.\n"
     "The locks are GitLab's: what gitlab:db:lock_writes made is recognised, and the other way "
     "round.\n\n" LOCK_HELP},
    {"unlock-writes", run_unlock_writes, "cdnr",
     "unlock-writes --config FILE [--database NAME] [--dry-run] [--retries N]",
     "Remove every lock against writes.\n\n" LOCK_HELP},
    {"lock-status", run_lock_status, "cdn", "lock-status --config FILE [--database NAME]",
     "Tell which tables should be locked against writes and which are. Exit status 1: they are not "
     "the same.\n\n"
     "  -d, --database NAME      this database only\n"},
    {"allowlist", run_allowlist, "cmut",
     "allowlist --config FILE --from VIOLATIONS [--url URL] [--until DATE]",
     "Print, as YAML, the allowlist that lets every recorded violation pass, the most frequent "
     "first; entries of\n"
     "the configured allowlist keep their url and until, and those that were not seen are left "
     "out, which is said\n"
     "on standard error.\n\n"
     "  -m, --from FILE          what the key `violations` names, rotated files put together too; "
     "- is the standard input\n"
     "  -u, --url URL            where the new entries are worked on\n"
     "  -t, --until DATE         the last day on which they hold, YYYY-MM-DD\n"},
};

enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"entrypoint", required_argument, NULL, 'e'},
    {"file", required_argument, NULL, 'f'},
    {"json", no_argument, NULL, 'j'},
    {"live", no_argument, NULL, 'l'},
    {"database", required_argument, NULL, 'd'},
    {"dry-run", no_argument, NULL, 'n'},
    {"retries", required_argument, NULL, 'r'},
    {"format", required_argument, NULL, 'F'},
    {"log-line-prefix", required_argument, NULL, 'P'},
    {"from", required_argument, NULL, 'm'},
    {"url", required_argument, NULL, 'u'},
    {"until", required_argument, NULL, 't'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static const char *option_name(int letter) {
    for (const struct option *option = options; option->name != NULL; option++)
        if (option->val == letter)
            return option->name;
    return "?";
}

static void print_help(void) {
    puts("pginterlock: a PostgreSQL proxy that keeps one connection string working while its "
         "database is split\n"
         "\nUsage:");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        printf("  pginterlock %s\n", commands[i].usage);
    puts("  pginterlock --version | --help | COMMAND --help\n"
         "\nExit status: 0 fine; 1 what was asked for found something; 2 bad usage, configuration "
         "or input.");
}

static int print_command_help(const struct command *command) {
    printf("Usage: pginterlock %s\n\n%s", command->usage, command->help);
    puts("  -c, --config FILE        the configuration\n  -h, --help               this text");
    return EXIT_SUCCESS;
}

static int usage_error(const struct command *command, const char *what, const char *which) {
    fprintf(stderr, "pginterlock: %s%s: see pginterlock %s%s--help\n", what, which,
            command != NULL ? command->name : "", command != NULL ? " " : "");
    return EXIT_USAGE;
}

/* One option; false: the command doesn't take it. */
static bool take_option(const struct command *command, int letter, struct arguments *arguments) {
    if (letter == 'h') {
        arguments->help = true;
        return true;
    }
    if (strchr(command->options, letter) == NULL)
        return false;
    switch (letter) {
    case 'c':
        arguments->config = optarg;
        break;
    case 'e':
        arguments->entrypoint = optarg;
        break;
    case 'f':
        arguments->file = optarg;
        break;
    case 'j':
        arguments->json = true;
        break;
    case 'd':
        arguments->database = optarg;
        break;
    case 'n':
        arguments->dry_run = true;
        break;
    case 'r':
        arguments->retries = optarg;
        break;
    case 'F':
        arguments->format = optarg;
        break;
    case 'P':
        arguments->prefix = optarg;
        break;
    case 'm':
        arguments->from = optarg;
        break;
    case 'u':
        arguments->url = optarg;
        break;
    case 't':
        arguments->until = optarg;
        break;
    default:
        arguments->live = true;
    }
    return true;
}

static int run_with_arguments(const struct command *command, int argc, char **argv) {
    struct arguments arguments = {0};
    int letter;
    opterr = 0;
    while ((letter = getopt_long(argc, argv, ":c:e:f:d:r:F:P:m:u:t:jlnh", options, NULL)) != -1) {
        if (letter == ':')
            return usage_error(command, "a value is missing after ", argv[optind - 1]);
        if (letter == '?')
            return usage_error(command, "unknown option ", argv[optind - 1]);
        if (!take_option(command, letter, &arguments))
            return usage_error(command, "this command doesn't take --", option_name(letter));
    }
    if (arguments.help)
        return print_command_help(command);
    if (strchr(command->options, 'f') != NULL && optind < argc)
        arguments.sql = argv[optind++];
    if (strchr(command->options, 'F') != NULL) {
        arguments.operands = argv + optind;
        arguments.operand_count = (size_t)(argc - optind);
        optind = argc;
    }
    if (optind < argc)
        return usage_error(command, "unexpected argument ", argv[optind]);
    if (arguments.config == NULL)
        return usage_error(command, "--config FILE is missing", "");
    return command->run(&arguments);
}

int main(int argc, char **argv) {
    if (argc < 2)
        return usage_error(NULL, "a command is missing", "");
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        puts("pginterlock " PGINTERLOCK_VERSION);
        return EXIT_SUCCESS;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help();
        return EXIT_SUCCESS;
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(argv[1], commands[i].name) != 0)
            continue;
        return run_with_arguments(&commands[i], argc - 1, argv + 1);
    }
    return usage_error(NULL, argv[1][0] == '-' ? "unknown option " : "unknown command ", argv[1]);
}
