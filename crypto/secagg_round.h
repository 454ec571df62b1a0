/* secagg_round.h - the coordinator's round from inside. Inside crypto/ only. */
#ifndef HANSE_CRYPTO_SECAGG_ROUND_H
#define HANSE_CRYPTO_SECAGG_ROUND_H

#include "crypto/secagg_core.h"
#include "hanse/secagg_round.h"

typedef struct kept_object {
    hanse_buf bytes, sig;
} kept_object;

typedef struct round_member {
    kept_object ticket, upload, cutsig, dead;
    uint8_t keys[2][32]; /* of its ticket */
    uint8_t root[32]; /* of its header */
    bool complete;
    hanse_secagg_answer answer; /* n = 0: none */
    bool open;                  /* secret below is its ticket's: b for S, sk for those outside */
    uint8_t secret[32];
} round_member;

struct hanse_secagg_round {
    const hanse_secagg_roster *roster;
    const hanse_key *key;
    uint8_t seal_secret[32];
    uint32_t n;
    hanse_secagg_spec spec;
    secagg_view view; /* n = 0: not open */
    kept_object spec_signed, cut_signed;
    hanse_secagg_cut cut; /* n = 0: none */
    uint8_t cut_hash[32];
    round_member *members;                               /* [n] */
    hanse_signed *tickets, *uploads, *cutsigs, *deads; /* [n] views of what members hold */
    size_t cutsigs_count, deads_count;
    bool aborted, opened;
};

#endif
