/* ws_http.h - the HTTP around a websocket: the upgrade, its answer, and a proxy's answer to CONNECT. Pure. */
#ifndef HANSE_WS_HTTP_H
#define HANSE_WS_HTTP_H

#include "hanse/bytes.h"

#define HANSE_WS_KEY_LEN 25    /* base64 of 16 random bytes, with its zero */
#define HANSE_WS_ACCEPT_LEN 29 /* base64 of a SHA-1, with its zero */
#define HANSE_HTTP_HEAD_MAX ((size_t)8 << 10)

/* base64(SHA-1(key || GUID)), RFC 6455 section 4.2.2. Errors: NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_ws_accept_key(char out[HANSE_WS_ACCEPT_LEN], const char *key, hanse_err *err);
/* The client's upgrade request for `authority` ("host:port"). */
HANSE_MUST_CHECK hanse_rc hanse_ws_request(hanse_buf *out, const char *authority, const char *key, hanse_err *err);
/* Length of an HTTP head with its empty line, 0 when it is not whole yet. */
size_t hanse_http_head_len(hanse_bytes in);
/* "HTTP/1.x NNN": the number; 0 when it is none. */
int hanse_http_status(hanse_bytes head);
/* Is `head` the answer that opens our websocket? Errors: LINK (no websocket there), VERSION (another subprotocol),
 * PROTOCOL (wrong accept key, extensions that nobody asked for). */
HANSE_MUST_CHECK hanse_rc hanse_ws_check_answer(hanse_bytes head, const char *key, hanse_err *err);

#endif
