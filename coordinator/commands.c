#include "coordinator/commands.h"

#include "coordinator/server/control.h"
#include "hanse/clock.h"
#include "hanse/identity.h"

#include <stdio.h>

static const hanse_cli_option init_options[] = {
    {"name", 0, "NAME", "of the consortium"},
    {"address", 0, "HOST:PORT", "what sites dial; HOST goes into the certificate"},
    {"listen", 0, "HOST:PORT", "what the service binds; default: every address, the same port"},
    {0}};
static const hanse_cli_option invite_options[] = {
    {"organisation", 0, "ORG", "institution that runs the site; default: the site's name"},
    {"expires", 0, "DURATION", "how long the invitation holds; default 7d"},
    {"output", 'o', "FILE", "write it there (0600); default: standard output"},
    {0}};
static const hanse_cli_option submit_options[] = {
    {"token", 0, "TOKEN", "the same token never submits twice: it prints the run-id of the first time"},
    {"model", 0, "FILE", "start from this model; default: from the plan's seed"},
    {0}};
static const hanse_cli_option export_options[] = {
    {"round", 0, "N", "model after that round, 0 for the initial one; default: the best"},
    {"output", 'o', "FILE", "where to; required"},
    {0}};
static const hanse_cli_option round_options[] = {
    {"wait", 0, "DURATION", "how long to wait for the end of the round; default: as long as it takes"},
    {0}};

static const hanse_cli_option backup_options[] = {
    {"without-ca-key", 0, NULL, "leave the certificate authority's key out"},
    {0}};

static const hanse_cli_command commands[] = {
    {"init", "", "make a coordinator's directory: certificate authority, identity, configuration", 0, 0, true, init_options, hanse_command_init},
    {"invite", "SITE", "make a one-time invitation for a site", 1, 1, true, invite_options, hanse_command_invite},
    {"sites", "", "list the sites", 0, 0, true, NULL, hanse_command_sites},
    {"revoke", "[SITE]", "shut a site out; without SITE renew the revocation list", 0, 1, true, NULL, hanse_command_revoke},
    {"submit", "PLAN.yaml", "open a run of a plan with all active sites; prints the run-id", 1, 1, true, submit_options, hanse_command_submit},
    {"list", "", "list the runs", 0, 0, true, NULL, hanse_command_list},
    {"show", "RUN", "rounds of a run: who took part, who did not, and why", 1, 1, true, NULL, hanse_command_show},
    {"log", "[RUN]", "events of a run; without RUN those of the consortium", 0, 1, true, NULL, hanse_command_log},
    {"stop", "RUN", "end a run; an open round becomes void", 1, 1, true, NULL, hanse_command_stop},
    {"export", "RUN", "write a model of the run as safetensors", 1, 1, true, export_options, hanse_command_export},
    {"serve", "", "run the service until SIGTERM", 0, 0, true, NULL, hanse_command_serve},
    {"round", "RUN", "run one round, with or without a running service, and exit", 1, 1, true, round_options, hanse_command_round},
    {"backup", "FILE", "copy the directory into one file (0600: it holds private keys), also while the service runs", 1, 1, true,
     backup_options, hanse_command_backup},
    {"restore", "FILE", "make a coordinator's directory from a backup", 1, 1, true, NULL, hanse_command_restore},
    {0}};

const hanse_cli_program hanse_coordinator_program = {"hanse-coordinator", "coordinator of a consortium that trains one model together",
                                                     commands};

/* ---- shared ---- */
hanse_rc hanse_command_run(const hanse_cli *cli, hanse_store **store, hanse_store_run *run, hanse_err *err)
{
    uint8_t run_id[16];
    hanse_rc rc = hanse_store_open(store, cli->dir, false, err);

    if (rc == HANSE_OK)
        rc = hanse_store_run_find(*store, cli->args[0], run_id, err);
    return rc == HANSE_OK ? hanse_store_run_get(*store, run_id, run, err) : rc;
}

static hanse_rc read_pem(const char *dir, const char *file, hanse_buf *pem, hanse_err *err)
{
    hanse_path path;
    hanse_rc rc = hanse_path_join(path, dir, file, err);

    return rc == HANSE_OK ? hanse_file_read(pem, path, HANSE_CERT_PEM_MAX, err) : rc;
}

hanse_rc hanse_command_key(const char *dir, const char *file, hanse_key **out, hanse_err *err)
{
    hanse_buf pem = HANSE_BUF_EMPTY;
    hanse_rc rc = read_pem(dir, file, &pem, err);

    if (rc == HANSE_OK) {
        rc = hanse_key_from_pem(out, hanse_buf_bytes(&pem), err);
        if (rc != HANSE_OK)
            hanse_err_wrap(err, "%s/%s", dir, file);
    }
    hanse_buf_wipe(&pem);
    return rc;
}

hanse_rc hanse_command_cert(const char *dir, const char *file, hanse_cert **out, hanse_err *err)
{
    hanse_buf pem = HANSE_BUF_EMPTY;
    hanse_rc rc = read_pem(dir, file, &pem, err);

    if (rc == HANSE_OK) {
        rc = hanse_cert_from_pem(out, hanse_buf_bytes(&pem), err);
        if (rc != HANSE_OK)
            hanse_err_wrap(err, "%s/%s", dir, file);
    }
    hanse_buf_clear(&pem);
    return rc;
}

void hanse_command_wake(const hanse_cli *cli)
{
    hanse_err err = {.rc = HANSE_OK};
    bool running;

    if (hanse_control_wake(cli->dir, &running, &err) != HANSE_OK)
        hanse_log(HANSE_LOG_WARN, "wake_failed error=%s", err.text);
}

json_t *hanse_command_hex(const uint8_t *data, size_t len)
{
    char hex[65];

    hanse_hex_encode(hex, data, len > 32 ? 32 : len);
    return json_string(hex);
}

json_t *hanse_command_time(uint64_t wall_ms)
{
    char text[HANSE_TIME_LEN];

    if (wall_ms == 0)
        return json_null();
    hanse_clock_format_ms(text, wall_ms);
    return json_string(text);
}

/* ---- list, log ---- */
hanse_rc hanse_command_list(hanse_cli *cli, hanse_err *err)
{
    hanse_store *store = NULL;
    hanse_store_run *runs = NULL;
    size_t count = 0;
    hanse_rc rc = hanse_store_open(&store, cli->dir, false, err);

    if (rc == HANSE_OK)
        rc = hanse_store_runs(store, &runs, &count, err);
    cli->data = rc == HANSE_OK ? json_array() : NULL;
    if (rc == HANSE_OK && count > 0)
        hanse_cli_print(cli, "%-32s  %-8s %6s  %-24s  %s\n", "run", "state", "rounds", "submitted", "plan");
    for (size_t i = 0; i < count; i++) {
        const hanse_store_run *run = &runs[i];
        char hex[33], time[HANSE_TIME_LEN];

        hanse_hex_encode(hex, run->run_id, 16);
        hanse_clock_format_ms(time, run->created_ms);
        hanse_cli_print(cli, "%s  %-8s %6ju  %s  %s\n", hex, hanse_store_run_state_name(run->state), (uintmax_t)run->rounds_done, time, run->name);
        json_array_append_new(cli->data, json_pack("{s:s, s:s, s:s, s:I, s:s}", "run", hex, "plan", run->name, "state",
                                                   hanse_store_run_state_name(run->state), "rounds_done", (json_int_t)run->rounds_done,
                                                   "submitted", time));
    }
    hanse_store_runs_free(runs, count);
    hanse_store_close(store);
    return rc;
}

hanse_rc hanse_command_log(hanse_cli *cli, hanse_err *err)
{
    hanse_store *store = NULL;
    hanse_store_run run = {0};
    hanse_store_event *events = NULL;
    size_t count = 0;
    hanse_rc rc = cli->args_count > 0 ? hanse_command_run(cli, &store, &run, err) : hanse_store_open(&store, cli->dir, false, err);

    if (rc == HANSE_OK)
        rc = hanse_store_events(store, cli->args_count > 0 ? run.run_id : NULL, &events, &count, err);
    cli->data = rc == HANSE_OK ? json_array() : NULL;
    for (size_t i = 0; i < count; i++) {
        char time[HANSE_TIME_LEN];

        hanse_clock_format_ms(time, events[i].time_ms);
        hanse_cli_print(cli, "%s %s\n", time, events[i].text);
        json_array_append_new(cli->data, json_pack("{s:s, s:s}", "time", time, "text", events[i].text));
    }
    hanse_free(events);
    hanse_store_run_clear(&run);
    hanse_store_close(store);
    return rc;
}
