#include "node/commands.h"

#include "hanse/clock.h"
#include "hanse/config.h"
#include "hanse/digest.h"
#include "node/data/cohort.h"

#include <inttypes.h>

hanse_rc hanse_node_plan_load(hanse_plan **out, const char *dir, const uint8_t hash[32], hanse_err *err)
{
    hanse_buf text = HANSE_BUF_EMPTY;
    hanse_path path;
    hanse_rc rc = hanse_node_hash_path(path, dir, "plans", hash, 32, ".yaml", err);

    if (rc == HANSE_OK)
        rc = hanse_file_read(&text, path, HANSE_PLAN_TEXT_MAX, err);
    if (rc == HANSE_OK)
        rc = hanse_plan_parse(out, hanse_buf_bytes(&text), path, err);
    if (rc == HANSE_OK && memcmp((*out)->hash, hash, 32) != 0) {
        hanse_plan_free(*out);
        *out = NULL;
        rc = HANSE_FAIL(err, HANSE_E_CORRUPT, "%s: its SHA-256 is not its name; delete it and run `hanse-node check`", path);
    }
    hanse_buf_clear(&text);
    return rc;
}

hanse_rc hanse_node_roster_load(hanse_roster *out, hanse_buf *bytes, const char *dir, const uint8_t hash[32], hanse_err *err)
{
    hanse_path path;
    uint8_t got[32];
    hanse_rc rc = hanse_node_hash_path(path, dir, "rosters", hash, 32, ".roster", err);

    if (rc == HANSE_OK)
        rc = hanse_file_read(bytes, path, HANSE_ROSTER_MAX, err);
    if (rc == HANSE_OK)
        rc = hanse_roster_decode(out, hanse_buf_bytes(bytes), err);
    if (rc == HANSE_OK)
        rc = hanse_roster_hash(got, out, err);
    if (rc == HANSE_OK && memcmp(got, hash, 32) != 0) {
        hanse_roster_clear(out);
        rc = HANSE_FAIL(err, HANSE_E_CORRUPT, "%s: its hash is not its name; delete it and run `hanse-node check`", path);
    }
    return rc;
}

void hanse_node_roster_print(hanse_cli *cli, const hanse_roster *roster, const uint8_t own[32], json_t *rows)
{
    for (size_t i = 0; i < roster->sites_count; i++) {
        const hanse_roster_site *site = &roster->sites[i];
        bool ours = memcmp(site->id, own, 32) == 0;
        char hex[65];

        hanse_hex_encode(hex, site->id, 32);
        hanse_cli_print(cli, "  %-24s %-24s key %s%s\n", site->organisation, site->name, hex, ours ? "  (this site)" : "");
        if (rows != NULL)
            json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:b}", "organisation", site->organisation, "site", site->name, "key", hex,
                                                  "own", ours));
    }
}

hanse_rc hanse_node_run_find(hanse_site_store *store, const char *prefix, hanse_site_run *run, hanse_err *err)
{
    hanse_site_offer_row *rows = NULL;
    size_t count = 0, found = 0, at = 0;
    char hex[33];
    hanse_rc rc = hanse_site_store_offers(store, &rows, &count, err);

    if (rc != HANSE_OK)
        return rc;
    for (size_t i = 0; i < count; i++) {
        hanse_hex_encode(hex, rows[i].offer.run, 16);
        if (!rows[i].joined || (prefix != NULL && strncmp(hex, prefix, strlen(prefix)) != 0))
            continue;
        if (found++ == 0)
            at = i;
    }
    if (found == 0)
        rc = HANSE_FAIL(err, HANSE_E_NOTFOUND, "%s%s: this site took part in no such run", prefix ? "run " : "", prefix ? prefix : "show");
    else if (prefix != NULL && found > 1)
        rc = HANSE_FAIL(err, HANSE_E_INVALID, "run %s: %zu runs begin with that; give more digits", prefix, found);
    else
        rc = hanse_site_store_run_load(store, rows[at].offer.run, run, err);
    hanse_free(rows);
    return rc;
}

/* ---- accept, roster ---- */

static hanse_rc hash_argument(hanse_cli *cli, uint8_t hash[32], hanse_err *err)
{
    if (hanse_hex_decode(hash, 32, cli->args[0], NULL) != HANSE_OK)
        return HANSE_FAIL(err, HANSE_E_INVALID, "HASH must be all 64 hex digits; `hanse-node check` prints them");
    return HANSE_OK;
}

static hanse_rc accept_plan(hanse_cli *cli, hanse_err *err)
{
    hanse_site_store *store = NULL;
    hanse_site_offer_row *rows = NULL;
    hanse_plan *plan = NULL;
    uint8_t hash[32], earlier[16], none[16] = {0};
    size_t count = 0, at;
    char hex[33];
    bool again;
    hanse_rc rc = hash_argument(cli, hash, err);

    if (rc == HANSE_OK)
        rc = hanse_site_store_open(&store, cli->dir, err);
    if (rc == HANSE_OK)
        rc = hanse_site_store_offers(store, &rows, &count, err);
    if (rc != HANSE_OK)
        goto done;
    for (at = 0; at < count && memcmp(rows[at].offer.plan_hash, hash, 32) != 0; at++)
        continue;
    if (at == count) {
        rc = HANSE_FAIL(err, HANSE_E_NOTFOUND, "no run was offered under the plan %s; run `hanse-node check` first", cli->args[0]);
        goto done;
    }
    rc = hanse_node_plan_load(&plan, cli->dir, hash, err);
    if (rc == HANSE_OK)
        rc = hanse_site_store_accept(store, &rows[at].offer, hanse_clock_wall_ms(), earlier, err);
    if (rc != HANSE_OK)
        goto done;
    again = memcmp(earlier, none, 16) != 0;
    hanse_hex_encode(hex, earlier, 16);
    hanse_cli_print(cli, "accepted plan %s (%s) for one run\n", plan->name, cli->args[0]);
    if (again)
        hanse_cli_print(cli, "note: run %s used an acceptance of the same plan, roster and initial model; two runs that differ by one site tell"
                             " that site's update\n", hex);
    cli->data = json_pack("{s:s, s:s, s:s?}", "plan", plan->name, "plan_hash", cli->args[0], "earlier_run", again ? hex : NULL);
done:
    hanse_plan_free(plan);
    hanse_free(rows);
    hanse_site_store_close(store);
    return rc;
}

static hanse_rc accept_retry(hanse_cli *cli, hanse_err *err)
{
    hanse_site_store *store = NULL;
    hanse_site_run run;
    char hex[33];
    hanse_rc rc = hanse_site_store_open(&store, cli->dir, err);

    if (rc == HANSE_OK)
        rc = hanse_node_run_find(store, cli->args[0], &run, err);
    if (rc == HANSE_OK && run.run_state != HANSE_RUN_GOES_ON)
        rc = HANSE_FAIL(err, HANSE_E_INVALID, "run %s is over", cli->args[0]);
    if (rc == HANSE_OK)
        rc = hanse_site_store_ask(store, HANSE_SITE_ASK_RETRY, run.offer.run, err);
    if (rc == HANSE_OK) {
        hanse_hex_encode(hex, run.offer.run, 16);
        hanse_cli_print(cli, "run %s may end one more round without a result; counts from the next round on\n", hex);
        cli->data = json_pack("{s:s}", "run", hex);
    }
    hanse_site_store_close(store);
    return rc;
}

/* For every run that goes on, and those that this copy does not know yet: what this directory has forgotten of its tickets must never be
 * answered. */
static hanse_rc recover(hanse_cli *cli, hanse_err *err)
{
    hanse_site_store *store = NULL;
    hanse_site_offer_row *rows = NULL;
    size_t count = 0, asked = 0;
    hanse_rc rc = hanse_site_store_open(&store, cli->dir, err);

    if (rc == HANSE_OK)
        rc = hanse_site_store_recovered(store, hanse_clock_wall_ms(), err);
    if (rc == HANSE_OK)
        rc = hanse_site_store_offers(store, &rows, &count, err);
    for (size_t i = 0; rc == HANSE_OK && i < count; i++)
        if (rows[i].joined && rows[i].state == HANSE_RUN_GOES_ON) {
            rc = hanse_site_store_ask(store, HANSE_SITE_ASK_RECOVER, rows[i].offer.run, err);
            asked++;
        }
    if (rc == HANSE_OK) {
        hanse_cli_print(cli, "%zu runs: from the next connection on this site leaves out the slots that it may have left tickets for; so it does in runs that this copy does not know\n", asked);
        cli->data = json_pack("{s:I}", "runs", (json_int_t)asked);
    }
    hanse_free(rows);
    hanse_site_store_close(store);
    return rc;
}

static hanse_rc accept_roster(hanse_cli *cli, hanse_err *err)
{
    hanse_site_store *store = NULL;
    hanse_roster roster = {0};
    hanse_buf bytes = HANSE_BUF_EMPTY;
    uint8_t hash[32];
    hanse_rc rc = hash_argument(cli, hash, err);

    if (rc == HANSE_OK)
        rc = hanse_node_roster_load(&roster, &bytes, cli->dir, hash, err);
    if (rc == HANSE_E_NOTFOUND)
        rc = HANSE_FAIL(err, rc, "no run was offered with the roster %s; run `hanse-node check` first", cli->args[0]);
    if (rc == HANSE_OK)
        rc = hanse_site_store_open(&store, cli->dir, err);
    if (rc == HANSE_OK)
        rc = hanse_site_store_pin_roster(store, hash, err);
    if (rc == HANSE_OK) {
        hanse_cli_print(cli, "accepted the roster of %zu sites; any other is refused from now on\n", roster.sites_count);
        cli->data = json_pack("{s:s, s:I}", "roster_hash", cli->args[0], "sites", (json_int_t)roster.sites_count);
    }
    hanse_site_store_close(store);
    hanse_roster_clear(&roster);
    hanse_buf_clear(&bytes);
    return rc;
}

static hanse_rc print_roster(hanse_cli *cli, const char *dir, const uint8_t hash[32], const uint8_t own[32], bool accepted, hanse_err *err)
{
    hanse_roster roster = {0};
    hanse_buf bytes = HANSE_BUF_EMPTY;
    json_t *rows = json_array();
    char hex[65];
    hanse_rc rc = hanse_node_roster_load(&roster, &bytes, dir, hash, err);

    if (rc == HANSE_OK) {
        hanse_hex_encode(hex, hash, 32);
        hanse_cli_print(cli, "roster %s of %s%s\n", hex, roster.consortium, accepted ? ", accepted" : ", not accepted");
        hanse_node_roster_print(cli, &roster, own, rows);
        json_array_append_new(cli->data, json_pack("{s:s, s:b, s:O}", "roster_hash", hex, "accepted", accepted, "sites", rows));
    }
    json_decref(rows);
    hanse_roster_clear(&roster);
    hanse_buf_clear(&bytes);
    return rc;
}

static hanse_rc roster(hanse_cli *cli, hanse_err *err)
{
    hanse_site_store *store = NULL;
    hanse_site_offer_row *rows = NULL;
    hanse_node_keys keys;
    size_t count = 0;
    uint8_t pinned[32];
    bool has = false;
    hanse_rc rc = hanse_node_keys_load(&keys, cli->dir, err);

    if (rc == HANSE_OK)
        rc = hanse_site_store_open(&store, cli->dir, err);
    if (rc == HANSE_OK)
        rc = hanse_site_store_offers(store, &rows, &count, err);
    if (rc == HANSE_OK)
        rc = hanse_site_store_pinned_roster(store, pinned, &has, err);
    cli->data = json_array();
    for (size_t i = 0; rc == HANSE_OK && i < count; i++) {
        bool seen = false;
        for (size_t j = 0; j < i; j++)
            seen |= memcmp(rows[j].offer.roster_hash, rows[i].offer.roster_hash, 32) == 0;
        if (!seen)
            rc = print_roster(cli, cli->dir, rows[i].offer.roster_hash, keys.trust.site_id,
                              has && memcmp(pinned, rows[i].offer.roster_hash, 32) == 0, err);
    }
    if (rc == HANSE_OK && count == 0)
        hanse_cli_print(cli, "no run was offered yet; `hanse-node check` asks the coordinator\n");
    if (rc == HANSE_OK && count > 0)
        hanse_cli_print(cli, "Compare each key with its site over another channel, then: hanse-node accept roster HASH --dir %s\n", cli->dir);
    hanse_free(rows);
    hanse_site_store_close(store);
    hanse_node_keys_clear(&keys);
    return rc;
}

/* ---- log, cohort ---- */

static hanse_rc show_log(hanse_cli *cli, hanse_err *err)
{
    static const char *const kinds[] = {"statistics", "training", "evaluation"};
    hanse_site_store *store = NULL;
    hanse_site_result_row *rows = NULL;
    hanse_node_keys keys;
    hanse_site_run run;
    size_t count = 0;
    char when[HANSE_TIME_LEN];
    hanse_rc rc = hanse_node_keys_load(&keys, cli->dir, err);

    if (rc == HANSE_OK)
        rc = hanse_site_store_open(&store, cli->dir, err);
    if (rc == HANSE_OK)
        rc = hanse_node_run_find(store, cli->args_count > 0 ? cli->args[0] : NULL, &run, err);
    if (rc == HANSE_OK)
        rc = hanse_site_store_results(store, run.offer.run, keys.trust.site_id, &rows, &count, err);
    cli->data = json_array();
    for (size_t i = 0; rc == HANSE_OK && i < count; i++) {
        hanse_clock_format_ms(when, rows[i].time_ms);
        hanse_cli_print(cli, "%s round %" PRIu64 " attempt %u %s %s sites=%zu %s%s%s\n", when, rows[i].round, rows[i].attempt,
                        kinds[rows[i].kind % 3], rows[i].status == 0 ? "published" : "void", rows[i].participants_count,
                        rows[i].took_part ? "took part" : "absent", rows[i].reason[0] ? " reason: " : "", rows[i].reason);
        json_array_append_new(cli->data, json_pack("{s:s, s:I, s:I, s:s, s:b, s:I, s:b, s:s}", "time", when, "round", (json_int_t)rows[i].round,
                                                   "attempt", (json_int_t)rows[i].attempt, "kind", kinds[rows[i].kind % 3], "published",
                                                   rows[i].status == 0, "sites", (json_int_t)rows[i].participants_count, "took_part",
                                                   rows[i].took_part, "reason", rows[i].reason));
    }
    hanse_free(rows);
    hanse_site_store_close(store);
    hanse_node_keys_clear(&keys);
    return rc;
}

static hanse_rc cohort(hanse_cli *cli, hanse_err *err)
{
    const char *out = hanse_cli_value(cli, "out"), *text = hanse_cli_value(cli, "seed");
    uint64_t seed = 1;
    hanse_rc rc = HANSE_OK;

    if (out == NULL)
        return HANSE_FAIL(err, HANSE_E_INVALID, "--out DIR is missing");
    if (text != NULL)
        rc = hanse_parse_uint(text, 0, UINT64_MAX, &seed, "--seed", err);
    if (rc == HANSE_OK)
        rc = hanse_cohort_write(out, seed, err);
    if (rc == HANSE_OK) {
        hanse_cli_print(cli, "wrote an invented cohort of four sites to %s\n", out);
        cli->data = json_pack("{s:s}", "dir", out);
    }
    return rc;
}

static const hanse_cli_option run_options[] = {
    {"once", 0, NULL, "do what is due, then exit"},
    {"wait", 0, "DURATION", "with --once: wait that long for something due, or for the round to finish (30s, 10m, 2h)"},
    {NULL, 0, NULL, NULL}};
static const hanse_cli_option show_options[] = {
    {"with", 0, "DIRS", "more sites' directories, separated by ':', as further rows and for the row \"all\""},
    {NULL, 0, NULL, NULL}};
static const hanse_cli_option cohort_options[] = {{"out", 'o', "DIR", "where the files are written"},
                                                  {"seed", 0, "N", "the same seed gives the same files; default 1"},
                                                  {NULL, 0, NULL, NULL}};

static const hanse_cli_command commands[] = {
    {"enrol", "INVITATION", "make keys here, get certificates from the coordinator", 1, 1, true, NULL, hanse_command_node_enrol},
    {"check", "", "preflight: configuration, identity, clock, coordinator, offers, data", 0, 0, true, NULL, hanse_command_node_check},
    {"roster", "", "who takes part in the offered runs, with key fingerprints", 0, 0, true, NULL, roster},
    {"accept plan", "HASH", "take part in one run of this plan", 1, 1, true, NULL, accept_plan},
    {"accept roster", "HASH", "these sites and keys, and no others", 1, 1, true, NULL, accept_roster},
    {"accept retry", "RUN", "allow a masked run one more round without result", 1, 1, true, NULL, accept_retry},
    {"recover", "", "an older copy of the directory was restored: begin anew with masks", 0, 0, true, NULL, recover},
    {"run", "", "the service; with --once for cron", 0, 0, true, run_options, hanse_command_node_run},
    {"show", "[RUN]", "how the global model and this site's own one do on this site's test data", 0, 1, true, show_options,
     hanse_command_node_show},
    {"log", "[RUN]", "the rounds of a run", 0, 1, true, NULL, show_log},
    {"baseline", "RUN", "train and evaluate the model this site would have had alone", 1, 1, true, NULL, hanse_command_node_baseline},
    {"cohort", "", "write invented data of four hospitals, to try things", 0, 0, false, cohort_options, cohort},
    {NULL, NULL, NULL, 0, 0, false, NULL, NULL}};

const hanse_cli_program hanse_node_program = {"hanse-node", "one site of a federated learning consortium", commands};
