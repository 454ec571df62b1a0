/* peers.h - how many connections an address has, and how many of its refusals are logged. Pure: time comes in.
 *
 * An IPv4 address counts by itself, an IPv6 address by its /64 network, which one customer has to himself. The table has a fixed
 * size: an address is forgotten when it has no connection and its place is needed. */
#ifndef HANSE_COORDINATOR_PEERS_H
#define HANSE_COORDINATOR_PEERS_H

#include "hanse/bytes.h"

struct sockaddr;

#define HANSE_PEER_TEXT_MAX 64      /* bytes of an address as text, with the zero */
#define HANSE_PEER_LINES_BURST 20   /* refusals of one address that are logged at once, */
#define HANSE_PEER_LINE_EVERY_MS 6000 /* and then one in this time */
#define HANSE_PEERS_LINES_BURST 200 /* the same of all addresses together */
#define HANSE_PEERS_LINE_EVERY_MS 600

typedef struct hanse_allowance { /* a token bucket: `left` of `burst`, one more every `every_ms` */
    uint64_t left, since_ms;
} hanse_allowance;

/* Take one; false when none is left. A fresh allowance is {burst, now}. */
bool hanse_allowance_take(hanse_allowance *allowance, uint64_t burst, uint64_t every_ms, uint64_t now_ms);

typedef struct hanse_peer_address {
    uint8_t bytes[16]; /* IPv4 as ::ffff:a.b.c.d; of IPv6 the first 8, zeros behind */
    bool known;        /* false: not an internet address */
} hanse_peer_address;

typedef struct hanse_peers hanse_peers;

/* The key of a socket's address, and the whole address as text. */
hanse_peer_address hanse_peer_address_of(const struct sockaddr *from, char text[HANSE_PEER_TEXT_MAX]);

typedef struct hanse_peers_limits {
    size_t connections;  /* at once, of all addresses */
    size_t per_address;  /* at once, of each; as many may come in a burst */
    uint64_t per_second; /* of each address, on average, 1 to 1000 */
} hanse_peers_limits;

/* Errors: NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_peers_new(hanse_peers **out, const hanse_peers_limits *limits, uint64_t now_ms, hanse_err *err);
void hanse_peers_free(hanse_peers *peers);

/* May one more connection of that address be taken? If so it is counted among those of this second. */
bool hanse_peers_admit(hanse_peers *peers, const hanse_peer_address *address, uint64_t now_ms);
/* One more connection of that address, if there is room for it; leave() gives the room back. */
bool hanse_peers_enter(hanse_peers *peers, const hanse_peer_address *address, uint64_t now_ms);
void hanse_peers_leave(hanse_peers *peers, const hanse_peer_address *address);
size_t hanse_peers_connections(const hanse_peers *peers); /* of all addresses */

/* May a refusal of that address be logged? If not it is counted; if so, *skipped is the number of those that were not since the last line. */
bool hanse_peers_may_log(hanse_peers *peers, const hanse_peer_address *address, uint64_t now_ms, uint64_t *skipped);
/* Refusals that were not logged, of an address that has been quiet for a while: true and their number once, then nothing until more come. */
bool hanse_peers_unlogged(hanse_peers *peers, uint64_t now_ms, char text[HANSE_PEER_TEXT_MAX], uint64_t *count);

#endif
