/* Objects of masked rounds, byte for byte as tests/vectors/secagg_reference.py packs them from docs/wire.md, and the hashes and roots over them. */
#include "crypto/secagg_core.h"
#include "tests/support/secagg_again.h"
#include "tests/vectors/secagg_objects.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#define OBJECT_MAX 1024
#define N 11

static void fill(uint8_t *out, unsigned tag, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(tag + i);
}

static size_t golden(uint8_t out[OBJECT_MAX], const char *hex)
{
    size_t len = strlen(hex) / 2;

    assert_true(len <= OBJECT_MAX);
    assert_int_equal(hanse_hex_decode(out, len, hex, NULL), HANSE_OK);
    return len;
}

static void assert_hash(const uint8_t hash[32], const char *hex)
{
    char got[65];

    hanse_hex_encode(got, hash, 32);
    assert_string_equal(got, hex);
}

/* --- the inputs of the script --- */

static hanse_rc put_epoch(hanse_buf *out)
{
    hanse_secagg_epoch epoch = {.epoch = 0x01020304, .not_before_ms = 1764000000000, .not_after_ms = 1766592000000};

    fill(epoch.site_id, 0x10, 32);
    fill(epoch.pub, 0x11, 32);
    return hanse_secagg_epoch_encode(out, &epoch, NULL);
}

static hanse_rc put_ticket_of(hanse_buf *out, unsigned nonce, uint32_t holders)
{
    hanse_secagg_ticket ticket = {.slot = 9, .expiry_ms = 1767225600000, .holders = holders};

    fill(ticket.run, 0x01, 16);
    fill(ticket.roster_hash, 0x02, 32);
    fill(ticket.site_id, 0x10, 32);
    fill(ticket.nonce, nonce, 16);
    fill(ticket.pk, 0x20, 32);
    fill(ticket.share_pub, 0x21, 32);
    fill(ticket.c_sk, 0x22, 32);
    fill(ticket.c_b, 0x23, 32);
    fill(ticket.cts_hash, 0x24, 32);
    return hanse_secagg_ticket_encode(out, &ticket, NULL);
}

static hanse_rc put_ticket(hanse_buf *out)
{
    return put_ticket_of(out, 0x50, N);
}

static hanse_rc put_spec_of(hanse_buf *out, hanse_secagg_spec spec)
{
    spec.slot = 9;
    spec.upload_deadline_ms = 1764000000000;
    spec.unmask_deadline_ms = 1764000060000;
    spec.chunk_words = 1 << 18;
    fill(spec.run, 0x01, 16);
    fill(spec.spec_hash, 0x03, 32);
    fill(spec.model_root, 0x04, 32);
    fill(spec.plan_hash, 0x05, 32);
    fill(spec.roster_hash, 0x02, 32);
    fill(spec.ticket_root, 0x06, 32);
    fill(spec.seal_key, 0x07, 32);
    return hanse_secagg_spec_encode(out, &spec, NULL);
}

static hanse_rc put_spec(hanse_buf *out)
{
    hanse_secagg_segment segments[2] = {{.count = 55050, .bits = 20, .bound = 400000, .clip = 0x3ff8000000000000, .scaled = 1},
                                        {.count = 77, .bits = 64, .bound = ((uint64_t)1 << 63) / 11 - 1}};

    fill(segments[0].name_hash, 0x30, 32);
    fill(segments[1].name_hash, 0x40, 32);
    return put_spec_of(out, (hanse_secagg_spec){.kind = 1, .params = {.n = 11, .c = 2, .d_max = 2, .m = 9, .t = 8, .profile = HANSE_SECAGG_CRON},
                                                .weight_total = 123456789, .segments_count = 2, .segments = segments});
}

static hanse_rc put_spec_sparse(hanse_buf *out)
{
    hanse_secagg_segment segment = {.count = 77, .bits = 64, .bound = ((uint64_t)1 << 63) / 501};

    fill(segment.name_hash, 0x40, 32);
    return put_spec_of(out, (hanse_secagg_spec){.kind = 2, .params = {.n = 500, .c = 100, .d_max = 50, .m = 450, .t = 334, .degree = 296, .degree_t = 249},
                                                .segments_count = 1, .segments = &segment});
}

static hanse_rc put_upload_of(hanse_buf *out, unsigned nonce)
{
    hanse_secagg_upload upload = {.slot = 9, .chunks = 5, .len = 0x010203040506};

    fill(upload.round_id, 0x08, 32);
    fill(upload.run, 0x01, 16);
    fill(upload.site_id, 0x10, 32);
    fill(upload.nonce, nonce, 16);
    fill(upload.root, 0x25, 32);
    return hanse_secagg_upload_encode(out, &upload, NULL);
}

static hanse_rc put_upload(hanse_buf *out)
{
    return put_upload_of(out, 0x50);
}

static hanse_rc put_cut(hanse_buf *out)
{
    uint8_t in[N] = {1, 0, 1, 1, 1, 1, 1, 1, 0, 1, 1};
    hanse_secagg_cut cut = {.slot = 9, .n = N, .in = in};

    fill(cut.round_id, 0x08, 32);
    fill(cut.run, 0x01, 16);
    fill(cut.uploads_root, 0x26, 32);
    return hanse_secagg_cut_encode(out, &cut, NULL);
}

static hanse_rc put_cutsig(hanse_buf *out)
{
    hanse_secagg_cutsig cutsig;

    fill(cutsig.round_id, 0x08, 32);
    fill(cutsig.cut_hash, 0x09, 32);
    fill(cutsig.site_id, 0x10, 32);
    return hanse_secagg_cutsig_encode(out, &cutsig, NULL);
}

static hanse_rc put_answer(hanse_buf *out)
{
    uint8_t kinds[3] = {HANSE_SECAGG_SHARE_B, HANSE_SECAGG_SHARE_NONE, HANSE_SECAGG_SHARE_SK}, shares[3][32] = {{0}};
    hanse_secagg_answer answer = {.n = 3, .kinds = kinds, .shares = shares};

    fill(answer.round_id, 0x08, 32);
    fill(answer.cut_hash, 0x09, 32);
    fill(answer.site_id, 0x10, 32);
    fill(shares[0], 0x60, 32);
    fill(shares[2], 0x61, 32);
    return hanse_secagg_answer_encode(out, &answer, NULL);
}

static hanse_rc put_dead(hanse_buf *out)
{
    hanse_secagg_dead dead = {.slot = 9};

    fill(dead.run, 0x01, 16);
    fill(dead.site_id, 0x10, 32);
    return hanse_secagg_dead_encode(out, &dead, NULL);
}

static const struct {
    const char *name, *hex;
    hanse_rc (*put)(hanse_buf *out);
    secagg_again *again;
} rows[] = {
    {"epoch", epoch_golden, put_epoch, epoch_again},
    {"ticket", ticket_golden, put_ticket, ticket_again},
    {"spec", spec_golden, put_spec, spec_again},
    {"spec of a sparse graph", spec_sparse_golden, put_spec_sparse, spec_again},
    {"upload", upload_golden, put_upload, upload_again},
    {"cut", cut_golden, put_cut, cut_again},
    {"cutsig", cutsig_golden, put_cutsig, cutsig_again},
    {"answer", answer_golden, put_answer, answer_again},
    {"dead", dead_golden, put_dead, dead_again},
};

static void test_objects(void **state)
{
    uint8_t want[OBJECT_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t len = golden(want, rows[i].hex);
        hanse_buf buf = HANSE_BUF_EMPTY;
        hanse_err err;

        assert_int_equal(hanse_buf_append(&buf, "before", 6, NULL), HANSE_OK); /* encode appends */
        assert_int_equal(rows[i].put(&buf), HANSE_OK);
        if (buf.len != 6 + len || memcmp(buf.data + 6, want, len) != 0)
            fail_msg("%s is encoded otherwise than docs/wire.md says", rows[i].name);
        buf.len = 0;
        if (rows[i].again(&buf, (hanse_bytes){want, len}, &err) != HANSE_OK)
            fail_msg("%s: %s", rows[i].name, err.text);
        assert_int_equal(buf.len, len);
        assert_memory_equal(buf.data, want, len);
        hanse_buf_clear(&buf);
    }
}

/* Fields of what is read are those that were written: a decode and an encode that swap two of them alike would pass above. */
static void test_fields(void **state)
{
    uint8_t bytes[OBJECT_MAX], want[32];
    hanse_secagg_spec spec;
    hanse_secagg_cut cut;

    (void)state;
    assert_int_equal(hanse_secagg_spec_decode(&spec, (hanse_bytes){bytes, golden(bytes, spec_sparse_golden)}, NULL), HANSE_OK);
    assert_int_equal(spec.params.c, 100);
    assert_int_equal(spec.params.d_max, 50);
    assert_int_equal(spec.params.m, 450);
    assert_int_equal(spec.params.t, 334);
    assert_int_equal(spec.params.degree, 296);
    assert_int_equal(spec.params.degree_t, 249);
    fill(want, 0x05, 32);
    assert_memory_equal(spec.plan_hash, want, 32);
    hanse_secagg_spec_clear(&spec);
    assert_int_equal(hanse_secagg_cut_decode(&cut, (hanse_bytes){bytes, golden(bytes, cut_golden)}, NULL), HANSE_OK);
    assert_memory_equal(cut.in, ((uint8_t[N]){1, 0, 1, 1, 1, 1, 1, 1, 0, 1, 1}), N);
    hanse_secagg_cut_clear(&cut);
}

static void test_hashes(void **state)
{
    uint8_t bytes[OBJECT_MAX], hash[32], secret[32], cts[N * HANSE_SECAGG_CT_LEN], leaves[N][32];
    const uint8_t in[4] = {0, 1, 1, 0};
    hanse_buf first = HANSE_BUF_EMPTY, second = HANSE_BUF_EMPTY;
    hanse_signed list[4] = {{{NULL, 0}, {NULL, 0}}};

    (void)state;
    assert_int_equal(hanse_secagg_hash(hash, "round", (hanse_bytes){bytes, golden(bytes, spec_golden)}, NULL), HANSE_OK);
    assert_hash(hash, round_id_golden);
    assert_int_equal(hanse_secagg_hash(hash, "cut", (hanse_bytes){bytes, golden(bytes, cut_golden)}, NULL), HANSE_OK);
    assert_hash(hash, cut_hash_golden);

    assert_int_equal(put_ticket(&first), HANSE_OK);
    assert_int_equal(put_ticket_of(&second, 0x51, 2), HANSE_OK);
    list[0].bytes = hanse_buf_bytes(&first);
    list[2].bytes = hanse_buf_bytes(&second);
    assert_int_equal(hanse_secagg_ticket_root(hash, list, 3, NULL), HANSE_OK);
    assert_hash(hash, ticket_root_golden);

    first.len = second.len = 0;
    assert_int_equal(put_upload(&first), HANSE_OK);
    assert_int_equal(put_upload_of(&second, 0x51), HANSE_OK);
    list[0].bytes = hanse_buf_bytes(&second); /* outside S: skipped */
    list[1].bytes = hanse_buf_bytes(&first);
    list[2].bytes = hanse_buf_bytes(&second);
    assert_int_equal(hanse_secagg_uploads_root(hash, list, in, 4, NULL), HANSE_OK);
    assert_hash(hash, uploads_root_golden);

    for (unsigned i = 0; i < N; i++)
        fill(cts + (size_t)i * HANSE_SECAGG_CT_LEN, 0x70 + i, HANSE_SECAGG_CT_LEN);
    assert_int_equal(hanse_secagg_hash(hash, "shares", (hanse_bytes){cts, sizeof cts}, NULL), HANSE_OK);
    assert_hash(hash, cts_hash_golden);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(hanse_secagg_leaf(leaves[i], (hanse_bytes){cts + i * HANSE_SECAGG_CT_LEN, HANSE_SECAGG_CT_LEN}, NULL), HANSE_OK);
    assert_int_equal(hanse_secagg_merkle(hash, leaves, N, NULL), HANSE_OK);
    assert_hash(hash, chunks_root_golden);
    fill(secret, 0x60, 32);
    assert_int_equal(secagg_commit(hash, "hanse1/csk", secret, NULL), HANSE_OK);
    assert_hash(hash, c_sk_golden);
    assert_int_equal(secagg_commit(hash, "hanse1/cb", secret, NULL), HANSE_OK);
    assert_hash(hash, c_b_golden);
    hanse_buf_clear(&first);
    hanse_buf_clear(&second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_objects), cmocka_unit_test(test_fields), cmocka_unit_test(test_hashes)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
