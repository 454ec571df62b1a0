/* show and baseline: what federation gave this site, from its own directory. */
#include "node/commands.h"

#include "hanse/aux.h"
#include "hanse/safetensors.h"
#include "node/train/trainer.h"
#include "node/work.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#define SITES_SHOWN_MAX 64

static const char *const columns[] = {"last", "best", "alone"};
enum { LAST, BEST, ALONE, COLUMNS };

typedef struct evaluations {
    bool has[COLUMNS];
    uint64_t round[COLUMNS];
    hanse_metrics metrics[COLUMNS];
} evaluations;

static void evaluations_clear(evaluations *e)
{
    for (int c = 0; c < COLUMNS; c++)
        if (e->has[c])
            hanse_metrics_clear(&e->metrics[c]);
    memset(e, 0, sizeof *e);
}

static hanse_rc load_one(hanse_site_store *store, const hanse_site_run *run, const hanse_plan *plan, int column, uint64_t round,
                         evaluations *out, hanse_err *err)
{
    uint64_t *words = NULL;
    size_t count = 0;
    hanse_rc rc = hanse_site_store_evaluation_load(store, run->offer.run, column == ALONE ? HANSE_ALONE_MODEL : HANSE_GLOBAL_MODEL, &round,
                                                   &words, &count, err);

    if (rc == HANSE_E_NOTFOUND)
        return HANSE_OK;
    if (rc == HANSE_OK)
        rc = hanse_metrics_decode(&out->metrics[column], plan->data.classes_count, words, count, err);
    if (rc == HANSE_OK) {
        out->has[column] = true;
        out->round[column] = round;
    }
    hanse_free(words);
    return rc;
}

/* "0.812", or "-" for what is no number. */
static const char *number(char out[16], double value)
{
    (void)snprintf(out, 16, isfinite(value) ? "%.4f" : "-", value);
    return out;
}

static json_t *real_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static void print_row(hanse_cli *cli, const char *site, int column, const evaluations *e)
{
    const hanse_metrics *m = &e->metrics[column];
    char accuracy[16], auc[16], loss[16];

    if (!e->has[column])
        return;
    if (column != LAST || !e->has[BEST] || e->round[BEST] != e->round[LAST]) /* one line where the last model is the best */
        hanse_cli_print(cli, "%-24s %-6s %6" PRIu64 " %8" PRIu64 " %9s %8s %8s\n", site, columns[column], e->round[column], m->samples,
                        number(accuracy, hanse_metrics_accuracy(m)), number(auc, hanse_metrics_auc(m)), number(loss, hanse_metrics_loss(m)));
    json_array_append_new(json_object_get(cli->data, "rows"),
                          json_pack("{s:s, s:s, s:I, s:I, s:o, s:o, s:o}", "site", site, "model", columns[column], "round",
                                    (json_int_t)e->round[column], "samples", (json_int_t)m->samples, "accuracy",
                                    real_or_null(hanse_metrics_accuracy(m)), "auc", real_or_null(hanse_metrics_auc(m)), "loss",
                                    real_or_null(hanse_metrics_loss(m))));
}

/* Rows of one directory, merged into `all`. `run_hex`: which run; filled by the first directory when empty. */
static hanse_rc show_dir(hanse_cli *cli, const char *dir, char run_hex[33], const char *prefix, evaluations *all, bool first, hanse_err *err)
{
    hanse_site_store *store = NULL;
    hanse_node_keys keys = {0};
    hanse_plan *plan = NULL;
    hanse_site_run run;
    evaluations own = {0};
    hanse_rc rc = hanse_node_keys_load(&keys, dir, err);

    if (rc == HANSE_OK)
        rc = hanse_site_store_open(&store, dir, err);
    if (rc == HANSE_OK)
        rc = hanse_node_run_find(store, run_hex[0] ? run_hex : prefix, &run, err);
    if (rc == HANSE_OK)
        rc = hanse_node_plan_load(&plan, dir, run.offer.plan_hash, err);
    if (rc == HANSE_OK)
        rc = load_one(store, &run, plan, LAST, UINT64_MAX, &own, err);
    if (rc == HANSE_OK && run.best_round > 0)
        rc = load_one(store, &run, plan, BEST, run.best_round, &own, err);
    if (rc == HANSE_OK)
        rc = load_one(store, &run, plan, ALONE, UINT64_MAX, &own, err);
    if (rc != HANSE_OK)
        goto done;
    if (first) {
        static const char *const states[] = {"goes on", "done", "failed"};
        hanse_hex_encode(run_hex, run.offer.run, 16);
        hanse_cli_print(cli, "run %s, plan %s: %s, %" PRIu64 " rounds, best is round %" PRIu64 "\n\n%-24s %-6s %6s %8s %9s %8s %8s\n", run_hex,
                        plan->name, states[(unsigned)run.run_state % 3], run.rounds_done, run.best_round, "site", "model", "round", "samples",
                        "accuracy", "AUC", "loss");
        json_object_set_new(cli->data, "run", json_string(run_hex));
        json_object_set_new(cli->data, "state", json_string(states[(unsigned)run.run_state % 3]));
        json_object_set_new(cli->data, "rounds", json_integer((json_int_t)run.rounds_done));
        json_object_set_new(cli->data, "best_round", json_integer((json_int_t)run.best_round));
    }
    for (int c = 0; c < COLUMNS && rc == HANSE_OK; c++) {
        print_row(cli, keys.info.site, c, &own);
        if (!own.has[c])
            continue;
        if (!all->has[c])
            rc = hanse_metrics_init(&all->metrics[c], plan->data.classes_count, err);
        if (rc == HANSE_OK) {
            all->has[c] = true;
            all->round[c] = own.round[c];
            hanse_metrics_merge(&all->metrics[c], &own.metrics[c]);
        }
    }
done:
    if (rc != HANSE_OK)
        hanse_err_wrap(err, "%s", dir);
    evaluations_clear(&own);
    hanse_plan_free(plan);
    hanse_site_store_close(store);
    hanse_node_keys_clear(&keys);
    return rc;
}

hanse_rc hanse_command_node_show(hanse_cli *cli, hanse_err *err)
{
    const char *with = hanse_cli_value(cli, "with"), *prefix = cli->args_count > 0 ? cli->args[0] : NULL;
    char run_hex[33] = "";
    evaluations all = {0};
    hanse_path dir;
    size_t dirs = 1;
    hanse_rc rc;

    cli->data = json_pack("{s:[]}", "rows");
    rc = show_dir(cli, cli->dir, run_hex, prefix, &all, true, err);
    while (rc == HANSE_OK && with != NULL && *with != '\0') {
        size_t len = strcspn(with, ":");
        if (len >= sizeof dir)
            rc = HANSE_FAIL(err, HANSE_E_INVALID, "--with: a path is longer than %d bytes", HANSE_PATH_MAX - 1);
        if (rc == HANSE_OK && len > 0) {
            memcpy(dir, with, len);
            dir[len] = '\0';
            rc = show_dir(cli, dir, run_hex, prefix, &all, false, err);
            dirs++;
        }
        with += len + (with[len] == ':');
    }
    if (rc == HANSE_OK && dirs > 1)
        for (int c = 0; c < COLUMNS; c++)
            print_row(cli, "all", c, &all);
    evaluations_clear(&all);
    return rc;
}

/* ---- baseline ---- */

/* The plan's rounds, one after the other, with nobody to average with. */
static hanse_rc train_alone(hanse_cli *cli, const hanse_plan *plan, const hanse_dataset *data, const char *model, uint64_t site_seed,
                            hanse_metrics *metrics, hanse_err *err)
{
    const hanse_model_meta meta = {.round = 0};
    hanse_layout layout = HANSE_LAYOUT_EMPTY;
    hanse_trainer *trainer = NULL;
    hanse_trained trained;
    hanse_rc rc = hanse_layout_of_plan(&layout, plan, err);

    if (rc == HANSE_OK)
        rc = hanse_model_write_initial(model, &layout, &meta, plan->train.seed, false, err);
    if (rc == HANSE_OK)
        rc = hanse_trainer_open(&trainer, plan, data, err);
    for (uint64_t round = 1; rc == HANSE_OK && round <= plan->rounds.count; round++) {
        rc = hanse_trainer_train(trainer, model, model, round, site_seed, NULL, &trained, err);
        hanse_cli_progress(cli, "alone: round %" PRIu64 " of %" PRIu64, round, plan->rounds.count);
    }
    if (rc == HANSE_OK)
        rc = hanse_trainer_evaluate(trainer, model, NULL, metrics, err);
    hanse_trainer_free(trainer);
    hanse_layout_clear(&layout);
    return rc;
}

static hanse_rc keep_alone(hanse_cli *cli, hanse_site_store *store, const hanse_site_run *run, const hanse_plan *plan,
                           const hanse_metrics *metrics, hanse_err *err)
{
    size_t count = hanse_metrics_words(metrics->classes_count);
    uint64_t *words = hanse_calloc(count, sizeof *words);
    char accuracy[16], auc[16], loss[16];
    hanse_rc rc;

    if (words == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "metrics");
    hanse_metrics_encode(metrics, words);
    rc = hanse_site_store_evaluation_save(store, run->offer.run, HANSE_ALONE_MODEL, plan->rounds.count, words, count, err);
    hanse_free(words);
    if (rc != HANSE_OK)
        return rc;
    hanse_cli_print(cli, "alone: %" PRIu64 " test rows, accuracy %s, AUC %s, loss %s\n", metrics->samples,
                    number(accuracy, hanse_metrics_accuracy(metrics)), number(auc, hanse_metrics_auc(metrics)),
                    number(loss, hanse_metrics_loss(metrics)));
    cli->data = json_pack("{s:I, s:o, s:o, s:o}", "samples", (json_int_t)metrics->samples, "accuracy",
                          real_or_null(hanse_metrics_accuracy(metrics)), "auc", real_or_null(hanse_metrics_auc(metrics)), "loss",
                          real_or_null(hanse_metrics_loss(metrics)));
    return HANSE_OK;
}

hanse_rc hanse_command_node_baseline(hanse_cli *cli, hanse_err *err)
{
    hanse_site_store *store = NULL;
    hanse_node_config config = {0};
    hanse_node_keys keys = {0};
    hanse_plan *plan = NULL;
    hanse_dataset *data = NULL;
    hanse_metrics metrics = {0};
    hanse_site_run run;
    hanse_path model;
    hanse_rc rc = hanse_node_config_load(&config, cli->dir, err);

    if (rc == HANSE_OK)
        rc = hanse_node_keys_load(&keys, cli->dir, err);
    if (rc == HANSE_OK)
        rc = hanse_site_store_open(&store, cli->dir, err);
    if (rc == HANSE_OK)
        rc = hanse_node_run_find(store, cli->args[0], &run, err);
    if (rc == HANSE_OK)
        rc = hanse_node_plan_load(&plan, cli->dir, run.offer.plan_hash, err);
    if (rc == HANSE_OK && plan->data.format != HANSE_DATA_NONE)
        rc = hanse_node_dataset_ready(&config, cli->dir, plan, HANSE_BYTES_EMPTY, &data, err);
    if (rc == HANSE_OK)
        rc = hanse_node_hash_path(model, cli->dir, "models", run.offer.run, 16, "-alone.safetensors", err);
    if (rc == HANSE_OK)
        rc = train_alone(cli, plan, data, model, hanse_load_u64le(keys.trust.site_id), &metrics, err);
    if (rc == HANSE_OK)
        rc = keep_alone(cli, store, &run, plan, &metrics, err);
    hanse_metrics_clear(&metrics);
    hanse_dataset_free(data);
    hanse_plan_free(plan);
    hanse_site_store_close(store);
    hanse_node_keys_clear(&keys);
    hanse_node_config_clear(&config);
    return rc;
}
