/* config.h - coordinator.yaml, and where things lie in a coordinator's directory. docs/operate.md. */
#ifndef HANSE_COORDINATOR_CONFIG_H
#define HANSE_COORDINATOR_CONFIG_H

#include "hanse/log.h"
#include "hanse/plan.h"

#define HANSE_COORDINATOR_FILE "coordinator.yaml"
#define HANSE_CA_KEY_FILE "ca/ca.key" /* 0600; may be moved offline between invitations */
#define HANSE_CA_CERT_FILE "ca/ca.crt"
#define HANSE_TLS_KEY_FILE "identity/tls.key" /* 0600 */
#define HANSE_TLS_CERT_FILE "identity/tls.crt"
#define HANSE_SIGN_KEY_FILE "identity/sign.key" /* 0600 */
#define HANSE_SIGN_CERT_FILE "identity/sign.crt"
#define HANSE_CRL_FILE "crl.pem"
#define HANSE_SPOOL_DIR "spool"
#define HANSE_CONTROL_FILE "control.sock" /* 0600; the service reads "wake\n" and answers "ok\n" */

#define HANSE_HOST_MAX 255

typedef struct hanse_coordinator_config {
    hanse_name name;                  /* of the consortium */
    char address[HANSE_HOST_MAX + 9]; /* what sites dial: "host:port" or "[v6]:port" */
    char listen[HANSE_HOST_MAX + 9];  /* what the service binds; the same form; port 0: any */
    char host[HANSE_HOST_MAX + 1];    /* of address */
    uint16_t port;
    char listen_host[HANSE_HOST_MAX + 1];
    uint16_t listen_port;
    struct {
        uint64_t connections;          /* at once, of all sites */
        uint64_t connections_per_site, connections_per_address;
        uint64_t connections_per_second; /* new ones, of one address */
        uint64_t handshake_ms;         /* TLS, websocket and HELLO */
        uint64_t messages_per_second;  /* of one connection, on average over ten seconds */
        uint64_t spool_bytes;          /* of all uploads of open rounds */
        uint64_t spool_bytes_per_site; /* of one site's */
        uint64_t workers;              /* threads that open and sum contributions; at least 1 */
    } limits;
    int level; /* hanse_level */
} hanse_coordinator_config;

/* Read and check DIR/coordinator.yaml. `out` zeros on error; nothing to release.
 * Errors: INVALID ("coordinator.yaml:LINE: key: what"), NOTFOUND, IO, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_coordinator_config_load(hanse_coordinator_config *out, const char *dir, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_coordinator_config_parse(hanse_coordinator_config *out, hanse_bytes text, const char *origin, hanse_err *err);
/* The commented file that `init` writes. */
HANSE_MUST_CHECK hanse_rc hanse_coordinator_config_template(hanse_buf *out, const char *name, const char *address, const char *listen,
                                                            hanse_err *err);
/* "host:port" or "[v6]:port" into its parts; port 0..65535. Errors: INVALID. */
HANSE_MUST_CHECK hanse_rc hanse_coordinator_address_split(const char *address, char host[HANSE_HOST_MAX + 1], uint16_t *port, hanse_err *err);

#endif
