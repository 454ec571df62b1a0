/* First byte: who sends. Then pieces: a byte of length, whose top bit ends the message, and the bytes (length 127: the rest).
 * Fed as they are and as whole messages: the same must come out. */
#include "hanse/inbox.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

typedef struct ear {
    uint64_t hash; /* of whole messages and ended chunks */
    uint64_t chunk_hash;
    size_t payload;
    size_t ended;
} ear;

static uint64_t mix(uint64_t hash, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ data[i]) * 0x100000001b3;
    return hash;
}

static hanse_rc on_message(void *user, const hanse_message *message, hanse_err *err)
{
    ear *e = user;
    hanse_buf bytes = HANSE_BUF_EMPTY;

    if (message->kind == HANSE_CHUNK || hanse_message_encode(&bytes, message, err) != HANSE_OK)
        abort();
    e->hash = mix(e->hash, bytes.data, bytes.len);
    e->ended++;
    hanse_buf_clear(&bytes);
    return HANSE_OK;
}

static hanse_rc on_head(void *user, const hanse_msg_chunk *head, hanse_err *err)
{
    ear *e = user;
    (void)err;

    e->payload = 0;
    e->chunk_hash = mix(head->index + head->transfer, head->digest.data, head->digest.len);
    return HANSE_OK;
}

static hanse_rc on_data(void *user, const hanse_msg_chunk *head, size_t offset, hanse_bytes piece, hanse_err *err)
{
    ear *e = user;
    (void)err;

    if (offset != e->payload || piece.len == 0 || offset + piece.len > head->payload.len)
        abort();
    e->payload += piece.len;
    e->chunk_hash = mix(e->chunk_hash, piece.data, piece.len);
    return HANSE_OK;
}

static hanse_rc on_end(void *user, const hanse_msg_chunk *head, hanse_err *err)
{
    ear *e = user;
    (void)err;

    if (e->payload != head->payload.len)
        abort();
    e->hash = mix(e->hash, (const uint8_t *)&e->chunk_hash, sizeof e->chunk_hash) + (head->digest.len > 0 ? head->digest.data[31] : 0);
    e->ended++;
    return HANSE_OK;
}

static const hanse_inbox_ops ops = {on_message, on_head, on_data, on_end};

static bool next_piece(hanse_bytes *in, hanse_bytes *piece, bool *last)
{
    size_t want;

    if (in->len == 0)
        return false;
    want = in->data[0] & 0x7f;
    *last = (in->data[0] & 0x80) != 0;
    *piece = (hanse_bytes){in->data + 1, want == 127 || want > in->len - 1 ? in->len - 1 : want};
    in->data += 1 + piece->len;
    in->len -= 1 + piece->len;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    hanse_inbox pieces, whole;
    hanse_buf message = HANSE_BUF_EMPTY;
    hanse_bytes in, piece;
    ear a = {0}, b = {0};
    hanse_rc rc = HANSE_OK, whole_rc = HANSE_OK;
    hanse_err err;
    bool last = false;

    if (len == 0)
        return 0;
    hanse_inbox_init(&pieces, &ops, &a, (data[0] & 1) != 0 ? HANSE_FROM_NODE : HANSE_FROM_COORDINATOR);
    hanse_inbox_init(&whole, &ops, &b, (data[0] & 1) != 0 ? HANSE_FROM_NODE : HANSE_FROM_COORDINATOR);
    in = (hanse_bytes){data + 1, len - 1};
    while (whole_rc == HANSE_OK && next_piece(&in, &piece, &last)) {
        if (rc == HANSE_OK)
            rc = hanse_inbox_feed(&pieces, piece, last, &err);
        if (pieces.held.len > HANSE_MESSAGE_MAX || hanse_buf_append(&message, piece.data, piece.len, &err) != HANSE_OK)
            abort();
        if (!last)
            continue;
        whole_rc = hanse_inbox_feed(&whole, hanse_buf_bytes(&message), true, &err);
        message.len = 0;
        /* In pieces it may be refused sooner, never later. */
        if (rc != whole_rc || a.ended != b.ended || a.hash != b.hash)
            abort();
    }
    hanse_inbox_clear(&pieces);
    hanse_inbox_clear(&whole);
    hanse_buf_clear(&message);
    return 0;
}
