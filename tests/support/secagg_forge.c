#include "secagg_forge.h"

#include "hanse/digest.h"
#include "hanse/hpke.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#define MUST(call) assert_int_equal((call), HANSE_OK)

void forge_sign(forged *f, const hanse_key *key, const char *label)
{
    MUST(hanse_sign_object(key, label, hanse_buf_bytes(&f->bytes), f->sig, &f->sig_len, NULL));
}

hanse_signed forged_signed(const forged *f)
{
    return (hanse_signed){hanse_buf_bytes(&f->bytes), {f->sig, f->sig_len}};
}

void forged_clear(forged *f)
{
    hanse_buf_clear(&f->bytes);
    *f = FORGED_EMPTY;
}

/* --- cuts --- */

void forge_cut_begin(world *w, forged_cut *f)
{
    const hanse_signed *uploads = hanse_secagg_round_uploads(w->round);
    hanse_secagg_cut cut;

    *f = (forged_cut){.object = FORGED_EMPTY};
    assert_true(w->n <= FORGE_SITES);
    MUST(hanse_secagg_cut_decode(&cut, hanse_secagg_round_cut_signed(w->round).bytes, NULL));
    for (uint32_t i = 0; i < w->n; i++) {
        f->in[i] = cut.in[i];
        f->uploads[i] = uploads[i];
    }
    hanse_free(cut.in);
    f->cut = cut;
    f->cut.in = f->in;
}

void forge_cut_root(forged_cut *f)
{
    MUST(hanse_secagg_uploads_root(f->cut.uploads_root, f->uploads, f->in, f->cut.n, NULL));
}

void forge_cut_sign(world *w, forged_cut *f)
{
    f->cut.in = f->in; /* it may have been copied */
    f->object.bytes.len = 0;
    MUST(hanse_secagg_cut_encode(&f->object.bytes, &f->cut, NULL));
    forge_sign(&f->object, w->coordinator_key, HANSE_SECAGG_CUT_LABEL);
}

void forge_cut(world *w, forged_cut *f, unsigned out_of_s)
{
    forge_cut_begin(w, f);
    for (uint32_t i = 0; i < w->n && i < 32; i++)
        f->in[i] = f->in[i] && !(out_of_s >> i & 1);
    forge_cut_root(f);
    forge_cut_sign(w, f);
}

hanse_rc forged_cut_show(world *w, uint32_t i, const forged_cut *f)
{
    hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_CUT, .object = forged_signed(&f->object), .uploads = f->uploads};

    return world_step(w, i, &event);
}

void forged_cut_clear(forged_cut *f)
{
    forged_clear(&f->object);
}

/* --- answers --- */

static const char answer_info[] = "hanse1/secagg-answer";

static void answer_aad(world *w, uint32_t i, hanse_bytes cut, uint8_t aad[96])
{
    memcpy(aad, hanse_secagg_round_id(w->round), 32);
    MUST(hanse_secagg_hash(aad + 32, "cut", cut, NULL));
    memcpy(aad + 64, hanse_secagg_roster_id(w->roster, i), 32);
}

static void open_answer(world *w, uint32_t i, hanse_bytes cut, hanse_secagg_answer *out)
{
    hanse_bytes sealed = hanse_buf_bytes(&w->sites[i].extra);
    size_t len = sealed.len - 32 - HANSE_HPKE_TAG_LEN;
    uint8_t *text = hanse_calloc(len, 1);
    hanse_hpke *ctx;
    uint8_t aad[96];

    assert_non_null(text);
    answer_aad(w, i, cut, aad);
    MUST(hanse_hpke_receiver_new(&ctx, HANSE_AEAD_AES256GCM, (hanse_x25519_pair){w->seal_secret, w->seal_key}, sealed.data,
                                 hanse_bytes_str(answer_info), NULL));
    MUST(hanse_hpke_open(ctx, 0, (hanse_bytes){aad, 96}, text, (hanse_bytes){sealed.data + 32, sealed.len - 32}, NULL));
    hanse_hpke_free(ctx);
    MUST(hanse_secagg_answer_decode(out, (hanse_bytes){text + 1 + text[0], len - 1 - text[0]}, NULL));
    hanse_free(text);
}

void forge_answer_open(world *w, uint32_t i, hanse_secagg_answer *out)
{
    open_answer(w, i, hanse_secagg_round_cut_signed(w->round).bytes, out);
}

void forge_answer_open_to(world *w, uint32_t i, const forged_cut *cut, hanse_secagg_answer *out)
{
    open_answer(w, i, hanse_buf_bytes(&cut->object.bytes), out);
}

void forge_answer_seal_text(world *w, uint32_t i, hanse_bytes text)
{
    hanse_buf *sealed = &w->sites[i].extra;
    uint8_t aad[96], enc[32], seed[32];
    hanse_hpke *ctx;

    answer_aad(w, i, hanse_secagg_round_cut_signed(w->round).bytes, aad);
    world_random(w, seed, 32);
    MUST(hanse_hpke_sender_new(&ctx, enc, HANSE_AEAD_AES256GCM, w->seal_key, (hanse_x25519_pair){seed, NULL}, hanse_bytes_str(answer_info), NULL));
    sealed->len = 0;
    MUST(hanse_buf_append(sealed, enc, 32, NULL));
    MUST(hanse_buf_reserve(sealed, 32 + text.len + HANSE_HPKE_TAG_LEN, NULL));
    MUST(hanse_hpke_seal(ctx, 0, (hanse_bytes){aad, 96}, sealed->data + 32, text, NULL));
    sealed->len = 32 + text.len + HANSE_HPKE_TAG_LEN;
    hanse_hpke_free(ctx);
}

void forge_answer_seal(world *w, uint32_t i, const hanse_secagg_answer *answer)
{
    forged f = FORGED_EMPTY;
    hanse_buf text = HANSE_BUF_EMPTY;
    uint8_t len;

    MUST(hanse_secagg_answer_encode(&f.bytes, answer, NULL));
    forge_sign(&f, w->sites[i].key, HANSE_SECAGG_ANSWER_LABEL);
    len = (uint8_t)f.sig_len;
    MUST(hanse_buf_append(&text, &len, 1, NULL));
    MUST(hanse_buf_append(&text, f.sig, f.sig_len, NULL));
    MUST(hanse_buf_append(&text, f.bytes.data, f.bytes.len, NULL));
    forge_answer_seal_text(w, i, hanse_buf_bytes(&text));
    hanse_buf_clear(&text);
    forged_clear(&f);
}

/* --- what a site remembers --- */

void forge_store_hash(const world *w, uint32_t i, uint8_t out[32])
{
    const world_site *site = &w->sites[i];
    hanse_sha256_stream stream = HANSE_SHA256_STREAM_EMPTY;

    MUST(hanse_sha256_init(&stream, NULL));
    for (size_t k = 0; k < site->store_count; k++) {
        MUST(hanse_sha256_update(&stream, hanse_buf_bytes(&site->store[k].key), NULL));
        MUST(hanse_sha256_update(&stream, hanse_buf_bytes(&site->store[k].value), NULL));
    }
    MUST(hanse_sha256_final(&stream, out, NULL));
    hanse_sha256_clear(&stream);
}
