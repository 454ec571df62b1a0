/* link_internal.h - what the two halves of the link share: link_connect.c opens it, link_openssl.c runs it. */
#ifndef HANSE_LINK_INTERNAL_H
#define HANSE_LINK_INTERNAL_H

#include "hanse/link.h"
#include "hanse/pace.h"
#include "ws_frame.h"

#include <openssl/ssl.h>

#define LINK_READ_LEN ((size_t)16 << 10) /* SSL_read gives one TLS record at most */

struct hanse_link {
    int fd;
    SSL_CTX *ctx;
    SSL *ssl;
    X509 *ca; /* what ca_pin matched; else NULL */
    hanse_inbox inbox;
    hanse_ws_reader reader;
    hanse_buf queue; /* frames, masked; bytes before `sent` are gone */
    size_t sent, queue_max;
    hanse_buf early; /* bytes that came behind the upgrade's answer */
    uint64_t rx_mono_us, ping_mono_us; /* last bytes received; when the unanswered ping went out, 0: none */
    uint64_t ping_ms, dead_ms;
    hanse_pace in_pace, out_pace;
    bool drained;     /* the last SSL_read found nothing: only poll() can tell of more */
    bool write_waits; /* the last SSL_write could not finish: POLLOUT tells when to go on */
    bool close_sent;
    bool failed;
    uint8_t in[LINK_READ_LEN];
};

/* Resolve, connect, proxy, TLS, upgrade. On error the link holds whatever hanse_link_close() releases. */
HANSE_MUST_CHECK hanse_rc hanse_link_connect(hanse_link *link, const hanse_link_config *config, hanse_err *err);
/* What an SSL call that returned `ret` came to: OK (wait for *events), or an error in words. */
HANSE_MUST_CHECK hanse_rc hanse_link_ssl_problem(const hanse_link *link, int ret, short *events, hanse_err *err);

#endif
