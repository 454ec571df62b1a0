/* Signed objects: the bytes of docs/wire.md (packed by tests/vectors/wire_objects.py), and everything that must be refused. */
#include "hanse/object.h"
#include "hanse/reader.h"
#include "tests/vectors/wire_objects.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* The six codecs under one signature. */
#define TYPE(name, clear_call)                                                                                           \
    static hanse_rc name##_put(hanse_buf *out, const void *object, hanse_err *err)                                        \
    {                                                                                                                    \
        return hanse_##name##_encode(out, object, err);                                                                  \
    }                                                                                                                    \
    static hanse_rc name##_get(void *out, hanse_bytes in, hanse_err *err)                                                 \
    {                                                                                                                    \
        return hanse_##name##_decode(out, in, err);                                                                      \
    }                                                                                                                    \
    static void name##_drop(void *object)                                                                                \
    {                                                                                                                    \
        hanse_##name *o = object;                                                                                        \
        (void)o;                                                                                                         \
        clear_call;                                                                                                      \
    }
TYPE(offer, (void)0)
TYPE(roster, hanse_roster_clear(o))
TYPE(spec, (void)0)
TYPE(upload, (void)0)
TYPE(receipt, (void)0)
TYPE(result, hanse_result_clear(o))

typedef union object {
    hanse_offer offer;
    hanse_roster roster;
    hanse_spec spec;
    hanse_upload upload;
    hanse_receipt receipt;
    hanse_result result;
} object;

enum { OFFER, ROSTER, SPEC, UPLOAD, RECEIPT, RESULT, TYPES };

static const struct type {
    const char *name, *golden;
    hanse_rc (*put)(hanse_buf *, const void *, hanse_err *);
    hanse_rc (*get)(void *, hanse_bytes, hanse_err *);
    void (*drop)(void *);
} types[TYPES] = {
    {"offer", offer_golden, offer_put, offer_get, offer_drop},
    {"roster", roster_golden, roster_put, roster_get, roster_drop},
    {"spec", spec_golden, spec_put, spec_get, spec_drop},
    {"upload", upload_golden, upload_put, upload_get, upload_drop},
    {"receipt", receipt_golden, receipt_put, receipt_get, receipt_drop},
    {"result", result_golden, result_put, result_get, result_drop},
};

static object samples[TYPES];
static hanse_roster_site sites[2];
static uint8_t cert[300], participants[2][32], metrics[16];

static void fill(uint8_t *out, unsigned tag, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(tag + i);
}

/* The objects of wire_objects.py, fresh for each test. */
static int make_samples(void **state)
{
    hanse_offer *offer = &samples[OFFER].offer;
    hanse_spec *spec = &samples[SPEC].spec;
    hanse_upload *upload = &samples[UPLOAD].upload;
    hanse_receipt *receipt = &samples[RECEIPT].receipt;
    hanse_result *result = &samples[RESULT].result;
    (void)state;

    *offer = (hanse_offer){.opened_ms = 0x0102030405060708};
    fill(offer->run, 1, 16);
    fill(offer->plan_hash, 2, 32);
    fill(offer->roster_hash, 3, 32);
    fill(offer->model_root, 4, 32);
    fill(offer->seal_key, 5, 32);
    fill(cert, 0x30, sizeof cert);
    sites[0] = (hanse_roster_site){.uri = "urn:hanse:North:a", .organisation = "North", .name = "a", .cert = {cert, 300}};
    sites[1] = (hanse_roster_site){.uri = "urn:hanse:South:b", .organisation = "South", .name = "b", .cert = {cert + 16, 5}};
    fill(sites[0].id, 0x10, 32);
    fill(sites[1].id, 0x20, 32);
    samples[ROSTER].roster = (hanse_roster){.consortium = "Hearts", .sites = sites, .sites_count = 2};
    *spec = (hanse_spec){.round = 7, .attempt = 2, .slot = 9, .kind = HANSE_ROUND_TRAINING, .model_size = 220456,
                         .deadline_ms = 1764000000000, .chunk = HANSE_CHUNK_LEN};
    fill(spec->run, 1, 16);
    fill(spec->model_root, 4, 32);
    fill(spec->plan_hash, 2, 32);
    fill(spec->roster_hash, 3, 32);
    fill(spec->statistics_root, 6, 32);
    fill(spec->previous, 7, 32);
    *upload = (hanse_upload){.round = 7, .attempt = 2, .slot = 9, .aux_len = 808, .data_len = 219944};
    fill(upload->run, 1, 16);
    fill(upload->site_id, 0x10, 32);
    fill(upload->key_id, 8, 32);
    fill(upload->plan_hash, 2, 32);
    fill(upload->model_root, 4, 32);
    fill(upload->spec_hash, 9, 32);
    fill(upload->enc, 0x50, 32);
    *receipt = (hanse_receipt){.time_ms = 1764000000001};
    fill(receipt->spec_hash, 9, 32);
    fill(receipt->site_id, 0x10, 32);
    fill(receipt->upload_hash, 0x60, 32);
    hanse_store_u64le(metrics, 1);
    hanse_store_u64le(metrics + 8, 1ull << 40);
    fill(participants[0], 0x10, 32);
    fill(participants[1], 0x20, 32);
    *result = (hanse_result){.round = 7, .attempt = 2, .slot = 9, .kind = HANSE_ROUND_TRAINING, .status = HANSE_ROUND_PUBLISHED,
                             .reason = "gut \u2265 2", .model_size = 220456, .metrics = {metrics, 16}, .masking = {(const uint8_t *)"masking", 7}, .participants = participants,
                             .participants_count = 2, .state = HANSE_RUN_DONE, .best_round = 6};
    fill(result->run, 1, 16);
    fill(result->model_root, 0x70, 32);
    fill(result->statistics_root, 6, 32);
    fill(result->metrics_of, 4, 32);
    fill(result->best_root, 0x71, 32);
    return 0;
}

/* Bytes of their own allocation, so that a read past the end is caught. Release with free(). */
static uint8_t *copy_of(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);

    assert_non_null(copy);
    if (len > 0)
        memcpy(copy, data, len);
    return copy;
}

static size_t golden_of(const struct type *type, uint8_t out[1024])
{
    size_t len = strlen(type->golden) / 2;

    assert_true(len <= 1024);
    assert_int_equal(hanse_hex_decode(out, len, type->golden, NULL), HANSE_OK);
    return len;
}

static void assert_untouched(const object *out)
{
    for (size_t i = 0; i < sizeof *out; i++)
        assert_int_equal(((const uint8_t *)out)[i], 0xa5);
}

/* Decoding fails so, says where, and leaves the output alone. */
static void refuses(const struct type *type, const uint8_t *data, size_t len, const char *what)
{
    uint8_t *exact = copy_of(data, len);
    hanse_err err = {0};
    object out;

    memset(&out, 0xa5, sizeof out);
    if (type->get(&out, (hanse_bytes){exact, len}, &err) != HANSE_E_PROTOCOL)
        fail_msg("%s of %zu bytes, %s: %s", type->name, len, what, hanse_rc_name(err.rc));
    assert_non_null(strstr(err.text, type->name));
    assert_untouched(&out);
    free(exact);
}

static void test_golden(void **state)
{
    (void)state;
    for (size_t i = 0; i < TYPES; i++) {
        uint8_t golden[1024], *exact;
        size_t len = golden_of(&types[i], golden);
        hanse_buf buf = HANSE_BUF_EMPTY;
        hanse_err err = {0};
        object out;

        print_message("%s\n", types[i].name);
        assert_int_equal(hanse_buf_append(&buf, "before", 6, NULL), HANSE_OK); /* encode appends */
        assert_int_equal(types[i].put(&buf, &samples[i], &err), HANSE_OK);
        assert_int_equal(buf.len, len + 6);
        assert_memory_equal(buf.data + 6, golden, len);
        exact = copy_of(golden, len);
        if (types[i].get(&out, (hanse_bytes){exact, len}, &err) != HANSE_OK)
            fail_msg("%s", err.text);
        buf.len = 0;
        assert_int_equal(types[i].put(&buf, &out, &err), HANSE_OK);
        assert_int_equal(buf.len, len);
        assert_memory_equal(buf.data, golden, len);
        types[i].drop(&out);
        free(exact);
        hanse_buf_clear(&buf);
    }
}

static void test_cut_and_trailing(void **state)
{
    uint8_t golden[1025];
    (void)state;

    for (size_t i = 0; i < TYPES; i++) {
        size_t len = golden_of(&types[i], golden);

        for (size_t cut = 0; cut < len; cut++)
            refuses(&types[i], golden, cut, "cut");
        golden[len] = 0;
        refuses(&types[i], golden, len + 1, "a byte behind it");
    }
}

static void test_no_memory(void **state)
{
    uint8_t golden[1024];
    (void)state;

    for (size_t i = 0; i < TYPES; i++) {
        size_t len = golden_of(&types[i], golden);
        hanse_rc rc = HANSE_E_NOMEM;
        object out;

        for (long k = 0; rc != HANSE_OK; k++) {
            hanse_buf buf = HANSE_BUF_EMPTY;

            assert_true(k < 20);
            hanse_alloc_fail_at(k);
            rc = types[i].put(&buf, &samples[i], NULL);
            hanse_alloc_fail_at(-1);
            assert_true(rc == HANSE_OK || (rc == HANSE_E_NOMEM && buf.len == 0));
            hanse_buf_clear(&buf);
        }
        rc = HANSE_E_NOMEM;
        for (long k = 0; rc != HANSE_OK; k++) {
            assert_true(k < 20);
            memset(&out, 0xa5, sizeof out);
            hanse_alloc_fail_at(k);
            rc = types[i].get(&out, (hanse_bytes){golden, len}, NULL);
            hanse_alloc_fail_at(-1);
            assert_true(rc == HANSE_OK || rc == HANSE_E_NOMEM);
            if (rc != HANSE_OK)
                assert_untouched(&out);
        }
        types[i].drop(&out);
    }
}

/* --- rosters --- */

/* What encode would write, but without its checks: so that decode has to see for itself. */
static void put_roster(hanse_buf *out, const hanse_roster *roster)
{
    hanse_writer writer = hanse_writer_to(out);

    hanse_write_str(&writer, roster->consortium);
    hanse_write_u32(&writer, (uint32_t)roster->sites_count);
    for (size_t i = 0; i < roster->sites_count; i++) {
        hanse_write_raw(&writer, roster->sites[i].id, 32);
        hanse_write_str(&writer, roster->sites[i].uri);
        hanse_write_str(&writer, roster->sites[i].organisation);
        hanse_write_str(&writer, roster->sites[i].name);
        hanse_write_bytes(&writer, roster->sites[i].cert);
    }
    assert_int_equal(hanse_writer_done(&writer, NULL), HANSE_OK);
}

static void same_id(hanse_roster *r) { memcpy(r->sites[1].id, r->sites[0].id, 32); }
static void falling(hanse_roster *r) { r->sites[1].id[0] = 0x0f; }
static void same_uri(hanse_roster *r) { snprintf(r->sites[1].uri, sizeof r->sites[1].uri, "%s", r->sites[0].uri); }
static void other_uri(hanse_roster *r) { snprintf(r->sites[1].uri, sizeof r->sites[1].uri, "urn:other:South:b"); }
static void no_uri(hanse_roster *r) { r->sites[0].uri[0] = '\0'; }
static void umlaut_uri(hanse_roster *r) { snprintf(r->sites[0].uri, sizeof r->sites[0].uri, "urn:hanse:N\u00f6rd:a"); }
static void same_names(hanse_roster *r)
{
    r->sites[1].organisation[0] = 'N';
    memcpy(r->sites[1].organisation, "North", 6);
    r->sites[1].name[0] = 'a';
}
static void no_organisation(hanse_roster *r) { r->sites[0].organisation[0] = '\0'; }
static void no_name(hanse_roster *r) { r->sites[1].name[0] = '\0'; }
static void look_alike(hanse_roster *r) { memcpy(r->sites[1].name, "\u0430", 3); } /* Cyrillic a */
static void escape(hanse_roster *r) { memcpy(r->sites[1].name, "\033[2J", 5); }
static void delete(hanse_roster *r) { r->sites[0].organisation[1] = 0x7f; }
static void no_consortium(hanse_roster *r) { r->consortium[0] = '\0'; }
static void no_cert(hanse_roster *r) { r->sites[1].cert.len = 0; }
static void no_sites(hanse_roster *r) { r->sites_count = 0; }
static void long_cert(hanse_roster *r)
{
    static uint8_t body[HANSE_CERT_DER_MAX + 1];
    r->sites[1].cert = (hanse_bytes){body, sizeof body};
}

static void test_roster_rules(void **state)
{
    static const struct {
        const char *name;
        void (*spoil)(hanse_roster *);
    } rows[] = {
        {"two of one id", same_id}, {"falling ids", falling}, {"two of one uri", same_uri}, {"a uri of others", other_uri},
        {"no uri", no_uri}, {"uri not ASCII", umlaut_uri}, {"two of one name", same_names}, {"no organisation", no_organisation},
        {"no name", no_name}, {"a look-alike", look_alike}, {"a terminal escape", escape}, {"DEL", delete},
        {"no consortium", no_consortium}, {"no certificate", no_cert}, {"a certificate too long", long_cert}, {"no sites", no_sites},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hanse_roster *roster = &samples[ROSTER].roster;
        hanse_buf buf = HANSE_BUF_EMPTY;

        make_samples(state);
        rows[i].spoil(roster);
        if (hanse_roster_encode(&buf, roster, NULL) != HANSE_E_USAGE)
            fail_msg("%s: encoded", rows[i].name);
        assert_int_equal(buf.len, 0);
        put_roster(&buf, roster);
        refuses(&types[ROSTER], buf.data, buf.len, rows[i].name);
        hanse_buf_clear(&buf);
    }
    /* One name at two organisations, one organisation with two sites: both are fine. */
    make_samples(state);
    samples[ROSTER].roster.sites[1].name[0] = 'a';
    hanse_buf buf = HANSE_BUF_EMPTY;
    assert_int_equal(hanse_roster_encode(&buf, &samples[ROSTER].roster, NULL), HANSE_OK);
    hanse_buf_clear(&buf);
}

/* The largest roster, out of order at first; and the announced count, which must not decide about memory. */
static void test_roster_size(void **state)
{
    static const uint8_t lie[] = {0, 0, 0, 1, 'H', 0, 0, 4, 0, 1, 2, 3};
    hanse_roster roster = {.consortium = "Hearts", .sites = hanse_calloc(HANSE_SITES_MAX + 1, sizeof(hanse_roster_site))}, back;
    hanse_buf buf = HANSE_BUF_EMPTY;
    static uint8_t body[HANSE_CERT_DER_MAX];
    uint8_t id[32] = {0};
    (void)state;

    assert_non_null(roster.sites);
    for (size_t i = 0; i <= HANSE_SITES_MAX; i++) {
        hanse_roster_site *site = &roster.sites[i];

        site->id[30] = (uint8_t)(i * 37 % 1025 >> 8);
        site->id[31] = (uint8_t)(i * 37 % 1025);
        snprintf(site->uri, sizeof site->uri, "urn:hanse:Org:%zu", i);
        snprintf(site->organisation, sizeof site->organisation, "Org");
        snprintf(site->name, sizeof site->name, "%zu", i);
        site->cert = (hanse_bytes){body, 600};
    }
    roster.sites_count = HANSE_SITES_MAX + 1;
    assert_int_equal(hanse_roster_encode(&buf, &roster, NULL), HANSE_E_USAGE);
    roster.sites_count = HANSE_SITES_MAX;
    assert_int_equal(hanse_roster_encode(&buf, &roster, NULL), HANSE_E_USAGE);
    hanse_roster_sort(&roster);
    assert_int_equal(hanse_roster_encode(&buf, &roster, NULL), HANSE_OK);
    assert_int_equal(hanse_roster_decode(&back, hanse_buf_bytes(&buf), NULL), HANSE_OK);
    for (size_t i = 0; i < HANSE_SITES_MAX; i++)
        assert_ptr_equal(hanse_roster_find(&back, roster.sites[i].id), &back.sites[i]);
    id[0] = 1;
    assert_null(hanse_roster_find(&back, id));
    hanse_roster_clear(&back);
    assert_null(hanse_roster_find(&back, id));
    hanse_roster_clear(NULL);
    hanse_buf_clear(&buf);
    for (size_t i = 0; i < HANSE_SITES_MAX; i++) /* each within bounds, but more than a message may carry */
        roster.sites[i].cert.len = HANSE_CERT_DER_MAX;
    assert_int_equal(hanse_roster_encode(&buf, &roster, NULL), HANSE_E_USAGE);
    assert_int_equal(buf.len, 0);
    hanse_buf_clear(&buf);
    hanse_free(roster.sites);
    refuses(&types[ROSTER], lie, sizeof lie, "1024 sites in 3 bytes");
}

/* --- the bounds of the others --- */

/* A field of a golden object spoiled in its bytes. */
static void test_bounds(void **state)
{
    static const struct {
        int type;
        const char *name;
        size_t at, width;
        uint64_t value;
    } rows[] = {
        {SPEC, "kind", 36, 1, 3},
        {SPEC, "model_size 0", 69, 8, 0},
        {SPEC, "model_size", 69, 8, HANSE_MODEL_SIZE_MAX + 1},
        {SPEC, "chunk", 213, 4, HANSE_CHUNK_LEN - 1},
        {UPLOAD, "aux_len 0", 196, 8, 0},
        {UPLOAD, "aux_len odd", 196, 8, 12},
        {UPLOAD, "aux_len", 196, 8, HANSE_CHUNK_LEN + 8},
        {UPLOAD, "data_len odd", 204, 8, 6},
        {UPLOAD, "data_len", 204, 8, HANSE_MODEL_SIZE_MAX + 4},
        {RESULT, "kind", 36, 1, 3},
        {RESULT, "status", 37, 1, 2},
        {RESULT, "reason too long", 38, 4, HANSE_REASON_MAX + 1},
        {RESULT, "reason with a control character", 42, 1, 7},
        {RESULT, "reason not UTF-8", 42, 1, 0xff},
        {RESULT, "model_size", 83, 8, HANSE_MODEL_SIZE_MAX + 1},
        {RESULT, "metrics of 12 bytes", 155, 4, 12},
        {RESULT, "metrics past the end", 155, 4, HANSE_METRICS_MAX},
        {RESULT, "metrics too long", 155, 4, HANSE_METRICS_MAX + 8},
        {RESULT, "masking past the end", 175, 4, HANSE_MASKING_MAX},
        {RESULT, "masking too long", 175, 4, HANSE_MASKING_MAX + 1},
        {RESULT, "1024 participants", 186, 4, HANSE_SITES_MAX},
        {RESULT, "4 G participants", 186, 4, UINT32_MAX},
        {RESULT, "participants out of order", 190, 1, 0x21},
        {RESULT, "state", 254, 1, 3},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t golden[1024];
        size_t len = golden_of(&types[rows[i].type], golden);

        assert_true(rows[i].at + rows[i].width <= len);
        for (size_t k = 0; k < rows[i].width; k++)
            golden[rows[i].at + k] = (uint8_t)(rows[i].value >> 8 * (rows[i].width - 1 - k));
        refuses(&types[rows[i].type], golden, len, rows[i].name);
    }
}

#define SPOILED(type, field, value)                                                                                      \
    do {                                                                                                                 \
        make_samples(state);                                                                                             \
        field = value;                                                                                                   \
        assert_int_equal(types[type].put(&buf, &samples[type], NULL), HANSE_E_USAGE);                                     \
        assert_int_equal(buf.len, 0);                                                                                    \
    } while (0)

static void test_encode_refuses(void **state)
{
    hanse_buf buf = HANSE_BUF_EMPTY;

    SPOILED(SPEC, samples[SPEC].spec.kind, 3);
    SPOILED(SPEC, samples[SPEC].spec.chunk, 0);
    SPOILED(SPEC, samples[SPEC].spec.model_size, 0);
    SPOILED(UPLOAD, samples[UPLOAD].upload.aux_len, 4);
    SPOILED(UPLOAD, samples[UPLOAD].upload.data_len, 2);
    SPOILED(RESULT, samples[RESULT].result.status, 2);
    SPOILED(RESULT, samples[RESULT].result.reason[0], '\n');
    SPOILED(RESULT, samples[RESULT].result.metrics.len, 15);
    SPOILED(RESULT, samples[RESULT].result.masking.len, HANSE_MASKING_MAX + 1);
    SPOILED(RESULT, samples[RESULT].result.participants_count, HANSE_SITES_MAX + 1);
    SPOILED(RESULT, participants[0][0], 0x21);
    hanse_buf_clear(&buf);
}

/* A result that is as long as one can be fits its message; one of a void round has next to nothing. */
static void test_result_sizes(void **state)
{
    static uint8_t ids[HANSE_SITES_MAX][32], words[HANSE_METRICS_MAX];
    hanse_result *result = &samples[RESULT].result, back;
    hanse_buf buf = HANSE_BUF_EMPTY;
    (void)state;

    for (size_t i = 0; i < HANSE_SITES_MAX; i++) {
        ids[i][0] = (uint8_t)(i >> 8);
        ids[i][1] = (uint8_t)i;
    }
    memset(result->reason, 'x', HANSE_REASON_MAX);
    result->metrics = (hanse_bytes){words, sizeof words - 4096};
    result->masking = (hanse_bytes){words, HANSE_MASKING_MAX - 2048};
    result->participants = ids;
    result->participants_count = HANSE_SITES_MAX;
    assert_int_equal(hanse_result_encode(&buf, result, NULL), HANSE_OK);
    assert_true(buf.len <= HANSE_RESULT_MAX);
    assert_int_equal(hanse_result_decode(&back, hanse_buf_bytes(&buf), NULL), HANSE_OK);
    assert_int_equal(back.participants_count, HANSE_SITES_MAX);
    assert_memory_equal(back.participants, ids, sizeof ids);
    hanse_result_clear(&back);
    buf.len = 0;
    *result = (hanse_result){.status = HANSE_ROUND_VOID, .reason = "too few sites"};
    assert_int_equal(hanse_result_encode(&buf, result, NULL), HANSE_OK);
    assert_int_equal(hanse_result_decode(&back, hanse_buf_bytes(&buf), NULL), HANSE_OK);
    assert_string_equal(back.reason, "too few sites");
    assert_null(back.participants);
    hanse_result_clear(&back);
    hanse_result_clear(NULL);
    hanse_buf_clear(&buf);
}

static void test_upload_chunks(void **state)
{
    static const struct {
        uint64_t data_len, chunks;
        size_t last;
    } rows[] = {
        {0, 1, 808},
        {4, 2, 4},
        {HANSE_CHUNK_LEN, 2, HANSE_CHUNK_LEN},
        {HANSE_CHUNK_LEN + 4, 3, 4},
        {HANSE_MODEL_SIZE_MAX, 1 + (1ull << 20), HANSE_CHUNK_LEN},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hanse_upload upload = {.aux_len = 808, .data_len = rows[i].data_len};

        assert_true(hanse_upload_chunks(&upload) == rows[i].chunks);
        assert_int_equal(hanse_upload_chunk_len(&upload, 0), 808);
        assert_int_equal(hanse_upload_chunk_len(&upload, rows[i].chunks - 1), rows[i].last);
        assert_int_equal(hanse_upload_chunk_len(&upload, rows[i].chunks), 0);
        assert_int_equal(hanse_upload_chunk_len(&upload, UINT64_MAX), 0);
    }
}

static void test_hash(void **state)
{
    static const uint8_t abc[32] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
                                    0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    uint8_t hash[32];
    (void)state;

    assert_int_equal(hanse_object_hash(hash, hanse_bytes_str("abc"), NULL), HANSE_OK); /* FIPS 180-4 */
    assert_memory_equal(hash, abc, 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_golden, make_samples),       cmocka_unit_test(test_cut_and_trailing),
        cmocka_unit_test_setup(test_no_memory, make_samples),    cmocka_unit_test(test_roster_rules),
        cmocka_unit_test(test_roster_size),                      cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_encode_refuses),                   cmocka_unit_test_setup(test_result_sizes, make_samples),
        cmocka_unit_test(test_upload_chunks),                    cmocka_unit_test(test_hash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
