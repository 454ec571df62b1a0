/* secagg_object.h - the signed objects of secure aggregation as canonical bytes.
 *
 * Big-endian, fixed order, lists after a u32 count; each has one encoding, and what is signed is never re-encoded.
 * Encode appends to `out` and leaves it as before on error. Decode is strict and leaves `out` untouched on error;
 * `*_clear` releases what a decode allocated. Decoding does not verify signatures: hanse_secagg_verify().
 * Errors: encode: USAGE, NOMEM; decode: E_ENCODING (PROTOCOL), NOMEM. Pure. */
#ifndef HANSE_SECAGG_OBJECT_H
#define HANSE_SECAGG_OBJECT_H

#include "hanse/secagg.h"

/* Types in the signatures. */
#define HANSE_SECAGG_EPOCH_LABEL "secagg-epoch"
#define HANSE_SECAGG_TICKET_LABEL "secagg-ticket"
#define HANSE_SECAGG_SPEC_LABEL "secagg-spec"
#define HANSE_SECAGG_UPLOAD_LABEL "secagg-upload"
#define HANSE_SECAGG_CUT_LABEL "secagg-cut"
#define HANSE_SECAGG_CUTSIG_LABEL "secagg-cutsig"
#define HANSE_SECAGG_ANSWER_LABEL "secagg-answer"
#define HANSE_SECAGG_DEAD_LABEL "secagg-dead"

#define HANSE_SECAGG_SEGMENTS_MAX 4096
#define HANSE_SECAGG_CT_LEN 84     /* a sealed pair of shares: u32 epoch of the key it is sealed to, 2 * 32 bytes, tag; zeros: none */
#define HANSE_SECAGG_SANITY_WORDS 5 /* behind each segment: four zeros and a one */

/* "A holder's shares may be sealed to this key until not_after + L." */
typedef struct hanse_secagg_epoch {
    uint8_t site_id[32];
    uint32_t epoch;   /* rises by one or more; never 0 */
    uint8_t pub[32];  /* X25519 */
    uint64_t not_before_ms, not_after_ms;
} hanse_secagg_epoch;

typedef struct hanse_secagg_ticket {
    uint8_t run[16];
    uint64_t slot; /* of the run; the one slot it may be used in */
    uint8_t roster_hash[32];
    uint8_t site_id[32];
    uint8_t nonce[16];
    uint64_t expiry_ms;
    uint8_t pk[32];        /* X25519, for the pairwise masks */
    uint8_t share_pub[32]; /* X25519, for sealing the shares; used by this ticket only */
    uint8_t c_sk[32];      /* SHA-256("hanse1/csk" || secret of pk) */
    uint8_t c_b[32];       /* SHA-256("hanse1/cb" || secret of the self mask) */
    uint8_t cts_hash[32];  /* of the n sealed shares, one after the other: hanse_secagg_hash("shares") */
    uint32_t holders;      /* n */
} hanse_secagg_ticket;

/* Vectors of the upload, one after the other. */
typedef struct hanse_secagg_segment {
    uint8_t name_hash[32];
    uint64_t count; /* words, without the sanity words; 1..2^36 */
    uint32_t bits;  /* r: words are mod 2^r; 8..64 */
    uint64_t bound; /* scaled: Q, so that |q_i| <= ceil(Q*w_i/W); else B: |x_i| <= B for every site */
    uint64_t clip;  /* scaled: the clip, IEEE 754 bits of a positive double; else 0 */
    uint8_t scaled; /* 1: shares of one, q_i <= Q*w_i/W; 0: plain words */
} hanse_secagg_segment;

/* What the rounds' spec says beside the plain one. round_id = SHA-256("hanse1/round" 00 || bytes). */
typedef struct hanse_secagg_spec {
    uint8_t run[16];
    uint64_t slot;
    uint8_t kind;          /* hanse_round_kind */
    uint8_t spec_hash[32]; /* the plain spec's bytes */
    uint8_t model_root[32];
    uint8_t plan_hash[32];
    uint8_t roster_hash[32];
    uint8_t ticket_root[32]; /* hanse_secagg_ticket_root() */
    hanse_secagg_params params; /* on the wire degree and degree_t only after a graph byte of 1 */
    uint8_t seal_key[32];    /* X25519 of the coordinator, answers are sealed to it */
    uint64_t weight_total;   /* W, samples; 0 where no segment is scaled */
    uint64_t upload_deadline_ms, unmask_deadline_ms; /* wall clock */
    uint32_t chunk_words;    /* words of a segment in one chunk, a multiple of 64 */
    uint32_t segments_count; /* 1..HANSE_SECAGG_SEGMENTS_MAX */
    hanse_secagg_segment *segments;
} hanse_secagg_spec;

typedef struct hanse_secagg_upload {
    uint8_t round_id[32];
    uint8_t run[16];
    uint64_t slot;
    uint8_t site_id[32];
    uint8_t nonce[16]; /* of its ticket */
    uint64_t chunks;
    uint64_t len;      /* bytes of all chunks */
    uint8_t root[32];  /* Merkle root over the chunks */
} hanse_secagg_upload;

/* Who is in the sum. */
typedef struct hanse_secagg_cut {
    uint8_t round_id[32];
    uint8_t run[16];
    uint64_t slot;
    uint32_t n;
    uint8_t *in;              /* [n] 1: in S; packed to a bitmap, first member in the highest bit */
    uint8_t uploads_root[32]; /* SHA-256 over the upload headers of S in roster order: hanse_secagg_uploads_root() */
} hanse_secagg_cut;

typedef struct hanse_secagg_cutsig {
    uint8_t round_id[32];
    uint8_t cut_hash[32];
    uint8_t site_id[32];
} hanse_secagg_cutsig;

typedef enum hanse_secagg_share_kind {
    HANSE_SECAGG_SHARE_NONE = 0, /* no ticket, or the sealed share did not open */
    HANSE_SECAGG_SHARE_B = 1,    /* of the self mask: the member is in S */
    HANSE_SECAGG_SHARE_SK = 2,   /* of the pair key: the member is not in S */
} hanse_secagg_share_kind;

/* One holder's shares of all tickets; sealed to the coordinator after it is signed. Secret: wipe. */
typedef struct hanse_secagg_answer {
    uint8_t round_id[32];
    uint8_t cut_hash[32];
    uint8_t site_id[32];
    uint32_t n;
    uint8_t *kinds;         /* [n] hanse_secagg_share_kind */
    uint8_t (*shares)[32];  /* [n] zeros where NONE */
} hanse_secagg_answer;

/* "No share of any ticket of this slot, under any round, was or will be given." */
typedef struct hanse_secagg_dead {
    uint8_t run[16];
    uint64_t slot;
    uint8_t site_id[32];
} hanse_secagg_dead;

HANSE_MUST_CHECK hanse_rc hanse_secagg_epoch_encode(hanse_buf *out, const hanse_secagg_epoch *epoch, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_secagg_epoch_decode(hanse_secagg_epoch *out, hanse_bytes in, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_secagg_ticket_encode(hanse_buf *out, const hanse_secagg_ticket *ticket, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_secagg_ticket_decode(hanse_secagg_ticket *out, hanse_bytes in, hanse_err *err);
/* Are the keys of use? None of low order (what is agreed with it is no secret: RFC 7748 section 6.1), those of a ticket two.
 * Errors: E_LOWORDER, E_DUPKEY, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_secagg_epoch_check_key(const hanse_secagg_epoch *epoch, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_secagg_ticket_check_keys(const hanse_secagg_ticket *ticket, hanse_err *err);
/* Also checks the ranges: 2(Q+n)+1 <= 2^r where scaled; n*B < 2^(r-1), and < 2^63, where not (E_RANGE). */
HANSE_MUST_CHECK hanse_rc hanse_secagg_spec_encode(hanse_buf *out, const hanse_secagg_spec *spec, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_secagg_spec_decode(hanse_secagg_spec *out, hanse_bytes in, hanse_err *err);
void hanse_secagg_spec_clear(hanse_secagg_spec *spec);
HANSE_MUST_CHECK hanse_rc hanse_secagg_upload_encode(hanse_buf *out, const hanse_secagg_upload *upload, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_secagg_upload_decode(hanse_secagg_upload *out, hanse_bytes in, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_secagg_cut_encode(hanse_buf *out, const hanse_secagg_cut *cut, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_secagg_cut_decode(hanse_secagg_cut *out, hanse_bytes in, hanse_err *err);
void hanse_secagg_cut_clear(hanse_secagg_cut *cut);
HANSE_MUST_CHECK hanse_rc hanse_secagg_cutsig_encode(hanse_buf *out, const hanse_secagg_cutsig *cutsig, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_secagg_cutsig_decode(hanse_secagg_cutsig *out, hanse_bytes in, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_secagg_answer_encode(hanse_buf *out, const hanse_secagg_answer *answer, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_secagg_answer_decode(hanse_secagg_answer *out, hanse_bytes in, hanse_err *err);
void hanse_secagg_answer_clear(hanse_secagg_answer *answer); /* wipes */
HANSE_MUST_CHECK hanse_rc hanse_secagg_dead_encode(hanse_buf *out, const hanse_secagg_dead *dead, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_secagg_dead_decode(hanse_secagg_dead *out, hanse_bytes in, hanse_err *err);

/* out = SHA-256("hanse1/<what>" 00 || bytes): "round" gives a round_id, "cut" a cut_hash, "ticket" what the list holds,
 * "shares" what a ticket says of its own. */
HANSE_MUST_CHECK hanse_rc hanse_secagg_hash(uint8_t out[32], const char *what, hanse_bytes bytes, hanse_err *err);
/* Merkle root after RFC 6962 section 2.1 over leaf hashes; `leaves` [count][32] is overwritten. count 0: SHA-256(""). */
HANSE_MUST_CHECK hanse_rc hanse_secagg_merkle(uint8_t root[32], uint8_t (*leaves)[32], size_t count, hanse_err *err);
/* Hash of one leaf: SHA-256(00 || bytes). */
HANSE_MUST_CHECK hanse_rc hanse_secagg_leaf(uint8_t leaf[32], hanse_bytes bytes, hanse_err *err);
/* Of a list with one entry a member in roster order; empty bytes: no ticket. */
HANSE_MUST_CHECK hanse_rc hanse_secagg_ticket_root(uint8_t root[32], const hanse_signed *tickets, size_t count,
                                                   hanse_err *err);
/* Over the headers of S in roster order; entries outside S are skipped. */
HANSE_MUST_CHECK hanse_rc hanse_secagg_uploads_root(uint8_t root[32], const hanse_signed *uploads, const uint8_t *in,
                                                    size_t count, hanse_err *err);

/* Shape of the upload that a spec describes. A segment is count + 5 words (sanity words last) in chunks of chunk_words;
 * a chunk is its words' low r bits, packed. */
typedef struct hanse_secagg_chunk {
    uint32_t segment;
    uint64_t word;  /* first word of the chunk in its segment */
    uint32_t words; /* how many */
    size_t len;     /* bytes on the wire */
} hanse_secagg_chunk;

uint64_t hanse_secagg_chunks(const hanse_secagg_spec *spec);
uint64_t hanse_secagg_upload_len(const hanse_secagg_spec *spec); /* bytes of all chunks */
/* index < hanse_secagg_chunks(). */
hanse_secagg_chunk hanse_secagg_chunk_at(const hanse_secagg_spec *spec, uint64_t index);

#endif
