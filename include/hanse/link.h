/* link.h - the node's end of the socket: a websocket (RFC 6455) client over TLS 1.3.
 *
 * One thread, one loop: hanse_link_step() polls, sends what is queued and hands what arrives to the inbox callbacks.
 * The server's certificate must chain to the consortium's CA, carry the coordinator's profile and the name it was
 * reached by. Own framing on OpenSSL, because the bulk path of libwebsockets' client goes byte by byte. */
#ifndef HANSE_LINK_H
#define HANSE_LINK_H

#include "hanse/inbox.h"

#include <openssl/evp.h>

typedef struct hanse_link hanse_link; /* opaque; body in common/wire/link_openssl.c */

typedef struct hanse_link_config {
    const char *host; /* name, IPv4 or IPv6 address (no brackets) of the coordinator */
    uint16_t port;
    const char *server_name; /* what the certificate must name; NULL: `host` */
    hanse_bytes ca_pem;      /* the consortium's CA; may be empty when ca_pin is given */
    const uint8_t *ca_pin;   /* [32] SHA-256 of the CA certificate (DER) for enrolment: the server must send it; or NULL */
    hanse_bytes crl_pem;     /* newest revocation list; empty: none is checked */
    hanse_bytes cert_pem;    /* our TLS certificate; empty: none (enrolment) */
    EVP_PKEY *key;           /* its key; borrowed during open */
    const char *proxy;       /* "host:port" of a CONNECT proxy; "" none; NULL: HTTPS_PROXY and NO_PROXY decide */
    uint32_t connect_timeout_ms; /* of everything until the websocket is open; 0: 10 s */
    uint32_t ping_ms;            /* idle time before a ping; 0: 20 s */
    uint32_t dead_ms;            /* silence after which the peer counts as gone; 0: 60 s */
    size_t queue_max;            /* bytes of the send queue; 0: 4 MiB */
    uint64_t rate;               /* bytes a second that move at most, in each direction; 0: no cap */
    int wake_fd;                 /* open() gives up with AGAIN when it becomes readable; -1: none */
    const hanse_inbox_ops *ops;  /* must outlive the link */
    void *user;
} hanse_link_config;

/* Connect, verify and upgrade; blocks at most connect_timeout_ms. SIGPIPE is ignored from now on, unless the program handles it.
 *   out  owned by the caller on success, see hanse_link_close(); untouched on error
 * Errors: LINK (unreachable, timeout, no websocket there), IDENTITY (its certificate or ours was refused), VERSION (the
 * subprotocol is not spoken), AGAIN (wake_fd), USAGE, INVALID (unusable certificate or key), NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_link_open(hanse_link **out, const hanse_link_config *config, hanse_err *err);

/* Queue one encoded message; the bytes are copied. All or nothing.
 * Errors: FULL (more than queue_max would wait: step first; an empty queue takes any message), LINK (closed), NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_link_send(hanse_link *link, hanse_bytes message, hanse_err *err);
/* Encode and queue. Errors: as above, USAGE. */
HANSE_MUST_CHECK hanse_rc hanse_link_send_message(hanse_link *link, const hanse_message *message, hanse_err *err);
/* Queue a CHUNK; its payload is copied once, masked on the way. Errors: as above, USAGE. */
HANSE_MUST_CHECK hanse_rc hanse_link_send_chunk(hanse_link *link, const hanse_msg_chunk *chunk, hanse_err *err);
/* Bytes that wait to be sent. */
size_t hanse_link_queued(const hanse_link *link);

/* Wait up to timeout_ms (-1: for ever; 0: only look) for the socket or wake_fd (-1: none), then send and receive what is
 * possible without waiting, pings and the deadline of silence included. Returns OK after any of these, also after a
 * time-out; the callbacks run inside. Do not close the link from a callback.
 * Errors: LINK (closed by the peer, or gone), IDENTITY (our certificate was refused: under TLS 1.3 that comes to
 * light at the first read), PROTOCOL, NOMEM, and whatever a callback returned. Only close() is allowed afterwards. */
HANSE_MUST_CHECK hanse_rc hanse_link_step(hanse_link *link, int timeout_ms, int wake_fd, hanse_err *err);

/* For callers with a poll() of their own: the socket, the POLLIN/POLLOUT it waits for, and the longest wait [ms].
 * wants() is 0 time-out when data is already here: then step() with timeout_ms 0. Under a cap that is used up it waits for credit instead. */
int hanse_link_fd(const hanse_link *link);
short hanse_link_wants(const hanse_link *link, int *timeout_ms);

/* The CA certificate that the server showed, as PEM, after an open with ca_pin. Errors: NOTFOUND, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_link_ca_pem(const hanse_link *link, hanse_buf *pem, hanse_err *err);

/* Send what is queued and a close frame within linger_ms, then release everything. NULL allowed. */
void hanse_link_close(hanse_link *link, int linger_ms);

#endif
