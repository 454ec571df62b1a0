#include "hanse/inbox.h"

#include <assert.h>

#define HELD_KEPT 4096 /* a buffer up to this size stays for the next message; thousands of idle sites hold one each */

void hanse_inbox_init(hanse_inbox *inbox, const hanse_inbox_ops *ops, void *user, hanse_way from)
{
    *inbox = (hanse_inbox){.ops = ops, .user = user, .from = from};
}

void hanse_inbox_clear(hanse_inbox *inbox)
{
    if (inbox != NULL)
        hanse_buf_wipe(&inbox->held);
}

/* The kind that the first two bytes of a message tell; both are single bytes in every encoding we accept here, so that
 * the bound of the kind holds from the start. AGAIN when fewer have come. */
static hanse_rc peek_kind(hanse_bytes start, hanse_way from, hanse_kind *kind, hanse_err *err)
{
    if (start.len >= 1 && (start.data[0] & 0xf0) != 0x90)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "a message begins with byte 0x%02x", start.data[0]);
    if (start.len < 2)
        return HANSE_E_AGAIN;
    *kind = (hanse_kind)start.data[1];
    if (hanse_kind_way(*kind) == 0)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "message kind %d does not exist", (int)*kind);
    if ((hanse_kind_way(*kind) & from) == 0)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "%s goes the other way", hanse_kind_name(*kind));
    return HANSE_OK;
}

static hanse_rc chunk_data(hanse_inbox *inbox, hanse_bytes piece, bool last, hanse_err *err)
{
    hanse_rc rc = HANSE_OK;
    size_t left = inbox->chunk.payload.len - inbox->payload_done;

    if (piece.len > left)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "CHUNK: %zu bytes behind the last field", piece.len - left);
    if (piece.len > 0)
        rc = inbox->ops->chunk_data(inbox->user, &inbox->chunk, inbox->payload_done, piece, err);
    if (rc != HANSE_OK)
        return rc;
    inbox->payload_done += piece.len;
    if (!last)
        return HANSE_OK;
    if (inbox->payload_done < inbox->chunk.payload.len)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "CHUNK: the payload ends after %zu of %zu bytes", inbox->payload_done,
                          inbox->chunk.payload.len);
    return inbox->ops->chunk_end(inbox->user, &inbox->chunk, err);
}

/* `held` has the first bytes of a CHUNK; `piece` the next ones. */
static hanse_rc chunk_begin(hanse_inbox *inbox, hanse_bytes piece, bool last, hanse_err *err)
{
    size_t old = inbox->held.len, take = HANSE_CHUNK_HEAD_MAX - old, head_len = 0;
    hanse_rc rc;

    if (take > piece.len)
        take = piece.len;
    rc = hanse_buf_append(&inbox->held, piece.data, take, err);
    if (rc != HANSE_OK)
        return rc;
    rc = hanse_chunk_head_decode(&inbox->chunk, &head_len, hanse_buf_bytes(&inbox->held), err);
    if (rc == HANSE_E_AGAIN && !last)
        return HANSE_OK;
    if (rc == HANSE_E_AGAIN)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "CHUNK: malformed in the first %zu bytes", inbox->held.len);
    if (rc != HANSE_OK)
        return rc;
    assert(head_len > old); /* else the call before would have decoded it */
    rc = inbox->ops->chunk_head(inbox->user, &inbox->chunk, err);
    if (rc != HANSE_OK)
        return rc;
    inbox->in_chunk = true;
    inbox->payload_done = 0;
    piece.data += head_len - old;
    piece.len -= head_len - old;
    return chunk_data(inbox, piece, last, err);
}

static hanse_rc feed(hanse_inbox *inbox, hanse_bytes piece, bool last, hanse_err *err)
{
    hanse_bytes whole = piece;
    hanse_message message;
    hanse_kind kind = HANSE_KINDS_END;
    hanse_rc rc;

    if (inbox->in_chunk)
        return chunk_data(inbox, piece, last, err);
    /* The two bytes that tell the kind are collected first. */
    while (inbox->held.len > 0 && inbox->held.len < 2 && piece.len > 0) {
        rc = hanse_buf_append(&inbox->held, piece.data, 1, err);
        if (rc != HANSE_OK)
            return rc;
        piece.data++;
        piece.len--;
    }
    rc = peek_kind(inbox->held.len > 0 ? hanse_buf_bytes(&inbox->held) : piece, inbox->from, &kind, err);
    if (rc == HANSE_E_AGAIN && last)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "a message of %zu bytes", inbox->held.len + piece.len);
    if (rc == HANSE_E_AGAIN)
        return hanse_buf_append(&inbox->held, piece.data, piece.len, err);
    if (rc != HANSE_OK)
        return rc;
    if (kind == HANSE_CHUNK)
        return chunk_begin(inbox, piece, last, err);
    if (piece.len > hanse_kind_len_max(kind) - inbox->held.len)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "%s is longer than %zu bytes", hanse_kind_name(kind), hanse_kind_len_max(kind));
    if (!last || inbox->held.len > 0) {
        rc = hanse_buf_append(&inbox->held, piece.data, piece.len, err);
        if (rc != HANSE_OK || !last)
            return rc;
        whole = hanse_buf_bytes(&inbox->held);
    }
    rc = hanse_message_decode(&message, whole, inbox->from, err);
    if (rc == HANSE_OK)
        rc = inbox->ops->message(inbox->user, &message, err);
    if (kind == HANSE_ENROL) { /* it has a token in it */
        hanse_wipe(&message, sizeof message);
        hanse_wipe(inbox->held.data, inbox->held.cap);
    }
    return rc;
}

hanse_rc hanse_inbox_feed(hanse_inbox *inbox, hanse_bytes piece, bool last, hanse_err *err)
{
    hanse_rc rc;

    if (inbox->failed)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "more bytes behind a broken message");
    rc = feed(inbox, piece, last, err);
    inbox->failed = rc != HANSE_OK;
    if (rc == HANSE_OK && last) {
        inbox->in_chunk = false;
        inbox->held.len = 0;
    }
    if (rc != HANSE_OK)
        hanse_buf_wipe(&inbox->held); /* what is broken may have been an ENROL */
    else if (last && inbox->held.cap > HELD_KEPT)
        hanse_buf_clear(&inbox->held);
    return rc;
}
