#include "secagg_world.h"

#include "hanse/digest.h"
#include "hanse/hpke.h"
#include "hanse/ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define NOW_S ((int64_t)(WORLD_NOW / 1000))
#define CHUNK_WORDS 64

#define MUST(call)                                                             \
    do {                                                                       \
        if ((call) != HANSE_OK)                                                \
            fail_msg("%s:%d: %s: %s", __FILE__, __LINE__, #call, w->err.text); \
    } while (0)

uint64_t world_chance(world *w) /* splitmix64 */
{
    uint64_t z = w->chance += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

void world_random(world *w, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)world_chance(w);
}

static hanse_cert *issue(world *w, const hanse_key *key, hanse_profile profile, const char *site)
{
    hanse_buf csr = HANSE_BUF_EMPTY;
    hanse_cert *cert = NULL;
    hanse_issue want = {.profile = profile, .organisation = "org", .site = site, .now = NOW_S, .days = 100};

    MUST(hanse_csr_new(key, &csr, &w->err));
    MUST(hanse_cert_issue(&cert, w->ca, w->ca_key, hanse_buf_bytes(&csr), &want, &w->err));
    hanse_buf_clear(&csr);
    return cert;
}

static int compare_sites(const void *a, const void *b)
{
    uint8_t x[32], y[32];

    assert_int_equal(hanse_key_id(((const world_site *)a)->key, x, NULL), HANSE_OK);
    assert_int_equal(hanse_key_id(((const world_site *)b)->key, y, NULL), HANSE_OK);
    return memcmp(x, y, 32);
}

static void new_roster(world *w, uint32_t organisations)
{
    hanse_secagg_member *members = hanse_calloc(w->n, sizeof *members);
    hanse_trust trust;
    uint8_t hash[32];
    char name[32];

    MUST(hanse_ca_new(&w->ca_key, &w->ca, "world", NOW_S, 10, &w->err));
    MUST(hanse_crl_new(&w->crl, w->ca, w->ca_key, NULL, NULL, 0, NOW_S, NOW_S + 90 * 86400, &w->err));
    MUST(hanse_key_new(&w->coordinator_key, HANSE_KEY_ED25519, &w->err));
    MUST(hanse_key_new(&w->tls_key, HANSE_KEY_P256, &w->err));
    w->coordinator = issue(w, w->coordinator_key, HANSE_PROFILE_COORDINATOR_SIGN, "coordinator");
    for (uint32_t i = 0; i < w->n; i++) {
        (void)snprintf(name, sizeof name, "site%u", i);
        MUST(hanse_key_new(&w->sites[i].key, HANSE_KEY_ED25519, &w->err));
        w->sites[i].cert = issue(w, w->sites[i].key, HANSE_PROFILE_SITE_SIGN, name);
    }
    qsort(w->sites, w->n, sizeof *w->sites, compare_sites);
    for (uint32_t i = 0; i < w->n; i++) {
        MUST(hanse_key_id(w->sites[i].key, members[i].id, &w->err));
        members[i].cert = w->sites[i].cert;
        members[i].organisation = i % organisations;
    }
    world_random(w, hash, 32);
    trust = (hanse_trust){w->ca, w->crl, false};
    MUST(hanse_secagg_roster_new(&w->roster, hash, members, w->n, w->coordinator, &trust, NOW_S, &w->err));
    hanse_free(members);
}

static void new_segments(world *w)
{
    static const struct { uint64_t count; uint32_t bits; uint64_t bound, clip; uint8_t scaled; } rows[WORLD_SEGMENTS] = {
        {150, 20, 400000, 0x3ff0000000000000u, 1}, {7, 64, (uint64_t)1 << 50, 0, 0}, {64, 37, (uint64_t)1 << 30, 0, 0}};

    for (size_t i = 0; i < WORLD_SEGMENTS; i++) {
        w->segments[i] = (hanse_secagg_segment){.count = rows[i].count, .bits = rows[i].bits, .bound = rows[i].bound,
                                                .clip = rows[i].clip, .scaled = rows[i].scaled};
        world_random(w, w->segments[i].name_hash, 32);
    }
    if (w->n > 60)
        w->segments[2].bits = 42; /* n * 2^30 must fit */
}

static void put_record(world_site *site, hanse_bytes key, hanse_bytes value)
{
    size_t at = 0;

    while (at < site->store_count && !hanse_bytes_equal(hanse_buf_bytes(&site->store[at].key), key))
        at++;
    if (at == site->store_count) {
        site->store = hanse_realloc(site->store, at + 1, sizeof *site->store);
        site->store[at] = (world_record){HANSE_BUF_EMPTY, HANSE_BUF_EMPTY};
        site->store_count++;
        assert_int_equal(hanse_buf_append(&site->store[at].key, key.data, key.len, NULL), HANSE_OK);
    }
    site->store[at].value.len = 0;
    assert_int_equal(hanse_buf_append(&site->store[at].value, value.data, value.len, NULL), HANSE_OK);
}

static void free_records(world_record *records, size_t count)
{
    for (size_t k = 0; k < count; k++) {
        hanse_buf_clear(&records[k].key);
        hanse_buf_clear(&records[k].value);
    }
    hanse_free(records);
}

static void move(hanse_buf *to, hanse_buf *from)
{
    hanse_buf_clear(to);
    *to = *from;
    *from = HANSE_BUF_EMPTY;
}

hanse_rc world_step(world *w, uint32_t i, hanse_secagg_event *event)
{
    world_site *site = &w->sites[i];
    hanse_secagg_actions actions = HANSE_SECAGG_ACTIONS_EMPTY;
    hanse_rc rc;

    event->now_ms = w->now_ms;
    world_random(w, event->seed, 32);
    w->err.text[0] = '\0';
    if (w->around_step != NULL)
        w->around_step(event->kind, true);
    rc = hanse_secagg_site_step(site->site, event, &actions, &w->err);
    if (w->around_step != NULL)
        w->around_step(event->kind, false);
    for (size_t k = 0; k < actions.count; k++) {
        hanse_secagg_action *action = &actions.items[k];

        if (action->kind == HANSE_SECAGG_DO_PUT)
            put_record(site, hanse_buf_bytes(&action->key), hanse_buf_bytes(&action->value));
        else if (action->kind == HANSE_SECAGG_DO_SEND) {
            assert_int_equal(rc, HANSE_OK); /* nothing leaves after a refusal */
            site->label = action->label;
            site->answers += strcmp(action->label, HANSE_SECAGG_ANSWER_LABEL) == 0;
            move(&site->value, &action->value);
            move(&site->sig, &action->sig);
            move(&site->extra, &action->extra);
        } else if (action->kind == HANSE_SECAGG_DO_TRAIN) {
            site->trains++;
            site->again = action->again;
            site->reseed = action->reseed;
            site->told = action->told;
        } else
            site->alarms++;
    }
    hanse_secagg_actions_clear(&actions);
    return rc;
}

void world_restart(world *w, uint32_t i)
{
    world_site *site = &w->sites[i];

    hanse_secagg_site_free(site->site);
    MUST(hanse_secagg_site_new(&site->site, &site->config, &w->err));
    for (size_t k = 0; k < site->store_count; k++)
        if (site->store[k].value.len > 0)
            MUST(hanse_secagg_site_load(site->site, hanse_buf_bytes(&site->store[k].key), hanse_buf_bytes(&site->store[k].value), &w->err));
}

world_record *world_snapshot(world *w, uint32_t i, size_t *count)
{
    const world_site *site = &w->sites[i];
    world_record *copy = hanse_calloc(site->store_count, sizeof *copy);

    *count = site->store_count;
    for (size_t k = 0; k < site->store_count; k++) {
        MUST(hanse_buf_append(&copy[k].key, site->store[k].key.data, site->store[k].key.len, &w->err));
        MUST(hanse_buf_append(&copy[k].value, site->store[k].value.data, site->store[k].value.len, &w->err));
    }
    return copy;
}

void world_restore(world *w, uint32_t i, world_record *store, size_t count)
{
    free_records(w->sites[i].store, w->sites[i].store_count);
    w->sites[i].store = store;
    w->sites[i].store_count = count;
    world_restart(w, i);
}

static hanse_signed last_sent(const world_site *site)
{
    return (hanse_signed){hanse_buf_bytes(&site->value), hanse_buf_bytes(&site->sig)};
}

static void new_epochs(world *w)
{
    for (uint32_t i = 0; i < w->n; i++) {
        hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_EPOCH, .epoch = 1, .from_ms = w->now_ms, .until_ms = w->now_ms + 7 * 86400000};

        MUST(world_step(w, i, &event));
    }
    for (uint32_t i = 0; i < w->n; i++)
        for (uint32_t j = 0; j < w->n; j++) {
            hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_PEER, .object = last_sent(&w->sites[j])};

            MUST(world_step(w, i, &event));
        }
}

void world_new(world *w, uint32_t n, hanse_secagg_profile profile, uint64_t seed)
{
    world_new_of(w, n, n, profile, seed);
}

/* Everything but policy and thresholds, which are w->policy and w->params. */
static void begin(world *w, uint32_t organisations)
{
    uint32_t n = w->n;

    w->kind = HANSE_ROUND_TRAINING;
    w->now_ms = WORLD_NOW;
    w->sites = hanse_calloc(n, sizeof *w->sites);
    new_roster(w, organisations);
    new_segments(w);
    world_random(w, w->run, 16);
    world_random(w, w->plan_hash, 32);
    world_random(w, w->model_root, 32);
    world_random(w, w->seal_secret, 32);
    MUST(hanse_x25519_public(w->seal_key, w->seal_secret, &w->err));
    for (uint32_t i = 0; i < n; i++) {
        hanse_secagg_site_config *config = &w->sites[i].config;

        *config = (hanse_secagg_site_config){.roster = w->roster, .self = i, .key = w->sites[i].key, .params = w->params,
                                             .policy = w->policy, .ticket_life_ms = WORLD_L, .share_max_ppm = 900000};
        memcpy(config->run, w->run, 16);
        memcpy(config->plan_hash, w->plan_hash, 32);
        memcpy(config->seal_key, w->seal_key, 32);
        MUST(hanse_secagg_site_new(&w->sites[i].site, config, &w->err));
        for (size_t k = 0; k < WORLD_SEGMENTS; k++)
            w->sites[i].q[k] = hanse_calloc(w->segments[k].count, sizeof(uint64_t));
    }
    new_epochs(w);
}

void world_new_of(world *w, uint32_t n, uint32_t organisations, hanse_secagg_profile profile, uint64_t seed)
{
    *w = (world){.n = n, .chance = seed};
    MUST(hanse_secagg_params_default(&w->params, n, profile, &w->policy, &w->err));
    if (w->params.c < (n + organisations - 1) / organisations) { /* sites of one organisation collude */
        w->params.c = (n + organisations - 1) / organisations;
        w->params.t = w->params.t > (n + w->params.c) / 2 + 1 ? w->params.t : (n + w->params.c) / 2 + 1;
    }
    begin(w, organisations);
}

void world_new_with(world *w, const hanse_secagg_params *params, const hanse_secagg_policy *policy, uint64_t seed)
{
    *w = (world){.n = params->n, .chance = seed, .params = *params, .policy = *policy};
    begin(w, params->n);
}

void world_segment(world *w, size_t i, uint64_t count, uint32_t bits, uint64_t bound, double clip)
{
    hanse_secagg_segment *s = &w->segments[i];

    s->count = count;
    s->bits = bits;
    s->bound = bound;
    s->scaled = clip > 0;
    memcpy(&s->clip, &clip, sizeof clip);
    for (uint32_t k = 0; k < w->n; k++) {
        hanse_free(w->sites[k].q[i]);
        w->sites[k].q[i] = hanse_calloc(count, sizeof(uint64_t));
        assert_non_null(w->sites[k].q[i]);
    }
}

void world_free(world *w)
{
    for (uint32_t i = 0; i < w->n; i++) {
        world_site *site = &w->sites[i];
        hanse_buf *buffers[] = {&site->ticket, &site->ticket_sig, &site->cts, &site->value, &site->sig, &site->extra, &site->y};

        for (size_t k = 0; k < sizeof buffers / sizeof buffers[0]; k++)
            hanse_buf_clear(buffers[k]);
        for (size_t k = 0; k < WORLD_SEGMENTS; k++)
            hanse_free(site->q[k]);
        free_records(site->store, site->store_count);
        free_records(site->left, site->left_count);
        hanse_secagg_site_free(site->site);
        hanse_cert_free(site->cert);
        hanse_key_free(site->key);
    }
    hanse_free(w->sites);
    hanse_secagg_round_free(w->round);
    hanse_secagg_roster_free(w->roster);
    hanse_cert_free(w->coordinator);
    hanse_cert_free(w->ca);
    hanse_crl_free(w->crl);
    hanse_key_free(w->ca_key);
    hanse_key_free(w->coordinator_key);
    hanse_key_free(w->tls_key);
}

/* --- a round --- */

void world_round_new(world *w, uint64_t slot, void (*tweak)(hanse_secagg_spec *spec))
{
    hanse_secagg_spec spec = {.slot = slot, .kind = w->kind, .params = w->params, .weight_total = 1000,
                              .upload_deadline_ms = w->now_ms + 60000, .unmask_deadline_ms = w->now_ms + 120000,
                              .chunk_words = CHUNK_WORDS, .segments_count = WORLD_SEGMENTS};

    spec.segments = w->segments;
    memcpy(spec.run, w->run, 16);
    memcpy(spec.plan_hash, w->plan_hash, 32);
    memcpy(spec.model_root, w->model_root, 32);
    memcpy(spec.seal_key, w->seal_key, 32);
    if (tweak != NULL)
        tweak(&spec);
    hanse_secagg_round_free(w->round);
    w->round = NULL;
    MUST(hanse_secagg_round_new(&w->round, w->roster, w->coordinator_key, w->seal_secret, &spec, &w->policy, &w->err));
}

static void keep_left(world *w, world_site *site)
{
    world_record *grown = realloc(site->left, (site->left_count + 1) * sizeof *grown);

    assert_non_null(grown);
    site->left = grown;
    grown[site->left_count] = (world_record){HANSE_BUF_EMPTY, HANSE_BUF_EMPTY};
    MUST(hanse_buf_append(&grown[site->left_count].key, site->ticket.data, site->ticket.len, &w->err));
    MUST(hanse_buf_append(&grown[site->left_count].value, site->cts.data, site->cts.len, &w->err));
    site->left_count++;
}

hanse_rc world_ticket(world *w, uint32_t i, uint64_t slot)
{
    world_site *site = &w->sites[i];
    hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_TICKET, .slot = slot, .newest_slot = slot, .until_ms = w->now_ms + 86400000};
    hanse_rc rc = world_step(w, i, &event);

    if (rc == HANSE_OK) {
        move(&site->ticket, &site->value);
        move(&site->ticket_sig, &site->sig);
        move(&site->cts, &site->extra);
        keep_left(w, site);
    }
    return rc;
}

hanse_bytes world_share(const world *w, const hanse_secagg_round *round, uint32_t from, uint32_t to)
{
    const world_site *site = &w->sites[from];
    const hanse_bytes ticket = hanse_secagg_round_tickets(round)[from].bytes;

    for (size_t k = 0; k < site->left_count; k++)
        if (ticket.len > 0 && hanse_bytes_equal(ticket, hanse_buf_bytes(&site->left[k].key)))
            return (hanse_bytes){site->left[k].value.data + (size_t)to * HANSE_SECAGG_CT_LEN, HANSE_SECAGG_CT_LEN};
    return HANSE_BYTES_EMPTY;
}

hanse_rc world_leave(world *w, uint32_t i, uint64_t slot)
{
    world_site *site = &w->sites[i];
    hanse_rc rc = world_ticket(w, i, slot);

    if (rc != HANSE_OK)
        return rc;
    return hanse_secagg_round_add_ticket(w->round, (hanse_signed){hanse_buf_bytes(&site->ticket), hanse_buf_bytes(&site->ticket_sig)},
                                         hanse_buf_bytes(&site->cts), w->now_ms, &w->err);
}

void world_shares(world *w, const hanse_secagg_round *round, uint32_t to, hanse_buf *out)
{
    static const uint8_t none[HANSE_SECAGG_CT_LEN] = {0};

    for (uint32_t from = 0; from < w->n; from++) {
        const hanse_bytes share = world_share(w, round, from, to);

        MUST(hanse_buf_append(out, share.len > 0 ? share.data : none, HANSE_SECAGG_CT_LEN, &w->err));
    }
}

hanse_rc world_spec_of(world *w, uint32_t i, const hanse_secagg_round *round, bool take_part)
{
    hanse_buf shares = HANSE_BUF_EMPTY;
    hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_SPEC, .object = hanse_secagg_round_spec(round),
                                .tickets = hanse_secagg_round_tickets(round), .take_part = take_part, .weight = 10};
    hanse_rc rc;

    world_shares(w, round, i, &shares);
    event.shares = hanse_buf_bytes(&shares);
    memcpy(event.model_root, w->model_root, 32);
    rc = world_step(w, i, &event);
    hanse_buf_clear(&shares);
    return rc;
}

hanse_rc world_spec(world *w, uint32_t i, bool take_part)
{
    return world_spec_of(w, i, w->round, take_part);
}

/* Words of a chunk before masking: residues of what the site knows. */
static void fill(const world_site *site, hanse_secagg_chunk chunk, uint64_t count, uint32_t bits, void *words)
{
    for (uint32_t k = 0; k < chunk.words; k++) {
        uint64_t value = chunk.word + k < count ? site->q[chunk.segment][chunk.word + k] : 99; /* overwritten: sanity */

        if (bits <= 32)
            ((uint32_t *)words)[k] = (uint32_t)value;
        else
            ((uint64_t *)words)[k] = value;
    }
}

hanse_rc world_mask(world *w, uint32_t i, uint64_t slot)
{
    world_site *site = &w->sites[i];
    hanse_secagg_spec spec = {.chunk_words = CHUNK_WORDS, .segments_count = WORLD_SEGMENTS, .segments = w->segments};
    hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_UPLOAD, .slot = slot};
    uint64_t chunks = hanse_secagg_chunks(&spec), words[CHUNK_WORDS];
    uint8_t (*leaves)[32] = hanse_calloc((size_t)chunks, sizeof *leaves);
    hanse_secagg_masker *masker = NULL;

    for (size_t s = 0; s < WORLD_SEGMENTS && !w->keep_values; s++)
        for (uint64_t k = 0; k < w->segments[s].count; k++) /* small signed values, and the extremes */
            site->q[s][k] = k == 0 ? w->segments[s].bound / w->n : k == 1 ? 0 - w->segments[s].bound / w->n
                                                                          : (uint64_t)((int64_t)(world_chance(w) % 2001) - 1000);
    MUST(hanse_secagg_masker_new(&masker, site->site, &w->err));
    site->y.len = 0;
    for (uint64_t c = 0; c < chunks; c++) {
        hanse_secagg_chunk chunk = hanse_secagg_chunk_at(&spec, c);
        uint32_t bits = w->segments[chunk.segment].bits;

        fill(site, chunk, w->segments[chunk.segment].count, bits, words);
        MUST(hanse_secagg_masker_apply(masker, chunk, words, &w->err));
        MUST(hanse_buf_reserve(&site->y, site->y.len + chunk.len, &w->err));
        if (bits <= 32)
            hanse_ring_pack_u32(site->y.data + site->y.len, (uint32_t *)(void *)words, chunk.words, bits);
        else
            hanse_ring_pack_u64(site->y.data + site->y.len, words, chunk.words, bits);
        MUST(hanse_secagg_leaf(leaves[c], (hanse_bytes){site->y.data + site->y.len, chunk.len}, &w->err));
        site->y.len += chunk.len;
    }
    assert_int_equal(site->y.len, hanse_secagg_upload_len(&spec));
    MUST(hanse_secagg_merkle(site->root, leaves, (size_t)chunks, &w->err));
    hanse_free(leaves);
    hanse_secagg_masker_free(masker);
    memcpy(event.root, site->root, 32);
    return world_step(w, i, &event);
}

hanse_rc world_header(world *w, uint32_t i)
{
    uint32_t idx = UINT32_MAX;
    hanse_rc rc = hanse_secagg_round_add_upload(w->round, last_sent(&w->sites[i]), w->now_ms, &idx, &w->err);

    if (rc == HANSE_OK)
        assert_int_equal(idx, i);
    return rc;
}

hanse_rc world_complete(world *w, uint32_t i)
{
    return hanse_secagg_round_upload_done(w->round, i, w->sites[i].root, &w->err);
}

hanse_rc world_cut_of(world *w, uint32_t i, const hanse_secagg_round *round, bool with_signatures)
{
    hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_CUT, .object = hanse_secagg_round_cut_signed(round),
                                .uploads = hanse_secagg_round_uploads(round)};

    if (with_signatures)
        event.signatures = hanse_secagg_round_cutsigs(round, &event.signatures_count);
    return world_step(w, i, &event);
}

hanse_rc world_sign_cut(world *w, uint32_t i)
{
    hanse_rc rc = world_cut_of(w, i, w->round, false);

    return rc == HANSE_OK ? hanse_secagg_round_add_cutsig(w->round, last_sent(&w->sites[i]), &w->err) : rc;
}

hanse_rc world_answer(world *w, uint32_t i)
{
    hanse_rc rc = world_cut_of(w, i, w->round, true);

    if (rc != HANSE_OK)
        return rc;
    assert_string_equal(w->sites[i].label, HANSE_SECAGG_ANSWER_LABEL);
    return hanse_secagg_round_add_answer(w->round, i, hanse_buf_bytes(&w->sites[i].extra), &w->err);
}

hanse_rc world_dead(world *w, uint32_t i, uint64_t slot)
{
    hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_DEAD, .slot = slot};
    hanse_rc rc = world_step(w, i, &event);

    return rc == HANSE_OK ? hanse_secagg_round_add_dead(w->round, last_sent(&w->sites[i]), &w->err) : rc;
}

/* The survivors' packed bytes of one chunk added up, as the coordinator does. */
static void sum_chunk(world *w, const uint8_t *in, hanse_secagg_chunk chunk, size_t offset, uint64_t *words)
{
    uint32_t bits = w->segments[chunk.segment].bits;

    memset(words, 0, CHUNK_WORDS * sizeof *words);
    for (uint32_t i = 0; i < w->n; i++) {
        hanse_bytes packed = {w->sites[i].y.data + offset, chunk.len};

        if (!in[i])
            continue;
        if (bits <= 32)
            MUST(hanse_ring_unpack_add_u32((uint32_t *)(void *)words, packed, chunk.words, bits, &w->err));
        else
            MUST(hanse_ring_unpack_add_u64(words, packed, chunk.words, bits, &w->err));
    }
}

static bool is_plain_sum(const world *w, const uint8_t *in, hanse_secagg_chunk chunk, const uint64_t *words)
{
    const hanse_secagg_segment *segment = &w->segments[chunk.segment];

    for (uint32_t k = 0; k < chunk.words && chunk.word + k < segment->count; k++) {
        uint64_t got = segment->bits <= 32 ? ((const uint32_t *)(const void *)words)[k] : words[k], want = 0;

        for (uint32_t i = 0; i < w->n; i++)
            want += in[i] ? w->sites[i].q[chunk.segment][chunk.word + k] : 0;
        if (got != (want & UINT64_MAX >> (64 - segment->bits)))
            return false;
    }
    return true;
}

hanse_rc world_finish(world *w, bool *equal, uint32_t *blamed)
{
    hanse_secagg_spec spec = {.chunk_words = CHUNK_WORDS, .segments_count = WORLD_SEGMENTS, .segments = w->segments};
    const uint8_t *in = hanse_secagg_round_survivors(w->round);
    uint32_t *counts = hanse_calloc(w->n, sizeof *counts);
    hanse_secagg_unmasker *unmasker = NULL;
    uint64_t words[CHUNK_WORDS];
    size_t offset = 0;
    hanse_rc rc = hanse_secagg_round_reconstruct(w->round, counts, &w->err);

    if (blamed != NULL)
        memcpy(blamed, counts, w->n * sizeof *counts);
    hanse_free(counts);
    if (rc == HANSE_OK)
        rc = hanse_secagg_unmasker_new(&unmasker, w->round, &w->err);
    if (rc == HANSE_OK)
        rc = hanse_secagg_unmasker_derive(unmasker, 0, hanse_secagg_unmasker_streams(unmasker), &w->err);
    *equal = rc == HANSE_OK;
    for (uint64_t c = 0; rc == HANSE_OK && c < hanse_secagg_chunks(&spec); c++) {
        hanse_secagg_chunk chunk = hanse_secagg_chunk_at(&spec, c);

        sum_chunk(w, in, chunk, offset, words);
        if (chunk.word < w->segments[chunk.segment].count) /* before the masks are off it is not the sum */
            *equal = *equal && !is_plain_sum(w, in, chunk, words);
        rc = hanse_secagg_unmasker_apply(unmasker, chunk, words, &w->err);
        *equal = *equal && rc == HANSE_OK && is_plain_sum(w, in, chunk, words);
        offset += chunk.len;
    }
    hanse_secagg_unmasker_free(unmasker);
    return rc;
}

static bool has_bit(unsigned bits, uint32_t i)
{
    return i < 32 && (bits >> i & 1) != 0;
}

void world_uploads(world *w, uint64_t slot, unsigned gone, unsigned none)
{
    world_round_new(w, slot, NULL);
    for (uint32_t i = 0; i < w->n; i++)
        if (!has_bit(none, i))
            MUST(world_leave(w, i, slot));
    MUST(hanse_secagg_round_open(w->round, w->now_ms, &w->err));
    for (uint32_t i = 0; i < w->n; i++) {
        MUST(world_spec(w, i, !has_bit(none, i)));
        if (has_bit(gone | none, i))
            continue;
        MUST(world_mask(w, i, slot));
        MUST(world_header(w, i));
        MUST(world_complete(w, i));
    }
}

void world_whole_round(world *w, uint64_t slot)
{
    bool online = w->params.profile == HANSE_SECAGG_ONLINE, equal;

    world_uploads(w, slot, 0, 0);
    MUST(hanse_secagg_round_cut(w->round, &w->err));
    for (uint32_t i = 0; online && i < w->n; i++)
        MUST(world_sign_cut(w, i));
    for (uint32_t i = 0; i < w->n; i++)
        MUST(world_answer(w, i));
    MUST(world_finish(w, &equal, NULL));
    assert_true(equal);
}
