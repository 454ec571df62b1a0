#include "coordinator/commands.h"
#include "coordinator/server/service.h"
#include "hanse/clock.h"
#include "hanse/config.h"
#include "hanse/model_root.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define POLL_MS 50
#define STOP_WAIT_MS 30000

static void pause_ms(long ms)
{
    (void)nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* Does a service hold the directory? */
static hanse_rc service_runs(const char *dir, bool *runs, hanse_err *err)
{
    int lock = -1;
    hanse_err inner = {.rc = HANSE_OK};
    hanse_rc rc = hanse_lock_try(&lock, dir, &inner);

    hanse_lock_release(&lock);
    *runs = rc == HANSE_E_LOCKED;
    return rc == HANSE_OK || *runs ? HANSE_OK : HANSE_FAIL(err, rc, "%s", inner.text);
}

/* The configured level, unless the command line names another. */
static hanse_rc load_config(const hanse_cli *cli, hanse_coordinator_config *config, hanse_err *err)
{
    hanse_rc rc = hanse_coordinator_config_load(config, cli->dir, err);

    if (rc == HANSE_OK && !cli->level_given)
        hanse_log_level_set((hanse_level)config->level);
    return rc;
}

hanse_rc hanse_command_serve(hanse_cli *cli, hanse_err *err)
{
    const hanse_service_options options = {.run_id = NULL};
    hanse_coordinator_config config;
    hanse_rc rc = load_config(cli, &config, err);

    return rc == HANSE_OK ? hanse_service_run(cli->dir, &config, &options, err) : rc;
}

/* ---- round ---- */
static hanse_rc report_round(hanse_cli *cli, const hanse_store_round *round, hanse_err *err)
{
    const char *state = hanse_store_round_state_name(round->state);

    if (round->state == HANSE_STORE_ROUND_VOID)
        return HANSE_FAIL(err, round->code == HANSE_OK ? HANSE_E_FAILED : round->code, "round %" PRIu64 " is void: %s", round->round,
                          round->reason);
    hanse_cli_print(cli, "round %" PRIu64 " %s\n", round->round, state);
    cli->data = json_pack("{s:I, s:s}", "round", (json_int_t)round->round, "state", state);
    return HANSE_OK;
}

/* `file` is `model` itself or a copy of it. */
static hanse_rc check_published(const char *file, const char *model, const uint8_t want[32], hanse_err *err)
{
    uint8_t root[32];
    hanse_rc rc = hanse_model_root_of_file(root, NULL, file, err);

    if (rc == HANSE_OK && memcmp(root, want, 32) != 0)
        rc = HANSE_FAIL(err, HANSE_E_CORRUPT, "%s is not the model that was published; put a backup in its place", model);
    return rc;
}

/* A service runs: ask it for the round in slot `slot` or a later one, and follow that round to its end. */
static hanse_rc follow_round(hanse_cli *cli, hanse_store *store, const hanse_store_run *run, uint64_t slot, uint64_t wait_ms, hanse_err *err)
{
    uint64_t start_us = hanse_clock_mono_us();
    hanse_rc rc = hanse_store_request_add(store, HANSE_STORE_ASK_ROUND, run->run_id, hanse_clock_wall_ms(), err);

    if (rc == HANSE_OK)
        hanse_command_wake(cli);
    while (rc == HANSE_OK) {
        hanse_store_round round = {0};
        hanse_store_run now = {0};
        bool found = false, over = false;

        rc = hanse_store_round_newest(store, run->run_id, &round, &found, err);
        over = rc == HANSE_OK && found && round.slot >= slot && round.state != HANSE_STORE_ROUND_OPEN;
        if (over)
            rc = report_round(cli, &round, err);
        else if (rc == HANSE_OK)
            rc = hanse_store_run_get(store, run->run_id, &now, err);
        if (rc == HANSE_OK && !over && now.state != HANSE_STORE_RUN_OPEN && !(found && round.state == HANSE_STORE_ROUND_OPEN))
            rc = HANSE_FAIL(err, HANSE_E_FAILED, "the run is %s%s%s", hanse_store_run_state_name(now.state), now.reason[0] == '\0' ? "" : ": ",
                            now.reason);
        if (rc == HANSE_OK && !over && wait_ms > 0 && (hanse_clock_mono_us() - start_us) / 1000 >= wait_ms)
            rc = found && round.slot >= slot ? HANSE_FAIL(err, HANSE_E_LATE, "--wait is over; the round goes on in the service")
                                             : HANSE_FAIL(err, HANSE_E_LATE, "--wait is over, and no round has opened: `log RUN` says who takes part");
        hanse_store_round_clear(&round);
        hanse_store_run_clear(&now);
        if (over)
            break;
        if (rc == HANSE_OK)
            pause_ms(POLL_MS);
    }
    return rc;
}

/* No service runs: be one, for this round. */
static hanse_rc serve_round(hanse_cli *cli, hanse_store *store, const hanse_store_run *run, uint64_t slot, uint64_t wait_ms, hanse_err *err)
{
    const hanse_service_options options = {.run_id = run->run_id, .wait_ms = wait_ms};
    hanse_coordinator_config config;
    hanse_store_round round = {0};
    bool found = false;
    hanse_rc rc = load_config(cli, &config, err);

    if (rc == HANSE_OK)
        rc = hanse_service_run(cli->dir, &config, &options, err);
    if (rc == HANSE_E_LOCKED) /* one has started meanwhile */
        return follow_round(cli, store, run, slot, wait_ms, err);
    if (rc == HANSE_OK)
        rc = hanse_store_round_newest(store, run->run_id, &round, &found, err);
    if (rc == HANSE_OK && found && round.slot >= slot && round.state != HANSE_STORE_ROUND_OPEN)
        rc = report_round(cli, &round, err);
    hanse_store_round_clear(&round);
    return rc;
}

static hanse_rc check_newest_model(const char *dir, const hanse_store_run *run, hanse_err *err)
{
    hanse_path path;
    hanse_rc rc = hanse_store_model_path(path, dir, run->run_id, run->model_round, err);

    return rc == HANSE_OK ? check_published(path, path, run->model_root, err) : rc;
}

hanse_rc hanse_command_round(hanse_cli *cli, hanse_err *err)
{
    const char *wait = hanse_cli_value(cli, "wait");
    hanse_store *store = NULL;
    hanse_store_run run = {0};
    hanse_store_round open = {0};
    bool found = false, running = false;
    uint64_t wait_ms = 0, slot;
    hanse_rc rc = wait == NULL ? HANSE_OK : hanse_parse_duration(wait, &wait_ms, "--wait", err);

    if (rc == HANSE_OK)
        rc = hanse_command_run(cli, &store, &run, err);
    if (rc == HANSE_OK && run.state == HANSE_STORE_RUN_DONE) {
        hanse_cli_print(cli, "nothing due: the run is done\n");
        cli->data = json_pack("{s:n, s:s}", "round", "state", "done");
        goto done;
    }
    if (rc == HANSE_OK && run.state != HANSE_STORE_RUN_OPEN)
        rc = HANSE_FAIL(err, HANSE_E_FAILED, "the run is %s%s%s", hanse_store_run_state_name(run.state), run.reason[0] == '\0' ? "" : ": ",
                        run.reason);
    if (rc == HANSE_OK)
        rc = hanse_store_round_current(store, run.run_id, &open, &found, err);
    if (rc == HANSE_OK)
        rc = service_runs(cli->dir, &running, err);
    if (rc == HANSE_OK && running && !found) /* else the service could not load the run, and the round that is waited for would never open */
        rc = check_newest_model(cli->dir, &run, err);
    if (rc == HANSE_OK) {
        slot = found ? open.slot : run.next_slot;
        hanse_cli_progress(cli, found ? "going on with round %" PRIu64 : "next round; done so far: %" PRIu64, found ? open.round : run.rounds_done);
        rc = running ? follow_round(cli, store, &run, slot, wait_ms, err) : serve_round(cli, store, &run, slot, wait_ms, err);
    }
done:
    hanse_store_round_clear(&open);
    hanse_store_run_clear(&run);
    hanse_store_close(store);
    return rc;
}

/* ---- stop ---- */

/* Ask the service and wait until it has done so: its result tells the sites. */
static hanse_rc stop_by_service(const hanse_cli *cli, hanse_store *store, hanse_store_run *run, hanse_err *err)
{
    uint64_t start_us = hanse_clock_mono_us();
    hanse_rc rc = HANSE_OK;

    hanse_command_wake(cli);
    while (rc == HANSE_OK && run->state == HANSE_STORE_RUN_OPEN) {
        uint8_t run_id[16];

        if ((hanse_clock_mono_us() - start_us) / 1000 >= STOP_WAIT_MS)
            return HANSE_FAIL(err, HANSE_E_IO, "the service has not stopped the run within %d s; see its log", STOP_WAIT_MS / 1000);
        pause_ms(POLL_MS);
        memcpy(run_id, run->run_id, 16);
        hanse_store_run_clear(run);
        rc = hanse_store_run_get(store, run_id, run, err);
    }
    return rc;
}

hanse_rc hanse_command_stop(hanse_cli *cli, hanse_err *err)
{
    hanse_store *store = NULL;
    hanse_store_run run = {0};
    bool running = false, later = false;
    char hex[33];
    hanse_rc rc = hanse_command_run(cli, &store, &run, err);

    if (rc == HANSE_OK && run.state == HANSE_STORE_RUN_OPEN) {
        rc = service_runs(cli->dir, &running, err);
        if (rc == HANSE_OK)
            rc = hanse_store_request_add(store, HANSE_STORE_ASK_STOP, run.run_id, hanse_clock_wall_ms(), err);
        if (rc == HANSE_OK && running)
            rc = stop_by_service(cli, store, &run, err);
        later = !running;
    }
    if (rc == HANSE_OK) {
        hanse_hex_encode(hex, run.run_id, 16);
        hanse_cli_print(cli, later ? "%s stops when `serve` or `round` runs next, which tells the sites\n" : "%s is stopped\n", hex);
        cli->data = json_pack("{s:s, s:b}", "run", hex, "stopped", !later);
    }
    hanse_store_run_clear(&run);
    hanse_store_close(store);
    return rc;
}

/* ---- export ---- */

/* The root that the model of `round` must have. Errors: NOTFOUND (no such published round). */
static hanse_rc published_root(hanse_store *store, const hanse_store_run *run, uint64_t number, uint8_t root[32], hanse_err *err)
{
    hanse_store_round *rounds = NULL;
    size_t count = 0;
    bool found = number == 0;
    hanse_rc rc = hanse_store_rounds(store, run->run_id, &rounds, &count, err);

    memcpy(root, run->initial_root, 32);
    for (size_t i = 0; i < count; i++)
        if (rounds[i].round == number && number > 0 && rounds[i].kind == 1 && rounds[i].state == HANSE_STORE_ROUND_PUBLISHED) {
            memcpy(root, rounds[i].model_after, 32);
            found = true;
        }
    hanse_store_rounds_free(rounds, count);
    if (rc == HANSE_OK && !found)
        rc = HANSE_FAIL(err, HANSE_E_NOTFOUND, "round %" PRIu64 " has published no model; `hanse-coordinator show` lists the rounds", number);
    return rc;
}

/* Copy, and let the copy take its name only if it is the model with this root. */
static hanse_rc copy_checked(const char *from, const char *to, const uint8_t want[32], hanse_err *err)
{
    hanse_path temp = "";
    uint8_t *chunk = hanse_calloc(1, HANSE_MODEL_CHUNK);
    uint64_t offset = 0;
    ssize_t got = 0;
    int in = open(from, O_RDONLY | O_CLOEXEC), out = -1;
    hanse_rc rc = chunk == NULL ? HANSE_FAIL(err, HANSE_E_NOMEM, "out of memory copying %s", from)
                  : in < 0      ? HANSE_FAIL_ERRNO(err, "cannot open %s", from)
                                : hanse_file_create(&out, temp, to, HANSE_MODE_PUBLIC, err);

    while (rc == HANSE_OK && (got = read(in, chunk, HANSE_MODEL_CHUNK)) > 0) {
        rc = hanse_fd_write_at(out, chunk, (size_t)got, offset, to, err);
        offset += (uint64_t)got;
    }
    if (rc == HANSE_OK && got < 0)
        rc = HANSE_FAIL_ERRNO(err, "cannot read %s", from);
    if (rc == HANSE_OK)
        rc = check_published(temp, from, want, err);
    if (rc == HANSE_OK)
        rc = hanse_file_commit(&out, temp, to, err);
    else
        hanse_file_discard(&out, temp);
    if (in >= 0)
        close(in);
    hanse_free(chunk);
    return rc;
}

hanse_rc hanse_command_export(hanse_cli *cli, hanse_err *err)
{
    const char *round = hanse_cli_value(cli, "round"), *output = hanse_cli_value(cli, "output");
    hanse_store *store = NULL;
    hanse_store_run run = {0};
    hanse_path path;
    uint8_t root[32];
    char hex[65];
    uint64_t number = 0;
    hanse_rc rc = output == NULL || output[0] == '\0' ? HANSE_FAIL(err, HANSE_E_INVALID, "export needs -o FILE") : HANSE_OK;

    if (rc == HANSE_OK && round != NULL)
        rc = hanse_parse_uint(round, 0, INT64_MAX, &number, "--round", err);
    if (rc == HANSE_OK)
        rc = hanse_command_run(cli, &store, &run, err);
    if (rc == HANSE_OK && round == NULL) {
        number = run.best_round > 0 ? run.best_round : run.model_round;
        if (number == 0)
            rc = HANSE_FAIL(err, HANSE_E_NOTFOUND, "the run has published no model yet; --round 0 gives the initial one");
    }
    if (rc == HANSE_OK)
        rc = published_root(store, &run, number, root, err);
    if (rc == HANSE_OK)
        rc = hanse_store_model_path(path, cli->dir, run.run_id, number, err);
    if (rc == HANSE_OK && number != run.best_round && number != run.model_round && access(path, F_OK) != 0 && errno == ENOENT)
        rc = HANSE_FAIL(err, HANSE_E_NOTFOUND, "the model after round %" PRIu64 " is not kept any more: only the initial, the best and the newest ten are", number);
    if (rc == HANSE_OK)
        rc = copy_checked(path, output, root, err);
    if (rc == HANSE_OK) {
        hanse_hex_encode(hex, root, 32);
        hanse_cli_print(cli, "round %" PRIu64 " (root %s): %s\n", number, hex, output);
        cli->data = json_pack("{s:I, s:s, s:s}", "round", (json_int_t)number, "model_root", hex, "file", output);
    }
    hanse_store_run_clear(&run);
    hanse_store_close(store);
    return rc;
}
