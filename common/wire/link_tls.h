/* link_tls.h - the TLS 1.3 side of the link: whom it trusts, what it shows, and its failures in words. */
#ifndef HANSE_LINK_TLS_H
#define HANSE_LINK_TLS_H

#include "link_internal.h"

/* The SSL_CTX: trust, revocation, our certificate. Errors: INVALID, USAGE, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_link_tls_init(hanse_link *link, const hanse_link_config *config, hanse_err *err);
/* The SSL on link->fd, with SNI and the name to verify. Errors: NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_link_tls_attach(hanse_link *link, const hanse_link_config *config, hanse_err *err);
/* After the handshake: the peer must be a coordinator, not a site of the same CA; keeps the pinned CA certificate. Errors: IDENTITY. */
HANSE_MUST_CHECK hanse_rc hanse_link_tls_check(hanse_link *link, const hanse_link_config *config, hanse_err *err);

#endif
