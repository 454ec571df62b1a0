/* tls_peer.h - for tests: parties of one CA and a libwebsockets listener with the TLS settings of the coordinator's.
 * Everything here ends the program when it fails. */
#ifndef HANSE_TEST_TLS_PEER_H
#define HANSE_TEST_TLS_PEER_H

#include "hanse/identity.h"

#include <libwebsockets.h>

typedef struct tls_party {
    hanse_key *key;
    hanse_cert *cert;
    hanse_buf key_pem, cert_pem;
} tls_party;

void tls_party_ca(tls_party *ca, const char *name);
/* A certificate by `by`; a coordinator's names localhost and 127.0.0.1. */
void tls_party_certify(tls_party *p, const tls_party *by, hanse_profile profile);
void tls_party_clear(tls_party *p);

typedef struct tls_peer {
    const tls_party *ca, *as;
    const hanse_crl *crl;                  /* NULL: no revocation is checked */
    const struct lws_protocols *protocols; /* the first one's callback must pass on what it does not know to tls_peer_callback() */
    bool cert_optional;                    /* as for enrolment */
    lws_retry_bo_t idle;                   /* .secs_since_valid_ping and _hangup; zeros: no pings */
    struct lws_context *context;
    int port;
} tls_peer;

/* Listen on a free port of 127.0.0.1. */
void tls_peer_open(tls_peer *peer);
int tls_peer_callback(struct lws *wsi, enum lws_callback_reasons why, void *user, size_t len);
void tls_peer_close(tls_peer *peer);

#endif
