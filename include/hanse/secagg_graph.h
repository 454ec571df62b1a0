/* secagg_graph.h - which sites mask against each other and hold each other's shares.
 *
 * Complete: everybody with everybody. Sparse (beyond some hundred sites; profile online only): the sites stand on a ring in an
 * order drawn for (run, slot, roster), and each has the k nearest as neighbours, k/2 on either side (a Harary graph). Pair
 * masks are made, and shares left, among neighbours only: k streams instead of n - 1, and k shares instead of n.
 * Why that is safe is argued in docs/secure-aggregation.md. Pure. */
#ifndef HANSE_SECAGG_GRAPH_H
#define HANSE_SECAGG_GRAPH_H

#include "hanse/secagg.h"

/* Whoever can try 2^64 runs until a graph suits it still fails but for a chance of 2^-40. */
#define HANSE_SECAGG_GRAPH_LAMBDA 104
/* Chance that D sites that drop out at random leave some ticket without enough holders: 2^-20. */
#define HANSE_SECAGG_GRAPH_LOSS 20

/* Most colluding ones among the k neighbours of any of n sites, but for a chance of 2^-lambda: the tail of the hypergeometric
 * distribution, for one site against n - 1 others, times n. */
uint32_t hanse_secagg_graph_colluding(uint32_t n, uint32_t c, uint32_t k, unsigned lambda);
/* The smallest even k, and t = k/2 + hanse_secagg_graph_colluding() + 1 shares that open a secret, for which t neighbours of
 * every site are still there after D drop-outs (2^-HANSE_SECAGG_GRAPH_LOSS). Errors: QUORUM (E_COHORT): no k below n - 1 is enough. */
HANSE_MUST_CHECK hanse_rc hanse_secagg_graph_find(uint32_t *k, uint32_t *t, uint32_t n, uint32_t c, uint32_t d_max,
                                                  unsigned lambda, hanse_err *err);
/* Make checked thresholds those of a sparse graph. Errors: QUORUM (E_COHORT): profile cron, or no k below n - 1. */
HANSE_MUST_CHECK hanse_rc hanse_secagg_params_sparse(hanse_secagg_params *params, hanse_err *err);

/* One slot's graph. Released by hanse_secagg_graph_clear(). */
typedef struct hanse_secagg_graph {
    uint32_t n, k;   /* k = 0: complete */
    uint32_t *place; /* [n] of each site on the ring; NULL: complete */
} hanse_secagg_graph;

#define HANSE_SECAGG_GRAPH_EMPTY ((hanse_secagg_graph){0, 0, NULL})

/* The order comes from SHA-256 of run, slot and roster, which are known before the first ticket is made. Errors: NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_secagg_graph_open(hanse_secagg_graph *out, const hanse_secagg_params *params,
                                                  const uint8_t run[16], uint64_t slot, const uint8_t roster_hash[32], hanse_err *err);
void hanse_secagg_graph_clear(hanse_secagg_graph *graph);
/* Does `holder` have a share of the ticket of `owner`? Symmetric. A site holds one of its own in the complete graph only. */
bool hanse_secagg_graph_holds(const hanse_secagg_graph *graph, uint32_t owner, uint32_t holder);
/* Do two sites mask against each other? */
bool hanse_secagg_graph_pairs(const hanse_secagg_graph *graph, uint32_t a, uint32_t b);

#endif
