/* invitation.h - the one-time invitation that `hanse-coordinator invite` writes and `hanse-node enrol` reads.
 *
 * A small YAML file; whoever holds it may enrol as that site once, so it is as secret as a password. */
#ifndef HANSE_INVITATION_H
#define HANSE_INVITATION_H

#include "hanse/plan.h"

typedef struct hanse_invitation {
    hanse_name consortium, organisation, site;
    char coordinator[320];  /* "host:port" or "[v6]:port" */
    char server_name[256];  /* in the coordinator's certificate; "": the host */
    uint8_t ca_sha256[32];  /* of the CA certificate (DER) */
    uint8_t token[32];
} hanse_invitation;

/* Append the file's text. Errors: NOMEM. Wipe `out`: it holds the token. */
HANSE_MUST_CHECK hanse_rc hanse_invitation_encode(hanse_buf *out, const hanse_invitation *invitation, hanse_err *err);
/* `origin` (a file name) begins every message. Errors: INVALID, NOMEM. Wipe `out` after use. */
HANSE_MUST_CHECK hanse_rc hanse_invitation_decode(hanse_invitation *out, hanse_bytes text, const char *origin, hanse_err *err);

#endif
