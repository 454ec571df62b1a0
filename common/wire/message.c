#include "hanse/message.h"

#include "hanse/cursor.h"

#include <assert.h>
#include <inttypes.h>
#include <msgpack.h>

/* One row of a message's table: where the field lies in hanse_message and what may stand in it. */
typedef enum field_type {
    FIELD_U32,
    FIELD_U64,
    FIELD_BOOL,
    FIELD_RAW, /* bin of exactly `max` bytes, held in the struct */
    FIELD_BIN, /* bin of min..max bytes, borrowed */
    FIELD_STR, /* printable UTF-8 of min..max bytes, borrowed */
    FIELD_REASON, /* the same; encode cuts and cleans it, so that any error text can be sent */
} field_type;

typedef struct field {
    const char *name;
    field_type type;
    size_t offset, min, max;
} field;

#define KIB ((size_t)1024)
#define SIG_MIN 64 /* Ed25519 has 64 bytes, ECDSA P-256 in DER 68..72 nearly always */
#define SIG_MAX 72

/* A field by type: the name and the offset come from the member. */
#define U32(m) {.name = #m, .type = FIELD_U32, .offset = offsetof(hanse_message, m)}
#define U64(m) {.name = #m, .type = FIELD_U64, .offset = offsetof(hanse_message, m)}
#define BOOL(m) {.name = #m, .type = FIELD_BOOL, .offset = offsetof(hanse_message, m)}
#define RAW(m, len) {.name = #m, .type = FIELD_RAW, .offset = offsetof(hanse_message, m), .min = (len), .max = (len)}
#define BIN(m, lo, hi) {.name = #m, .type = FIELD_BIN, .offset = offsetof(hanse_message, m), .min = (lo), .max = (hi)}
#define STR(m, lo, hi) {.name = #m, .type = FIELD_STR, .offset = offsetof(hanse_message, m), .min = (lo), .max = (hi)}
#define REASON(m) {.name = #m, .type = FIELD_REASON, .offset = offsetof(hanse_message, m), .max = HANSE_REASON_MAX}
#define CODE(m) STR(m, 0, HANSE_CODE_MAX)
#define SIG(m) BIN(m, SIG_MIN, SIG_MAX)

#define FIELDS_MAX 5

typedef struct kind_row {
    const char *name;
    hanse_way way;
    field fields[FIELDS_MAX]; /* ends with the first that has no name */
} kind_row;

static const kind_row kinds[HANSE_KINDS_END] = {
    [HANSE_HELLO] = {"HELLO", HANSE_FROM_NODE, {U32(hello.protocol), STR(hello.software, 0, 64), U64(hello.time_ms)}},
    [HANSE_WELCOME] = {"WELCOME", HANSE_FROM_COORDINATOR,
                       {U32(welcome.protocol), STR(welcome.software, 0, 64), U64(welcome.time_ms),
                        STR(welcome.consortium, 1, 63), BIN(welcome.crl, 0, 64 * KIB)}},
    [HANSE_ENROL] = {"ENROL", HANSE_FROM_NODE,
                     {U32(enrol.protocol), RAW(enrol.token, 32), BIN(enrol.csr_tls, 1, 4 * KIB), BIN(enrol.csr_sign, 1, 4 * KIB)}},
    [HANSE_ENROLLED] = {"ENROLLED", HANSE_FROM_COORDINATOR,
                        {BIN(enrolled.cert_tls, 1, 8 * KIB), BIN(enrolled.cert_sign, 1, 8 * KIB),
                         BIN(enrolled.coordinator_sign, 1, 8 * KIB)}},
    [HANSE_OFFER] = {"OFFER", HANSE_FROM_COORDINATOR,
                     {BIN(offer.offer, 1, 64 * KIB), SIG(offer.sig), BIN(offer.plan, 1, 1024 * KIB),
                      BIN(offer.roster, 1, 1024 * KIB), SIG(offer.roster_sig)}},
    [HANSE_ANSWER] = {"ANSWER", HANSE_FROM_NODE,
                      {RAW(answer.run, 16), BOOL(answer.accepted), CODE(answer.code), REASON(answer.reason)}},
    [HANSE_SPEC] = {"SPEC", HANSE_FROM_COORDINATOR,
                    {BIN(spec.spec, 1, 64 * KIB), SIG(spec.sig), BIN(spec.statistics, 0, 1024 * KIB)}},
    [HANSE_FETCH] = {"FETCH", HANSE_FROM_NODE, {RAW(fetch.run, 16), RAW(fetch.model_root, 32), U64(fetch.offset)}},
    [HANSE_MODEL] = {"MODEL", HANSE_FROM_COORDINATOR, {U32(model.transfer), U64(model.size), U64(model.chunks)}},
    [HANSE_CHUNK] = {"CHUNK", HANSE_BOTH_WAYS,
                     {U32(chunk.transfer), U64(chunk.index), BIN(chunk.digest, 0, 32), BIN(chunk.payload, 1, HANSE_PAYLOAD_MAX)}},
    [HANSE_UPLOAD] = {"UPLOAD", HANSE_FROM_NODE, {BIN(upload.object, 1, 4 * KIB), SIG(upload.sig)}},
    [HANSE_RESUME] = {"RESUME", HANSE_FROM_COORDINATOR, {U32(resume.transfer), U64(resume.chunks)}},
    [HANSE_RECEIPT] = {"RECEIPT", HANSE_FROM_COORDINATOR, {BIN(receipt.object, 1, 1 * KIB), SIG(receipt.sig)}},
    [HANSE_REJECT] = {"REJECT", HANSE_FROM_COORDINATOR,
                      {RAW(reject.run, 16), U64(reject.round), U32(reject.attempt), CODE(reject.code), REASON(reject.reason)}},
    [HANSE_DECLINE] = {"DECLINE", HANSE_FROM_NODE,
                       {RAW(decline.run, 16), U64(decline.round), U32(decline.attempt), CODE(decline.code),
                        REASON(decline.reason)}},
    [HANSE_RESULT] = {"RESULT", HANSE_FROM_COORDINATOR, {BIN(result.object, 1, 264 * KIB), SIG(result.sig)}},
    [HANSE_ERROR] = {"ERROR", HANSE_BOTH_WAYS, {CODE(error.code), REASON(error.reason)}},
    [HANSE_BYE] = {"BYE", HANSE_BOTH_WAYS, {REASON(bye.reason)}},
    [HANSE_EPOCH] = {"EPOCH", HANSE_FROM_NODE, {BIN(epoch.object, 1, 1 * KIB), SIG(epoch.sig)}},
    [HANSE_PEERS] = {"PEERS", HANSE_FROM_COORDINATOR, {RAW(peers.run, 16), U64(peers.slot), BIN(peers.epochs, 4, 512 * KIB)}},
    [HANSE_TICKET] = {"TICKET", HANSE_FROM_NODE,
                      {BIN(ticket.ticket, 1, 1 * KIB), SIG(ticket.sig), BIN(ticket.shares, 1, 84 * KIB)}},
    [HANSE_MASKS] = {"MASKS", HANSE_FROM_COORDINATOR,
                     {BIN(masks.spec, 1, 512 * KIB), SIG(masks.sig), BIN(masks.tickets, 4, 512 * KIB), BIN(masks.shares, 1, 84 * KIB)}},
    [HANSE_MASKED_UPLOAD] = {"MASKED_UPLOAD", HANSE_FROM_NODE, {BIN(masked_upload.object, 1, 1 * KIB), SIG(masked_upload.sig)}},
    [HANSE_CUT] = {"CUT", HANSE_FROM_COORDINATOR,
                   {BIN(cut.cut, 1, 1 * KIB), SIG(cut.sig), BIN(cut.uploads, 4, 512 * KIB), BIN(cut.signatures, 4, 512 * KIB)}},
    [HANSE_CUTSIG] = {"CUTSIG", HANSE_FROM_NODE,
                      {RAW(cutsig.run, 16), U64(cutsig.slot), BIN(cutsig.object, 1, 1 * KIB), SIG(cutsig.sig)}},
    [HANSE_SHARES] = {"SHARES", HANSE_FROM_NODE, {RAW(shares.run, 16), U64(shares.slot), BIN(shares.sealed, 1, 64 * KIB)}},
    [HANSE_ASK_DEAD] = {"ASK_DEAD", HANSE_FROM_COORDINATOR, {RAW(ask_dead.run, 16), U64(ask_dead.slot)}},
    [HANSE_DEAD] = {"DEAD", HANSE_FROM_NODE, {BIN(dead.object, 1, 1 * KIB), SIG(dead.sig)}},
    [HANSE_ABORT] = {"ABORT", HANSE_FROM_COORDINATOR, {RAW(abort.run, 16), U64(abort.slot), BIN(abort.deads, 4, 512 * KIB)}},
    [HANSE_RENEW] = {"RENEW", HANSE_FROM_NODE, {BIN(renew.csr_tls, 1, 4 * KIB), BIN(renew.csr_sign, 1, 4 * KIB)}},
    [HANSE_RENEWED] = {"RENEWED", HANSE_FROM_COORDINATOR,
                       {BIN(renewed.cert_tls, 0, 8 * KIB), BIN(renewed.cert_sign, 0, 8 * KIB), BIN(renewed.coordinator_sign, 1, 8 * KIB),
                        REASON(renewed.reason)}},
};

static const kind_row *row_of(hanse_kind kind)
{
    return (unsigned)kind < HANSE_KINDS_END && kinds[kind].name != NULL ? &kinds[kind] : NULL;
}

static size_t fields_count(const kind_row *row)
{
    size_t count = 0;

    while (count < FIELDS_MAX && row->fields[count].name != NULL)
        count++;
    return count;
}

const char *hanse_kind_name(hanse_kind kind)
{
    const kind_row *row = row_of(kind);

    return row != NULL ? row->name : "?";
}

hanse_way hanse_kind_way(hanse_kind kind)
{
    const kind_row *row = row_of(kind);

    return row != NULL ? row->way : (hanse_way)0;
}

size_t hanse_kind_len_max(hanse_kind kind)
{
    const kind_row *row = row_of(kind);
    size_t sum = 2; /* array header and kind */

    if (row == NULL)
        return 0;
    for (size_t i = 0; i < fields_count(row); i++)
        sum += row->fields[i].type == FIELD_BOOL ? 1 : row->fields[i].type <= FIELD_U64 ? 9 : 5 + row->fields[i].max;
    return sum;
}

/* --- encode --- */

static int pack_write(void *data, const char *bytes, size_t len)
{
    return hanse_buf_append(data, bytes, len, NULL) == HANSE_OK ? 0 : -1;
}

/* A reason as it may travel: control characters and what is no UTF-8 as '?', cut at a character. */
static hanse_bytes clean_reason(uint8_t room[HANSE_REASON_MAX], hanse_bytes text)
{
    size_t at = 0, len = 0;

    while (at < text.len) {
        size_t step = 1;

        while (step < 4 && at + step < text.len && (text.data[at + step] & 0xc0) == 0x80)
            step++;
        if (len + step > HANSE_REASON_MAX)
            break;
        if (hanse_text_is_printable((hanse_bytes){text.data + at, step})) {
            memcpy(room + len, text.data + at, step);
            len += step;
        } else {
            room[len++] = '?';
        }
        at += step;
    }
    return (hanse_bytes){room, len};
}

static hanse_rc pack_field(msgpack_packer *packer, const field *f, const void *at, hanse_err *err)
{
    uint8_t room[HANSE_REASON_MAX];
    hanse_bytes bytes = HANSE_BYTES_EMPTY;
    bool is_text = f->type == FIELD_STR || f->type == FIELD_REASON;
    int rc = 0;

    switch (f->type) {
    case FIELD_U32: rc = msgpack_pack_uint32(packer, *(const uint32_t *)at); break;
    case FIELD_U64: rc = msgpack_pack_uint64(packer, *(const uint64_t *)at); break;
    case FIELD_BOOL: rc = *(const bool *)at ? msgpack_pack_true(packer) : msgpack_pack_false(packer); break;
    case FIELD_RAW: rc = msgpack_pack_bin_with_body(packer, at, f->max); break;
    case FIELD_REASON:
    case FIELD_BIN:
    case FIELD_STR:
        bytes = f->type == FIELD_REASON ? clean_reason(room, *(const hanse_bytes *)at) : *(const hanse_bytes *)at;
        if (bytes.len < f->min || bytes.len > f->max)
            return HANSE_FAIL(err, HANSE_E_USAGE, "message field %s has %zu bytes, must have %zu to %zu", f->name,
                              bytes.len, f->min, f->max);
        if (is_text && !hanse_text_is_printable(bytes))
            return HANSE_FAIL(err, HANSE_E_USAGE, "message field %s is not printable text", f->name);
        rc = is_text ? msgpack_pack_str(packer, bytes.len) : msgpack_pack_bin(packer, bytes.len);
        if (rc == 0 && bytes.len > 0)
            rc = pack_write(packer->data, (const char *)bytes.data, bytes.len);
        break;
    }
    return rc == 0 ? HANSE_OK : HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for message field %s", f->name);
}

/* Digests of chunks are 32 bytes or none: the one bound that min and max cannot say. */
static bool digest_is_good(const hanse_msg_chunk *chunk)
{
    return chunk->digest.len == 0 || chunk->digest.len == 32;
}

/* The first `count` fields; `out` is as before on error. */
static hanse_rc encode(hanse_buf *out, const hanse_message *message, const kind_row *row, size_t count, hanse_err *err)
{
    size_t before = out->len;
    hanse_rc rc = HANSE_OK;
    msgpack_packer packer;

    msgpack_packer_init(&packer, out, pack_write);
    if (msgpack_pack_array(&packer, fields_count(row) + 1) != 0 || msgpack_pack_uint8(&packer, (uint8_t)message->kind) != 0)
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for a message %s", row->name);
    for (size_t i = 0; rc == HANSE_OK && i < count; i++)
        rc = pack_field(&packer, &row->fields[i], (const char *)message + row->fields[i].offset, err);
    if (rc != HANSE_OK)
        out->len = before;
    return rc;
}

hanse_rc hanse_message_encode(hanse_buf *out, const hanse_message *message, hanse_err *err)
{
    const kind_row *row = row_of(message->kind);

    if (row == NULL)
        return HANSE_FAIL(err, HANSE_E_USAGE, "message kind %d does not exist", (int)message->kind);
    if (message->kind == HANSE_CHUNK && !digest_is_good(&message->chunk))
        return HANSE_FAIL(err, HANSE_E_USAGE, "CHUNK: a digest of %zu bytes", message->chunk.digest.len);
    return encode(out, message, row, fields_count(row), err);
}

hanse_rc hanse_chunk_head_encode(uint8_t head[HANSE_CHUNK_HEAD_MAX], size_t *head_len, const hanse_msg_chunk *chunk,
                                 hanse_err *err)
{
    const kind_row *row = &kinds[HANSE_CHUNK];
    hanse_message message = {.kind = HANSE_CHUNK, .chunk = *chunk};
    hanse_buf out = HANSE_BUF_EMPTY;
    msgpack_packer packer;
    hanse_rc rc;

    if (!digest_is_good(chunk) || chunk->payload.len == 0 || chunk->payload.len > HANSE_PAYLOAD_MAX)
        return HANSE_FAIL(err, HANSE_E_USAGE, "CHUNK: a digest of %zu and a payload of %zu bytes", chunk->digest.len,
                          chunk->payload.len);
    rc = encode(&out, &message, row, fields_count(row) - 1, err);
    if (rc != HANSE_OK)
        goto done;
    msgpack_packer_init(&packer, &out, pack_write);
    if (msgpack_pack_bin(&packer, chunk->payload.len) != 0) {
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for the head of a chunk");
        goto done;
    }
    assert(out.len <= HANSE_CHUNK_HEAD_MAX); /* 2 + 5 + 9 + 34 + 5 */
    memcpy(head, out.data, out.len);
    *head_len = out.len;
done:
    hanse_buf_clear(&out);
    return rc;
}

/* --- decode --- */

static hanse_rc read_field(hanse_cursor *cursor, const field *f, void *at, hanse_err *err)
{
    hanse_bytes bytes = HANSE_BYTES_EMPTY;
    bool is_text = f->type == FIELD_STR || f->type == FIELD_REASON;
    uint64_t number = 0;
    hanse_rc rc;

    switch (f->type) {
    case FIELD_U32:
        rc = hanse_cursor_uint(cursor, &number, UINT32_MAX, err);
        *(uint32_t *)at = (uint32_t)number;
        return rc;
    case FIELD_U64: return hanse_cursor_uint(cursor, at, UINT64_MAX, err);
    case FIELD_BOOL: return hanse_cursor_bool(cursor, at, err);
    case FIELD_RAW:
    case FIELD_BIN: rc = hanse_cursor_bin(cursor, &bytes, err); break;
    case FIELD_STR:
    case FIELD_REASON:
    default: rc = hanse_cursor_str(cursor, &bytes, err); break;
    }
    if (rc != HANSE_OK)
        return rc;
    if (bytes.len < f->min || bytes.len > f->max)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "%zu bytes, must be %zu to %zu", bytes.len, f->min, f->max);
    if (is_text && !hanse_text_is_printable(bytes))
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "not printable UTF-8");
    if (f->type == FIELD_RAW)
        memcpy(at, bytes.data, bytes.len);
    else
        *(hanse_bytes *)at = bytes;
    return HANSE_OK;
}

/* Array header, kind and the first `count` fields (SIZE_MAX: all). */
static hanse_rc decode(hanse_message *message, hanse_cursor *cursor, size_t count, hanse_err *err)
{
    const kind_row *row;
    uint64_t kind;
    size_t items;
    hanse_rc rc;

    rc = hanse_cursor_array(cursor, &items, err);
    if (rc == HANSE_OK)
        rc = hanse_cursor_uint(cursor, &kind, HANSE_KINDS_END - 1, err);
    if (rc != HANSE_OK) {
        hanse_err_wrap(err, "kind of a message");
        return rc;
    }
    row = row_of((hanse_kind)kind);
    if (row == NULL)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "message kind %" PRIu64 " does not exist", kind);
    if (items != fields_count(row) + 1)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "%s has %zu fields, must have %zu", row->name, items, fields_count(row) + 1);
    message->kind = (hanse_kind)kind;
    for (size_t i = 0; i < fields_count(row) && i < count; i++) {
        rc = read_field(cursor, &row->fields[i], (char *)message + row->fields[i].offset, err);
        if (rc != HANSE_OK) {
            hanse_err_wrap(err, "message field %s", row->fields[i].name);
            return rc;
        }
    }
    if (message->kind == HANSE_CHUNK && !digest_is_good(&message->chunk))
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "CHUNK: a digest of %zu bytes", message->chunk.digest.len);
    return HANSE_OK;
}

hanse_rc hanse_message_decode(hanse_message *out, hanse_bytes in, hanse_way from, hanse_err *err)
{
    hanse_cursor cursor = hanse_cursor_of(in);
    hanse_message message = {0};
    hanse_rc rc = decode(&message, &cursor, SIZE_MAX, err);

    if (rc == HANSE_OK)
        rc = hanse_cursor_end(&cursor, err);
    if (rc != HANSE_OK)
        return rc;
    if ((hanse_kind_way(message.kind) & from) == 0)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "%s goes the other way", hanse_kind_name(message.kind));
    *out = message;
    return HANSE_OK;
}

hanse_rc hanse_chunk_head_decode(hanse_msg_chunk *out, size_t *head_len, hanse_bytes in, hanse_err *err)
{
    hanse_cursor cursor = hanse_cursor_of(in);
    hanse_message message = {0};
    size_t payload_len = 0;
    hanse_rc rc = decode(&message, &cursor, fields_count(&kinds[HANSE_CHUNK]) - 1, err);

    if (rc == HANSE_OK && message.kind != HANSE_CHUNK)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "%s where CHUNK must be", hanse_kind_name(message.kind));
    if (rc == HANSE_OK)
        rc = hanse_cursor_bin_head(&cursor, &payload_len, err);
    /* The cursor cannot tell a cut from a lie; within the longest head a cut is what it must be taken for. */
    if (rc != HANSE_OK)
        return rc == HANSE_E_NOMEM || in.len >= HANSE_CHUNK_HEAD_MAX ? rc : HANSE_E_AGAIN;
    if (payload_len == 0 || payload_len > HANSE_PAYLOAD_MAX)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "CHUNK: a payload of %zu bytes, must be 1 to %zu", payload_len,
                          HANSE_PAYLOAD_MAX);
    *out = message.chunk;
    out->payload = (hanse_bytes){NULL, payload_len};
    *head_len = in.len - cursor.len;
    return HANSE_OK;
}

void hanse_text_copy(char *out, size_t cap, hanse_bytes text)
{
    size_t len = text.len < cap ? text.len : cap - 1;

    /* A character is not cut in half. */
    while (len < text.len && len > 0 && (text.data[len] & 0xc0) == 0x80)
        len--;
    if (len > 0)
        memcpy(out, text.data, len);
    out[len] = '\0';
}
