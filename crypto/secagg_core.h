/* secagg_core.h - what the site's and the coordinator's half of secure aggregation share. Inside crypto/ only. */
#ifndef HANSE_CRYPTO_SECAGG_CORE_H
#define HANSE_CRYPTO_SECAGG_CORE_H

#include "hanse/hpke.h"
#include "hanse/mask.h"
#include "hanse/secagg_graph.h"
#include "hanse/secagg_object.h"

/* --- tickets (secagg_ticket.c) --- */

/* Everything secret in a ticket comes from one seed: what is kept, and destroyed, is 32 bytes. */
typedef struct secagg_secrets {
    uint8_t nonce[16]; /* not secret, but from the same seed */
    uint8_t sk[32], b[32], share_sk[32];
} secagg_secrets;

hanse_rc secagg_secrets_from(secagg_secrets *out, const uint8_t seed[32], hanse_err *err);
hanse_rc secagg_commit(uint8_t out[32], const char *label, const uint8_t secret[32], hanse_err *err);

/* Fill in a ticket whose run, slot and expiry are given, and seal the shares.
 *   self     the maker's place
 *   epochs   [n] whose key each holder's shares are sealed to; NULL: none for it (not a neighbour, or no key)
 *   cts      appended: n * HANSE_SECAGG_CT_LEN */
hanse_rc secagg_ticket_make(hanse_secagg_ticket *ticket, hanse_buf *cts, const hanse_secagg_roster *roster, uint32_t self,
                            const hanse_secagg_epoch *const *epochs, uint32_t t, const uint8_t seed[32], hanse_err *err);
/* The epoch that a sealed share is for; 0: it is none. */
uint32_t secagg_share_epoch(hanse_bytes ct);
/* shares[0] of sk, shares[1] of b. Errors: E_SHARE_AUTH. */
hanse_rc secagg_share_open(uint8_t shares[2][32], const hanse_secagg_ticket *ticket, const uint8_t holder_id[32],
                           uint32_t holder, hanse_x25519_pair epoch, hanse_bytes ct, hanse_err *err);

/* --- a round as verified (secagg_view.c) --- */

typedef struct secagg_view {
    hanse_secagg_spec spec;
    uint8_t round_id[32];
    uint32_t n;
    hanse_secagg_graph graph;
    uint8_t *has;                 /* [n] has a ticket in this round */
    hanse_secagg_ticket *tickets; /* [n] */
    uint8_t (*hashes)[32];        /* [n] of the tickets' bytes */
    bool cut_checked;             /* the cut of that hash was found good, with the headers it names */
    uint8_t cut_hash[32];
} secagg_view;

/* One ticket for (run, slot), signed by member `idx` of the roster, not expired. */
hanse_rc secagg_ticket_check(hanse_secagg_ticket *out, const hanse_secagg_roster *roster, uint32_t idx, hanse_signed ticket,
                             const uint8_t run[16], uint64_t slot, uint64_t now_ms, hanse_err *err);
/* Verify a spec and its whole list of tickets. */
hanse_rc secagg_view_open(secagg_view *out, const hanse_secagg_roster *roster, hanse_signed spec,
                          const hanse_signed *tickets, size_t count, uint64_t now_ms, hanse_err *err);
void secagg_view_clear(secagg_view *view); /* half-built allowed */

hanse_rc secagg_upload_check(hanse_secagg_upload *out, const secagg_view *view, const hanse_secagg_roster *roster,
                             uint32_t idx, hanse_signed upload, hanse_err *err);
/* Enough members in S and few enough outside, by the view's params. */
hanse_rc secagg_cohort_check(const secagg_view *view, const hanse_secagg_roster *roster, const uint8_t *in, hanse_err *err);
/* Sparse graphs: may this member give shares for the cut? It must be in S, and enough of its neighbours with it, so that all
 * honest survivors hang together. Always in the complete graph. Errors: E_COHORT. */
hanse_rc secagg_neighbours_check(const secagg_view *view, uint32_t self, const uint8_t *in, hanse_err *err);
/* A coordinator's cut, its signature verified, with the upload headers of S ([n], empty outside S). */
hanse_rc secagg_cut_check(const hanse_secagg_cut *cut, uint8_t cut_hash[32], secagg_view *view, const hanse_secagg_roster *roster,
                          hanse_bytes bytes, const hanse_signed *uploads, hanse_err *err);
/* One member's signature of that cut; *idx its place. */
hanse_rc secagg_cutsig_check(uint32_t *idx, const secagg_view *view, const hanse_secagg_roster *roster,
                             const uint8_t cut_hash[32], hanse_signed cutsig, hanse_err *err);
hanse_rc secagg_dead_check(uint32_t *idx, const hanse_secagg_roster *roster, const uint8_t run[16], uint64_t slot,
                           hanse_signed dead, hanse_err *err);
/* HPKE info and AAD of an answer: it cannot be shown to another round, cut or as another site's. */
#define SECAGG_ANSWER_INFO "hanse1/secagg-answer"
void secagg_answer_aad(uint8_t aad[96], const uint8_t round_id[32], const uint8_t cut_hash[32], const uint8_t site_id[32]);

/* Object bytes signed by `key`: sig is appended. */
hanse_rc secagg_sign(const hanse_key *key, const char *label, const hanse_buf *bytes, hanse_buf *sig, hanse_err *err);

/* --- masks (secagg_mask.c) --- */

/* A set of mask streams over the words of one spec; once it is filled, any number of threads may apply it. */
typedef struct secagg_streams {
    hanse_mask **masks; /* [count] */
    size_t count;
} secagg_streams;

hanse_rc secagg_streams_reserve(secagg_streams *streams, size_t count, hanse_err *err); /* of NULLs, to be filled in */
/* The mask of its own that member `of` adds; `subtract`: to take it away again. */
hanse_rc secagg_self_mask(hanse_mask **out, const secagg_view *view, uint32_t of, const uint8_t b[32], bool subtract, hanse_err *err);
/* The pair mask that member `from` (secret of its pk) shares with `with`, as `from` applies it. */
hanse_rc secagg_pair_mask(hanse_mask **out, const secagg_view *view, uint32_t from, const uint8_t secret[32], uint32_t with, hanse_err *err);
/* words: u32 when the segment has at most 32 bits, else u64. */
hanse_rc secagg_streams_apply(const secagg_streams *streams, const hanse_secagg_spec *spec, hanse_secagg_chunk chunk,
                              void *words, hanse_err *err);
void secagg_streams_clear(secagg_streams *streams);

/* The sanity words that lie in a chunk: written before masking; after unmasking compared with four zeros and |S| (E_SANITY),
 * all words then reduced to r bits. */
void secagg_sanity_write(const hanse_secagg_spec *spec, hanse_secagg_chunk chunk, void *words);
hanse_rc secagg_sanity_check(const hanse_secagg_spec *spec, hanse_secagg_chunk chunk, void *words, uint64_t survivors,
                             hanse_err *err);

#endif
