/* check and run: the two commands that talk to the coordinator with this site's identity. */
#include "node/commands.h"

#include "hanse/clock.h"
#include "hanse/config.h"
#include "node/agent.h"

#include <inttypes.h>

#define LOOK_MS 300 /* silence after which no more offers are expected */

hanse_rc hanse_command_node_run(hanse_cli *cli, hanse_err *err)
{
    hanse_agent_options options = {.once = hanse_cli_value(cli, "once") != NULL};
    const char *wait = hanse_cli_value(cli, "wait");
    hanse_node_config config = {0};
    int lock = -1;
    hanse_rc rc = HANSE_OK;

    if (wait != NULL && !options.once)
        return HANSE_FAIL(err, HANSE_E_INVALID, "--wait goes with --once");
    if (wait != NULL)
        rc = hanse_parse_duration(wait, &options.wait_ms, "--wait", err);
    if (rc == HANSE_OK)
        rc = hanse_node_config_load(&config, cli->dir, err);
    if (rc != HANSE_OK)
        return rc;
    if (!cli->level_given)
        hanse_log_level_set((hanse_level)config.level);
    rc = hanse_lock_try(&lock, cli->dir, err);
    if (rc == HANSE_E_LOCKED && options.once) {
        hanse_cli_print(cli, "another hanse-node works in %s: nothing to do\n", cli->dir);
        rc = HANSE_OK;
    } else if (rc == HANSE_OK) {
        rc = hanse_agent_run(cli->dir, &config, &options, NULL, err);
    }
    hanse_lock_release(&lock);
    hanse_node_config_clear(&config);
    return rc;
}

static hanse_rc check_identity(hanse_cli *cli, const hanse_node_keys *keys, const hanse_node_config *config, hanse_err *err)
{
    const int64_t now = (int64_t)(hanse_clock_wall_ms() / 1000);
    const hanse_trust trust = {.ca = keys->ca, .crl = keys->crl, .enrolling = keys->crl == NULL};
    hanse_cert_info tls;
    int64_t days;
    char hex[65];
    hanse_rc rc = hanse_cert_verify(keys->tls_cert, &trust, HANSE_PROFILE_SITE_TLS, now, err);

    if (rc == HANSE_OK)
        rc = hanse_cert_verify(keys->sign_cert, &trust, HANSE_PROFILE_SITE_SIGN, now, err);
    if (rc == HANSE_OK)
        rc = hanse_cert_match(keys->tls_cert, keys->sign_cert, err);
    if (rc == HANSE_OK)
        rc = hanse_cert_read(keys->tls_cert, &tls, err);
    if (rc != HANSE_OK)
        return rc;
    if (strcmp(config->site, tls.site) != 0 || strcmp(config->organisation, tls.organisation) != 0)
        return HANSE_FAIL(err, HANSE_E_INVALID, "%s/%s: organisation and site must be those of the certificate, %s and %s", cli->dir,
                          HANSE_NODE_FILE, tls.organisation, tls.site);
    days = ((tls.not_after < keys->info.not_after ? tls.not_after : keys->info.not_after) - now) / 86400;
    hanse_hex_encode(hex, keys->info.key_id, 32);
    hanse_cli_print(cli, "identity     %s of %s, key %s, certificates good for %" PRId64 " days\n", tls.site, tls.organisation, hex, days);
    json_object_set_new(cli->data, "key", json_string(hex));
    json_object_set_new(cli->data, "certificate_days", json_integer((json_int_t)days));
    return HANSE_OK;
}

/* Do the files here give the rows that the plan wants? */
static hanse_rc check_data(hanse_cli *cli, const hanse_node_config *config, const hanse_plan *plan, json_t *row, hanse_err *err)
{
    hanse_dataset *data = NULL;
    hanse_rc rc;

    if (plan->data.format == HANSE_DATA_NONE)
        return HANSE_OK;
    rc = hanse_node_config_dataset(config, cli->dir, plan, &data, err);
    if (rc != HANSE_OK)
        return rc;
    hanse_cli_print(cli, "  data       %s: %zu training and %zu test rows, %zu columns; of %" PRIu64 " read %" PRIu64 " dropped, %" PRIu64
                         " not in the split; cells: %" PRIu64 " missing, %" PRIu64 " unknown, %" PRIu64 " clipped\n",
                    plan->data.name, data->train.count, data->test.count, data->dim, data->rows_read, data->rows_dropped,
                    data->rows_unnamed, data->cells_missing, data->cells_unknown, data->train.clipped + data->test.clipped);
    json_object_set_new(row, "data", json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "name", plan->data.name, "train",
                                               (json_int_t)data->train.count, "test", (json_int_t)data->test.count, "columns",
                                               (json_int_t)data->dim, "read", (json_int_t)data->rows_read, "dropped",
                                               (json_int_t)data->rows_dropped, "missing", (json_int_t)data->cells_missing, "unknown",
                                               (json_int_t)data->cells_unknown, "clipped",
                                               (json_int_t)(data->train.clipped + data->test.clipped)));
    hanse_dataset_free(data);
    return HANSE_OK;
}

static hanse_rc check_offer(hanse_cli *cli, hanse_site_store *store, const hanse_node_config *config, const hanse_node_keys *keys,
                            const hanse_offer *offer, hanse_err *err)
{
    char run[33], plan_hash[65], roster_hash[65];
    hanse_site_offer whole = {.offer = *offer};
    hanse_site_consent consent = {0};
    hanse_buf bytes = HANSE_BUF_EMPTY;
    hanse_err why = {0};
    json_t *row = json_object(), *sites = json_array();
    hanse_rc rc, verdict;

    hanse_hex_encode(run, offer->run, 16);
    hanse_hex_encode(plan_hash, offer->plan_hash, 32);
    hanse_hex_encode(roster_hash, offer->roster_hash, 32);
    rc = hanse_node_plan_load(&whole.plan, cli->dir, offer->plan_hash, err);
    if (rc == HANSE_OK)
        rc = hanse_node_roster_load(&whole.roster, &bytes, cli->dir, offer->roster_hash, err);
    if (rc == HANSE_OK)
        rc = hanse_site_store_accepted(store, offer, &consent.has_acceptance, err);
    if (rc == HANSE_OK)
        rc = hanse_site_store_pinned_roster(store, consent.roster_hash, &consent.has_roster, err);
    if (rc != HANSE_OK)
        goto done;
    verdict = hanse_site_policy_check(&config->policy, &consent, &whole, &why);
    hanse_cli_print(cli, "offer        run %s, plan %s\n  plan       %s (read it: %s/plans/%s.yaml)\n  roster     %s\n", run, whole.plan->name,
                    plan_hash, cli->dir, plan_hash, roster_hash);
    hanse_node_roster_print(cli, &whole.roster, keys->trust.site_id, sites);
    hanse_cli_print(cli, "  policy     %s\n", verdict == HANSE_OK ? "this site takes part" : why.text);
    json_object_set_new(row, "run", json_string(run));
    json_object_set_new(row, "plan", json_string(whole.plan->name));
    json_object_set_new(row, "plan_hash", json_string(plan_hash));
    json_object_set_new(row, "roster_hash", json_string(roster_hash));
    json_object_set(row, "sites", sites);
    json_object_set_new(row, "accepted", json_boolean(verdict == HANSE_OK));
    json_object_set_new(row, "reason", json_string(why.text));
    json_array_append(json_object_get(cli->data, "offers"), row);
    rc = check_data(cli, config, whole.plan, row, err);
done:
    json_decref(row);
    json_decref(sites);
    hanse_site_offer_clear(&whole);
    hanse_buf_clear(&bytes);
    return rc;
}

static hanse_rc check_offers(hanse_cli *cli, const hanse_node_config *config, const hanse_node_keys *keys, uint64_t since_ms, hanse_err *err)
{
    hanse_site_store *store = NULL;
    hanse_site_offer_row *rows = NULL;
    size_t count = 0, shown = 0;
    hanse_rc rc = hanse_site_store_open(&store, cli->dir, err);

    if (rc == HANSE_OK)
        rc = hanse_site_store_offers(store, &rows, &count, err);
    for (size_t i = 0; rc == HANSE_OK && i < count; i++) {
        if (rows[i].seen_ms < since_ms || (rows[i].joined && rows[i].state != HANSE_RUN_GOES_ON))
            continue;
        rc = check_offer(cli, store, config, keys, &rows[i].offer, err);
        shown++;
    }
    if (rc == HANSE_OK && shown == 0)
        hanse_cli_print(cli, "offers       none is open\n");
    hanse_free(rows);
    hanse_site_store_close(store);
    return rc;
}

static void print_transfer(hanse_cli *cli, const hanse_node_config *config)
{
    if (config->rate > 0)
        hanse_cli_print(cli, "transfer     at most %" PRIu64 " bytes a second each way\n", config->rate);
    for (size_t i = 0; i < config->raw.windows_count; i++)
        hanse_cli_print(cli, "%s%s%s", i == 0 ? "transfer     models and contributions at " : ", ", config->raw.windows[i],
                        i + 1 < config->raw.windows_count ? "" : hanse_node_windows_open_now(config->windows, config->raw.windows_count)
                                                                     ? "; now open\n" : "; now closed\n");
}

hanse_rc hanse_command_node_check(hanse_cli *cli, hanse_err *err)
{
    const hanse_agent_options options = {.look = true, .wait_ms = LOOK_MS};
    uint64_t since_ms = hanse_clock_wall_ms();
    hanse_node_config config = {0};
    hanse_node_keys keys = {0};
    int64_t skew_ms = 0;
    int lock = -1;
    hanse_rc rc = hanse_node_config_load(&config, cli->dir, err);

    cli->data = json_pack("{s:[]}", "offers");
    if (rc == HANSE_OK)
        hanse_cli_print(cli, "configuration %s/%s is well formed, %zu data sets\n", cli->dir, HANSE_NODE_FILE, config.data_count);
    if (rc == HANSE_OK)
        print_transfer(cli, &config);
    if (rc == HANSE_OK)
        rc = hanse_node_keys_load(&keys, cli->dir, err);
    if (rc == HANSE_OK)
        rc = check_identity(cli, &keys, &config, err);
    if (rc != HANSE_OK)
        goto done;
    rc = hanse_lock_try(&lock, cli->dir, err);
    if (rc == HANSE_E_LOCKED) { /* a second connection would push out the service's */
        hanse_cli_print(cli, "coordinator  the service is running here: offers as it saw them\n");
        since_ms = 0;
        rc = HANSE_OK;
    } else if (rc == HANSE_OK) {
        rc = hanse_agent_run(cli->dir, &config, &options, &skew_ms, err);
        if (rc == HANSE_OK) {
            hanse_cli_print(cli, "coordinator  %s answers, clocks differ by %" PRId64 " ms\n", config.coordinator, skew_ms);
            json_object_set_new(cli->data, "clock_skew_ms", json_integer((json_int_t)skew_ms));
        }
    }
    if (rc == HANSE_OK)
        rc = check_offers(cli, &config, &keys, since_ms, err);
done:
    hanse_lock_release(&lock);
    hanse_node_keys_clear(&keys);
    hanse_node_config_clear(&config);
    return rc;
}
