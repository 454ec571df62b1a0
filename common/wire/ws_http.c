#include "ws_http.h"

#include "hanse/message.h"

#include <openssl/evp.h>
#include <strings.h>

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

hanse_rc hanse_ws_accept_key(char out[HANSE_WS_ACCEPT_LEN], const char *key, hanse_err *err)
{
    hanse_buf text = HANSE_BUF_EMPTY;
    uint8_t sha[20];
    hanse_rc rc = hanse_buf_printf(&text, err, "%s" GUID, key);

    if (rc == HANSE_OK && EVP_Digest(text.data, text.len, sha, NULL, EVP_sha1(), NULL) != 1)
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "SHA-1 is not available");
    if (rc == HANSE_OK)
        EVP_EncodeBlock((unsigned char *)out, sha, sizeof sha);
    hanse_buf_clear(&text);
    return rc;
}

hanse_rc hanse_ws_request(hanse_buf *out, const char *authority, const char *key, hanse_err *err)
{
    return hanse_buf_printf(out, err,
                            "GET / HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: " HANSE_SUBPROTOCOL
                            "\r\n\r\n", authority, key);
}

size_t hanse_http_head_len(hanse_bytes in)
{
    const uint8_t *end = in.len >= 4 ? memmem(in.data, in.len, "\r\n\r\n", 4) : NULL;

    return end == NULL ? 0 : (size_t)(end - in.data) + 4;
}

int hanse_http_status(hanse_bytes head)
{
    const uint8_t *p = head.data;

    if (head.len < 13 || memcmp(p, "HTTP/1.", 7) != 0 || p[8] != ' ')
        return 0;
    for (int i = 9; i < 12; i++)
        if (p[i] < '0' || p[i] > '9')
            return 0;
    return (p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0');
}

/* The value of the first header `name`, without blanks around it; data NULL when there is none. */
static hanse_bytes header_value(hanse_bytes head, const char *name)
{
    size_t name_len = strlen(name);
    const uint8_t *end = head.data + head.len;
    const uint8_t *line = memmem(head.data, head.len, "\r\n", 2);

    while (line != NULL && (line += 2) < end) {
        const uint8_t *stop = memmem(line, (size_t)(end - line), "\r\n", 2);

        if (stop == NULL)
            break;
        if ((size_t)(stop - line) > name_len && line[name_len] == ':'
            && strncasecmp((const char *)line, name, name_len) == 0) {
            const uint8_t *value = line + name_len + 1;

            while (value < stop && (*value == ' ' || *value == '\t'))
                value++;
            while (stop > value && (stop[-1] == ' ' || stop[-1] == '\t'))
                stop--;
            return (hanse_bytes){value, (size_t)(stop - value)};
        }
        line = stop;
    }
    return HANSE_BYTES_EMPTY;
}

static bool value_is(hanse_bytes value, const char *want)
{
    return value.len == strlen(want) && strncasecmp((const char *)value.data, want, value.len) == 0;
}

/* Is `want` one of the comma-separated words? */
static bool value_has(hanse_bytes value, const char *want)
{
    while (value.len > 0) {
        const uint8_t *comma = memchr(value.data, ',', value.len);
        size_t len = comma == NULL ? value.len : (size_t)(comma - value.data), step = comma == NULL ? len : len + 1;
        hanse_bytes word = {value.data, len};

        while (word.len > 0 && word.data[0] == ' ') {
            word.data++;
            word.len--;
        }
        while (word.len > 0 && word.data[word.len - 1] == ' ')
            word.len--;
        if (value_is(word, want))
            return true;
        value.data += step;
        value.len -= step;
    }
    return false;
}

hanse_rc hanse_ws_check_answer(hanse_bytes head, const char *key, hanse_err *err)
{
    char accept[HANSE_WS_ACCEPT_LEN];
    hanse_bytes value;
    hanse_rc rc;

    if (hanse_http_status(head) != 101 || !value_is(header_value(head, "Upgrade"), "websocket")
        || !value_has(header_value(head, "Connection"), "upgrade"))
        return HANSE_FAIL(err, HANSE_E_LINK, "no websocket there (HTTP status %d): is this the coordinator's address?",
                          hanse_http_status(head));
    rc = hanse_ws_accept_key(accept, key, err);
    if (rc != HANSE_OK)
        return rc;
    value = header_value(head, "Sec-WebSocket-Accept");
    if (!hanse_bytes_equal(value, hanse_bytes_str(accept)))
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "the websocket's accept key is wrong: a proxy may have answered");
    value = header_value(head, "Sec-WebSocket-Protocol");
    if (!hanse_bytes_equal(value, hanse_bytes_str(HANSE_SUBPROTOCOL)))
        return HANSE_FAIL(err, HANSE_E_VERSION, "the coordinator does not speak " HANSE_SUBPROTOCOL ": update the older side");
    if (header_value(head, "Sec-WebSocket-Extensions").data != NULL)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "the server uses a websocket extension that nobody asked for");
    return HANSE_OK;
}
