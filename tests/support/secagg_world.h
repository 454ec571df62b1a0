/* secagg_world.h - a consortium in one process: sites with stores, a coordinator's round, virtual time, seeded chance. */
#ifndef HANSE_TESTS_SECAGG_WORLD_H
#define HANSE_TESTS_SECAGG_WORLD_H

#include "hanse/object.h"
#include "hanse/secagg_round.h"
#include "hanse/secagg_site.h"

#define WORLD_SEGMENTS 3
#define WORLD_NOW ((uint64_t)1800000000000)
#define WORLD_L ((uint64_t)30 * 86400000)

typedef struct world_record {
    hanse_buf key, value;
} world_record;

typedef struct world_site {
    hanse_key *key;
    hanse_cert *cert;
    hanse_secagg_site *site;
    hanse_secagg_site_config config;
    world_record *store;
    size_t store_count;
    hanse_buf ticket, ticket_sig, cts; /* last ticket left */
    world_record *left;                /* [left_count] all of them: ticket (key), its sealed shares (value) */
    size_t left_count;
    hanse_buf value, sig, extra;       /* last SEND */
    const char *label;
    unsigned answers, alarms, trains;  /* so far */
    bool again, reseed, told; /* as the last TRAIN said */
    uint64_t *q[WORLD_SEGMENTS];       /* residues, [count] */
    hanse_buf y;                       /* packed chunks as sent */
    uint8_t root[32];
} world_site;

typedef struct world {
    uint32_t n;
    uint64_t chance; /* state of the seeded generator */
    uint64_t now_ms;
    hanse_key *ca_key, *coordinator_key, *tls_key;
    hanse_cert *ca, *coordinator;
    hanse_crl *crl;
    hanse_secagg_roster *roster;
    hanse_secagg_params params;
    hanse_secagg_policy policy;
    uint8_t seal_secret[32], seal_key[32], run[16], plan_hash[32], model_root[32];
    hanse_secagg_segment segments[WORLD_SEGMENTS];
    world_site *sites;
    hanse_secagg_round *round;
    uint8_t kind;     /* of the rounds; training unless a test says otherwise */
    bool keep_values; /* world_mask() takes q as it stands instead of drawing it */
    void (*around_step)(hanse_secagg_event_kind kind, bool begins); /* a site's own code begins and ends; NULL: nothing */
    hanse_err err;
} world;

/* A call with &w.err: it must be good, or refused for that reason (a name of hanse_secagg_reason without its prefix). */
#define GOOD(call)                                                    \
    do {                                                              \
        if ((call) != HANSE_OK)                                       \
            fail_msg("line %d: %s: %s", __LINE__, #call, w.err.text); \
    } while (0)
#define REFUSED(call, why)                                                       \
    do {                                                                         \
        assert_int_not_equal((call), HANSE_OK);                                  \
        if (hanse_secagg_reason_of(&w.err) != HANSE_SECAGG_##why)                \
            fail_msg("line %d: want E_%s, got: %s", __LINE__, #why, w.err.text); \
    } while (0)

uint64_t world_chance(world *w);
void world_random(world *w, uint8_t *out, size_t len);
/* n sites with epochs known to all; asserts that all went well. */
void world_new(world *w, uint32_t n, hanse_secagg_profile profile, uint64_t seed);
/* The same with the sites spread over fewer organisations. */
void world_new_of(world *w, uint32_t n, uint32_t organisations, hanse_secagg_profile profile, uint64_t seed);
/* With thresholds and a policy of the test's own. */
void world_new_with(world *w, const hanse_secagg_params *params, const hanse_secagg_policy *policy, uint64_t seed);
/* A segment in another shape, not scaled where the clip is 0; everybody's values in it are zeros then. */
void world_segment(world *w, size_t i, uint64_t count, uint32_t bits, uint64_t bound, double clip);
void world_free(world *w);
/* One event of a site: PUTs go to its store, the last SEND is kept. */
hanse_rc world_step(world *w, uint32_t i, hanse_secagg_event *event);
/* As after a crash: a new site from the store. */
void world_restart(world *w, uint32_t i);
/* Copy of a site's store, and the site as it was with that copy (which is given up). */
world_record *world_snapshot(world *w, uint32_t i, size_t *count);
void world_restore(world *w, uint32_t i, world_record *store, size_t count);

/* The next round's object (frees the old one); `tweak` may change the spec. */
void world_round_new(world *w, uint64_t slot, void (*tweak)(hanse_secagg_spec *spec));
hanse_rc world_ticket(world *w, uint32_t i, uint64_t slot);     /* the site signs one */
hanse_rc world_leave(world *w, uint32_t i, uint64_t slot);      /* ... and the coordinator takes it */
hanse_rc world_spec_of(world *w, uint32_t i, const hanse_secagg_round *round, bool take_part);
/* The share of member `from`'s ticket in that round sealed to `to`; empty without a ticket. */
hanse_bytes world_share(const world *w, const hanse_secagg_round *round, uint32_t from, uint32_t to);
void world_shares(world *w, const hanse_secagg_round *round, uint32_t to, hanse_buf *out); /* of all members, zeros for none: appended */
hanse_rc world_spec(world *w, uint32_t i, bool take_part);
/* Fresh values, masked, header signed: y and root of the site. */
hanse_rc world_mask(world *w, uint32_t i, uint64_t slot);
hanse_rc world_header(world *w, uint32_t i);   /* the coordinator takes the header */
hanse_rc world_complete(world *w, uint32_t i); /* ... and the chunks */
hanse_rc world_cut_of(world *w, uint32_t i, const hanse_secagg_round *round, bool with_signatures);
hanse_rc world_sign_cut(world *w, uint32_t i); /* the site signs, the coordinator takes it */
hanse_rc world_answer(world *w, uint32_t i);   /* the site answers, the coordinator takes it */
hanse_rc world_dead(world *w, uint32_t i, uint64_t slot);
/* Reconstruct, sum, unmask; true when every word equals the plain sum over S. blamed [n] may be NULL. */
hanse_rc world_finish(world *w, bool *equal, uint32_t *blamed);
/* All up to the uploads, complete. With bit i of `none` member i has left no ticket, with that of `gone` it sends nothing; asserts. */
void world_uploads(world *w, uint64_t slot, unsigned gone, unsigned none);
/* All of it for the slot with everybody there; asserts. */
void world_whole_round(world *w, uint64_t slot);

#endif
