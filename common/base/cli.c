#include "hanse/cli.h"

#include "hanse/bytes.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum { OPTION_HELP = 1000, OPTION_VERSION, OPTION_DIR, OPTION_FORMAT, OPTION_QUIET, OPTION_LOG_LEVEL, OPTIONS_COMMON };

static const hanse_cli_option common_options[] = {{"help", 'h', NULL, "print this and exit"},
                                                  {"version", 0, NULL, "print the version and exit"},
                                                  {"dir", 0, "DIR", "working directory"},
                                                  {"format", 0, "text|json", "form of the result; json is one envelope"},
                                                  {"quiet", 'q', NULL, "no progress"},
                                                  {"log-level", 0, "LEVEL", "error, warn, info or debug"},
                                                  {NULL, 0, NULL, NULL}};

static void print_options(const hanse_cli_option *options)
{
    for (; options != NULL && options->name != NULL; options++) {
        char left[48];

        (void)snprintf(left, sizeof left, "%c%c%s --%s%s%s", options->letter ? '-' : ' ', options->letter ? options->letter : ' ',
                       options->letter ? "," : " ", options->name, options->arg == NULL ? "" : " ",
                       options->arg == NULL ? "" : options->arg);
        printf("  %-28s %s\n", left, options->help);
    }
}

static void print_help(const hanse_cli *cli)
{
    const hanse_cli_command *command = cli->command;

    if (command != NULL) {
        printf("usage: %s %s%s%s [OPTION...]\n%s\n\noptions:\n", cli->program->name, command->name,
               command->args[0] == '\0' ? "" : " ", command->args, command->help);
        print_options(command->options);
        print_options(common_options);
        return;
    }
    printf("usage: %s COMMAND [OPTION...]\n%s\n\ncommands:\n", cli->program->name, cli->program->help);
    for (command = cli->program->commands; command->name != NULL; command++)
        printf("  %-16s %s\n", command->name, command->help);
    printf("\noptions of every command:\n");
    print_options(common_options);
}

/* The command that the first words name, the longest name first; *words is how many it took. */
static const hanse_cli_command *find_command(const hanse_cli_command *commands, char *const *args, int count, int *words)
{
    const hanse_cli_command *found = NULL;
    char typed[64];

    for (; commands->name != NULL; commands++) {
        bool two = strchr(commands->name, ' ') != NULL;

        if (count < (two ? 2 : 1) || (found != NULL && !two))
            continue;
        (void)snprintf(typed, sizeof typed, "%s%s%s", args[0], two ? " " : "", two ? args[1] : "");
        if (strcmp(typed, commands->name) == 0) {
            found = commands;
            *words = two ? 2 : 1;
        }
    }
    return found;
}

typedef enum outcome { RUN, EXIT_GOOD, EXIT_BAD } outcome;

static outcome wrong_usage(hanse_err *err, const hanse_cli *cli, const char *what, const char *word)
{
    (void)HANSE_FAIL(err, HANSE_E_INVALID, "%s%s%.64s; see %s %s%s--help", what, word[0] == '\0' ? "" : " ", word,
                     cli->program->name, cli->command == NULL ? "" : cli->command->name, cli->command == NULL ? "" : " ");
    return EXIT_BAD;
}

static outcome take_option(hanse_cli *cli, int which, const char *value, hanse_err *err)
{
    switch (which) {
    case OPTION_HELP:
        print_help(cli);
        return EXIT_GOOD;
    case OPTION_VERSION:
        printf("%s %s\n", cli->program->name, HANSE_VERSION);
        return EXIT_GOOD;
    case OPTION_DIR:
        cli->dir = value;
        return RUN;
    case OPTION_FORMAT:
        if (strcmp(value, "json") != 0 && strcmp(value, "text") != 0)
            return wrong_usage(err, cli, "--format is text or json, not", value);
        cli->json = value[0] == 'j';
        return RUN;
    case OPTION_QUIET:
        cli->quiet = true;
        return RUN;
    case OPTION_LOG_LEVEL:
        if (!hanse_log_level_parse(value, &cli->level))
            return wrong_usage(err, cli, "--log-level is error, warn, info or debug, not", value);
        cli->level_given = true;
        return RUN;
    default:
        cli->values[which] = value == NULL ? "" : value;
        return RUN;
    }
}

/* The options in getopt's form; a letter stands for the same number as its long name. */
static size_t fill_options(const hanse_cli_option *options, int first, struct option *longs, char *letters)
{
    size_t count = 0;

    for (; options != NULL && options[count].name != NULL; count++) {
        longs[count] = (struct option){options[count].name, options[count].arg == NULL ? no_argument : required_argument,
                                       NULL, first + (int)count};
        if (options[count].letter != 0) {
            size_t len = strlen(letters);

            letters[len] = options[count].letter;
            letters[len + 1] = options[count].arg == NULL ? '\0' : ':';
            letters[len + 2] = '\0';
        }
    }
    return count;
}

static int option_of_letter(const hanse_cli *cli, int letter)
{
    const hanse_cli_option *own = cli->command->options;

    for (int i = 0; own != NULL && own[i].name != NULL; i++)
        if (own[i].letter == letter)
            return i;
    for (int i = 0; common_options[i].name != NULL; i++)
        if (common_options[i].letter == letter)
            return OPTION_HELP + i;
    return -1;
}

static outcome parse_options(hanse_cli *cli, int argc, char **argv, hanse_err *err)
{
    struct option longs[HANSE_CLI_OPTIONS_MAX + OPTIONS_COMMON - OPTION_HELP + 1] = {{0}};
    char letters[3 * (HANSE_CLI_OPTIONS_MAX + OPTIONS_COMMON - OPTION_HELP) + 2] = ":";
    size_t own = fill_options(cli->command->options, 0, longs, letters);
    int found;

    (void)fill_options(common_options, OPTION_HELP, longs + own, letters);
    optind = 0; /* glibc: start anew */
    while ((found = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
        outcome next;

        if (found == '?' || found == ':')
            return wrong_usage(err, cli, found == ':' ? "a value is missing after" : "unknown or incomplete option",
                               argv[optind - 1]);
        if (found < 256 && found >= (int)own) /* numbers of own options are below any letter */
            found = option_of_letter(cli, found);
        next = take_option(cli, found, optarg, err);
        if (next != RUN)
            return next;
    }
    cli->args = argv + optind;
    cli->args_count = argc - optind;
    if (cli->args_count < cli->command->args_min)
        return wrong_usage(err, cli, "an argument is missing:", cli->command->args);
    if (cli->args_count > cli->command->args_max)
        return wrong_usage(err, cli, "one argument too many:", cli->args[cli->command->args_max]);
    if (cli->command->needs_dir && cli->dir == NULL)
        return wrong_usage(err, cli, "--dir DIR is missing", "");
    return RUN;
}

static outcome parse(hanse_cli *cli, int argc, char **argv, hanse_err *err)
{
    int words = 0;

    for (int i = 1; i < argc; i++) /* known early, so that errors of usage come in the form asked for */
        cli->json = cli->json || strcmp(argv[i], "--format=json") == 0 ||
                    (strcmp(argv[i], "--format") == 0 && i + 1 < argc && strcmp(argv[i + 1], "json") == 0);
    if (argc < 2)
        return wrong_usage(err, cli, "a command is missing", "");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0)
        return take_option(cli, OPTION_HELP, NULL, err);
    if (strcmp(argv[1], "--version") == 0)
        return take_option(cli, OPTION_VERSION, NULL, err);
    cli->command = find_command(cli->program->commands, argv + 1, argc - 1, &words);
    if (cli->command == NULL)
        return wrong_usage(err, cli, "unknown command", argv[1]);
    return parse_options(cli, argc - words, argv + words, err);
}

static void print_envelope(hanse_cli *cli, hanse_rc rc, const hanse_err *err)
{
    json_t *data = cli->data == NULL ? json_null() : cli->data;
    json_t *envelope = rc == HANSE_OK
                           ? json_pack("{s:b, s:O}", "ok", 1, "data", data)
                           : json_pack("{s:b, s:{s:s, s:s%}}", "ok", 0, "error", "code", hanse_rc_name(rc), "text", err->text,
                                       strlen(err->text));

    if (envelope == NULL && rc != HANSE_OK) /* a text that is not UTF-8 */
        envelope = json_pack("{s:b, s:{s:s, s:s}}", "ok", 0, "error", "code", hanse_rc_name(rc), "text", "(not UTF-8; see stderr)");
    if (envelope == NULL || json_dumpf(envelope, stdout, JSON_COMPACT | JSON_ENSURE_ASCII) != 0)
        fputs("{\"ok\":false,\"error\":{\"code\":\"nomem\",\"text\":\"cannot print the result\"}}", stdout);
    putchar('\n');
    json_decref(envelope);
}

int hanse_cli_main(const hanse_cli_program *program, int argc, char **argv)
{
    hanse_cli cli = {.program = program, .level = HANSE_LOG_INFO};
    hanse_err err = {.rc = HANSE_OK};
    hanse_rc rc = HANSE_OK;
    outcome parsed = parse(&cli, argc, argv, &err);

    if (parsed == EXIT_GOOD)
        return fflush(stdout) == 0 ? 0 : hanse_rc_exit_code(HANSE_E_IO);
    if (parsed == EXIT_BAD) {
        rc = HANSE_E_INVALID;
    } else {
        hanse_log_level_set(cli.level);
        rc = cli.command->run(&cli, &err);
        if (isatty(STDERR_FILENO) == 1 && !cli.json && !cli.quiet)
            fputs("\r\033[K", stderr); /* progress leaves its line */
    }
    if (rc != HANSE_OK)
        fprintf(stderr, "%s: %s\n", program->name, err.text[0] == '\0' ? hanse_rc_name(rc) : err.text);
    if (cli.json)
        print_envelope(&cli, rc, &err);
    json_decref(cli.data);
    if (fflush(stdout) != 0 && rc == HANSE_OK) { /* a full disk behind a redirection must not look like success */
        fprintf(stderr, "%s: cannot write the result to stdout\n", program->name);
        rc = HANSE_E_IO;
    }
    return hanse_rc_exit_code(rc);
}

const char *hanse_cli_value(const hanse_cli *cli, const char *name)
{
    const hanse_cli_option *own = cli->command->options;

    for (size_t i = 0; own != NULL && own[i].name != NULL; i++)
        if (strcmp(own[i].name, name) == 0)
            return cli->values[i];
    return NULL;
}

void hanse_cli_print(const hanse_cli *cli, const char *fmt, ...)
{
    va_list args;

    if (cli->json)
        return;
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
}

void hanse_cli_progress(const hanse_cli *cli, const char *fmt, ...)
{
    bool terminal = isatty(STDERR_FILENO) == 1;
    va_list args;

    if (cli->json || cli->quiet)
        return;
    va_start(args, fmt);
    if (terminal)
        fputs("\r\033[K", stderr);
    vfprintf(stderr, fmt, args);
    if (!terminal)
        fputc('\n', stderr);
    va_end(args);
    (void)fflush(stderr);
}
