/* The coordinator's end of a round: answers, secrets from shares, the masks that are left over. */
#include "crypto/secagg_round.h"

#include "hanse/hpke.h"
#include "hanse/shamir.h"

#include <openssl/crypto.h>

/* --- answers --- */

/* What was signed, out of what was sealed: u8 length, signature, answer. */
static hanse_rc open_answer(hanse_secagg_answer *out, const hanse_secagg_round *round, uint32_t idx, hanse_bytes sealed,
                            hanse_err *err)
{
    uint8_t aad[96];
    hanse_buf plain = HANSE_BUF_EMPTY;
    hanse_hpke *ctx = NULL;
    hanse_signed object;
    size_t len, sig_len;
    hanse_rc rc;

    if (sealed.len < 32 + HANSE_HPKE_TAG_LEN + 1)
        return HANSE_SECAGG_FAIL(err, SHARE_AUTH, "answer of member %u has %zu bytes", idx, sealed.len);
    len = sealed.len - 32 - HANSE_HPKE_TAG_LEN;
    secagg_answer_aad(aad, round->view.round_id, round->cut_hash, hanse_secagg_roster_id(round->roster, idx));
    rc = hanse_buf_reserve(&plain, len, err);
    if (rc == HANSE_OK)
        rc = hanse_hpke_receiver_new(&ctx, HANSE_AEAD_AES256GCM, (hanse_x25519_pair){round->seal_secret, round->view.spec.seal_key}, sealed.data,
                                     hanse_bytes_str(SECAGG_ANSWER_INFO), err);
    if (rc == HANSE_OK)
        rc = hanse_hpke_open(ctx, 0, (hanse_bytes){aad, sizeof aad}, plain.data, (hanse_bytes){sealed.data + 32, sealed.len - 32}, err);
    if (rc == HANSE_E_AUTH || rc == HANSE_E_SHAPE)
        rc = HANSE_SECAGG_FAIL(err, SHARE_AUTH, "answer of member %u does not open", idx);
    if (rc == HANSE_OK) {
        plain.len = len;
        sig_len = plain.data[0];
        if (sig_len + 1 > len)
            rc = HANSE_SECAGG_FAIL(err, ENCODING, "answer of member %u is cut short", idx);
    }
    if (rc == HANSE_OK) {
        object = (hanse_signed){{plain.data + 1 + sig_len, len - 1 - sig_len}, {plain.data + 1, sig_len}};
        rc = hanse_secagg_verify(round->roster, idx, HANSE_SECAGG_ANSWER_LABEL, object, err);
        if (rc == HANSE_OK)
            rc = hanse_secagg_answer_decode(out, object.bytes, err);
    }
    hanse_hpke_free(ctx);
    hanse_buf_wipe(&plain);
    return rc;
}

static hanse_rc check_answer(const hanse_secagg_round *round, uint32_t idx, const hanse_secagg_answer *answer, hanse_err *err)
{
    /* public values */
    if (memcmp(answer->round_id, round->view.round_id, 32) != 0 || memcmp(answer->cut_hash, round->cut_hash, 32) != 0
        || memcmp(answer->site_id, hanse_secagg_roster_id(round->roster, idx), 32) != 0)
        return HANSE_SECAGG_FAIL(err, CUT_CONFLICT, "answer of member %u is to another cut", idx);
    if (answer->n != round->n)
        return HANSE_SECAGG_FAIL(err, CUT_OVERLAP, "answer of member %u is about %u members", idx, answer->n);
    for (uint32_t i = 0; i < round->n; i++) {
        uint8_t want = round->cut.in[i] ? HANSE_SECAGG_SHARE_B : HANSE_SECAGG_SHARE_SK;

        if (answer->kinds[i] != HANSE_SECAGG_SHARE_NONE && (answer->kinds[i] != want || !round->view.has[i] || !hanse_secagg_graph_holds(&round->view.graph, i, idx)))
            return HANSE_SECAGG_FAIL(err, CUT_OVERLAP, "member %u gave a share of the wrong kind for member %u", idx, i);
    }
    return HANSE_OK;
}

hanse_rc hanse_secagg_round_add_answer(hanse_secagg_round *round, uint32_t site_idx, hanse_bytes sealed, hanse_err *err)
{
    hanse_secagg_answer answer = {.n = 0};
    hanse_rc rc;

    if (round->cut.n == 0 || site_idx >= round->n)
        return HANSE_FAIL(err, HANSE_E_USAGE, "no cut was signed, or no member %u", site_idx);
    if (round->aborted || round->members[site_idx].dead.bytes.len > 0)
        return HANSE_SECAGG_FAIL(err, DEAD, "member %u declared slot %llu dead, or it is aborted", site_idx,
                                 (unsigned long long)round->spec.slot);
    if (round->members[site_idx].answer.n > 0)
        return HANSE_OK;
    rc = open_answer(&answer, round, site_idx, sealed, err);
    if (rc == HANSE_OK)
        rc = check_answer(round, site_idx, &answer, err);
    if (rc == HANSE_OK)
        round->members[site_idx].answer = answer;
    else
        hanse_secagg_answer_clear(&answer);
    return rc;
}

uint32_t hanse_secagg_round_answers(const hanse_secagg_round *round)
{
    uint32_t answers = 0;

    for (uint32_t i = 0; i < round->n; i++)
        answers += round->members[i].answer.n > 0;
    return answers;
}

uint32_t hanse_secagg_round_helpers(const hanse_secagg_round *round)
{
    uint32_t helpers = 0;

    for (uint32_t i = 0; i < round->cut.n; i++)
        helpers += round->spec.params.degree == 0 || round->cut.in[i];
    return helpers;
}

/* --- secrets --- */

/* Lagrange weights of one set of holders; kept while the next ticket has the same set, which is nearly always. */
typedef struct weights {
    uint32_t t;
    uint16_t *x, *lambda;  /* [t] */
    uint8_t (*shares)[32]; /* [t] in their order */
    uint32_t *from, *from_now; /* [t] a set to try; [n] holders with a share of the ticket at hand */
    uint32_t tries;            /* other sets that may still be tried */
} weights;

#define SEARCH_STEPS (1u << 28) /* of Lagrange weights: about a second */

static bool matches(const hanse_secagg_round *round, uint32_t ticket, const uint8_t secret[32])
{
    bool in = round->cut.in[ticket] != 0;
    const hanse_secagg_ticket *of = &round->view.tickets[ticket];
    uint8_t got[32];

    if (secagg_commit(got, in ? "hanse1/cb" : "hanse1/csk", secret, NULL) != HANSE_OK
        || CRYPTO_memcmp(got, in ? of->c_b : of->c_sk, 32) != 0)
        return false;
    return in || (hanse_x25519_public(got, secret, NULL) == HANSE_OK && CRYPTO_memcmp(got, of->pk, 32) == 0);
}

/* The secret from the shares of holders set[0..t), into `secret`. */
static hanse_rc combine(const hanse_secagg_round *round, weights *w, uint32_t ticket, const uint32_t *set, uint8_t secret[32],
                        hanse_err *err)
{
    bool known = true;
    hanse_rc rc = HANSE_OK;

    for (uint32_t i = 0; i < w->t; i++) {
        known = known && w->x[i] == set[i] + 1;
        w->x[i] = (uint16_t)(set[i] + 1);
        memcpy(w->shares[i], round->members[set[i]].answer.shares[ticket], 32);
    }
    if (!known)
        rc = hanse_shamir_lagrange(w->lambda, w->x, w->t, err);
    if (rc == HANSE_OK)
        hanse_shamir_combine(secret, w->lambda, (const uint8_t (*)[32])w->shares, w->t);
    else
        w->x[0] = 0; /* the weights are not of this set */
    return rc;
}

/* Shares of the true polynomial agree: with the right set known, another holder in place of one of it must give the same
 * secret, or its share is wrong. */
static hanse_rc blame_others(const hanse_secagg_round *round, weights *w, uint32_t ticket, const uint32_t *right,
                             uint32_t count, uint32_t *blamed, hanse_err *err)
{
    uint8_t secret[32];
    hanse_rc rc = HANSE_OK;

    for (uint32_t k = 0; rc == HANSE_OK && k < count; k++) {
        bool in = false;

        for (uint32_t i = 0; i < w->t; i++)
            in = in || right[i] == w->from_now[k];
        if (in)
            continue;
        memcpy(w->from, right, w->t * sizeof *right);
        w->from[0] = w->from_now[k];
        rc = combine(round, w, ticket, w->from, secret, err);
        blamed[w->from_now[k]] += rc == HANSE_OK && !matches(round, ticket, secret);
    }
    hanse_wipe(secret, sizeof secret);
    return rc;
}

/* Is the secret that of these t holders? Each other set costs t * t steps: nobody's wrong shares keep the coordinator busy for long. */
static hanse_rc try_set(hanse_secagg_round *round, weights *w, uint32_t ticket, const uint32_t *set, bool *found, hanse_err *err)
{
    uint8_t *secret = round->members[ticket].secret;
    hanse_rc rc = combine(round, w, ticket, set, secret, err);

    w->tries--;
    *found = rc == HANSE_OK && matches(round, ticket, secret);
    return rc;
}

/* Sets of t from the `count` holders that were asked: first those in a row, each leaving out others, then all rows, then holders left
 * out one by one, each replaced by every spare one. One wrong share is found by the first, and several where a set without them
 * is reached. */
static hanse_rc search(hanse_secagg_round *round, weights *w, uint32_t ticket, uint32_t count, uint32_t *blamed, hanse_err *err)
{
    uint32_t *set = hanse_calloc(w->t, sizeof *set);
    const uint32_t spares = count - w->t, strides[] = {spares, 1};
    bool found = false;
    hanse_rc rc = HANSE_OK;

    if (set == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for %u holders", w->t);
    for (size_t pass = 0; spares > 0 && pass < 2; pass++)
        for (uint32_t start = strides[pass]; rc == HANSE_OK && !found && w->tries > 0 && start < count; start += strides[pass]) { /* around the end */
            for (uint32_t i = 0; i < w->t; i++)
                set[i] = w->from_now[(start + i) % count];
            rc = try_set(round, w, ticket, set, &found, err);
        }
    for (uint32_t out = 0; rc == HANSE_OK && !found && spares > 0 && out < w->t; out++)
        for (uint32_t spare = w->t; rc == HANSE_OK && !found && w->tries > 0 && spare < count; spare++) {
            memcpy(set, w->from_now, w->t * sizeof *set);
            set[out] = w->from_now[spare];
            rc = try_set(round, w, ticket, set, &found, err);
        }
    if (rc == HANSE_OK && !found) {
        hanse_wipe(round->members[ticket].secret, 32);
        rc = HANSE_SECAGG_FAIL(err, RECON, "no %u of %u shares of the ticket of member %u give its secret: ask more holders", w->t,
                               count, ticket);
    }
    if (rc == HANSE_OK)
        rc = blame_others(round, w, ticket, set, count, blamed, err);
    hanse_free(set);
    return rc;
}

static bool has_share(const hanse_secagg_round *round, uint32_t holder, uint32_t ticket)
{
    const hanse_secagg_answer *answer = &round->members[holder].answer;

    return answer->n > 0 && answer->kinds[ticket] != HANSE_SECAGG_SHARE_NONE;
}

/* Before anything is computed: a coordinator tries after every answer. */
static hanse_rc check_shares(const hanse_secagg_round *round, uint32_t need, hanse_err *err)
{
    for (uint32_t i = 0; i < round->n; i++) {
        uint32_t count = 0;

        for (uint32_t h = 0; h < round->n; h++)
            count += has_share(round, h, i);
        if (round->view.has[i] && count < need)
            return HANSE_SECAGG_FAIL(err, COHORT, "%u shares of the ticket of member %u, %u are needed: ask more holders", count, i, need);
    }
    return HANSE_OK;
}

static hanse_rc open_secret(hanse_secagg_round *round, weights *w, uint32_t ticket, uint32_t *blamed, hanse_err *err)
{
    uint8_t *secret = round->members[ticket].secret;
    uint32_t count = 0;
    hanse_rc rc;

    for (int wrong = 0; wrong < 2; wrong++) /* who has given a wrong share of another ticket comes last */
        for (uint32_t h = 0; h < round->n; h++)
            if (has_share(round, h, ticket) && (blamed[h] > 0) == wrong)
                w->from_now[count++] = h;
    rc = combine(round, w, ticket, w->from_now, secret, err);
    if (rc == HANSE_OK && !matches(round, ticket, secret))
        rc = search(round, w, ticket, count, blamed, err);
    round->members[ticket].open = rc == HANSE_OK;
    return rc;
}

hanse_rc hanse_secagg_round_reconstruct(hanse_secagg_round *round, uint32_t *blamed, hanse_err *err)
{
    weights w = {.t = hanse_secagg_shares_needed(&round->spec.params)};
    hanse_rc rc = HANSE_OK;

    if (round->cut.n == 0)
        return HANSE_FAIL(err, HANSE_E_USAGE, "no cut was signed");
    memset(blamed, 0, round->n * sizeof *blamed);
    w.tries = 2 * round->n + SEARCH_STEPS / (w.t * w.t);
    rc = check_shares(round, w.t, err);
    if (rc != HANSE_OK)
        return rc;
    w.x = hanse_calloc(w.t, sizeof *w.x);
    w.lambda = hanse_calloc(w.t, sizeof *w.lambda);
    w.shares = hanse_calloc(w.t, sizeof *w.shares);
    w.from = hanse_calloc(w.t, sizeof *w.from);
    w.from_now = hanse_calloc(round->n, sizeof *w.from_now);
    if (w.x == NULL || w.lambda == NULL || w.shares == NULL || w.from == NULL || w.from_now == NULL)
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for %u shares", w.t);
    for (uint32_t i = 0; rc == HANSE_OK && i < round->n; i++)
        if (round->view.has[i])
            rc = open_secret(round, &w, i, blamed, err);
    round->opened = rc == HANSE_OK;
    if (w.shares != NULL)
        hanse_wipe(w.shares, w.t * sizeof *w.shares);
    hanse_free(w.x);
    hanse_free(w.lambda);
    hanse_free(w.shares);
    hanse_free(w.from);
    hanse_free(w.from_now);
    return rc;
}

/* --- masks --- */

typedef struct leftover {
    uint32_t of, with; /* equal: the own mask of a survivor */
} leftover;

struct hanse_secagg_unmasker {
    const hanse_secagg_round *round;
    leftover *leftovers; /* [streams.count] */
    secagg_streams streams;
    hanse_secagg_spec spec; /* its segments are a copy */
    uint32_t survivors;
};

/* Of a survivor its own mask; of a member outside S, the pair mask that each survivor put in, which is the opposite of
 * what the member would have added: adding its side cancels it. */
static size_t list_leftovers(leftover *out, const hanse_secagg_round *round)
{
    const uint8_t *in = round->cut.in;
    size_t count = 0;

    for (uint32_t i = 0; i < round->n; i++) {
        if (!round->view.has[i])
            continue;
        for (uint32_t j = 0; j < round->n; j++) {
            if (in[i] ? j != i : !in[j] || !hanse_secagg_graph_pairs(&round->view.graph, i, j))
                continue;
            if (out != NULL)
                out[count] = (leftover){i, j};
            count++;
        }
    }
    return count;
}

hanse_rc hanse_secagg_unmasker_derive(hanse_secagg_unmasker *unmasker, size_t first, size_t count, hanse_err *err)
{
    const hanse_secagg_round *round = unmasker->round;
    hanse_rc rc = HANSE_OK;

    for (size_t k = first; rc == HANSE_OK && k < first + count; k++) {
        const leftover *l = &unmasker->leftovers[k];
        const uint8_t *secret = round->members[l->of].secret;

        rc = l->of == l->with ? secagg_self_mask(&unmasker->streams.masks[k], &round->view, l->of, secret, true, err)
                              : secagg_pair_mask(&unmasker->streams.masks[k], &round->view, l->of, secret, l->with, err);
    }
    return rc;
}

hanse_rc hanse_secagg_unmasker_new(hanse_secagg_unmasker **out, const hanse_secagg_round *round, hanse_err *err)
{
    hanse_secagg_unmasker *unmasker;
    size_t count;

    if (!round->opened)
        return HANSE_FAIL(err, HANSE_E_USAGE, "the secrets are not open yet");
    unmasker = hanse_calloc(1, sizeof *unmasker);
    if (unmasker == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for masks");
    count = list_leftovers(NULL, round);
    unmasker->round = round;
    unmasker->spec = round->view.spec;
    unmasker->spec.segments = hanse_calloc(unmasker->spec.segments_count, sizeof *unmasker->spec.segments);
    unmasker->leftovers = hanse_calloc(count, sizeof *unmasker->leftovers);
    if (unmasker->spec.segments == NULL || unmasker->leftovers == NULL
        || secagg_streams_reserve(&unmasker->streams, count, err) != HANSE_OK) {
        hanse_secagg_unmasker_free(unmasker);
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for %zu masks", count);
    }
    memcpy(unmasker->spec.segments, round->view.spec.segments, unmasker->spec.segments_count * sizeof *unmasker->spec.segments);
    (void)list_leftovers(unmasker->leftovers, round);
    for (uint32_t i = 0; i < round->n; i++)
        unmasker->survivors += round->cut.in[i] != 0;
    *out = unmasker;
    return HANSE_OK;
}

size_t hanse_secagg_unmasker_streams(const hanse_secagg_unmasker *unmasker)
{
    return unmasker->streams.count;
}

hanse_rc hanse_secagg_unmasker_apply(const hanse_secagg_unmasker *unmasker, hanse_secagg_chunk chunk, void *words, hanse_err *err)
{
    const hanse_secagg_spec *spec = &unmasker->spec;
    hanse_rc rc = secagg_streams_apply(&unmasker->streams, spec, chunk, words, err);

    return rc == HANSE_OK ? secagg_sanity_check(spec, chunk, words, unmasker->survivors, err) : rc;
}

void hanse_secagg_unmasker_free(hanse_secagg_unmasker *unmasker)
{
    if (unmasker == NULL)
        return;
    secagg_streams_clear(&unmasker->streams);
    hanse_secagg_spec_clear(&unmasker->spec);
    hanse_free(unmasker->leftovers);
    hanse_free(unmasker);
}
