#include "coordinator/commands.h"
#include "hanse/clock.h"
#include "hanse/digest.h"
#include "hanse/hpke.h"
#include "hanse/model_root.h"
#include "hanse/object.h"
#include "hanse/safetensors.h"
#include "hanse/masking.h"
#include "hanse/sign.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#define COPY_FLOATS ((size_t)1 << 18) /* 1 MiB at a time */

/* All active sites, in the order of the roster. */
static hanse_rc make_roster(hanse_store *store, const char *consortium, size_t sites_min, hanse_buf *out, size_t *sites_count, hanse_err *err)
{
    hanse_store_site *sites = NULL;
    size_t count = 0;
    hanse_roster roster = {0};
    hanse_rc rc = hanse_store_sites(store, &sites, &count, err);

    if (rc == HANSE_OK && (roster.sites = hanse_calloc(count + 1, sizeof *roster.sites)) == NULL)
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "out of memory making the roster");
    for (size_t i = 0; rc == HANSE_OK && i < count; i++) {
        hanse_roster_site *entry = &roster.sites[roster.sites_count];

        if (sites[i].status != HANSE_STORE_ACTIVE)
            continue;
        memcpy(entry->id, sites[i].site_id, 32);
        snprintf(entry->uri, sizeof entry->uri, "%s", sites[i].uri);
        memcpy(entry->organisation, sites[i].organisation, sizeof entry->organisation);
        memcpy(entry->name, sites[i].name, sizeof entry->name);
        entry->cert = hanse_buf_bytes(&sites[i].cert_sign);
        roster.sites_count++;
    }
    if (rc == HANSE_OK && (roster.sites_count == 0 || roster.sites_count < sites_min))
        rc = HANSE_FAIL(err, HANSE_E_QUORUM, "the plan asks for %zu sites, %zu are enrolled and active; invite more", sites_min,
                        roster.sites_count);
    if (rc == HANSE_OK) {
        snprintf(roster.consortium, sizeof roster.consortium, "%s", consortium);
        hanse_roster_sort(&roster);
        *sites_count = roster.sites_count;
        rc = hanse_roster_encode(out, &roster, err);
    }
    hanse_free(roster.sites); /* the certificates are those of `sites` */
    hanse_store_sites_free(sites, count);
    return rc;
}

/* Copy the values of the model `from`, whose tensors must be those of `layout`, under our own header. */
static hanse_rc copy_model(const char *from, const char *to, const hanse_layout *layout, const hanse_model_meta *meta, hanse_err *err)
{
    hanse_model_file source = {.fd = -1};
    hanse_model_writer *writer = NULL;
    float *values = NULL;
    hanse_rc rc = hanse_model_open(&source, from, err);

    if (rc != HANSE_OK)
        return rc;
    rc = hanse_layout_same(&source.layout, layout, err);
    if (rc != HANSE_OK) {
        rc = HANSE_E_INVALID; /* the operator's choice of a file, not a peer's */
        hanse_err_wrap(err, "%s does not fit the plan", from);
    }
    if (rc == HANSE_OK && (values = hanse_calloc(COPY_FLOATS, sizeof *values)) == NULL)
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "out of memory copying %s", from);
    if (rc == HANSE_OK)
        rc = hanse_model_writer_new(&writer, to, layout, meta, true, err);
    for (size_t first = 0; rc == HANSE_OK && first < layout->parameters; first += COPY_FLOATS) {
        size_t count = layout->parameters - first < COPY_FLOATS ? layout->parameters - first : COPY_FLOATS;
        size_t bad;

        rc = hanse_model_read(&source, first, values, count, err);
        if (rc == HANSE_OK && (bad = hanse_floats_nonfinite(values, count)) < count)
            rc = HANSE_FAIL(err, HANSE_E_INVALID, "%s: value %zu of tensor %s is not finite", from, first + bad,
                            hanse_layout_find(layout, first + bad)->name);
        if (rc == HANSE_OK)
            rc = hanse_model_writer_put(writer, first, values, count, err);
    }
    if (rc == HANSE_OK)
        rc = hanse_model_writer_commit(writer, err);
    hanse_model_writer_free(writer);
    hanse_free(values);
    hanse_model_close(&source);
    return rc;
}

/* models/RUN/0.safetensors: run zeros, so that one plan and seed give one root (an acceptance names it). */
static hanse_rc make_model(const hanse_cli *cli, const hanse_plan *plan, hanse_store_run *run, hanse_err *err)
{
    const char *from = hanse_cli_value(cli, "model");
    hanse_layout layout = HANSE_LAYOUT_EMPTY;
    hanse_model_meta meta = {.round = 0};
    hanse_path path;
    hanse_rc rc = hanse_store_model_path(path, cli->dir, run->run_id, 0, err);

    memcpy(meta.plan_hash, plan->hash, 32);
    if (rc == HANSE_OK)
        rc = hanse_layout_of_plan(&layout, plan, err);
    if (rc == HANSE_OK)
        rc = from != NULL ? copy_model(from, path, &layout, &meta, err)
                          : hanse_model_write_initial(path, &layout, &meta, plan->train.seed, true, err);
    if (rc == HANSE_OK)
        rc = hanse_model_root_of_file(run->initial_root, &run->model_size, path, err);
    if (rc == HANSE_OK)
        memcpy(run->model_root, run->initial_root, 32);
    hanse_layout_clear(&layout);
    return rc;
}

static hanse_rc sign_into(const hanse_key *key, const char *label, const hanse_buf *object, hanse_buf *out, hanse_err *err)
{
    uint8_t sig[HANSE_SIG_MAX];
    size_t len = 0;
    hanse_rc rc = hanse_sign_object(key, label, hanse_buf_bytes(object), sig, &len, err);

    return rc == HANSE_OK ? hanse_buf_append(out, sig, len, err) : rc;
}

/* The run's key for uploads, its signed roster and its signed offer. */
static hanse_rc make_offer(const hanse_cli *cli, const hanse_plan *plan, hanse_store_run *run, hanse_err *err)
{
    hanse_offer offer = {.opened_ms = run->created_ms};
    hanse_roster roster = {0};
    uint8_t secret[HANSE_X25519_LEN] = {0};
    hanse_key *key = NULL;
    hanse_path path;
    hanse_rc rc = hanse_command_key(cli->dir, HANSE_SIGN_KEY_FILE, &key, err);

    if (rc == HANSE_OK)
        rc = hanse_x25519_keygen(secret, offer.seal_key, err);
    if (rc == HANSE_OK)
        rc = hanse_store_seal_path(path, cli->dir, run->run_id, err);
    if (rc == HANSE_OK)
        rc = hanse_file_write(path, (hanse_bytes){secret, sizeof secret}, HANSE_MODE_SECRET, err);
    if (rc == HANSE_OK)
        rc = sign_into(key, HANSE_ROSTER_LABEL, &run->roster, &run->roster_sig, err);
    if (rc == HANSE_OK)
        rc = hanse_roster_decode(&roster, hanse_buf_bytes(&run->roster), err);
    if (rc == HANSE_OK)
        rc = hanse_roster_hash(run->roster_hash, &roster, err);
    memcpy(offer.run, run->run_id, 16);
    memcpy(offer.plan_hash, plan->hash, 32);
    memcpy(offer.roster_hash, run->roster_hash, 32);
    memcpy(offer.model_root, run->initial_root, 32);
    if (rc == HANSE_OK)
        rc = hanse_offer_encode(&run->offer, &offer, err);
    if (rc == HANSE_OK)
        rc = sign_into(key, HANSE_OFFER_LABEL, &run->offer, &run->offer_sig, err);
    hanse_wipe(secret, sizeof secret);
    hanse_roster_clear(&roster);
    hanse_key_free(key);
    return rc;
}

/* DIR/models/RUN and DIR/runs/RUN: made before the run is in the store, or taken away again. */
static hanse_rc run_folders(const char *dir, const uint8_t run_id[16], bool make, hanse_err *err)
{
    hanse_path files[2];
    hanse_rc rc = hanse_store_model_path(files[0], dir, run_id, 0, err);

    if (rc == HANSE_OK)
        rc = hanse_store_seal_path(files[1], dir, run_id, err);
    for (int i = 0; rc == HANSE_OK && i < 2; i++) {
        if (!make)
            (void)unlink(files[i]);
        *strrchr(files[i], '/') = '\0';
        if (make)
            rc = hanse_dir_make(files[i], HANSE_MODE_DIR, err);
        else
            (void)rmdir(files[i]);
    }
    return rc;
}

/* The run of an earlier submission with this token; it must be of the same plan. */
static hanse_rc find_token(hanse_store *store, const char *token, const hanse_plan *plan, uint8_t run_id[16], bool *found, hanse_err *err)
{
    hanse_store_run earlier = {0};
    hanse_rc rc;

    *found = false;
    if (token == NULL)
        return HANSE_OK;
    if (strlen(token) == 0 || strlen(token) > HANSE_STORE_TOKEN_MAX)
        return HANSE_FAIL(err, HANSE_E_INVALID, "--token: 1 to %d characters", HANSE_STORE_TOKEN_MAX);
    rc = hanse_store_run_by_token(store, token, run_id, found, err);
    if (rc == HANSE_OK && *found)
        rc = hanse_store_run_get(store, run_id, &earlier, err);
    if (rc == HANSE_OK && *found && memcmp(earlier.plan_hash, plan->hash, 32) != 0)
        rc = HANSE_FAIL(err, HANSE_E_INVALID, "--token %s was used for another plan (%s); choose another token", token, earlier.name);
    hanse_store_run_clear(&earlier);
    return rc;
}

/* A sum over so many sites must hide each of them, and the plan must not stop short of one. */
static hanse_rc check_masking(const hanse_plan *plan, const hanse_buf *roster_bytes, size_t sites_count, hanse_err *err)
{
    const hanse_secagg_policy policy = hanse_masking_policy(plan);
    hanse_secagg_params params;
    hanse_roster roster;
    hanse_rc rc;

    if (plan->aggregation.privacy != HANSE_PRIVACY_MASKED)
        return HANSE_OK;
    rc = hanse_masking_params(&params, plan, sites_count, err);
    if (rc == HANSE_OK)
        rc = hanse_roster_decode(&roster, hanse_buf_bytes(roster_bytes), err);
    if (rc != HANSE_OK)
        return rc;
    rc = hanse_masking_params_check(&params, &policy, &roster, err);
    hanse_roster_clear(&roster);
    if (rc == HANSE_OK && plan->rounds.sites_max < sites_count && plan->rounds.sites_max < params.m)
        rc = HANSE_FAIL(err, HANSE_E_INVALID, "rounds.max_sites: a sum of %zu of %zu sites is not opened, at least %" PRIu32 " are needed",
                        plan->rounds.sites_max, sites_count, params.m);
    return rc;
}

/* Everything of a new run, up to its row in the store. */
static hanse_rc submit_new(const hanse_cli *cli, hanse_store *store, const hanse_plan *plan, const char *token, hanse_store_run *run,
                           size_t *sites_count, hanse_err *err)
{
    hanse_coordinator_config config;
    hanse_rc rc = hanse_coordinator_config_load(&config, cli->dir, err);

    run->best_value = NAN;
    run->created_ms = hanse_clock_wall_ms();
    run->next_slot = 1;
    memcpy(run->name, plan->name, sizeof run->name);
    memcpy(run->plan_hash, plan->hash, 32);
    snprintf(run->token, sizeof run->token, "%s", token == NULL ? "" : token);
    if (rc == HANSE_OK)
        rc = make_roster(store, config.name, plan->rounds.sites_min, &run->roster, sites_count, err);
    if (rc == HANSE_OK)
        rc = check_masking(plan, &run->roster, *sites_count, err);
    if (rc == HANSE_OK)
        rc = hanse_random(run->run_id, sizeof run->run_id, err);
    if (rc != HANSE_OK)
        return rc;
    rc = run_folders(cli->dir, run->run_id, true, err);
    if (rc == HANSE_OK)
        rc = make_model(cli, plan, run, err);
    if (rc == HANSE_OK)
        rc = make_offer(cli, plan, run, err);
    if (rc == HANSE_OK)
        rc = hanse_store_run_add(store, run, err);
    if (rc != HANSE_OK) {
        hanse_rc cleaned = run_folders(cli->dir, run->run_id, false, NULL);
        (void)cleaned; /* the first error is the one to tell */
    }
    return rc;
}

hanse_rc hanse_command_submit(hanse_cli *cli, hanse_err *err)
{
    const char *token = hanse_cli_value(cli, "token"), *path = cli->args[0];
    hanse_store *store = NULL;
    hanse_plan *plan = NULL;
    hanse_store_run run = {0};
    uint8_t run_id[16];
    char hex[33];
    bool again = false;
    size_t sites_count = 0;
    hanse_rc rc = hanse_file_read(&run.plan, path, HANSE_PLAN_TEXT_MAX, err);

    if (rc == HANSE_OK)
        rc = hanse_plan_parse(&plan, hanse_buf_bytes(&run.plan), path, err);
    if (rc == HANSE_OK)
        rc = hanse_store_open(&store, cli->dir, false, err);
    if (rc == HANSE_OK)
        rc = find_token(store, token, plan, run_id, &again, err);
    if (rc == HANSE_OK && !again) {
        rc = submit_new(cli, store, plan, token, &run, &sites_count, err);
        memcpy(run_id, run.run_id, 16);
        if (rc == HANSE_E_DUPLICATE) /* somebody else was faster with the same token */
            rc = find_token(store, token, plan, run_id, &again, err);
    }
    if (rc == HANSE_OK) {
        hanse_command_wake(cli);
        hanse_hex_encode(hex, run_id, 16);
        hanse_cli_print(cli, "%s\n", hex);
        cli->data = json_pack("{s:s, s:b}", "run", hex, "submitted_before", again);
    }
    hanse_store_run_clear(&run);
    hanse_plan_free(plan);
    hanse_store_close(store);
    return rc;
}
