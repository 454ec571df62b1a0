/* First byte: who sends; the rest: one message. What decodes has one encoding, within its kind's bound, and borrows only from its input. */
#include "hanse/message.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void encode(hanse_buf *out, const hanse_message *message)
{
    hanse_err err;

    if (hanse_message_encode(out, message, &err) != HANSE_OK || out->len > hanse_kind_len_max(message->kind))
        abort();
}

static void check_head(hanse_bytes in, const hanse_message *whole)
{
    hanse_msg_chunk head = {0};
    size_t head_len = 0;
    hanse_err err;
    hanse_rc rc = hanse_chunk_head_decode(&head, &head_len, in, &err);

    if (rc == HANSE_OK && (head_len > in.len || head_len > HANSE_CHUNK_HEAD_MAX || head.payload.data != NULL || head.payload.len == 0 ||
                           head.payload.len > HANSE_PAYLOAD_MAX || (head.digest.len != 0 && head.digest.len != 32)))
        abort();
    if (whole != NULL && (rc != HANSE_OK || head_len + head.payload.len != in.len || head.index != whole->chunk.index))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    hanse_buf once = HANSE_BUF_EMPTY, twice = HANSE_BUF_EMPTY;
    hanse_message message, again;
    hanse_way from;
    hanse_err err;
    bool good;

    if (len == 0)
        return 0;
    from = (data[0] & 1) != 0 ? HANSE_FROM_NODE : HANSE_FROM_COORDINATOR;
    good = hanse_message_decode(&message, (hanse_bytes){data + 1, len - 1}, from, &err) == HANSE_OK;
    check_head((hanse_bytes){data + 1, len - 1}, good && message.kind == HANSE_CHUNK ? &message : NULL);
    if (!good) {
        if (err.text[0] == '\0' || err.rc != HANSE_E_PROTOCOL)
            abort();
        return 0;
    }
    encode(&once, &message);
    if (once.len > len - 1 || hanse_message_decode(&again, hanse_buf_bytes(&once), from, &err) != HANSE_OK)
        abort();
    encode(&twice, &again);
    if (!hanse_bytes_equal(hanse_buf_bytes(&once), hanse_buf_bytes(&twice)))
        abort();
    hanse_buf_clear(&once);
    hanse_buf_clear(&twice);
    return 0;
}
