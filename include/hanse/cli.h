/* cli.h - the command line contract: subcommands, common flags, exit codes, the JSON envelope.
 *
 * A program is a table of commands; hanse_cli_main() parses, runs one and turns its result into output and exit code.
 * Common flags of every command: --help --version --dir DIR --format text|json --quiet --log-level LEVEL. */
#ifndef HANSE_CLI_H
#define HANSE_CLI_H

#include "hanse/log.h"

#include <jansson.h>

#define HANSE_CLI_OPTIONS_MAX 16 /* own options of one command */

typedef struct hanse_cli_option {
    const char *name; /* long name without dashes; NULL ends a table */
    char letter;      /* short form; 0: none */
    const char *arg;  /* word for the value in --help ("FILE"); NULL: a switch */
    const char *help;
} hanse_cli_option;

typedef struct hanse_cli hanse_cli;

typedef struct hanse_cli_command {
    const char *name; /* NULL ends a table; words joined by a space ("accept plan") are typed as such */
    const char *args; /* positional arguments in --help: "RUN"; "" for none */
    const char *help; /* one line */
    int args_min, args_max;
    bool needs_dir; /* --dir must be given */
    const hanse_cli_option *options; /* NULL: none of its own */
    hanse_rc (*run)(hanse_cli *cli, hanse_err *err);
} hanse_cli_command;

typedef struct hanse_cli_program {
    const char *name; /* "hanse-node" */
    const char *help; /* one line */
    const hanse_cli_command *commands;
} hanse_cli_program;

struct hanse_cli {
    const hanse_cli_program *program;
    const hanse_cli_command *command;
    const char *dir;         /* NULL when not given */
    bool json, quiet;
    hanse_level level;
    bool level_given; /* by --log-level: a configured one stands back */
    char *const *args;       /* [args_count] positional */
    int args_count;
    const char *values[HANSE_CLI_OPTIONS_MAX]; /* by position in the command's table; see hanse_cli_value() */
    json_t *data;            /* what a command reports under --format json; taken over by the cli; NULL prints null */
};

/* Parse, run, print, release. Returns the exit code: that of the command's hanse_rc, 4 for wrong usage.
 * An error prints as one line "PROGRAM: text" on stderr, and under --format json also as
 * {"ok":false,"error":{"code":"invalid","text":"..."}} on stdout; success as {"ok":true,"data":...}. */
int hanse_cli_main(const hanse_cli_program *program, int argc, char **argv);

/* Value of an own option: NULL when not given, "" for a switch that was. */
const char *hanse_cli_value(const hanse_cli *cli, const char *name);
/* A result for people, on stdout; nothing under --format json. (--quiet leaves results, drops progress.) */
void hanse_cli_print(const hanse_cli *cli, const char *fmt, ...) HANSE_PRINTF(2, 3);
/* Progress, on stderr: rewrites its line on a terminal, plain lines elsewhere; nothing under --quiet or json. */
void hanse_cli_progress(const hanse_cli *cli, const char *fmt, ...) HANSE_PRINTF(2, 3);

#endif
