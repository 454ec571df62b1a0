#include "hanse/secagg_graph.h"

#include "crypto/ctr.h"
#include "hanse/digest.h"
#include "hanse/reader.h"
#include "hanse/secagg_object.h"

#include <math.h>

/* --- thresholds --- */

/* Logarithms of 0! .. n!; n is at most HANSE_SECAGG_SITES_MAX. */
typedef struct factorials {
    double log[HANSE_SECAGG_SITES_MAX + 1];
} factorials;

static void fill(factorials *f)
{
    f->log[0] = 0;
    for (uint32_t i = 1; i <= HANSE_SECAGG_SITES_MAX; i++)
        f->log[i] = f->log[i - 1] + log((double)i);
}

static double log_choose(const factorials *f, uint32_t n, uint32_t k)
{
    return f->log[n] - f->log[k] - f->log[n - k];
}

/* P[exactly x of `marked` among k drawn from `all`]. */
static double chance_of(const factorials *f, uint32_t all, uint32_t marked, uint32_t k, uint32_t x)
{
    if (x > marked || x > k || k - x > all - marked)
        return 0;
    return exp(log_choose(f, marked, x) + log_choose(f, all - marked, k - x) - log_choose(f, all, k));
}

/* Smallest x so that n * P[more than x of `marked`] <= 2^-bits: summed from the thin end, which loses nothing. */
static uint32_t bound(const factorials *f, uint32_t n, uint32_t marked, uint32_t k, unsigned bits)
{
    double limit = ldexp(1.0, -(int)bits) / n, tail = 0;
    uint32_t x = marked < k ? marked : k;

    for (; x > 0; x--) {
        tail += chance_of(f, n - 1, marked, k, x);
        if (tail > limit)
            break;
    }
    return x;
}

static bool is_possible(uint32_t n, uint32_t c, uint32_t k)
{
    return n >= 2 && n <= HANSE_SECAGG_SITES_MAX && c < n && k < n;
}

uint32_t hanse_secagg_graph_colluding(uint32_t n, uint32_t c, uint32_t k, unsigned lambda)
{
    factorials f;

    if (!is_possible(n, c, k))
        return k;
    fill(&f);
    return bound(&f, n, c, k, lambda);
}

hanse_rc hanse_secagg_graph_find(uint32_t *k, uint32_t *t, uint32_t n, uint32_t c, uint32_t d_max, unsigned lambda, hanse_err *err)
{
    factorials f;

    if (is_possible(n, c, 0) && d_max < n) {
        fill(&f);
        for (uint32_t degree = 2; degree + 1 < n; degree += 2) {
            uint32_t shares = degree / 2 + bound(&f, n, c, degree, lambda) + 1;

            if (shares > degree || bound(&f, n, d_max, degree, HANSE_SECAGG_GRAPH_LOSS) > degree - shares)
                continue;
            *k = degree;
            *t = shares;
            return HANSE_OK;
        }
    }
    return HANSE_SECAGG_FAIL(err, COHORT, "no graph of fewer than all pairs holds out against %u of %u sites when %u may be missing", c, n, d_max);
}

hanse_rc hanse_secagg_params_sparse(hanse_secagg_params *params, hanse_err *err)
{
    uint32_t k = 0, t = 0;
    hanse_rc rc;

    if (params->profile != HANSE_SECAGG_ONLINE)
        return HANSE_SECAGG_FAIL(err, COHORT, "a sparse graph needs signed cuts: profile online");
    rc = hanse_secagg_graph_find(&k, &t, params->n, params->c, params->d_max, HANSE_SECAGG_GRAPH_LAMBDA, err);
    if (rc != HANSE_OK)
        return rc;
    params->degree = k;
    params->degree_t = t;
    return HANSE_OK;
}

/* --- the graph of a slot --- */

static hanse_rc seed_of(uint8_t seed[32], const hanse_secagg_params *params, const uint8_t run[16], uint64_t slot,
                        const uint8_t roster_hash[32], hanse_err *err)
{
    hanse_buf text = HANSE_BUF_EMPTY;
    hanse_writer writer = hanse_writer_to(&text);
    hanse_rc rc;

    hanse_write_raw(&writer, run, 16);
    hanse_write_u64(&writer, slot);
    hanse_write_raw(&writer, roster_hash, 32);
    hanse_write_u32(&writer, params->n);
    hanse_write_u32(&writer, params->degree);
    rc = hanse_writer_done(&writer, err);
    if (rc == HANSE_OK)
        rc = hanse_secagg_hash(seed, "graph", hanse_buf_bytes(&text), err);
    hanse_buf_clear(&text);
    return rc;
}

/* A number below `end`, each as likely: words of the stream at or above the largest multiple of `end` are passed over. */
static hanse_rc draw(uint32_t *out, hanse_ctr *stream, uint32_t end, hanse_err *err)
{
    uint32_t limit = UINT32_MAX - UINT32_MAX % end, word;
    uint8_t bytes[4];
    hanse_rc rc;

    do {
        rc = hanse_ctr_next(stream, bytes, sizeof bytes, err);
        word = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
    } while (rc == HANSE_OK && word >= limit);
    *out = word % end;
    return rc;
}

hanse_rc hanse_secagg_graph_open(hanse_secagg_graph *out, const hanse_secagg_params *params, const uint8_t run[16], uint64_t slot,
                                 const uint8_t roster_hash[32], hanse_err *err)
{
    hanse_secagg_graph graph = {.n = params->n, .k = params->degree};
    hanse_ctr stream = HANSE_CTR_EMPTY;
    uint8_t seed[32];
    hanse_rc rc;

    if (graph.k == 0) {
        *out = graph;
        return HANSE_OK;
    }
    graph.place = hanse_calloc(graph.n, sizeof *graph.place);
    if (graph.place == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for a graph of %u sites", graph.n);
    rc = seed_of(seed, params, run, slot, roster_hash, err);
    if (rc == HANSE_OK)
        rc = hanse_ctr_key(&stream, seed, err);
    if (rc == HANSE_OK)
        rc = hanse_ctr_seek(&stream, 0, err);
    for (uint32_t i = 0; i < graph.n; i++)
        graph.place[i] = i;
    for (uint32_t i = graph.n - 1; rc == HANSE_OK && i > 0; i--) { /* Fisher and Yates */
        uint32_t j = 0, kept = graph.place[i];

        rc = draw(&j, &stream, i + 1, err);
        graph.place[i] = graph.place[j];
        graph.place[j] = kept;
    }
    hanse_ctr_clear(&stream);
    if (rc == HANSE_OK)
        *out = graph;
    else
        hanse_secagg_graph_clear(&graph);
    return rc;
}

void hanse_secagg_graph_clear(hanse_secagg_graph *graph)
{
    hanse_free(graph->place);
    *graph = HANSE_SECAGG_GRAPH_EMPTY;
}

bool hanse_secagg_graph_holds(const hanse_secagg_graph *graph, uint32_t owner, uint32_t holder)
{
    uint32_t a, b, apart;

    if (graph->place == NULL)
        return true;
    a = graph->place[owner];
    b = graph->place[holder];
    apart = a > b ? a - b : b - a;
    if (apart > graph->n - apart)
        apart = graph->n - apart;
    return apart > 0 && apart <= graph->k / 2;
}

bool hanse_secagg_graph_pairs(const hanse_secagg_graph *graph, uint32_t a, uint32_t b)
{
    return a != b && hanse_secagg_graph_holds(graph, a, b);
}
