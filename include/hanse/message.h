/* message.h - the messages of docs/wire.md: one struct a kind, one table for encode, decode, limits and names.
 *
 * Decoding borrows: bins and strs of a message point into the bytes it was decoded from. Pure. */
#ifndef HANSE_MESSAGE_H
#define HANSE_MESSAGE_H

#include "hanse/bytes.h"

#define HANSE_PROTOCOL 1                        /* of HELLO, WELCOME and ENROL */
#define HANSE_SUBPROTOCOL "hanse.v1"            /* of the websocket */
#define HANSE_CHUNK_LEN ((size_t)1 << 20)       /* bytes of a chunk; the last may be shorter */
#define HANSE_PAYLOAD_MAX (HANSE_CHUNK_LEN + 16) /* a sealed chunk has its tag behind it */
#define HANSE_CHUNK_HEAD_MAX 64                 /* bytes of a CHUNK message before its payload */
#define HANSE_MESSAGE_MAX ((size_t)3 << 20)     /* bytes of any message; each kind has a lower bound of its own */
#define HANSE_CODE_MAX 16                       /* characters of a code: hanse_rc_name() */
#define HANSE_REASON_MAX 256                    /* bytes of a reason */

typedef enum hanse_kind {
    HANSE_HELLO = 1,
    HANSE_WELCOME,
    HANSE_ENROL,
    HANSE_ENROLLED,
    HANSE_OFFER,
    HANSE_ANSWER,
    HANSE_SPEC,
    HANSE_FETCH,
    HANSE_MODEL,
    HANSE_CHUNK,
    HANSE_UPLOAD,
    HANSE_RESUME,
    HANSE_RECEIPT,
    HANSE_REJECT,
    HANSE_DECLINE,
    HANSE_RESULT,
    HANSE_ERROR,
    HANSE_BYE,
    HANSE_EPOCH,
    HANSE_PEERS,
    HANSE_TICKET,
    HANSE_MASKS,
    HANSE_MASKED_UPLOAD,
    HANSE_CUT,
    HANSE_CUTSIG,
    HANSE_SHARES,
    HANSE_ASK_DEAD,
    HANSE_DEAD,
    HANSE_ABORT,
    HANSE_RENEW,
    HANSE_RENEWED,
    HANSE_KINDS_END,
} hanse_kind;

/* Who sends. A flag each: some kinds go both ways. */
typedef enum hanse_way {
    HANSE_FROM_NODE = 1,
    HANSE_FROM_COORDINATOR = 2,
    HANSE_BOTH_WAYS = 3,
} hanse_way;

typedef struct hanse_msg_hello {
    uint32_t protocol;
    hanse_bytes software; /* str */
    uint64_t time_ms;     /* wall clock */
} hanse_msg_hello;

typedef struct hanse_msg_welcome {
    uint32_t protocol;
    hanse_bytes software; /* str */
    uint64_t time_ms;     /* wall clock */
    hanse_bytes consortium; /* str */
    hanse_bytes crl;        /* PEM */
} hanse_msg_welcome;

typedef struct hanse_msg_enrol {
    uint32_t protocol;
    uint8_t token[32];
    hanse_bytes csr_tls, csr_sign; /* DER */
} hanse_msg_enrol;

typedef struct hanse_msg_enrolled {
    hanse_bytes cert_tls, cert_sign, coordinator_sign; /* PEM */
} hanse_msg_enrolled;

typedef struct hanse_msg_offer {
    hanse_bytes offer, sig; /* signed object */
    hanse_bytes plan;       /* YAML, bound by the offer's plan_hash */
    hanse_bytes roster, roster_sig; /* signed object */
} hanse_msg_offer;

typedef struct hanse_msg_answer {
    uint8_t run[16];
    bool accepted;
    hanse_bytes code, reason; /* str; empty when accepted */
} hanse_msg_answer;

typedef struct hanse_msg_spec {
    hanse_bytes spec, sig; /* signed object */
    hanse_bytes statistics; /* u64 words, bound by the spec's statistics_root; empty where there are none */
} hanse_msg_spec;

typedef struct hanse_msg_fetch {
    uint8_t run[16];
    uint8_t model_root[32];
    uint64_t offset; /* chunks already held */
} hanse_msg_fetch;

typedef struct hanse_msg_model {
    uint32_t transfer;
    uint64_t size;   /* bytes of the file */
    uint64_t chunks; /* of the whole file */
} hanse_msg_model;

typedef struct hanse_msg_chunk {
    uint32_t transfer;
    uint64_t index;
    hanse_bytes digest;  /* 32 bytes for models, empty for uploads */
    hanse_bytes payload; /* 1..HANSE_PAYLOAD_MAX; in a head alone: data NULL, len the bytes to come */
} hanse_msg_chunk;

/* UPLOAD, RECEIPT, RESULT, EPOCH, MASKED_UPLOAD and DEAD: a signed object and its signature. */
typedef struct hanse_msg_signed {
    hanse_bytes object, sig;
} hanse_msg_signed;

typedef struct hanse_msg_resume {
    uint32_t transfer;
    uint64_t chunks; /* durably held */
} hanse_msg_resume;

/* REJECT and DECLINE. */
typedef struct hanse_msg_refusal {
    uint8_t run[16];
    uint64_t round;
    uint32_t attempt;
    hanse_bytes code, reason; /* str */
} hanse_msg_refusal;

typedef struct hanse_msg_error {
    hanse_bytes code, reason; /* str */
} hanse_msg_error;

typedef struct hanse_msg_bye {
    hanse_bytes reason; /* str */
} hanse_msg_bye;

/* Messages of masked rounds. Lists are one bin each: hanse_signed_list_encode(). */
typedef struct hanse_msg_peers {
    uint8_t run[16];
    uint64_t slot;   /* the run's next: tickets are wanted from it on */
    hanse_bytes epochs; /* list: each member's newest statement, in roster order; empty entries where there is none */
} hanse_msg_peers;

typedef struct hanse_msg_ticket {
    hanse_bytes ticket, sig; /* signed object */
    hanse_bytes shares;      /* sealed, one a member in roster order */
} hanse_msg_ticket;

typedef struct hanse_msg_masks {
    hanse_bytes spec, sig; /* signed object */
    hanse_bytes tickets;   /* list, in roster order; empty entries: none */
    hanse_bytes shares;    /* of those tickets, sealed to the receiver; zeros where there is no ticket */
} hanse_msg_masks;

typedef struct hanse_msg_cut {
    hanse_bytes cut, sig;   /* signed object */
    hanse_bytes uploads;    /* list: headers in roster order; empty entries outside the cut */
    hanse_bytes signatures; /* list: cut signatures of the holders; an empty list asks for one */
} hanse_msg_cut;

typedef struct hanse_msg_cutsig {
    uint8_t run[16];
    uint64_t slot;
    hanse_bytes object, sig;
} hanse_msg_cutsig;

typedef struct hanse_msg_shares {
    uint8_t run[16];
    uint64_t slot;
    hanse_bytes sealed; /* a holder's answer, to the coordinator's key of this run */
} hanse_msg_shares;

typedef struct hanse_msg_ask_dead {
    uint8_t run[16];
    uint64_t slot;
} hanse_msg_ask_dead;

typedef struct hanse_msg_abort {
    uint8_t run[16];
    uint64_t slot;
    hanse_bytes deads; /* list */
} hanse_msg_abort;

typedef struct hanse_msg_renew {
    hanse_bytes csr_tls, csr_sign; /* DER, for the keys that the site has */
} hanse_msg_renew;

typedef struct hanse_msg_renewed {
    hanse_bytes cert_tls, cert_sign, coordinator_sign; /* PEM; empty: the site's are not renewed, see reason */
    hanse_bytes reason;                                /* str */
} hanse_msg_renewed;

typedef struct hanse_message {
    hanse_kind kind;
    union {
        hanse_msg_hello hello;
        hanse_msg_welcome welcome;
        hanse_msg_enrol enrol;
        hanse_msg_enrolled enrolled;
        hanse_msg_renew renew;
        hanse_msg_renewed renewed;
        hanse_msg_offer offer;
        hanse_msg_answer answer;
        hanse_msg_spec spec;
        hanse_msg_fetch fetch;
        hanse_msg_model model;
        hanse_msg_chunk chunk;
        hanse_msg_signed upload;
        hanse_msg_resume resume;
        hanse_msg_signed receipt;
        hanse_msg_refusal reject;
        hanse_msg_refusal decline;
        hanse_msg_signed result;
        hanse_msg_error error;
        hanse_msg_bye bye;
        hanse_msg_signed epoch;
        hanse_msg_peers peers;
        hanse_msg_ticket ticket;
        hanse_msg_masks masks;
        hanse_msg_signed masked_upload;
        hanse_msg_cut cut;
        hanse_msg_cutsig cutsig;
        hanse_msg_shares shares;
        hanse_msg_ask_dead ask_dead;
        hanse_msg_signed dead;
        hanse_msg_abort abort;
    };
} hanse_message;

/* "HELLO", "WELCOME", ...; "?" for what is no kind. Never NULL. */
const char *hanse_kind_name(hanse_kind kind);
/* Who may send it; 0 for what is no kind. */
hanse_way hanse_kind_way(hanse_kind kind);
/* The longest encoding of a kind [bytes]; 0 for what is no kind. */
size_t hanse_kind_len_max(hanse_kind kind);

/* Append the encoding of `message` to `out`; on error `out` is as before. Reasons longer than their bound are cut at a
 * character, so that any error text can be sent; control characters in them become '?'.
 * Errors: USAGE (another field out of its bounds), NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_message_encode(hanse_buf *out, const hanse_message *message, hanse_err *err);

/* Decode exactly one message, sent by `from` (one of the two sides).
 *   out  borrows from `in`; untouched on error
 * Errors: PROTOCOL (malformed, a bound broken, bytes behind it, or a kind that `from` may not send). */
HANSE_MUST_CHECK hanse_rc hanse_message_decode(hanse_message *out, hanse_bytes in, hanse_way from, hanse_err *err);

/* The bytes of a CHUNK before its payload; payload.len counts, payload.data is not read.
 * Errors: USAGE (a field out of its bounds). */
HANSE_MUST_CHECK hanse_rc hanse_chunk_head_encode(uint8_t head[HANSE_CHUNK_HEAD_MAX], size_t *head_len,
                                                  const hanse_msg_chunk *chunk, hanse_err *err);
/* The inverse, from the first bytes of a CHUNK message.
 *   out       digest borrows from `in`; payload is {NULL, bytes to come}
 *   head_len  where in `in` the payload begins
 * Errors: AGAIN (`in` is shorter than the head), PROTOCOL. */
HANSE_MUST_CHECK hanse_rc hanse_chunk_head_decode(hanse_msg_chunk *out, size_t *head_len, hanse_bytes in, hanse_err *err);

/* Text of a wire string into a C string of `cap` bytes, cut to fit. */
void hanse_text_copy(char *out, size_t cap, hanse_bytes text);

#endif
