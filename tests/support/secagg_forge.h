/* secagg_forge.h - what a coordinator, a member or a restored copy that cheats puts together: objects of a secagg_world with something
 * changed, properly signed again. */
#ifndef HANSE_TESTS_SECAGG_FORGE_H
#define HANSE_TESTS_SECAGG_FORGE_H

#include "secagg_world.h"

#define FORGE_SITES 64 /* most of a world whose cut is forged */

typedef struct forged {
    hanse_buf bytes;
    uint8_t sig[HANSE_SIG_MAX];
    size_t sig_len;
} forged;

#define FORGED_EMPTY ((forged){.sig_len = 0})
void forge_sign(forged *f, const hanse_key *key, const char *label); /* what stands in f->bytes */
hanse_signed forged_signed(const forged *f);                         /* borrowed */
void forged_clear(forged *f);

/* A cut: forge_cut_begin() takes the round's, change `cut`, `in` and `uploads`, then root (unless it is to be wrong) and sign. */
typedef struct forged_cut {
    hanse_secagg_cut cut; /* its `in` is the one below */
    uint8_t in[FORGE_SITES];
    hanse_signed uploads[FORGE_SITES]; /* borrowed */
    forged object;
} forged_cut;

void forge_cut_begin(world *w, forged_cut *f);
void forge_cut_root(forged_cut *f);
void forge_cut_sign(world *w, forged_cut *f);
/* All three for a cut without the members of the bits in `out_of_s`. */
void forge_cut(world *w, forged_cut *f, unsigned out_of_s);
hanse_rc forged_cut_show(world *w, uint32_t i, const forged_cut *f);
void forged_cut_clear(forged_cut *f);

/* What the answer that member i sent last says: the coordinator can open it. Release with hanse_secagg_answer_clear(). */
void forge_answer_open(world *w, uint32_t i, hanse_secagg_answer *out);
/* The same of an answer to another cut than the round's own. */
void forge_answer_open_to(world *w, uint32_t i, const forged_cut *cut, hanse_secagg_answer *out);
/* In its place one that says `answer`, signed by member i; and any text behind its signature's length, as sealed by member i. */
void forge_answer_seal(world *w, uint32_t i, const hanse_secagg_answer *answer);
void forge_answer_seal_text(world *w, uint32_t i, hanse_bytes text);

/* SHA-256 over all records of member i: the same while nothing is remembered. */
void forge_store_hash(const world *w, uint32_t i, uint8_t out[32]);

#endif
