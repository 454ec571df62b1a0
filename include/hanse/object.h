/* object.h - the signed objects of docs/wire.md as canonical bytes.
 *
 * Every object has one encoding; what is signed is never re-encoded, so both sides keep the bytes as they came beside
 * the struct. Encode appends to `out` and leaves it as before on error. Decode is strict (bounds, no bytes behind the
 * last field) and leaves `out` untouched on error.
 * Errors: encode: USAGE (out of bounds), NOMEM; decode: PROTOCOL, NOMEM. Pure. */
#ifndef HANSE_OBJECT_H
#define HANSE_OBJECT_H

#include "hanse/message.h"
#include "hanse/plan.h"

#define HANSE_OFFER_LABEL "offer" /* type in the signature: hanse_sign() puts "hanse1/" before it */
#define HANSE_ROSTER_LABEL "roster"
#define HANSE_SPEC_LABEL "spec"
#define HANSE_UPLOAD_LABEL "upload"
#define HANSE_RECEIPT_LABEL "receipt"
#define HANSE_RESULT_LABEL "result"

#define HANSE_SITES_MAX 1024          /* of one roster */
#define HANSE_ROSTER_URI_MAX 399      /* characters of urn:hanse:<organisation>:<site> */
#define HANSE_CERT_DER_MAX 4096       /* bytes of a certificate in a roster */
#define HANSE_ROSTER_MAX ((size_t)1 << 20)
#define HANSE_RESULT_MAX ((size_t)264 << 10) /* metrics, masking, and 32 KiB of 1024 participants */
#define HANSE_METRICS_MAX ((size_t)128 << 10) /* bytes of a result's metrics */
#define HANSE_MASKING_MAX ((size_t)100 << 10) /* bytes of a result's masking: 24 a tensor */
#define HANSE_MODEL_SIZE_MAX ((uint64_t)1 << 40) /* bytes of a model file */

typedef struct hanse_offer {
    uint8_t run[16];
    uint8_t plan_hash[32];
    uint8_t roster_hash[32];
    uint8_t model_root[32]; /* of the initial model */
    uint8_t seal_key[32];   /* X25519, this run's */
    uint64_t opened_ms;     /* wall clock */
} hanse_offer;

typedef struct hanse_roster_site {
    uint8_t id[32];                /* SHA-256 of the signing key's SPKI */
    char uri[HANSE_ROSTER_URI_MAX + 1];   /* urn:hanse:<org>:<site> */
    hanse_name organisation;       /* printable ASCII */
    hanse_name name;               /* of the site, printable ASCII */
    hanse_bytes cert;              /* signing certificate, DER; borrowed */
} hanse_roster_site;

typedef struct hanse_roster {
    hanse_name consortium;
    hanse_roster_site *sites; /* [sites_count], ascending by id; owned after decode, see hanse_roster_clear() */
    size_t sites_count;       /* 1..HANSE_SITES_MAX */
} hanse_roster;

typedef enum hanse_round_kind { HANSE_ROUND_STATISTICS, HANSE_ROUND_TRAINING, HANSE_ROUND_EVALUATION } hanse_round_kind;

typedef struct hanse_spec {
    uint8_t run[16];
    uint64_t round;
    uint32_t attempt;
    uint64_t slot;
    uint8_t kind; /* hanse_round_kind */
    uint8_t model_root[32];
    uint64_t model_size; /* bytes of the model file */
    uint8_t plan_hash[32];
    uint8_t roster_hash[32];
    uint8_t statistics_root[32]; /* SHA-256 of the statistics words; zeros where there are none */
    uint8_t previous[32];        /* SHA-256 of the previous result; zeros at the first */
    uint64_t deadline_ms;        /* wall clock */
    uint32_t chunk;              /* HANSE_CHUNK_LEN */
} hanse_spec;

typedef struct hanse_upload {
    uint8_t run[16];
    uint64_t round;
    uint32_t attempt;
    uint64_t slot;
    uint8_t site_id[32];
    uint8_t key_id[32]; /* SHA-256 of seal_key */
    uint8_t plan_hash[32];
    uint8_t model_root[32]; /* the model that was trained on */
    uint8_t spec_hash[32];
    uint64_t aux_len;  /* plaintext bytes of chunk 0, a multiple of 8, at most HANSE_CHUNK_LEN */
    uint64_t data_len; /* plaintext bytes of chunks 1.. */
    uint8_t enc[32];   /* HPKE encapsulated key */
} hanse_upload;

typedef struct hanse_receipt {
    uint8_t spec_hash[32];
    uint8_t site_id[32];
    uint8_t upload_hash[32]; /* SHA-256 of the upload's bytes */
    uint64_t time_ms;        /* wall clock */
} hanse_receipt;

typedef enum hanse_round_status { HANSE_ROUND_PUBLISHED, HANSE_ROUND_VOID } hanse_round_status;
typedef enum hanse_run_state { HANSE_RUN_GOES_ON, HANSE_RUN_DONE, HANSE_RUN_FAILED } hanse_run_state;

typedef struct hanse_result {
    uint8_t run[16];
    uint64_t round;
    uint32_t attempt;
    uint64_t slot;
    uint8_t kind;   /* hanse_round_kind */
    uint8_t status; /* hanse_round_status */
    char reason[HANSE_REASON_MAX + 1]; /* printable UTF-8; empty when published */
    uint8_t model_root[32]; /* after the round */
    uint64_t model_size;
    uint8_t statistics_root[32];
    uint8_t metrics_of[32]; /* root of the model that `metrics` describes; zeros without metrics */
    hanse_bytes metrics;    /* u64 words, little-endian (hanse_metrics_encode); borrowed */
    hanse_bytes masking;    /* where a masked run stands (hanse_masking_state_encode); empty in sealed ones; borrowed */
    uint8_t (*participants)[32]; /* [participants_count] site ids, ascending; owned after decode */
    size_t participants_count;
    uint8_t state; /* hanse_run_state */
    uint64_t best_round;
    uint8_t best_root[32];
} hanse_result;

HANSE_MUST_CHECK hanse_rc hanse_offer_encode(hanse_buf *out, const hanse_offer *offer, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_offer_decode(hanse_offer *out, hanse_bytes in, hanse_err *err);

/* Sites must be ascending by id, without two of one id, uri or (organisation, name); all text printable ASCII. That a
 * certificate belongs to its id and uri is for the caller to verify (hanse/identity.h). */
HANSE_MUST_CHECK hanse_rc hanse_roster_encode(hanse_buf *out, const hanse_roster *roster, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_roster_decode(hanse_roster *out, hanse_bytes in, hanse_err *err); /* certs borrow from `in` */
/* The identity of a roster: SHA-256 over the consortium and each site's id, uri, organisation and name. Not its
 * certificates: a renewed one keeps the key, so the sites are the same. A decoded or sorted roster. Errors: NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_roster_hash(uint8_t hash[32], const hanse_roster *roster, hanse_err *err);
void hanse_roster_clear(hanse_roster *roster); /* NULL and half-built allowed */
/* Brings sites into the order that encode demands. */
void hanse_roster_sort(hanse_roster *roster);
/* The site of that id, or NULL. Its place in the roster is `site - roster->sites`. */
const hanse_roster_site *hanse_roster_find(const hanse_roster *roster, const uint8_t id[32]);

HANSE_MUST_CHECK hanse_rc hanse_spec_encode(hanse_buf *out, const hanse_spec *spec, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_spec_decode(hanse_spec *out, hanse_bytes in, hanse_err *err);

HANSE_MUST_CHECK hanse_rc hanse_upload_encode(hanse_buf *out, const hanse_upload *upload, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_upload_decode(hanse_upload *out, hanse_bytes in, hanse_err *err);
/* How many chunks it has (aux and data), and the length of the plaintext of one [bytes]. */
uint64_t hanse_upload_chunks(const hanse_upload *upload);
size_t hanse_upload_chunk_len(const hanse_upload *upload, uint64_t index);

HANSE_MUST_CHECK hanse_rc hanse_receipt_encode(hanse_buf *out, const hanse_receipt *receipt, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_receipt_decode(hanse_receipt *out, hanse_bytes in, hanse_err *err);

HANSE_MUST_CHECK hanse_rc hanse_result_encode(hanse_buf *out, const hanse_result *result, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_result_decode(hanse_result *out, hanse_bytes in, hanse_err *err); /* metrics and masking borrow from `in` */
void hanse_result_clear(hanse_result *result); /* NULL and half-built allowed */

/* SHA-256 of an object's bytes: spec_hash, upload_hash, previous. */
HANSE_MUST_CHECK hanse_rc hanse_object_hash(uint8_t hash[32], hanse_bytes bytes, hanse_err *err);

#endif
