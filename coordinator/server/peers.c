#include "coordinator/server/peers.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#define SPARE 1024     /* places for addresses without a connection, of which refusals are counted */
#define QUIET_MS 10000 /* unlogged refusals are summed up when no more came for so long */

typedef struct place {
    hanse_peer_address address;
    bool used;
    size_t connections;
    hanse_allowance lines, arrivals;
    uint64_t skipped, last_ms; /* refusals not logged; the last refusal */
    uint64_t admitted_ms;      /* the last connection */
} place;

/* Looked through from the start: a few thousand places cost less than the handshake that is decided on. */
struct hanse_peers {
    place *places; /* [places_count] */
    size_t places_count, connections;
    hanse_peers_limits limits;
    hanse_allowance lines; /* of all addresses */
    uint64_t skipped;      /* of addresses for which no place was left */
};

bool hanse_allowance_take(hanse_allowance *allowance, uint64_t burst, uint64_t every_ms, uint64_t now_ms)
{
    uint64_t more = now_ms > allowance->since_ms ? (now_ms - allowance->since_ms) / every_ms : 0;

    if (now_ms < allowance->since_ms) /* the clock was set back */
        allowance->since_ms = now_ms;
    allowance->since_ms += more * every_ms;
    allowance->left = more >= burst - allowance->left ? burst : allowance->left + more;
    if (allowance->left == 0)
        return false;
    allowance->left--;
    return true;
}

hanse_peer_address hanse_peer_address_of(const struct sockaddr *from, char text[HANSE_PEER_TEXT_MAX])
{
    hanse_peer_address out = {.known = true};
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    (void)snprintf(text, HANSE_PEER_TEXT_MAX, "-");
    if (from->sa_family == AF_INET) {
        struct sockaddr_in v4;

        memcpy(&v4, from, sizeof v4);
        memcpy(out.bytes, mapped, sizeof mapped);
        memcpy(out.bytes + 12, &v4.sin_addr, 4);
        (void)inet_ntop(AF_INET, &v4.sin_addr, text, HANSE_PEER_TEXT_MAX);
    } else if (from->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        bool is_v4;

        memcpy(&v6, from, sizeof v6);
        is_v4 = memcmp(&v6.sin6_addr, mapped, sizeof mapped) == 0;
        memcpy(out.bytes, &v6.sin6_addr, is_v4 ? 16 : 8);
        (void)inet_ntop(is_v4 ? AF_INET : AF_INET6, (const uint8_t *)&v6.sin6_addr + (is_v4 ? 12 : 0), text, HANSE_PEER_TEXT_MAX);
    } else {
        out.known = false;
    }
    return out;
}

hanse_rc hanse_peers_new(hanse_peers **out, const hanse_peers_limits *limits, uint64_t now_ms, hanse_err *err)
{
    hanse_peers *peers = hanse_calloc(1, sizeof *peers);

    if (peers != NULL)
        peers->places = hanse_calloc(limits->connections + SPARE, sizeof *peers->places);
    if (peers == NULL || peers->places == NULL) {
        hanse_free(peers);
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for the addresses of %zu connections", limits->connections);
    }
    peers->places_count = limits->connections + SPARE;
    peers->limits = *limits;
    peers->lines = (hanse_allowance){HANSE_PEERS_LINES_BURST, now_ms};
    *out = peers;
    return HANSE_OK;
}

void hanse_peers_free(hanse_peers *peers)
{
    if (peers != NULL)
        hanse_free(peers->places);
    hanse_free(peers);
}

static bool forgettable(const place *at, uint64_t now_ms)
{
    const uint64_t whole_ms = (uint64_t)HANSE_PEER_LINES_BURST * HANSE_PEER_LINE_EVERY_MS; /* its allowances are, by then */

    return at->connections == 0 && at->skipped == 0 && now_ms - at->last_ms >= whole_ms && now_ms - at->admitted_ms >= whole_ms;
}

/* The place of that address; a fresh one if it has none; NULL when all are taken. A connection may take the place of an address of
 * which only refusals are counted: however many those are, they keep nobody out. */
static place *place_of(hanse_peers *peers, const hanse_peer_address *address, bool connects, uint64_t now_ms)
{
    place *spare = NULL, *idle = NULL;

    for (size_t i = 0; i < peers->places_count; i++) {
        place *at = &peers->places[i];

        if (at->used && at->address.known == address->known && memcmp(at->address.bytes, address->bytes, 16) == 0)
            return at;
        if (spare == NULL && (!at->used || forgettable(at, now_ms)))
            spare = at;
        if (at->connections == 0 && (idle == NULL || at->last_ms < idle->last_ms))
            idle = at;
        if (!at->used)
            break; /* places are never emptied, only taken over */
    }
    if (spare == NULL && connects && idle != NULL) {
        peers->skipped += idle->skipped;
        spare = idle;
    }
    if (spare != NULL)
        *spare = (place){.address = *address, .used = true, .lines = {HANSE_PEER_LINES_BURST, now_ms},
                         .arrivals = {peers->limits.per_address, now_ms}};
    return spare;
}

/* Its place, if one more connection has room there. */
static place *room_for(hanse_peers *peers, const hanse_peer_address *address, uint64_t now_ms)
{
    place *at = peers->connections < peers->limits.connections ? place_of(peers, address, true, now_ms) : NULL;

    return at != NULL && at->connections < peers->limits.per_address ? at : NULL;
}

bool hanse_peers_admit(hanse_peers *peers, const hanse_peer_address *address, uint64_t now_ms)
{
    place *at = room_for(peers, address, now_ms);

    if (at == NULL || !hanse_allowance_take(&at->arrivals, peers->limits.per_address, 1000 / peers->limits.per_second, now_ms))
        return false;
    at->admitted_ms = now_ms;
    return true;
}

bool hanse_peers_enter(hanse_peers *peers, const hanse_peer_address *address, uint64_t now_ms)
{
    place *at = room_for(peers, address, now_ms);

    if (at == NULL)
        return false;
    at->connections++;
    peers->connections++;
    return true;
}

void hanse_peers_leave(hanse_peers *peers, const hanse_peer_address *address)
{
    place *at = place_of(peers, address, false, 0);

    assert(at != NULL && at->connections > 0);
    at->connections--;
    peers->connections--;
}

size_t hanse_peers_connections(const hanse_peers *peers)
{
    return peers->connections;
}

bool hanse_peers_may_log(hanse_peers *peers, const hanse_peer_address *address, uint64_t now_ms, uint64_t *skipped)
{
    place *at = place_of(peers, address, false, now_ms);

    if (at == NULL) {
        peers->skipped++;
        return false;
    }
    at->last_ms = now_ms;
    if (!hanse_allowance_take(&at->lines, HANSE_PEER_LINES_BURST, HANSE_PEER_LINE_EVERY_MS, now_ms) ||
        !hanse_allowance_take(&peers->lines, HANSE_PEERS_LINES_BURST, HANSE_PEERS_LINE_EVERY_MS, now_ms)) {
        at->skipped++;
        return false;
    }
    *skipped = at->skipped;
    at->skipped = 0;
    return true;
}

bool hanse_peers_unlogged(hanse_peers *peers, uint64_t now_ms, char text[HANSE_PEER_TEXT_MAX], uint64_t *count)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    for (size_t i = 0; i < peers->places_count && peers->places[i].used; i++) {
        place *at = &peers->places[i];

        if (at->skipped == 0 || now_ms - at->last_ms < QUIET_MS)
            continue;
        /* One line an address and quiet time, but no more than all together may have. */
        if (!hanse_allowance_take(&peers->lines, HANSE_PEERS_LINES_BURST, HANSE_PEERS_LINE_EVERY_MS, now_ms))
            return false;
        if (memcmp(at->address.bytes, mapped, sizeof mapped) == 0)
            (void)inet_ntop(AF_INET, at->address.bytes + 12, text, HANSE_PEER_TEXT_MAX);
        else
            (void)inet_ntop(AF_INET6, at->address.bytes, text, HANSE_PEER_TEXT_MAX);
        *count = at->skipped;
        at->skipped = 0;
        return true;
    }
    if (peers->skipped == 0)
        return false;
    (void)snprintf(text, HANSE_PEER_TEXT_MAX, "others");
    *count = peers->skipped;
    peers->skipped = 0;
    return true;
}
