#include "coordinator/server/shared.h"

struct hanse_shared {
    hanse_buf bytes;
    size_t holders;
    hanse_shared **newest; /* where it is found; NULL when a later one has taken that place */
};

static size_t same_begin(hanse_bytes a, hanse_bytes b)
{
    size_t most = a.len < b.len ? a.len : b.len, same = 0;

    while (most - same >= 256 && memcmp(a.data + same, b.data + same, 256) == 0)
        same += 256;
    while (same < most && a.data[same] == b.data[same])
        same++;
    return same;
}

/* As `in` from `from` on, without room to grow. */
static hanse_rc copy_of(hanse_buf *out, const hanse_buf *in, size_t from, hanse_err *err)
{
    const size_t len = in->len - from;
    uint8_t *data = len > 0 ? hanse_calloc(len, 1) : NULL;

    if (len > 0 && data == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for a message of %zu bytes", in->len);
    if (len > 0)
        memcpy(data, in->data + from, len);
    *out = (hanse_buf){data, len, len};
    return HANSE_OK;
}

/* A new one, which others are compared with from now on. */
static hanse_rc begin_shared(hanse_shared **out, hanse_shared **newest, const hanse_buf *bytes, hanse_err *err)
{
    hanse_shared *shared = hanse_calloc(1, sizeof *shared);
    hanse_rc rc = shared != NULL ? copy_of(&shared->bytes, bytes, 0, err) : HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for a message");

    if (rc != HANSE_OK) {
        hanse_free(shared);
        return rc;
    }
    if (*newest != NULL)
        (*newest)->newest = NULL;
    shared->newest = newest;
    *newest = shared;
    *out = shared;
    return HANSE_OK;
}

hanse_rc hanse_parts_take(hanse_parts *out, hanse_shared **newest, hanse_buf *bytes, hanse_err *err)
{
    hanse_parts parts = HANSE_PARTS_EMPTY;
    size_t same = *newest != NULL ? same_begin(hanse_buf_bytes(bytes), hanse_buf_bytes(&(*newest)->bytes)) : 0;
    hanse_rc rc;

    if (same >= HANSE_SHARED_MIN) {
        parts.head = *newest;
        parts.head_len = same;
        rc = copy_of(&parts.rest, bytes, same, err);
    } else if (bytes->len >= HANSE_SHARED_MIN) {
        parts.head_len = bytes->len;
        rc = begin_shared(&parts.head, newest, bytes, err);
    } else {
        rc = copy_of(&parts.rest, bytes, 0, err);
    }
    if (rc != HANSE_OK)
        return rc;
    if (parts.head != NULL)
        parts.head->holders++;
    hanse_buf_clear(bytes);
    *out = parts;
    return HANSE_OK;
}

size_t hanse_parts_len(const hanse_parts *parts)
{
    return parts->head_len + parts->rest.len;
}

void hanse_parts_read(const hanse_parts *parts, size_t at, uint8_t *room, size_t len)
{
    size_t left = at < parts->head_len ? parts->head_len - at : 0, of_head = left < len ? left : len;

    if (of_head > 0)
        memcpy(room, parts->head->bytes.data + at, of_head);
    if (len > of_head)
        memcpy(room + of_head, parts->rest.data + (at + of_head - parts->head_len), len - of_head);
}

void hanse_parts_clear(hanse_parts *parts)
{
    hanse_shared *head = parts->head;

    if (head != NULL && --head->holders == 0) {
        if (head->newest != NULL)
            *head->newest = NULL;
        hanse_buf_clear(&head->bytes);
        hanse_free(head);
    }
    hanse_buf_clear(&parts->rest);
    *parts = HANSE_PARTS_EMPTY;
}
