/* Drop-outs on virtual time. A seed chooses the consortium (3 to 12 sites, now and then 20 or 50; online or cron) and for each
 * of its slots who leaves, and at which point. Up to D sites leave: the sum of those in S must be exact. More: the slot is
 * void with the reason that belongs to the point, and the next one works, with the same update where enough declared it dead. */
#include "secagg_dropouts.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { NO_TICKET, BEFORE_SPEC, AFTER_SPEC, MID_UPLOAD, AFTER_UPLOAD, BEFORE_CUTSIG, AFTER_CUTSIG, MID_UNMASK, POINTS, STAYS = POINTS };

static const char *const point_names[POINTS] = {"no ticket", "before spec", "after spec", "mid-upload", "after upload",
                                                "before cut signature", "after cut signature", "mid-unmask"};

typedef struct campaign {
    world w;
    uint64_t seed, slot;
    int *leaves; /* [n] */
    bool *sent;  /* [n] has signed an upload on this base model */
    bool *told;  /* [n] has seen the AbortCert */
    uint64_t slots, sums, void_tickets, void_uploads, void_certificates, void_answers, helped_late, sent_again, refused_late, restarts;
    uint64_t at_point[2][POINTS]; /* [profile] slots with an exact sum in which somebody left there */
    uint64_t by_d[2][13][4];      /* [profile][n][D] exact sums */
} campaign;

#define MUST(c, call)                                                                                                       \
    do {                                                                                                                    \
        if ((call) != HANSE_OK)                                                                                             \
            fail_msg("seed %" PRIu64 " slot %" PRIu64 " line %d: %s: %s", (c)->seed, (c)->slot, __LINE__, #call, (c)->w.err.text); \
    } while (0)
#define WANT(c, condition)                                                                                     \
    do {                                                                                                       \
        if (!(condition))                                                                                      \
            fail_msg("seed %" PRIu64 " slot %" PRIu64 " line %d: %s: %s", (c)->seed, (c)->slot, __LINE__, #condition, (c)->w.err.text); \
    } while (0)

static bool is_online(const campaign *c)
{
    return c->w.params.profile == HANSE_SECAGG_ONLINE;
}

/* A crash now and then; a site that comes back has its store, and is shown the spec again. */
static void maybe_restart(campaign *c, uint32_t i, bool take_part)
{
    if (world_chance(&c->w) % 8 != 0)
        return;
    world_restart(&c->w, i);
    c->restarts++;
    MUST(c, world_spec(&c->w, i, take_part));
}

static void draw_leavers(campaign *c, uint32_t gone)
{
    int only = world_chance(&c->w) % 2 == 0 ? (int)(world_chance(&c->w) % POINTS) : -1; /* all at one point, or mixed */

    for (uint32_t i = 0; i < c->w.n; i++)
        c->leaves[i] = STAYS;
    while (gone > 0) {
        uint32_t i = (uint32_t)(world_chance(&c->w) % c->w.n);

        if (c->leaves[i] != STAYS)
            continue;
        c->leaves[i] = only >= 0 ? only : (int)(world_chance(&c->w) % POINTS);
        gone--;
    }
}

static uint32_t count_leaving(const campaign *c, int from, int to)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < c->w.n; i++)
        count += c->leaves[i] >= from && c->leaves[i] <= to;
    return count;
}

static bool leave_tickets(campaign *c)
{
    world *w = &c->w;

    world_round_new(w, c->slot, NULL);
    for (uint32_t i = 0; i < w->n; i++)
        if (c->leaves[i] != NO_TICKET)
            MUST(c, world_leave(w, i, c->slot));
    if (count_leaving(c, NO_TICKET, NO_TICKET) > w->params.d_max) {
        WANT(c, hanse_secagg_round_open(w->round, w->now_ms, &w->err) != HANSE_OK);
        WANT(c, hanse_secagg_reason_of(&w->err) == HANSE_SECAGG_COHORT);
        c->void_tickets++;
        return false;
    }
    MUST(c, hanse_secagg_round_open(w->round, w->now_ms, &w->err));
    return true;
}

static void upload(campaign *c, uint32_t i)
{
    world *w = &c->w;

    w->now_ms += world_chance(w) % (60000 / (2 * w->n)); /* the last one is in time */
    MUST(c, world_spec(w, i, true));
    WANT(c, w->sites[i].again == (c->sent[i] && c->told[i]));
    c->sent_again += w->sites[i].again;
    if (c->leaves[i] == AFTER_SPEC)
        return;
    maybe_restart(c, i, true);
    MUST(c, world_mask(w, i, c->slot));
    c->sent[i] = true;
    maybe_restart(c, i, true);
    MUST(c, world_header(w, i));
    if (c->leaves[i] != MID_UPLOAD)
        MUST(c, world_complete(w, i));
}

static void uploads(campaign *c)
{
    world *w = &c->w;
    uint32_t start = (uint32_t)(world_chance(w) % w->n), late = UINT32_MAX;

    for (uint32_t k = 0; k < w->n; k++) {
        uint32_t i = (start + k) % w->n;

        if (c->leaves[i] > BEFORE_SPEC)
            upload(c, i);
    }
    for (uint32_t i = 0; i < w->n; i++)
        late = c->leaves[i] == AFTER_SPEC ? i : late;
    if (late == UINT32_MAX || world_chance(w) % 2 == 0)
        return;
    MUST(c, world_mask(w, late, c->slot)); /* comes after the deadline: not in the sum, and not taken */
    c->sent[late] = true;
    w->now_ms += 60000;
    WANT(c, world_header(w, late) != HANSE_OK && hanse_secagg_reason_of(&w->err) == HANSE_SECAGG_LATE);
    c->refused_late++;
}

static bool cut(campaign *c)
{
    world *w = &c->w;

    WANT(c, hanse_secagg_round_complete(w->round) == count_leaving(c, AFTER_UPLOAD, STAYS));
    if (count_leaving(c, NO_TICKET, MID_UPLOAD) > w->params.d_max) {
        WANT(c, hanse_secagg_round_cut(w->round, &w->err) != HANSE_OK);
        WANT(c, hanse_secagg_reason_of(&w->err) == HANSE_SECAGG_COHORT);
        c->void_uploads++;
        return false;
    }
    MUST(c, hanse_secagg_round_cut(w->round, &w->err));
    return true;
}

/* Signatures of the cut; with fewer than t no site answers. */
static bool certificate(campaign *c)
{
    world *w = &c->w;
    size_t count;

    for (uint32_t i = 0; i < w->n; i++)
        if (c->leaves[i] >= AFTER_CUTSIG) {
            maybe_restart(c, i, false);
            MUST(c, world_sign_cut(w, i));
        }
    (void)hanse_secagg_round_cutsigs(w->round, &count);
    if (count >= w->params.t)
        return true;
    for (uint32_t i = 0; i < w->n && count > 0; i++)
        if (c->leaves[i] == STAYS)
            WANT(c, world_cut_of(w, i, w->round, true) != HANSE_OK && hanse_secagg_reason_of(&w->err) == HANSE_SECAGG_CUT_CONFLICT);
    c->void_certificates++;
    return false;
}

/* Half an answer arrives, which is nothing. */
static void tear_answer(campaign *c, uint32_t i)
{
    world *w = &c->w;
    hanse_bytes half;

    MUST(c, world_cut_of(w, i, w->round, true));
    half = (hanse_bytes){w->sites[i].extra.data, w->sites[i].extra.len / 2};
    WANT(c, hanse_secagg_round_add_answer(w->round, i, half, &w->err) != HANSE_OK);
    WANT(c, hanse_secagg_reason_of(&w->err) == HANSE_SECAGG_SHARE_AUTH);
}

static void must_be_exact(campaign *c)
{
    bool equal = false;

    MUST(c, world_finish(&c->w, &equal, NULL));
    WANT(c, equal);
    c->sums++;
}

/* False: fewer than t answers, though the coordinator asks on. Those who left come back one by one, as holders of an old
 * slot; with t answers the sum opens, exactly. */
static bool answers(campaign *c)
{
    world *w = &c->w;
    bool equal;

    for (uint32_t i = 0; i < w->n; i++)
        if (c->leaves[i] == MID_UNMASK)
            tear_answer(c, i);
        else if (c->leaves[i] == STAYS) {
            maybe_restart(c, i, false);
            MUST(c, world_answer(w, i));
        }
    if (hanse_secagg_round_answers(w->round) >= w->params.t) {
        must_be_exact(c);
        return true;
    }
    WANT(c, world_finish(w, &equal, NULL) != HANSE_OK && hanse_secagg_reason_of(&w->err) == HANSE_SECAGG_COHORT);
    c->void_answers++;
    if (world_chance(w) % 2 == 0)
        return false;
    w->now_ms += 3600000;
    for (uint32_t i = 0; i < w->n && hanse_secagg_round_answers(w->round) < w->params.t; i++) {
        if (c->leaves[i] == STAYS)
            continue;
        world_restart(w, i);
        MUST(c, world_spec(w, i, false));
        MUST(c, world_answer(w, i));
        c->helped_late++;
    }
    must_be_exact(c);
    return true;
}

/* The slot is void: all who gave no share declare it dead. With enough of them everybody may send the same update again,
 * in the next slot; without, the run goes on from another model. */
static void give_up(campaign *c)
{
    world *w = &c->w;
    hanse_secagg_event cert = {.kind = HANSE_SECAGG_EV_ABORT, .slot = c->slot};

    for (uint32_t i = 0; i < w->n; i++) {
        hanse_rc rc = world_dead(w, i, c->slot);

        WANT(c, rc == HANSE_OK || hanse_secagg_reason_of(&w->err) == HANSE_SECAGG_DEAD); /* gave shares */
    }
    cert.signatures = hanse_secagg_round_deads(w->round, &cert.signatures_count);
    if (!hanse_secagg_round_is_aborted(w->round)) {
        WANT(c, world_step(w, 0, &cert) != HANSE_OK && hanse_secagg_reason_of(&w->err) == HANSE_SECAGG_DIFF);
        memset(c->sent, 0, w->n);
        world_random(w, w->model_root, 32);
        return;
    }
    for (uint32_t i = 0; i < w->n; i++) {
        MUST(c, world_step(w, i, &cert));
        c->told[i] = true;
    }
}

static void published(campaign *c)
{
    world *w = &c->w;

    for (uint32_t i = 0; i < w->n; i++) {
        hanse_secagg_event result = {.kind = HANSE_SECAGG_EV_RESULT, .slot = c->slot};

        if (c->leaves[i] > BEFORE_SPEC)
            MUST(c, world_step(w, i, &result));
    }
    memset(c->sent, 0, w->n);
    world_random(w, w->model_root, 32);
}

static void run_slot(campaign *c, uint32_t gone)
{
    uint32_t n = c->w.n, profile = c->w.params.profile;

    c->slot++;
    c->slots++;
    draw_leavers(c, gone);
    if (!leave_tickets(c))
        return;
    uploads(c);
    if (!cut(c) || (is_online(c) && !certificate(c)) || !answers(c)) {
        WANT(c, gone > c->w.params.d_max); /* up to D may leave, wherever they do */
        give_up(c);
        return;
    }
    for (int point = 0; point < POINTS; point++)
        c->at_point[profile][point] += count_leaving(c, point, point) > 0;
    if (n <= 12 && gone < 4)
        c->by_d[profile][n][gone]++;
    published(c);
}

static void run_seed(campaign *c, uint64_t seed)
{
    static const uint32_t large[2] = {20, 50};
    uint64_t kind = seed % 100;
    uint32_t n = kind == 99 ? large[seed / 100 % 8 == 7] : 3 + (uint32_t)(seed % 10);
    hanse_secagg_profile profile = seed / 10 % 2 == 0 ? HANSE_SECAGG_ONLINE : HANSE_SECAGG_CRON;
    uint32_t d_max;

    world_new(&c->w, n, profile, seed);
    c->seed = seed;
    c->slot = 0;
    c->leaves = hanse_calloc(n, sizeof *c->leaves);
    c->sent = hanse_calloc(n, sizeof *c->sent);
    c->told = hanse_calloc(n, sizeof *c->told);
    d_max = c->w.params.d_max;
    run_slot(c, (uint32_t)(seed / 20 % (d_max + 1)));
    run_slot(c, d_max + 1 + (uint32_t)(world_chance(&c->w) % (n - d_max))); /* too many, up to all */
    run_slot(c, d_max);
    hanse_free(c->leaves);
    hanse_free(c->sent);
    hanse_free(c->told);
    world_free(&c->w);
}

/* Every point, and every D for every n, was seen with an exact sum. */
static void check_coverage(const campaign *c)
{
    for (uint32_t profile = 0; profile < 2; profile++) {
        for (int point = 0; point < POINTS; point++)
            if (c->at_point[profile][point] == 0)
                fail_msg("no exact sum with somebody leaving %s", point_names[point]);
        for (uint32_t n = 3; n <= 12; n++)
            for (uint32_t d = 0; d <= (n == 3 ? 0 : n / 5 > 1 ? n / 5 : 1); d++)
                if (c->by_d[profile][n][d] == 0)
                    fail_msg("no exact sum of %u sites without %u", n, d);
    }
}

void dropouts_campaign(uint64_t first, uint64_t seeds)
{
    campaign *c = hanse_calloc(1, sizeof *c);

    for (uint64_t seed = first; seed - first < seeds; seed++)
        run_seed(c, seed);
    if (seeds >= 100)
        check_coverage(c);
    print_message("%" PRIu64 " seeds, %" PRIu64 " slots: %" PRIu64 " exact sums (%" PRIu64 " answers came late); void: %" PRIu64 " too few tickets, %" PRIu64
                  " uploads, %" PRIu64 " cut signatures, %" PRIu64 " answers at first; %" PRIu64 " updates sent again, %" PRIu64 " late uploads refused, %" PRIu64 " restarts\n",
                  seeds, c->slots, c->sums, c->helped_late, c->void_tickets, c->void_uploads, c->void_certificates, c->void_answers,
                  c->sent_again, c->refused_late, c->restarts);
    hanse_free(c);
}
