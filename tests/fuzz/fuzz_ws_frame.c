/* First byte: how many bytes arrive at once; the rest: what a server sends. The pieces must not matter. */
#include "common/wire/ws_frame.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

typedef struct seen {
    uint64_t hash; /* of all events, in their order, without where a payload was cut */
    size_t bytes;
    hanse_rc rc;
} seen;

static void mix(seen *s, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        s->hash = (s->hash ^ data[i]) * 0x100000001b3;
    s->bytes += len;
}

static seen read_all(hanse_bytes in, size_t step)
{
    hanse_ws_reader reader = {0};
    seen s = {0};
    hanse_err err;

    while (in.len > 0 && s.rc == HANSE_OK) {
        hanse_bytes piece = {in.data, in.len < step ? in.len : step};
        hanse_ws_event event;

        in.data += piece.len;
        in.len -= piece.len;
        do {
            size_t before = piece.len;

            s.rc = hanse_ws_read(&reader, &piece, &event, &err);
            if (s.rc != HANSE_OK)
                break;
            if (piece.len > before || (event.kind == HANSE_WS_EVENT_NONE && piece.len > 0))
                abort();
            if (event.kind == HANSE_WS_EVENT_CONTROL && event.data.len > HANSE_WS_CONTROL_MAX)
                abort();
            mix(&s, event.data.data, event.data.len);
            if (event.kind == HANSE_WS_EVENT_CONTROL)
                mix(&s, (uint8_t[]){(uint8_t)event.opcode}, 1);
            if (event.last)
                mix(&s, (const uint8_t *)"|", 1);
        } while (event.kind != HANSE_WS_EVENT_NONE);
    }
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint8_t out[HANSE_WS_HEAD_MAX];
    hanse_ws_head head;
    size_t used;
    hanse_err err;
    hanse_bytes in;
    seen whole, pieces;

    if (len == 0)
        return 0;
    in = (hanse_bytes){data + 1, len - 1};
    if (hanse_ws_head_decode(&head, &used, in, &err) == HANSE_OK &&
        (used > in.len || hanse_ws_head_encode(out, &head) != used || memcmp(out, in.data, used) != 0))
        abort();
    whole = read_all(in, in.len);
    pieces = read_all(in, 1 + data[0] % 16);
    if (whole.rc != pieces.rc || whole.hash != pieces.hash || whole.bytes != pieces.bytes)
        abort();
    return 0;
}
