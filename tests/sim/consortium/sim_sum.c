/* sim_sum.c - the sums, made again from what the sites trained.
 *
 * Tapped, by the linker: the words of a masked contribution before their masks go on, the keys they were rounded
 * with, and the finished work as a site stores it. */
#include "tests/sim/consortium/sim_watch.h"

#include "hanse/digest.h"
#include "hanse/masking.h"
#include "hanse/model_root.h"
#include "hanse/ring.h"
#include "hanse/secagg_site.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#define SEGMENTS_MAX 8

typedef struct sum_part { /* a site's contribution to a slot */
    bool there, sent;
    uint64_t weight;
    uint64_t *aux; /* [aux_count] */
    size_t aux_count;
    float *trained; /* [floats_count] */
    size_t floats_count;
    uint64_t *words[SEGMENTS_MAX]; /* masked: before the masks, with zeros for the sanity words */
    uint64_t words_count[SEGMENTS_MAX];
    uint8_t rounding[32]; /* key of the last segment's; zeros: nothing was rounded */
} sum_part;

static sum_part *parts[WATCH_SLOTS_MAX][SIM_SITES_MAX + 1];

hanse_rc __wrap_hanse_secagg_masker_apply(hanse_secagg_masker *masker, hanse_secagg_chunk chunk, void *words, hanse_err *err);
hanse_rc __real_hanse_secagg_masker_apply(hanse_secagg_masker *masker, hanse_secagg_chunk chunk, void *words, hanse_err *err);
hanse_rc __wrap_hanse_quantiser_new(hanse_quantiser **out, const hanse_ring *ring, uint64_t weight, uint64_t weight_total, const uint8_t rho_key[32],
                                    hanse_err *err);
hanse_rc __real_hanse_quantiser_new(hanse_quantiser **out, const hanse_ring *ring, uint64_t weight, uint64_t weight_total, const uint8_t rho_key[32],
                                    hanse_err *err);
hanse_rc __wrap_hanse_site_store_work_save(hanse_site_store *store, const hanse_site_work *work, hanse_err *err);
hanse_rc __real_hanse_site_store_work_save(hanse_site_store *store, const hanse_site_work *work, hanse_err *err);

static void *room(size_t count, size_t size)
{
    void *memory = hanse_calloc(count + 1, size);

    if (memory == NULL)
        sim_wrong("no memory for sums");
    return memory;
}

static sum_part *part_of(uint64_t slot, int site)
{
    (void)watch_slot_of(slot);
    sim.own++;
    if (parts[slot][site] == NULL)
        parts[slot][site] = room(1, sizeof *parts[slot][site]);
    sim.own--;
    return parts[slot][site];
}

static void masked_spec(uint64_t slot, hanse_secagg_spec *spec)
{
    hanse_err err = {0};

    sim_must(hanse_secagg_spec_decode(spec, hanse_buf_bytes(&watch_slot_of(slot)->masks_spec), &err), &err, "masked spec");
    if (spec->segments_count > SEGMENTS_MAX)
        sim_wrong("%u segments", spec->segments_count);
}

/* ---- what sites make ---- */

hanse_rc __wrap_hanse_secagg_masker_apply(hanse_secagg_masker *masker, hanse_secagg_chunk chunk, void *words, hanse_err *err)
{
    int site = sim.current;

    if (site > SIM_COORDINATOR && !sim.procs[site].killed) {
        uint64_t slot = sim.sites[site].agent->job_slot;
        sum_part *part = part_of(slot, site);
        hanse_secagg_spec spec;
        const hanse_secagg_segment *segment;

        sim.own++;
        masked_spec(slot, &spec);
        segment = &spec.segments[chunk.segment];
        if (part->words[chunk.segment] == NULL)
            part->words[chunk.segment] = room((size_t)segment->count, sizeof(uint64_t));
        part->words_count[chunk.segment] = segment->count;
        for (uint64_t k = 0; k < chunk.words && chunk.word + k < segment->count; k++) {
            uint64_t word = segment->bits <= 32 ? ((const uint32_t *)words)[k] : ((const uint64_t *)words)[k];
            uint64_t *kept = &part->words[chunk.segment][chunk.word + k];

            if (part->sent && *kept != word)
                sim_wrong("%s masks other words for slot %" PRIu64 " than it has sent", sim_name(site), slot);
            *kept = word;
        }
        hanse_secagg_spec_clear(&spec);
        sim.own--;
    }
    return __real_hanse_secagg_masker_apply(masker, chunk, words, err);
}

hanse_rc __wrap_hanse_quantiser_new(hanse_quantiser **out, const hanse_ring *ring, uint64_t weight, uint64_t weight_total, const uint8_t rho_key[32],
                                    hanse_err *err)
{
    int site = sim.current;

    if (site > SIM_COORDINATOR && !sim.procs[site].killed)
        memcpy(part_of(sim.sites[site].agent->job_slot, site)->rounding, rho_key, 32);
    return __real_hanse_quantiser_new(out, ring, weight, weight_total, rho_key, err);
}

static void read_floats(const char *path, float **out, size_t *count)
{
    hanse_model_file file = {.fd = -1};
    hanse_err err = {0};

    sim_must(hanse_model_open(&file, path, &err), &err, path);
    *count = file.layout.parameters;
    hanse_free(*out);
    *out = room(*count, sizeof **out);
    sim_must(hanse_model_read(&file, 0, *out, *count, &err), &err, path);
    hanse_model_close(&file);
}

hanse_rc __wrap_hanse_site_store_work_save(hanse_site_store *store, const hanse_site_work *work, hanse_err *err)
{
    const int site = sim.current;
    sum_part *part = part_of(work->slot, site);
    hanse_path path;
    char hex[33], name[128];

    sim.own++;
    if (!part->sent) {
        part->there = true;
        part->weight = work->weight;
        part->aux_count = work->aux.len / 8;
        hanse_free(part->aux);
        part->aux = room(part->aux_count, 8);
        for (size_t i = 0; i < part->aux_count; i++)
            part->aux[i] = hanse_load_u64le(work->aux.data + 8 * i);
        if (work->data_len > 0) {
            hanse_hex_encode(hex, work->run, 16);
            (void)snprintf(name, sizeof name, "work/%s-%" PRIu64 ".trained", hex, work->slot);
            sim_must(hanse_path_join(path, sim.procs[site].dir, name, NULL), NULL, "path");
            read_floats(path, &part->trained, &part->floats_count);
        }
    }
    sim.own--;
    return __real_hanse_site_store_work_save(store, work, err);
}

/* An update may only go out again rounded as before when its earlier slot was declared dead: else a sum with it may exist, beside the
 * next. Words say nothing of it: three small ones round to the same by chance, for a site whose rows are one batch. */
static void check_retry(int site, uint64_t slot)
{
    static const uint8_t none[32] = {0};
    const watch_slot *now = watch_slot_of(slot);
    const sum_part *part = part_of(slot, site);

    for (uint64_t before = 1; before < slot; before++) {
        const sum_part *earlier = parts[before][site];

        if (earlier == NULL || !earlier->sent || watch_slot_of(before)->parts[site].told_abort ||
            watch_slot_of(before)->plain.kind != HANSE_ROUND_TRAINING || now->plain.kind != HANSE_ROUND_TRAINING ||
            memcmp(watch_slot_of(before)->plain.model_root, now->plain.model_root, 32) != 0)
            continue;
        if (memcmp(part->rounding, none, 32) != 0 && memcmp(part->rounding, earlier->rounding, 32) == 0)
            sim_wrong("%s sends the update of slot %" PRIu64 " again in slot %" PRIu64 ", which was not declared dead", sim_name(site), before, slot);
    }
}

void sim_sum_header(int site, uint64_t slot)
{
    sum_part *part = part_of(slot, site);

    if (!part->there)
        sim_wrong("%s offers a contribution to slot %" PRIu64 " that it has not stored", sim_name(site), slot);
    if (!part->sent && sim.setup.masked)
        check_retry(site, slot);
    part->sent = true;
}

/* ---- the sums ---- */

static void coordinator_model(uint64_t round, float **out, size_t *count, hanse_path path)
{
    hanse_err err = {0};

    sim_must(hanse_store_model_path(path, sim.procs[SIM_COORDINATOR].dir, sim.run_id, round, &err), &err, "path");
    read_floats(path, out, count);
}

/* Parts of the site at a place of the roster; NULL: not in the sum. */
static const sum_part *participant(const hanse_result *result, size_t member)
{
    const watch_slot *slot = watch_slot_of(result->slot);
    int site = sim.site_of[member];
    const sum_part *part = slot->in[site] ? parts[result->slot][site] : NULL;

    if (slot->in[site] && (part == NULL || !part->sent))
        sim_wrong("%s is in slot %" PRIu64 ", to which it sent nothing", sim_name(site), result->slot);
    return part;
}

/* Exactly as mean.h says: shares of the weight, in double, in the order of the site ids, rounded once. */
static void sealed_mean(const hanse_result *result, float *mean, size_t count)
{
    uint64_t total = 0;

    for (size_t i = 0; i < sim.setup.sites_count; i++)
        if (participant(result, i) != NULL)
            total += participant(result, i)->weight;
    for (size_t k = 0; k < count; k++) {
        double sum = 0;
        bool first = true;

        for (size_t i = 0; i < sim.setup.sites_count; i++) {
            const sum_part *part = participant(result, i);

            if (part == NULL)
                continue;
            if (part->floats_count != count)
                sim_wrong("%zu numbers of %zu", part->floats_count, count);
            sum = first ? (double)part->weight / (double)total * (double)part->trained[k]
                        : sum + (double)part->weight / (double)total * (double)part->trained[k];
            first = false;
        }
        mean[k] = (float)sum;
    }
}

/* How much the whole update of a site was scaled down to fit its clips. */
static double factor_of(const sum_part *part, const float *base, const hanse_secagg_spec *spec)
{
    double factor = 1;
    size_t at = 0;

    for (uint32_t s = 0; s + 1 < spec->segments_count; s++) {
        double clip, largest = 0;

        memcpy(&clip, &spec->segments[s].clip, sizeof clip);
        for (uint64_t k = 0; k < spec->segments[s].count; k++, at++) {
            float update = part->trained[at] - base[at];

            largest = fabsf(update) > largest ? fabsf(update) : largest;
        }
        if (largest > clip && clip / largest < factor)
            factor = clip / largest;
    }
    return factor;
}

/* One number of one segment, in the plain: the mean of the updates by their shares of the rows. */
static void check_plain(const hanse_result *result, const hanse_secagg_spec *spec, const float *base, const double *factors, size_t at, uint32_t s,
                        double got)
{
    double clip, sum = 0, shares = 0, bound;
    uint32_t n = 0;

    memcpy(&clip, &spec->segments[s].clip, sizeof clip);
    for (size_t i = 0; i < sim.setup.sites_count; i++) {
        const sum_part *part = participant(result, i);
        double share;

        if (part == NULL)
            continue;
        share = (double)part->words[spec->segments_count - 1][0] / (double)HANSE_RING_SHARE_ONE;
        sum += share > 0 ? share * factors[i] * (double)(part->trained[at] - base[at]) : 0;
        shares += share;
        n++;
    }
    bound = (n + 1) * clip / ((double)spec->segments[s].bound * shares) + 1e-6 * (fabs((double)base[at]) + fabs(got) + clip);
    if (!(fabs(got - sum / shares) <= bound))
        sim_wrong("slot %" PRIu64 ": number %zu of the mean update is %.9g, the sites' make %.9g, rounding explains %.3g", result->slot, at, got,
                  sum / shares, bound);
}

static void masked_mean(const hanse_result *result, const float *base, float *mean, size_t count)
{
    hanse_secagg_spec spec;
    double factors[SIM_SITES_MAX] = {0};
    uint64_t share = 0;
    size_t at = 0;
    hanse_err err = {0};

    masked_spec(result->slot, &spec);
    for (size_t i = 0; i < sim.setup.sites_count; i++)
        if (participant(result, i) != NULL) {
            share += participant(result, i)->words[spec.segments_count - 1][0];
            factors[i] = factor_of(participant(result, i), base, &spec);
        }
    for (uint32_t s = 0; s + 1 < spec.segments_count; s++) {
        hanse_ring ring = {.quanta = spec.segments[s].bound, .sites = spec.params.n, .bits = spec.segments[s].bits};

        memcpy(&ring.clip, &spec.segments[s].clip, sizeof ring.clip);
        for (uint64_t k = 0; k < spec.segments[s].count; k++, at++) {
            uint64_t sum = 0;
            float value;

            for (size_t i = 0; i < sim.setup.sites_count; i++)
                if (participant(result, i) != NULL)
                    sum += participant(result, i)->words[s][k];
            sim_must(hanse_ring_mean_u64(&value, &sum, 1, &ring, share, &err), &err, "mean");
            check_plain(result, &spec, base, factors, at, s, (double)value);
            mean[at] = value;
            mean[at] += base[at];
        }
    }
    if (at != count)
        sim_wrong("%zu numbers of %zu", at, count);
    hanse_secagg_spec_clear(&spec);
}

static void check_model(const hanse_result *result)
{
    float *base = NULL, *got = NULL, *want;
    size_t count = 0, base_count = 0;
    hanse_path path;
    hanse_err err = {0};

    coordinator_model(result->round - 1, &base, &base_count, path);
    coordinator_model(result->round, &got, &count, path);
    sim_must(hanse_model_root_check(result->model_root, path, &err), &err, "the published model");
    want = room(count, sizeof *want);
    if (sim.setup.masked)
        masked_mean(result, base, want, count);
    else
        sealed_mean(result, want, count);
    for (size_t k = 0; k < count; k++)
        if (memcmp(&want[k], &got[k], sizeof *got) != 0)
            sim_wrong("slot %" PRIu64 ": number %zu of the model is %.9g, the survivors' mean is %.9g", result->slot, k, (double)got[k], (double)want[k]);
    hanse_free(base);
    hanse_free(got);
    hanse_free(want);
}

/* The words that are summed as they are: statistics, metrics, rows. */
static void check_aux(const hanse_result *result)
{
    uint64_t *sum = NULL;
    size_t words = 0;
    hanse_buf bytes = HANSE_BUF_EMPTY;
    uint8_t root[32];
    hanse_err err = {0};

    for (size_t i = 0; i < sim.setup.sites_count; i++) {
        const sum_part *part = participant(result, i);

        if (part == NULL)
            continue;
        if (sum == NULL)
            sum = room(words = part->aux_count, sizeof *sum);
        for (size_t k = 0; k < words; k++)
            sum[k] += part->aux[k];
    }
    for (size_t k = 0; k < words; k++) {
        uint8_t word[8];

        hanse_store_u64le(word, sum[k]);
        sim_must(hanse_buf_append(&bytes, word, 8, &err), &err, "sum");
    }
    sim_must(hanse_sha256(root, hanse_buf_bytes(&bytes), &err), &err, "hash");
    if (result->kind == HANSE_ROUND_STATISTICS && memcmp(root, result->statistics_root, 32) != 0)
        sim_wrong("slot %" PRIu64 ": the statistics are not the sum of the survivors'", result->slot);
    if (result->kind != HANSE_ROUND_STATISTICS &&
        (words < 2 || result->metrics.len != 8 * (words - 2) || memcmp(result->metrics.data, bytes.data + 16, result->metrics.len) != 0))
        sim_wrong("slot %" PRIu64 ": the metrics are not the sum of the survivors'", result->slot);
    hanse_buf_clear(&bytes);
    hanse_free(sum);
}

void sim_sum_check(const hanse_result *result)
{
    watch_slot *slot = watch_slot_of(result->slot);
    int before = sim_enter(SIM_NOBODY);

    if (!slot->checked) {
        check_aux(result);
        if (result->kind == HANSE_ROUND_TRAINING)
            check_model(result);
    }
    slot->checked = true;
    sim.current = before;
}
