#include "hanse/cli.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char seen[256];

static hanse_rc run_show(hanse_cli *cli, hanse_err *err)
{
    const char *round = hanse_cli_value(cli, "round");

    (void)err;
    (void)snprintf(seen, sizeof seen, "show dir=%s args=%d,%s round=%s force=%s quiet=%d", cli->dir == NULL ? "-" : cli->dir, cli->args_count,
                   cli->args_count > 0 ? cli->args[0] : "-", round == NULL ? "-" : round, hanse_cli_value(cli, "force") == NULL ? "no" : "yes",
                   cli->quiet);
    assert_null(hanse_cli_value(cli, "no such option"));
    hanse_cli_print(cli, "for people\n");
    hanse_cli_progress(cli, "on the way");
    cli->data = json_pack("{s:i}", "rounds", 3);
    return HANSE_OK;
}

static hanse_rc run_accept(hanse_cli *cli, hanse_err *err)
{
    (void)snprintf(seen, sizeof seen, "%s %s", cli->command->name, cli->args[0]);
    return HANSE_FAIL(err, HANSE_E_POLICY, "the plan \"%s\" is refused", cli->args[0]);
}

static const hanse_cli_option show_options[] = {{"round", 'n', "N", "which round"}, {"force", 'f', NULL, "anyway"}, {NULL, 0, NULL, NULL}};
static const hanse_cli_command commands[] = {{"show", "[RUN]", "state", 0, 1, true, show_options, run_show},
                                             {"accept plan", "HASH", "take a plan", 1, 1, false, NULL, run_accept},
                                             {"accept", "HASH", "take anything", 1, 1, false, NULL, run_accept},
                                             {NULL, NULL, NULL, 0, 0, false, NULL, NULL}};
static const hanse_cli_program program = {"hanse-test", "a program of tests", commands};

static char out_text[4096], err_text[4096];

static void read_back(FILE *file, char *text)
{
    size_t len;

    rewind(file);
    len = fread(text, 1, 4095, file);
    text[len] = '\0';
    (void)fclose(file);
}

/* Runs the words of `line`, with stdout and stderr in out_text and err_text. */
static int run(const char *line)
{
    char words[256], *argv[16] = {NULL};
    int argc = 0, real_out, real_err, status;
    FILE *out = tmpfile(), *err = tmpfile();

    (void)snprintf(words, sizeof words, "%s", line);
    for (char *rest = words, *word = strsep(&rest, " "); word != NULL; word = strsep(&rest, " "))
        argv[argc++] = word;
    seen[0] = '\0';
    (void)fflush(stdout);
    (void)fflush(stderr);
    real_out = dup(STDOUT_FILENO);
    real_err = dup(STDERR_FILENO);
    (void)dup2(fileno(out), STDOUT_FILENO);
    (void)dup2(fileno(err), STDERR_FILENO);
    status = hanse_cli_main(&program, argc, argv);
    (void)fflush(stderr);
    (void)dup2(real_out, STDOUT_FILENO);
    (void)dup2(real_err, STDERR_FILENO);
    (void)close(real_out);
    (void)close(real_err);
    read_back(out, out_text);
    read_back(err, err_text);
    return status;
}

static void commands_get_their_options(void **state)
{
    static const struct {
        const char *line, *seen;
    } rows[] = {
        {"hanse-test show --dir d", "show dir=d args=0,- round=- force=no quiet=0"},
        {"hanse-test show r --dir=d -n 3 -f", "show dir=d args=1,r round=3 force=yes quiet=0"},
        {"hanse-test show --round 4 --dir d r --quiet", "show dir=d args=1,r round=4 force=no quiet=1"},
        {"hanse-test show -q --dir d -- -x", "show dir=d args=1,-x round=- force=no quiet=1"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(run(rows[i].line), 0);
        assert_string_equal(seen, rows[i].seen);
        assert_string_equal(out_text, "for people\n");
        assert_string_equal(err_text, strstr(rows[i].line, "-q") != NULL ? "" : "on the way\n");
    }
    assert_int_equal(run("hanse-test accept plan H"), 6);
    assert_string_equal(seen, "accept plan H");
    assert_string_equal(err_text, "hanse-test: the plan \"H\" is refused\n");
    assert_int_equal(run("hanse-test accept H"), 6);
    assert_string_equal(seen, "accept H");
}

static void json_is_one_envelope(void **state)
{
    (void)state;
    assert_int_equal(run("hanse-test show --dir d --format json"), 0);
    assert_string_equal(out_text, "{\"ok\":true,\"data\":{\"rounds\":3}}\n");
    assert_string_equal(err_text, "");
    assert_int_equal(run("hanse-test accept H --format=json"), 6);
    assert_string_equal(out_text, "{\"ok\":false,\"error\":{\"code\":\"policy\",\"text\":\"the plan \\\"H\\\" is refused\"}}\n");
    assert_int_equal(run("hanse-test accept \xff --format json"), 6);
    assert_non_null(strstr(out_text, "\"code\":\"policy\""));
    assert_int_equal(run("hanse-test show --format json --nonsense"), 4);
    assert_non_null(strstr(out_text, "{\"ok\":false,\"error\":{\"code\":\"invalid\""));
}

static void wrong_usage_is_one_line_and_exit_code_4(void **state)
{
    static const struct {
        const char *line, *words;
    } rows[] = {
        {"hanse-test", "a command is missing; see hanse-test --help"},
        {"hanse-test fly", "unknown command fly"},
        {"hanse-test --dir d show", "unknown command --dir"},
        {"hanse-test show", "--dir DIR is missing; see hanse-test show --help"},
        {"hanse-test show --dir d a b", "one argument too many: b"},
        {"hanse-test accept", "an argument is missing: HASH"},
        {"hanse-test show --dir d --wings", "unknown or incomplete option --wings"},
        {"hanse-test show --dir d -x", "unknown or incomplete option -x"},
        {"hanse-test show --dir d --round", "--round"},
        {"hanse-test show --dir d --format xml", "--format is text or json, not xml"},
        {"hanse-test show --dir d --log-level loud", "--log-level is error, warn, info or debug, not loud"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (run(rows[i].line) != 4 || strstr(err_text, rows[i].words) == NULL)
            fail_msg("%s: got \"%s\"", rows[i].line, err_text);
        assert_string_equal(seen, "");
        assert_true(strchr(err_text, '\n') == err_text + strlen(err_text) - 1);
    }
}

static void help_and_version_exit_0(void **state)
{
    (void)state;
    assert_int_equal(run("hanse-test --help"), 0);
    assert_non_null(strstr(out_text, "accept plan"));
    assert_int_equal(run("hanse-test show --help"), 0);
    assert_non_null(strstr(out_text, "usage: hanse-test show [RUN] [OPTION...]"));
    assert_non_null(strstr(out_text, "-n, --round N"));
    assert_non_null(strstr(out_text, "--log-level LEVEL"));
    assert_int_equal(run("hanse-test show --version"), 0);
    assert_string_equal(out_text, "hanse-test " HANSE_VERSION "\n");
    assert_int_equal(run("hanse-test --version"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_get_their_options),
        cmocka_unit_test(json_is_one_envelope),
        cmocka_unit_test(wrong_usage_is_one_line_and_exit_code_4),
        cmocka_unit_test(help_and_version_exit_0),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
