/* The spec, the shape of the upload it describes, and the hashes that bind lists. */
#include "hanse/secagg_object.h"

#include "hanse/digest.h"
#include "hanse/reader.h"

#define SEGMENT_LEN (32 + 8 + 4 + 8 + 8 + 1)
#define COUNT_MAX ((uint64_t)1 << 36)

/* What is wrong with a segment for n sites, or NULL. Wide sums: Q and B are below 2^63, n below 2^11. */
static const char *segment_problem(const hanse_secagg_segment *segment, uint32_t n, uint64_t weight_total)
{
    unsigned __int128 top;

    if (segment->count == 0 || segment->count > COUNT_MAX)
        return "impossible count of words";
    if (segment->bits < 8 || segment->bits > 64)
        return "words have 8 to 64 bits";
    if (segment->bound == 0 || segment->bound >= (uint64_t)1 << 63)
        return "impossible bound";
    if (segment->scaled > 1 || (segment->scaled == 0) != (segment->clip == 0))
        return "a scaled segment has a clip, another has none";
    if (segment->scaled != 0) {
        if (segment->clip >= 0x7ff0000000000000u) /* negative, infinite or no number */
            return "clip is not positive and finite";
        if (weight_total == 0)
            return "scaled by a total weight of 0";
        top = 2 * ((unsigned __int128)segment->bound + n) + 1;
    } else
        top = 2 * ((unsigned __int128)segment->bound * n) + 1;
    if (top > (unsigned __int128)1 << segment->bits || n + 1 > (uint64_t)1 << (segment->bits - 1))
        return "the sum could leave its ring";
    return NULL;
}

static hanse_rc check_segments(const hanse_secagg_spec *spec, hanse_err *err)
{
    for (uint32_t i = 0; i < spec->segments_count; i++) {
        const char *problem = segment_problem(&spec->segments[i], spec->params.n, spec->weight_total);

        if (problem != NULL)
            return HANSE_SECAGG_FAIL(err, RANGE, "segment %u: %s", i, problem);
    }
    return HANSE_OK;
}

hanse_rc hanse_secagg_spec_encode(hanse_buf *out, const hanse_secagg_spec *spec, hanse_err *err)
{
    size_t before = out->len;
    hanse_writer writer = hanse_writer_to(out);
    const uint32_t params[5] = {spec->params.n, spec->params.c, spec->params.d_max, spec->params.m, spec->params.t};
    hanse_rc rc = check_segments(spec, err);

    if (rc != HANSE_OK)
        return rc;
    if (spec->segments_count == 0 || spec->segments_count > HANSE_SECAGG_SEGMENTS_MAX || spec->chunk_words == 0
        || spec->chunk_words % 64 != 0 || spec->params.n > HANSE_SECAGG_SITES_MAX)
        return HANSE_FAIL(err, HANSE_E_USAGE, "spec with %u segments in chunks of %u words", spec->segments_count, spec->chunk_words);
    hanse_write_raw(&writer, spec->run, 16);
    hanse_write_u64(&writer, spec->slot);
    hanse_write_u8(&writer, spec->kind);
    hanse_write_raw(&writer, spec->spec_hash, 32);
    hanse_write_raw(&writer, spec->model_root, 32);
    hanse_write_raw(&writer, spec->plan_hash, 32);
    hanse_write_raw(&writer, spec->roster_hash, 32);
    hanse_write_raw(&writer, spec->ticket_root, 32);
    hanse_write_u8(&writer, spec->params.profile);
    for (size_t i = 0; i < 5; i++)
        hanse_write_u32(&writer, params[i]);
    hanse_write_u8(&writer, spec->params.degree > 0);
    if (spec->params.degree > 0) {
        hanse_write_u32(&writer, spec->params.degree);
        hanse_write_u32(&writer, spec->params.degree_t);
    }
    hanse_write_raw(&writer, spec->seal_key, 32);
    hanse_write_u64(&writer, spec->weight_total);
    hanse_write_u64(&writer, spec->upload_deadline_ms);
    hanse_write_u64(&writer, spec->unmask_deadline_ms);
    hanse_write_u32(&writer, spec->chunk_words);
    hanse_write_u32(&writer, spec->segments_count);
    for (uint32_t i = 0; i < spec->segments_count; i++) {
        const hanse_secagg_segment *segment = &spec->segments[i];

        hanse_write_raw(&writer, segment->name_hash, 32);
        hanse_write_u64(&writer, segment->count);
        hanse_write_u32(&writer, segment->bits);
        hanse_write_u64(&writer, segment->bound);
        hanse_write_u64(&writer, segment->clip);
        hanse_write_u8(&writer, segment->scaled);
    }
    rc = hanse_writer_done(&writer, err);
    if (rc != HANSE_OK)
        out->len = before;
    return rc;
}

static void read_head(hanse_reader *reader, hanse_secagg_spec *spec)
{
    uint8_t graph;

    hanse_read_raw(reader, spec->run, 16);
    spec->slot = hanse_read_u64(reader);
    spec->kind = hanse_read_u8(reader);
    hanse_read_raw(reader, spec->spec_hash, 32);
    hanse_read_raw(reader, spec->model_root, 32);
    hanse_read_raw(reader, spec->plan_hash, 32);
    hanse_read_raw(reader, spec->roster_hash, 32);
    hanse_read_raw(reader, spec->ticket_root, 32);
    spec->params.profile = hanse_read_u8(reader);
    spec->params.n = hanse_read_u32(reader);
    spec->params.c = hanse_read_u32(reader);
    spec->params.d_max = hanse_read_u32(reader);
    spec->params.m = hanse_read_u32(reader);
    spec->params.t = hanse_read_u32(reader);
    graph = hanse_read_u8(reader);
    if (graph == 1) {
        spec->params.degree = hanse_read_u32(reader);
        spec->params.degree_t = hanse_read_u32(reader);
    }
    hanse_read_raw(reader, spec->seal_key, 32);
    spec->weight_total = hanse_read_u64(reader);
    spec->upload_deadline_ms = hanse_read_u64(reader);
    spec->unmask_deadline_ms = hanse_read_u64(reader);
    spec->chunk_words = hanse_read_u32(reader);
    if (spec->kind > 2 || graph != (spec->params.degree > 0) || spec->params.n == 0 || spec->params.n > HANSE_SECAGG_SITES_MAX)
        hanse_reader_fail(reader, "unknown kind, graph or number of sites");
    if (spec->chunk_words == 0 || spec->chunk_words % 64 != 0 || spec->chunk_words > (uint32_t)1 << 20)
        hanse_reader_fail(reader, "impossible chunk");
    if (spec->unmask_deadline_ms < spec->upload_deadline_ms)
        hanse_reader_fail(reader, "unmask deadline before that of the upload");
}

hanse_rc hanse_secagg_spec_decode(hanse_secagg_spec *out, hanse_bytes in, hanse_err *err)
{
    hanse_reader reader = hanse_reader_of(in);
    hanse_secagg_spec spec = {.slot = 0};
    hanse_err why;
    hanse_rc rc = HANSE_OK;

    read_head(&reader, &spec);
    spec.segments_count = hanse_read_u32(&reader);
    if (spec.segments_count == 0 || spec.segments_count > HANSE_SECAGG_SEGMENTS_MAX
        || spec.segments_count > reader.left.len / SEGMENT_LEN)
        hanse_reader_fail(&reader, "impossible number of segments");
    if (reader.problem == NULL) {
        spec.segments = hanse_calloc(spec.segments_count, sizeof *spec.segments);
        if (spec.segments == NULL)
            return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for %u segments", spec.segments_count);
    }
    for (uint32_t i = 0; reader.problem == NULL && i < spec.segments_count; i++) {
        hanse_secagg_segment *segment = &spec.segments[i];

        hanse_read_raw(&reader, segment->name_hash, 32);
        segment->count = hanse_read_u64(&reader);
        segment->bits = hanse_read_u32(&reader);
        segment->bound = hanse_read_u64(&reader);
        segment->clip = hanse_read_u64(&reader);
        segment->scaled = hanse_read_u8(&reader);
    }
    if (hanse_reader_done(&reader, "spec", &why) != HANSE_OK)
        rc = HANSE_SECAGG_FAIL(err, ENCODING, "%s", why.text);
    else
        rc = check_segments(&spec, err);
    if (rc == HANSE_OK)
        *out = spec;
    else
        hanse_secagg_spec_clear(&spec);
    return rc;
}

void hanse_secagg_spec_clear(hanse_secagg_spec *spec)
{
    if (spec == NULL)
        return;
    hanse_free(spec->segments);
    *spec = (hanse_secagg_spec){.slot = 0};
}

/* --- shape of the upload --- */

static uint64_t segment_words(const hanse_secagg_segment *segment)
{
    return segment->count + HANSE_SECAGG_SANITY_WORDS;
}

static size_t packed_len(uint64_t words, uint32_t bits)
{
    return (size_t)((words * bits + 7) / 8);
}

uint64_t hanse_secagg_chunks(const hanse_secagg_spec *spec)
{
    uint64_t chunks = 0;

    for (uint32_t i = 0; i < spec->segments_count; i++)
        chunks += (segment_words(&spec->segments[i]) + spec->chunk_words - 1) / spec->chunk_words;
    return chunks;
}

uint64_t hanse_secagg_upload_len(const hanse_secagg_spec *spec)
{
    uint64_t len = 0;

    for (uint32_t i = 0; i < spec->segments_count; i++) /* whole chunks end on a byte: chunk_words is a multiple of 64 */
        len += packed_len(segment_words(&spec->segments[i]), spec->segments[i].bits);
    return len;
}

hanse_secagg_chunk hanse_secagg_chunk_at(const hanse_secagg_spec *spec, uint64_t index)
{
    hanse_secagg_chunk chunk = {.segment = 0};

    for (; chunk.segment < spec->segments_count; chunk.segment++) {
        const hanse_secagg_segment *segment = &spec->segments[chunk.segment];
        uint64_t words = segment_words(segment), chunks = (words + spec->chunk_words - 1) / spec->chunk_words;

        if (index < chunks) {
            chunk.word = index * spec->chunk_words;
            chunk.words = words - chunk.word < spec->chunk_words ? (uint32_t)(words - chunk.word) : spec->chunk_words;
            chunk.len = packed_len(chunk.words, segment->bits);
            break;
        }
        index -= chunks;
    }
    return chunk;
}

/* --- hashes --- */

hanse_rc hanse_secagg_hash(uint8_t out[32], const char *what, hanse_bytes bytes, hanse_err *err)
{
    hanse_sha256_stream stream = HANSE_SHA256_STREAM_EMPTY;
    hanse_rc rc = hanse_sha256_init(&stream, err);

    if (rc == HANSE_OK)
        rc = hanse_sha256_update(&stream, hanse_bytes_str("hanse1/"), err);
    if (rc == HANSE_OK)
        rc = hanse_sha256_update(&stream, (hanse_bytes){(const uint8_t *)what, strlen(what) + 1}, err);
    if (rc == HANSE_OK)
        rc = hanse_sha256_update(&stream, bytes, err);
    if (rc == HANSE_OK)
        rc = hanse_sha256_final(&stream, out, err);
    hanse_sha256_clear(&stream);
    return rc;
}

hanse_rc hanse_secagg_leaf(uint8_t leaf[32], hanse_bytes bytes, hanse_err *err)
{
    static const uint8_t zero = 0;
    hanse_sha256_stream stream = HANSE_SHA256_STREAM_EMPTY;
    hanse_rc rc = hanse_sha256_init(&stream, err);

    if (rc == HANSE_OK)
        rc = hanse_sha256_update(&stream, (hanse_bytes){&zero, 1}, err);
    if (rc == HANSE_OK)
        rc = hanse_sha256_update(&stream, bytes, err);
    if (rc == HANSE_OK)
        rc = hanse_sha256_final(&stream, leaf, err);
    hanse_sha256_clear(&stream);
    return rc;
}

/* Joining neighbours level by level, an odd last one goes up alone, gives the tree of RFC 6962. */
hanse_rc hanse_secagg_merkle(uint8_t root[32], uint8_t (*leaves)[32], size_t count, hanse_err *err)
{
    uint8_t node[65] = {1};
    hanse_rc rc = HANSE_OK;

    if (count == 0)
        return hanse_sha256(root, HANSE_BYTES_EMPTY, err);
    for (; rc == HANSE_OK && count > 1; count = (count + 1) / 2)
        for (size_t i = 0; rc == HANSE_OK && i < count; i += 2) {
            memcpy(node + 1, leaves[i], 32);
            if (i + 1 == count) {
                memmove(leaves[i / 2], leaves[i], 32);
                continue;
            }
            memcpy(node + 33, leaves[i + 1], 32);
            rc = hanse_sha256(leaves[i / 2], (hanse_bytes){node, sizeof node}, err);
        }
    if (rc == HANSE_OK)
        memcpy(root, leaves[0], 32);
    return rc;
}

static hanse_rc list_root(uint8_t root[32], const char *what, const hanse_signed *list, const uint8_t *in, size_t count,
                          hanse_err *err)
{
    hanse_buf hashes = HANSE_BUF_EMPTY;
    uint8_t hash[32];
    hanse_rc rc = HANSE_OK;

    for (size_t i = 0; rc == HANSE_OK && i < count; i++) {
        uint8_t present = in != NULL ? in[i] != 0 : list[i].bytes.len > 0;

        memset(hash, 0, sizeof hash);
        if (present)
            rc = hanse_secagg_hash(hash, what, list[i].bytes, err);
        if (rc == HANSE_OK)
            rc = hanse_buf_append(&hashes, &present, 1, err);
        if (rc == HANSE_OK)
            rc = hanse_buf_append(&hashes, hash, 32, err);
    }
    if (rc == HANSE_OK)
        rc = hanse_secagg_hash(root, "list", hanse_buf_bytes(&hashes), err);
    hanse_buf_clear(&hashes);
    return rc;
}

hanse_rc hanse_secagg_ticket_root(uint8_t root[32], const hanse_signed *tickets, size_t count, hanse_err *err)
{
    return list_root(root, "ticket", tickets, NULL, count, err);
}

hanse_rc hanse_secagg_uploads_root(uint8_t root[32], const hanse_signed *uploads, const uint8_t *in, size_t count,
                                   hanse_err *err)
{
    return list_root(root, "upload", uploads, in, count, err);
}
