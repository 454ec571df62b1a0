/* What a plan says about masked rounds; see masking.h. The list of signed objects is in signed_list.c. */
#include "hanse/masking.h"

#include "hanse/digest.h"
#include "hanse/reader.h"
#include "hanse/ring.h"
#include "hanse/secagg_graph.h"

#include <math.h>

#define CHUNK_WORDS ((uint32_t)1 << 18)      /* of 32 bits: 1 MiB before packing */
#define CHUNK_WORDS_WIDE ((uint32_t)1 << 17) /* of 64 bits */
#define ONLINE_UNMASK_MS 60000u
#define COMPLETE_SITES 300         /* up to these, or ... */
#define COMPLETE_NUMBERS ((uint64_t)1000000000) /* ... these numbers of all sites together, every pair masks */

hanse_secagg_policy hanse_masking_policy(const hanse_plan *plan)
{
    return (hanse_secagg_policy){.allow_two = plan->aggregation.allow_two,
                                 .trusted_coordinator = plan->aggregation.trusted_coordinator,
                                 .survivors_min = (uint32_t)plan->aggregation.survivors_min};
}

/* Beyond the sizes above, a sparse graph where there is one: it is not as strict a promise (a chance of 2^-40), and at the
 * floors of c and D it spares little below some 500 sites. */
static hanse_rc choose_graph(hanse_secagg_params *params, const hanse_plan *plan, hanse_err *err)
{
    hanse_layout layout = HANSE_LAYOUT_EMPTY;
    hanse_err why;
    uint64_t numbers;
    hanse_rc rc;

    if (plan->aggregation.graph == HANSE_GRAPH_SPARSE)
        return hanse_secagg_params_sparse(params, err);
    if (plan->aggregation.graph == HANSE_GRAPH_COMPLETE || params->n <= COMPLETE_SITES || params->profile != HANSE_SECAGG_ONLINE)
        return HANSE_OK;
    rc = hanse_layout_of_plan(&layout, plan, err);
    if (rc != HANSE_OK)
        return rc;
    numbers = (uint64_t)params->n * layout.parameters;
    hanse_layout_clear(&layout);
    if (numbers > COMPLETE_NUMBERS && hanse_secagg_params_sparse(params, &why) != HANSE_OK)
        return HANSE_OK; /* none is enough: the complete one always is */
    return HANSE_OK;
}

hanse_rc hanse_masking_params(hanse_secagg_params *out, const hanse_plan *plan, size_t sites_count, hanse_err *err)
{
    const hanse_secagg_policy policy = hanse_masking_policy(plan);
    hanse_secagg_params params;
    hanse_rc rc = hanse_secagg_params_default(&params, (uint32_t)sites_count, (hanse_secagg_profile)plan->aggregation.profile, &policy, err);

    if (rc == HANSE_OK && plan->aggregation.collusion > params.c) {
        params.c = (uint32_t)plan->aggregation.collusion;
        params.t = (params.n + params.c) / 2 + 1 > params.t ? (params.n + params.c) / 2 + 1 : params.t;
    }
    if (rc == HANSE_OK)
        rc = choose_graph(&params, plan, err);
    if (rc == HANSE_OK)
        rc = hanse_secagg_params_check(&params, &policy, err);
    if (rc == HANSE_OK)
        *out = params;
    return rc;
}

static uint32_t organisation_of(const hanse_roster *roster, size_t site)
{
    for (size_t i = 0; i < site; i++)
        if (strcmp(roster->sites[i].organisation, roster->sites[site].organisation) == 0)
            return (uint32_t)i;
    return (uint32_t)site;
}

hanse_rc hanse_masking_params_check(const hanse_secagg_params *params, const hanse_secagg_policy *policy, const hanse_roster *roster,
                                    hanse_err *err)
{
    uint32_t *organisations;
    hanse_rc rc;

    if (params->n != roster->sites_count)
        return HANSE_FAIL(err, HANSE_E_USAGE, "thresholds for %u sites, the roster has %zu", params->n, roster->sites_count);
    organisations = hanse_calloc(roster->sites_count, sizeof *organisations);
    if (organisations == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for the organisations of %zu sites", roster->sites_count);
    for (size_t i = 0; i < roster->sites_count; i++)
        organisations[i] = organisation_of(roster, i);
    rc = hanse_secagg_params_check_members(params, policy, organisations, err);
    hanse_free(organisations);
    return rc;
}

hanse_rc hanse_masking_members(hanse_secagg_roster **out, const hanse_roster *roster, const uint8_t hash[32], const hanse_cert *coordinator,
                               const hanse_trust *trust, uint64_t now_ms, hanse_err *err)
{
    const size_t n = roster->sites_count;
    hanse_secagg_member *members = hanse_calloc(n, sizeof *members);
    hanse_cert **certs = hanse_calloc(n, sizeof *certs);
    hanse_rc rc = members != NULL && certs != NULL ? HANSE_OK : HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for a roster of %zu sites", n);

    for (size_t i = 0; rc == HANSE_OK && i < n; i++) {
        rc = hanse_cert_from_der(&certs[i], roster->sites[i].cert, err);
        members[i] = (hanse_secagg_member){.cert = certs[i], .organisation = organisation_of(roster, i)};
        memcpy(members[i].id, roster->sites[i].id, 32);
    }
    if (rc == HANSE_OK)
        rc = hanse_secagg_roster_new(out, hash, members, n, coordinator, trust, (int64_t)(now_ms / 1000), err);
    for (size_t i = 0; certs != NULL && i < n; i++)
        hanse_cert_free(certs[i]); /* the roster holds references of its own */
    hanse_free(certs);
    hanse_free(members);
    return rc;
}

/* ---- the state ---- */

static hanse_rc state_new(hanse_masking_state *out, size_t tensors_count, hanse_err *err)
{
    *out = (hanse_masking_state){.tensors_count = tensors_count};
    out->clips = hanse_calloc(tensors_count + 1, sizeof *out->clips);
    out->used = hanse_calloc(tensors_count + 1, sizeof *out->used);
    out->above = hanse_calloc(tensors_count + 1, sizeof *out->above);
    out->near = hanse_calloc(tensors_count + 1, sizeof *out->near);
    if (out->clips != NULL && out->used != NULL && out->above != NULL && out->near != NULL)
        return HANSE_OK;
    hanse_masking_state_clear(out);
    return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for the clips of %zu tensors", tensors_count);
}

hanse_rc hanse_masking_state_init(hanse_masking_state *out, const hanse_plan *plan, const hanse_layout *layout, hanse_err *err)
{
    hanse_rc rc = state_new(out, layout->count, err);

    for (size_t i = 0; rc == HANSE_OK && i < layout->count; i++)
        out->clips[i] = plan->aggregation.clip_ceiling;
    return rc;
}

void hanse_masking_state_clear(hanse_masking_state *state)
{
    hanse_free(state->clips);
    hanse_free(state->used);
    hanse_free(state->above);
    hanse_free(state->near);
    *state = HANSE_MASKING_STATE_EMPTY;
}

static double clip_next(const hanse_plan *plan, double clip, uint32_t above, uint32_t near)
{
    double next = above > 0 ? 4 * clip : near == 0 ? clip / 2 : clip;

    return fmin(fmax(next, plan->aggregation.clip_floor), plan->aggregation.clip_ceiling);
}

void hanse_masking_clips_next(hanse_masking_state *state, const hanse_plan *plan)
{
    for (size_t i = 0; i < state->tensors_count; i++)
        state->clips[i] = clip_next(plan, state->used[i], state->above[i], state->near[i]);
}

static uint64_t bits_of(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}
static double value_of(uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

hanse_rc hanse_masking_state_encode(hanse_buf *out, const hanse_masking_state *state, hanse_err *err)
{
    hanse_writer writer = hanse_writer_to(out);

    hanse_write_u64(&writer, state->weight_total);
    hanse_write_u32(&writer, (uint32_t)state->tensors_count);
    for (size_t i = 0; i < state->tensors_count; i++) {
        hanse_write_u64(&writer, bits_of(state->clips[i]));
        hanse_write_u64(&writer, bits_of(state->used[i]));
        hanse_write_u32(&writer, state->above[i]);
        hanse_write_u32(&writer, state->near[i]);
    }
    return hanse_writer_done(&writer, err);
}

static const char *clip_problem(const hanse_masking_state *state, const hanse_plan *plan, size_t i)
{
    const double low = plan->aggregation.clip_floor, high = plan->aggregation.clip_ceiling;

    if (!(state->clips[i] >= low && state->clips[i] <= high) || !(state->used[i] == 0 || (state->used[i] >= low && state->used[i] <= high)))
        return "a clip outside the plan's floor and ceiling";
    if (state->used[i] == 0 ? state->clips[i] != high : state->clips[i] != clip_next(plan, state->used[i], state->above[i], state->near[i]))
        return "a clip that does not follow from the counters";
    return NULL;
}

hanse_rc hanse_masking_state_decode(hanse_masking_state *out, const hanse_plan *plan, const hanse_layout *layout, hanse_bytes in, hanse_err *err)
{
    hanse_reader reader = hanse_reader_of(in);
    hanse_masking_state state;
    uint64_t weight_total = hanse_read_u64(&reader);
    uint32_t count = hanse_read_u32(&reader);
    hanse_rc rc;

    if (count != layout->count)
        hanse_reader_fail(&reader, "clips for another number of tensors");
    if (weight_total > HANSE_RING_WEIGHT_MAX)
        hanse_reader_fail(&reader, "impossible total of rows");
    if (reader.problem != NULL)
        return hanse_reader_done(&reader, "masking", err);
    rc = state_new(&state, count, err);
    if (rc != HANSE_OK)
        return rc;
    state.weight_total = weight_total;
    for (uint32_t i = 0; i < count; i++) {
        state.clips[i] = value_of(hanse_read_u64(&reader));
        state.used[i] = value_of(hanse_read_u64(&reader));
        state.above[i] = hanse_read_u32(&reader);
        state.near[i] = hanse_read_u32(&reader);
        if (reader.problem == NULL && clip_problem(&state, plan, i) != NULL)
            hanse_reader_fail(&reader, clip_problem(&state, plan, i));
    }
    rc = hanse_reader_done(&reader, "masking", err);
    if (rc == HANSE_OK)
        *out = state;
    else
        hanse_masking_state_clear(&state);
    return rc;
}

/* ---- the words ---- */

size_t hanse_masking_aux_head(const hanse_layout *layout, int kind)
{
    return kind == HANSE_ROUND_TRAINING ? HANSE_MASKING_HEAD + 2 * layout->count : 0;
}

size_t hanse_masking_aux_words(const hanse_plan *plan, const hanse_layout *layout, int kind)
{
    return hanse_masking_aux_head(layout, kind) + hanse_aux_words(plan, kind);
}

/* Q and r of a scaled segment. */
static hanse_rc ring_of(const hanse_plan *plan, uint32_t sites, uint64_t *quanta, uint32_t *bits, hanse_err *err)
{
    if (plan->aggregation.bits > 0) {
        *bits = (uint32_t)plan->aggregation.bits;
        *quanta = ((uint64_t)1 << (*bits - 1)) > (uint64_t)sites + 1 ? ((uint64_t)1 << (*bits - 1)) - sites - 1 : 0;
    } else {
        *quanta = hanse_ring_quanta(sites, plan->aggregation.precision);
        *bits = hanse_ring_bits(*quanta, sites);
    }
    if (*quanta == 0 || *bits == 0 || *quanta > HANSE_RING_QUANTA_MAX)
        return HANSE_SECAGG_FAIL(err, RANGE, "no ring for %u sites: say a coarser aggregation.precision or more bits", sites);
    return HANSE_OK;
}

hanse_rc hanse_masking_segments(hanse_secagg_segment **out, uint32_t *count, const hanse_plan *plan, const hanse_layout *layout, int kind,
                                size_t sites_count, const hanse_masking_state *state, hanse_err *err)
{
    const uint32_t tensors = kind == HANSE_ROUND_TRAINING ? (uint32_t)layout->count : 0;
    hanse_secagg_segment *segments = hanse_calloc(tensors + 1, sizeof *segments);
    uint64_t quanta = 0;
    uint32_t bits = 0;
    hanse_rc rc = HANSE_OK;

    if (segments == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for %u segments", tensors + 1);
    if (tensors > 0)
        rc = ring_of(plan, (uint32_t)sites_count, &quanta, &bits, err);
    for (uint32_t i = 0; rc == HANSE_OK && i < tensors; i++) {
        segments[i] = (hanse_secagg_segment){.count = layout->tensors[i].count, .bits = bits, .bound = quanta, .scaled = 1,
                                             .clip = bits_of(state->clips[i])};
        rc = hanse_sha256(segments[i].name_hash, hanse_bytes_str(layout->tensors[i].name), err);
    }
    segments[tensors] = (hanse_secagg_segment){.count = hanse_masking_aux_words(plan, layout, kind), .bits = 64,
                                               .bound = (((uint64_t)1 << 63) - 1) / sites_count};
    if (rc == HANSE_OK)
        rc = hanse_sha256(segments[tensors].name_hash, hanse_bytes_str("aux"), err);
    if (rc != HANSE_OK) {
        hanse_free(segments);
        return rc;
    }
    *out = segments;
    *count = tensors + 1;
    return HANSE_OK;
}

uint32_t hanse_masking_chunk_words(const hanse_secagg_segment *segments, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (segments[i].bits > 32 && segments[i].count + HANSE_SECAGG_SANITY_WORDS > CHUNK_WORDS_WIDE)
            return CHUNK_WORDS_WIDE;
    return CHUNK_WORDS;
}

static bool same_segments(const hanse_secagg_spec *spec, const hanse_secagg_segment *want, uint32_t count)
{
    if (spec->segments_count != count)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        const hanse_secagg_segment *a = &spec->segments[i], *b = &want[i];

        if (memcmp(a->name_hash, b->name_hash, 32) != 0 || a->count != b->count || a->bits != b->bits || a->bound != b->bound || a->clip != b->clip ||
            a->scaled != b->scaled)
            return false;
    }
    return spec->chunk_words == hanse_masking_chunk_words(want, count);
}

hanse_rc hanse_masking_spec_check(const hanse_secagg_spec *spec, const hanse_plan *plan, const hanse_layout *layout, size_t sites_count,
                                  const hanse_masking_state *state, const hanse_spec *plain, const uint8_t plain_hash[32], hanse_err *err)
{
    hanse_secagg_segment *want = NULL;
    uint32_t count = 0;
    hanse_rc rc;

    if (memcmp(spec->spec_hash, plain_hash, 32) != 0 || spec->slot != plain->slot || spec->kind != plain->kind ||
        memcmp(spec->run, plain->run, 16) != 0 || memcmp(spec->model_root, plain->model_root, 32) != 0 ||
        memcmp(spec->plan_hash, plain->plan_hash, 32) != 0 || spec->upload_deadline_ms != plain->deadline_ms)
        return HANSE_SECAGG_FAIL(err, PLAN, "the masks of slot %llu are not for the round's spec", (unsigned long long)plain->slot);
    rc = hanse_masking_segments(&want, &count, plan, layout, plain->kind, sites_count, state, err);
    if (rc != HANSE_OK)
        return rc;
    if (!same_segments(spec, want, count))
        rc = HANSE_SECAGG_FAIL(err, RANGE, "the spec of slot %llu has other words, bits or clips than plan and last result give",
                               (unsigned long long)plain->slot);
    else if (plain->kind == HANSE_ROUND_TRAINING && spec->weight_total != state->weight_total)
        rc = HANSE_SECAGG_FAIL(err, RANGE, "the spec of slot %llu has a total of %llu rows, the last result says %llu", (unsigned long long)plain->slot,
                               (unsigned long long)spec->weight_total, (unsigned long long)state->weight_total);
    hanse_free(want);
    return rc;
}

hanse_rc hanse_masking_offsets(uint64_t **out, uint64_t *chunks, const hanse_secagg_spec *spec, hanse_err *err)
{
    uint64_t count = hanse_secagg_chunks(spec), at = 0;
    uint64_t *offsets = hanse_calloc((size_t)count + 1, sizeof *offsets);

    if (offsets == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for %llu chunks", (unsigned long long)count);
    for (uint64_t i = 0; i < count; i++) {
        offsets[i] = at;
        at += hanse_secagg_chunk_at(spec, i).len;
    }
    offsets[count] = at;
    *out = offsets;
    *chunks = count;
    return HANSE_OK;
}

uint64_t hanse_masking_unmask_ms(const hanse_plan *plan)
{
    return plan->aggregation.profile == HANSE_CONTACTS_CRON ? plan->rounds.deadline_ms : ONLINE_UNMASK_MS;
}
