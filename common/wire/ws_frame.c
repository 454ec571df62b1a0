#include "ws_frame.h"

#include <inttypes.h>

size_t hanse_ws_head_encode(uint8_t out[HANSE_WS_HEAD_MAX], const hanse_ws_head *head)
{
    size_t width = head->len > UINT16_MAX ? 8 : head->len > HANSE_WS_CONTROL_MAX ? 2 : 0;
    size_t at = 2;

    out[0] = (uint8_t)((head->fin ? 0x80 : 0) | head->opcode);
    out[1] = (uint8_t)((head->masked ? 0x80 : 0) | (width == 8 ? 127 : width == 2 ? 126 : (uint8_t)head->len));
    for (size_t i = 0; i < width; i++)
        out[at++] = (uint8_t)(head->len >> (8 * (width - 1 - i)));
    if (head->masked) {
        memcpy(out + at, head->key, 4);
        at += 4;
    }
    return at;
}

hanse_rc hanse_ws_head_decode(hanse_ws_head *out, size_t *head_len, hanse_bytes in, hanse_err *err)
{
    hanse_ws_head head = {0};
    size_t width, want;
    unsigned opcode;

    if (in.len < 2)
        return HANSE_E_AGAIN;
    opcode = in.data[0] & 0x0f;
    if ((in.data[0] & 0x70) != 0 || (opcode > HANSE_WS_BINARY && opcode < HANSE_WS_CLOSE) || opcode > HANSE_WS_PONG)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "websocket frame with reserved bits: 0x%02x", in.data[0]);
    head.opcode = (hanse_ws_opcode)opcode;
    head.fin = (in.data[0] & 0x80) != 0;
    head.masked = (in.data[1] & 0x80) != 0;
    head.len = in.data[1] & 0x7f;
    if (opcode >= HANSE_WS_CLOSE && (!head.fin || head.len > HANSE_WS_CONTROL_MAX))
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "websocket control frame that is fragmented or too long");
    width = head.len == 127 ? 8 : head.len == 126 ? 2 : 0;
    want = 2 + width + (head.masked ? 4 : 0);
    if (in.len < want)
        return HANSE_E_AGAIN;
    if (width > 0) {
        head.len = 0;
        for (size_t i = 0; i < width; i++)
            head.len = head.len << 8 | in.data[2 + i];
        /* Section 5.2: "the minimal number of bytes MUST be used", and the top bit of the 64 is 0. */
        if (head.len <= (width == 8 ? UINT16_MAX : HANSE_WS_CONTROL_MAX) || head.len > INT64_MAX)
            return HANSE_FAIL(err, HANSE_E_PROTOCOL, "websocket frame length %" PRIu64 " in %zu bytes", head.len, width);
    }
    if (head.masked)
        memcpy(head.key, in.data + 2 + width, 4);
    *out = head;
    *head_len = want;
    return HANSE_OK;
}

void hanse_ws_mask(uint8_t *out, const uint8_t *in, size_t len, const uint8_t key[4])
{
    uint64_t word;
    uint32_t half;
    size_t i = 0;

    memcpy(&half, key, 4);
    word = (uint64_t)half << 32 | half;
    /* Four words a turn, loaded and stored by memcpy: compilers make vector instructions of it at -O2 and -O3. */
    for (; i + 32 <= len; i += 32) {
        uint64_t block[4];

        memcpy(block, in + i, 32);
        for (int k = 0; k < 4; k++)
            block[k] ^= word;
        memcpy(out + i, block, 32);
    }
    for (; i < len; i++)
        out[i] = in[i] ^ key[i % 4];
}

/* Fill reader->head from `in` until it decodes. AGAIN: `in` is used up. */
static hanse_rc read_head(hanse_ws_reader *reader, hanse_bytes *in, hanse_err *err)
{
    size_t old = reader->head_len, used = 0;
    size_t take = in->len < HANSE_WS_HEAD_MAX - old ? in->len : HANSE_WS_HEAD_MAX - old;
    hanse_rc rc;

    if (take > 0)
        memcpy(reader->head + old, in->data, take);
    rc = hanse_ws_head_decode(&reader->frame, &used, (hanse_bytes){reader->head, old + take}, err);
    if (rc == HANSE_E_AGAIN) {
        reader->head_len = old + take;
        used = old + take;
    } else if (rc == HANSE_OK) {
        reader->head_len = 0;
    } else {
        return rc;
    }
    in->data = in->len > 0 ? in->data + (used - old) : in->data;
    in->len -= used - old;
    return rc;
}

static hanse_rc check_frame(const hanse_ws_reader *reader, hanse_err *err)
{
    const hanse_ws_head *frame = &reader->frame;

    if (frame->masked)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "websocket frame of a server is masked");
    if (frame->opcode == HANSE_WS_TEXT)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "websocket text message");
    if (frame->opcode == HANSE_WS_BINARY && reader->in_message)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "websocket message begins inside another");
    if (frame->opcode == HANSE_WS_CONTINUATION && !reader->in_message)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "websocket continuation of no message");
    return HANSE_OK;
}

hanse_rc hanse_ws_read(hanse_ws_reader *reader, hanse_bytes *in, hanse_ws_event *event, hanse_err *err)
{
    uint64_t left;
    size_t take;
    bool control;

    *event = (hanse_ws_event){.kind = HANSE_WS_EVENT_NONE};
    if (!reader->in_frame) {
        hanse_rc rc = read_head(reader, in, err);

        if (rc == HANSE_E_AGAIN)
            return HANSE_OK;
        if (rc == HANSE_OK)
            rc = check_frame(reader, err);
        if (rc != HANSE_OK)
            return rc;
        reader->in_frame = true;
        reader->frame_done = 0;
    }
    control = reader->frame.opcode >= HANSE_WS_CLOSE;
    left = reader->frame.len - reader->frame_done;
    take = left < in->len ? (size_t)left : in->len;
    if (control && take > 0)
        memcpy(reader->control + reader->frame_done, in->data, take);
    if (take == left) {
        reader->in_frame = false;
        if (!control)
            reader->in_message = !reader->frame.fin;
    } else if (take == 0) {
        return HANSE_OK;
    }
    reader->frame_done += take;
    if (!control)
        *event = (hanse_ws_event){.kind = HANSE_WS_EVENT_DATA, .data = {in->data, take},
                                  .last = reader->frame.fin && take == left};
    else if (take == left)
        *event = (hanse_ws_event){.kind = HANSE_WS_EVENT_CONTROL, .opcode = reader->frame.opcode,
                                  .data = {reader->control, (size_t)reader->frame.len}};
    if (take > 0) {
        in->data += take;
        in->len -= take;
    }
    return HANSE_OK;
}
