#include "coordinator/commands.h"
#include "hanse/aux.h"
#include "hanse/clock.h"
#include "hanse/object.h"

#include <math.h>
#include <stdio.h>

typedef struct view {
    hanse_store *store;
    hanse_store_run run;
    hanse_plan *plan;
    hanse_roster roster;
    hanse_store_round *rounds;
    size_t rounds_count;
} view;

typedef struct scores {
    double accuracy, auc, loss; /* NaN: not known */
} scores;

static const char *const kinds[] = {"statistics", "training", "evaluation"};

static hanse_rc view_load(const hanse_cli *cli, view *v, hanse_err *err)
{
    hanse_rc rc = hanse_command_run(cli, &v->store, &v->run, err);

    if (rc == HANSE_OK)
        rc = hanse_plan_parse(&v->plan, hanse_buf_bytes(&v->run.plan), "plan", err);
    if (rc == HANSE_OK)
        rc = hanse_roster_decode(&v->roster, hanse_buf_bytes(&v->run.roster), err);
    return rc == HANSE_OK ? hanse_store_rounds(v->store, v->run.run_id, &v->rounds, &v->rounds_count, err) : rc;
}

static void view_clear(view *v)
{
    hanse_store_rounds_free(v->rounds, v->rounds_count);
    hanse_roster_clear(&v->roster);
    hanse_plan_free(v->plan);
    hanse_store_run_clear(&v->run);
    hanse_store_close(v->store);
}

/* Metrics of the model that round `idx` made: they came with the next round that measured it; an evaluation has its own. */
static hanse_rc round_scores(const view *v, size_t idx, scores *out, hanse_err *err)
{
    const hanse_store_round *made = &v->rounds[idx], *measured = NULL;
    size_t words_count;
    uint64_t *words;
    hanse_metrics metrics = {0};
    hanse_rc rc;

    *out = (scores){NAN, NAN, NAN};
    if (made->state != HANSE_STORE_ROUND_PUBLISHED || made->kind == HANSE_ROUND_STATISTICS)
        return HANSE_OK;
    for (size_t i = made->kind == HANSE_ROUND_EVALUATION ? idx : idx + 1; measured == NULL && i < v->rounds_count; i++)
        if (v->rounds[i].metrics.len > 0 && memcmp(v->rounds[i].metrics_of, made->model_after, 32) == 0)
            measured = &v->rounds[i];
    if (measured == NULL)
        return HANSE_OK;
    words_count = measured->metrics.len / 8;
    words = hanse_calloc(words_count + 1, sizeof *words);
    if (words == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "out of memory reading metrics");
    for (size_t i = 0; i < words_count; i++)
        words[i] = hanse_load_u64le(measured->metrics.data + 8 * i);
    rc = hanse_metrics_decode(&metrics, v->plan->data.classes_count, words, words_count, err);
    if (rc == HANSE_OK) {
        *out = (scores){hanse_metrics_accuracy(&metrics), hanse_metrics_auc(&metrics), hanse_metrics_loss(&metrics)};
        hanse_metrics_clear(&metrics);
    } else {
        hanse_err_wrap(err, "metrics of round %ju", (uintmax_t)measured->round);
    }
    hanse_free(words);
    return rc;
}

static const char *number(char out[32], double value)
{
    if (isnan(value))
        return "-";
    snprintf(out, 32, "%.4f", value);
    return out;
}

static json_t *json_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* What each member of the roster did in this attempt; who is not in the store was not heard of. */
static hanse_rc show_members(hanse_cli *cli, const view *v, const hanse_store_round *round, json_t *list, hanse_err *err)
{
    hanse_store_contribution *parts = NULL;
    size_t count = 0;
    hanse_rc rc = hanse_store_contributions(v->store, round->run_id, round->round, round->attempt, &parts, &count, err);

    for (size_t i = 0; rc == HANSE_OK && i < v->roster.sites_count; i++) {
        const hanse_roster_site *site = &v->roster.sites[i];
        const hanse_store_contribution none = {.state = HANSE_STORE_PART_ABSENT}, *part = &none;
        const char *state;
        char weight[24];
        bool masked;

        for (size_t j = 0; j < count; j++)
            if (memcmp(parts[j].site_id, site->id, 32) == 0)
                part = &parts[j];
        /* Of a masked contribution nobody but its site knows the weight. */
        masked = part->state == HANSE_STORE_PART_ACCEPTED && part->weight == 0 && round->weight > 0;
        if (masked)
            (void)snprintf(weight, sizeof weight, "-");
        else
            (void)snprintf(weight, sizeof weight, "%ju", (uintmax_t)part->weight);
        state = part == &none && round->state == HANSE_STORE_ROUND_OPEN ? "awaited" : hanse_store_part_name(part->state);
        hanse_cli_print(cli, "        %-20s %-9s %10s%s%s%s%s\n", site->name, state, weight, part->code[0] == '\0' ? "" : "  ",
                        part->code, part->reason[0] == '\0' ? "" : ": ", part->reason);
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:o, s:I, s:s, s:s, s:o}", "site", site->name, "organisation",
                                              site->organisation, "state", state, "weight",
                                              masked ? json_null() : json_integer((json_int_t)part->weight), "bytes",
                                              (json_int_t)part->bytes, "code", part->code, "reason", part->reason, "time",
                                              hanse_command_time(part->time_ms)));
    }
    hanse_store_contributions_free(parts, count);
    return rc;
}

static hanse_rc show_round(hanse_cli *cli, const view *v, size_t idx, json_t *list, hanse_err *err)
{
    const hanse_store_round *round = &v->rounds[idx];
    const char *state = hanse_store_round_state_name(round->state);
    char accuracy[32], auc[32], loss[32];
    json_t *members = json_array();
    scores s;
    hanse_rc rc = round_scores(v, idx, &s, err);

    if (rc == HANSE_OK) {
        hanse_cli_print(cli, "%5ju %7u  %-10s %-9s %10ju %9s %7s %8s%s%s\n", (uintmax_t)round->round, round->attempt, kinds[round->kind], state,
                        (uintmax_t)round->weight, number(accuracy, s.accuracy), number(auc, s.auc), number(loss, s.loss),
                        round->reason[0] == '\0' ? "" : "  ", round->reason);
        rc = show_members(cli, v, round, members, err);
    }
    json_array_append_new(list, json_pack("{s:I, s:I, s:I, s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "round", (json_int_t)round->round,
                                          "attempt", (json_int_t)round->attempt, "slot", (json_int_t)round->slot, "kind", kinds[round->kind],
                                          "state", state, "reason", round->reason, "weight", (json_int_t)round->weight, "accuracy",
                                          json_number(s.accuracy), "auc", json_number(s.auc), "loss", json_number(s.loss), "opened",
                                          hanse_command_time(round->opened_ms), "closed", hanse_command_time(round->closed_ms),
                                          "model_root", hanse_command_hex(round->model_after, 32), "sites", members));
    return rc;
}

hanse_rc hanse_command_show(hanse_cli *cli, hanse_err *err)
{
    view v = {0};
    json_t *rounds = json_array();
    char hex[33], plan[65], roster[65];
    hanse_rc rc = view_load(cli, &v, err);

    if (rc == HANSE_OK) {
        hanse_hex_encode(hex, v.run.run_id, 16);
        hanse_hex_encode(plan, v.run.plan_hash, 32);
        hanse_hex_encode(roster, v.run.roster_hash, 32);
        hanse_cli_print(cli, "run     %s\nplan    %s %s\nroster  %s (%zu sites)\nstate   %s%s%s, %ju of %ju rounds\n", hex, v.run.name, plan, roster,
                        v.roster.sites_count, hanse_store_run_state_name(v.run.state), v.run.reason[0] == '\0' ? "" : ": ", v.run.reason,
                        (uintmax_t)v.run.rounds_done, (uintmax_t)v.plan->rounds.count);
        if (v.run.best_round > 0)
            hanse_cli_print(cli, "best    round %ju\n", (uintmax_t)v.run.best_round);
        if (v.rounds_count > 0)
            hanse_cli_print(cli, "\n%5s %7s  %-10s %-9s %10s %9s %7s %8s\n", "round", "attempt", "kind", "state", "weight", "accuracy", "auc", "loss");
    }
    for (size_t i = 0; rc == HANSE_OK && i < v.rounds_count; i++)
        rc = show_round(cli, &v, i, rounds, err);
    if (rc == HANSE_OK)
        cli->data = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:O}", "run", hex, "plan", v.run.name, "plan_hash", plan, "roster_hash",
                              roster, "state", hanse_store_run_state_name(v.run.state), "reason", v.run.reason, "rounds_done",
                              (json_int_t)v.run.rounds_done, "rounds_count", (json_int_t)v.plan->rounds.count, "best_round",
                              (json_int_t)v.run.best_round, "rounds", rounds);
    json_decref(rounds);
    view_clear(&v);
    return rc;
}
