#include "hanse/hpke.h"
#include "crypto/openssl_error.h"
#include "hanse/digest.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <pthread.h>

#define KEM_ID 0x0020 /* DHKEM(X25519, HKDF-SHA256) */
#define KDF_ID 0x0001 /* HKDF-SHA256 */
#define NONCE_LEN 12
#define INFO_MAX 512

struct hanse_hpke {
    EVP_CIPHER_CTX *cipher; /* keeps the key schedule; only the nonce is set per message */
    uint8_t base_nonce[NONCE_LEN];
    bool sender;
};

static pthread_once_t fetched = PTHREAD_ONCE_INIT;
static EVP_CIPHER *aes128, *aes256;

static void fetch(void)
{
    aes128 = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
    aes256 = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
}

hanse_rc hanse_x25519_public(uint8_t pub[HANSE_X25519_LEN], const uint8_t secret[HANSE_X25519_LEN], hanse_err *err)
{
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, secret, HANSE_X25519_LEN);
    size_t len = HANSE_X25519_LEN;
    hanse_rc rc = HANSE_OK;

    if (key == NULL || EVP_PKEY_get_raw_public_key(key, pub, &len) != 1)
        rc = HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "X25519 public key");
    EVP_PKEY_free(key);
    return rc;
}

hanse_rc hanse_x25519_keygen(uint8_t secret[HANSE_X25519_LEN], uint8_t pub[HANSE_X25519_LEN], hanse_err *err)
{
    hanse_rc rc = hanse_random(secret, HANSE_X25519_LEN, err);

    return rc == HANSE_OK ? hanse_x25519_public(pub, secret, err) : rc;
}

/* EVP_PKEY_new_raw_private_key() computes the public key, known or not. */
static EVP_PKEY *private_key(hanse_x25519_pair pair)
{
    EVP_PKEY_CTX *ctx;
    EVP_PKEY *key = NULL;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PRIV_KEY, (void *)(uintptr_t)pair.secret, HANSE_X25519_LEN),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)(uintptr_t)pair.pub, HANSE_X25519_LEN),
        OSSL_PARAM_construct_end(),
    };

    if (pair.pub == NULL)
        return EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, pair.secret, HANSE_X25519_LEN);
    ctx = EVP_PKEY_CTX_new_from_name(NULL, "X25519", NULL);
    if (ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1)
        (void)EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params); /* NULL where it fails */
    EVP_PKEY_CTX_free(ctx);
    return key;
}

hanse_rc hanse_x25519(uint8_t shared[32], hanse_x25519_pair pair, const uint8_t peer[HANSE_X25519_LEN], hanse_err *err)
{
    EVP_PKEY *mine = private_key(pair);
    EVP_PKEY *theirs = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, peer, HANSE_X25519_LEN);
    EVP_PKEY_CTX *ctx = mine != NULL ? EVP_PKEY_CTX_new_from_pkey(NULL, mine, NULL) : NULL;
    size_t len = 32;
    hanse_rc rc = HANSE_OK;

    if (ctx == NULL || theirs == NULL || EVP_PKEY_derive_init(ctx) != 1 || EVP_PKEY_derive_set_peer(ctx, theirs) != 1)
        rc = HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "X25519");
    else if (EVP_PKEY_derive(ctx, shared, &len) != 1) { /* RFC 7748 6.1: refuses the all-zero result */
        ERR_clear_error();
        hanse_wipe(shared, 32);
        rc = HANSE_FAIL(err, HANSE_E_AUTH, "X25519: the peer's public key is a point of low order");
    }
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(mine);
    EVP_PKEY_free(theirs);
    return rc;
}

/* RFC 9180 4: the labels of one suite. */
typedef struct suite {
    uint8_t id[10];
    size_t id_len;
} suite;

static suite suite_kem(void)
{
    return (suite){{'K', 'E', 'M', KEM_ID >> 8, KEM_ID & 0xff}, 5};
}

static suite suite_hpke(hanse_aead aead)
{
    return (suite){{'H', 'P', 'K', 'E', KEM_ID >> 8, KEM_ID & 0xff, KDF_ID >> 8, KDF_ID & 0xff, 0, (uint8_t)aead}, 10};
}

typedef struct text {
    uint8_t bytes[1024];
    size_t len;
} text;

/* Callers bound the parts: the longest is a label and INFO_MAX. */
static void text_put(text *t, const void *data, size_t len)
{
    if (len > 0)
        memcpy(t->bytes + t->len, data, len);
    t->len += len;
}

static hanse_rc labeled_extract(uint8_t out[32], suite s, hanse_bytes salt, const char *label, hanse_bytes ikm,
                                hanse_err *err)
{
    text t = {.len = 0};
    hanse_rc rc;

    text_put(&t, "HPKE-v1", 7);
    text_put(&t, s.id, s.id_len);
    text_put(&t, label, strlen(label));
    text_put(&t, ikm.data, ikm.len);
    rc = hanse_hkdf_extract(out, salt, (hanse_bytes){t.bytes, t.len}, err);
    hanse_wipe(&t, sizeof t);
    return rc;
}

static hanse_rc labeled_expand(uint8_t *out, size_t len, suite s, const uint8_t prk[32], const char *label,
                               hanse_bytes info, hanse_err *err)
{
    text t = {.bytes = {0, (uint8_t)len}, .len = 2};

    text_put(&t, "HPKE-v1", 7);
    text_put(&t, s.id, s.id_len);
    text_put(&t, label, strlen(label));
    text_put(&t, info.data, info.len);
    return hanse_hkdf_expand(out, len, prk, (hanse_bytes){t.bytes, t.len}, err);
}

/* RFC 9180 4.1: shared secret of Encap and Decap. */
static hanse_rc kem_shared(uint8_t shared[32], hanse_x25519_pair mine, const uint8_t peer[32], const uint8_t enc[32],
                           const uint8_t recipient[32], hanse_err *err)
{
    uint8_t dh[32], prk[32], context[64];
    hanse_rc rc = hanse_x25519(dh, mine, peer, err);

    memcpy(context, enc, 32);
    memcpy(context + 32, recipient, 32);
    if (rc == HANSE_OK)
        rc = labeled_extract(prk, suite_kem(), HANSE_BYTES_EMPTY, "eae_prk", (hanse_bytes){dh, 32}, err);
    if (rc == HANSE_OK)
        rc = labeled_expand(shared, 32, suite_kem(), prk, "shared_secret", (hanse_bytes){context, 64}, err);
    hanse_wipe(dh, sizeof dh);
    hanse_wipe(prk, sizeof prk);
    return rc;
}

/* RFC 9180 5.1, mode_base: key and base nonce. */
static hanse_rc key_schedule(hanse_hpke *ctx, hanse_aead aead, const uint8_t shared[32], hanse_bytes info, hanse_err *err)
{
    suite s = suite_hpke(aead);
    uint8_t context[65] = {0 /* mode_base */}, secret[32], key[32];
    hanse_bytes all = {context, sizeof context};
    size_t key_len = aead == HANSE_AEAD_AES128GCM ? 16 : 32;
    EVP_CIPHER *cipher;
    hanse_rc rc = labeled_extract(context + 1, s, HANSE_BYTES_EMPTY, "psk_id_hash", HANSE_BYTES_EMPTY, err);

    if (rc == HANSE_OK)
        rc = labeled_extract(context + 33, s, HANSE_BYTES_EMPTY, "info_hash", info, err);
    if (rc == HANSE_OK)
        rc = labeled_extract(secret, s, (hanse_bytes){shared, 32}, "secret", HANSE_BYTES_EMPTY, err);
    if (rc == HANSE_OK)
        rc = labeled_expand(key, key_len, s, secret, "key", all, err);
    if (rc == HANSE_OK)
        rc = labeled_expand(ctx->base_nonce, NONCE_LEN, s, secret, "base_nonce", all, err);
    if (rc != HANSE_OK)
        goto done;
    (void)pthread_once(&fetched, fetch);
    cipher = aead == HANSE_AEAD_AES128GCM ? aes128 : aes256;
    if (cipher == NULL || EVP_CipherInit_ex2(ctx->cipher, cipher, key, NULL, ctx->sender, NULL) != 1)
        rc = HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "AES-GCM");

done:
    hanse_wipe(secret, sizeof secret);
    hanse_wipe(key, sizeof key);
    return rc;
}

static hanse_rc context_new(hanse_hpke **out, bool sender, hanse_err *err)
{
    hanse_hpke *ctx = hanse_calloc(1, sizeof *ctx);

    if (ctx == NULL || (ctx->cipher = EVP_CIPHER_CTX_new()) == NULL) {
        hanse_free(ctx);
        return HANSE_FAIL(err, HANSE_E_NOMEM, "HPKE: out of memory");
    }
    ctx->sender = sender;
    *out = ctx;
    return HANSE_OK;
}

static hanse_rc setup(hanse_hpke **out, bool sender, hanse_aead aead, hanse_x25519_pair mine, const uint8_t peer[32],
                      const uint8_t enc[32], const uint8_t recipient[32], hanse_bytes info, hanse_err *err)
{
    uint8_t shared[32];
    hanse_hpke *ctx = NULL;
    hanse_rc rc;

    if (aead != HANSE_AEAD_AES128GCM && aead != HANSE_AEAD_AES256GCM)
        return HANSE_FAIL(err, HANSE_E_USAGE, "HPKE: AEAD %d is unknown", (int)aead);
    if (info.len > INFO_MAX)
        return HANSE_FAIL(err, HANSE_E_USAGE, "HPKE: info of %zu bytes, at most %d", info.len, INFO_MAX);
    rc = kem_shared(shared, mine, peer, enc, recipient, err);
    if (rc == HANSE_OK)
        rc = context_new(&ctx, sender, err);
    if (rc == HANSE_OK)
        rc = key_schedule(ctx, aead, shared, info, err);
    hanse_wipe(shared, sizeof shared);
    if (rc == HANSE_OK)
        *out = ctx;
    else
        hanse_hpke_free(ctx);
    return rc;
}

static hanse_rc with_public(hanse_x25519_pair *pair, uint8_t room[32], hanse_err *err)
{
    hanse_rc rc = pair->pub != NULL ? HANSE_OK : hanse_x25519_public(room, pair->secret, err);

    if (pair->pub == NULL)
        pair->pub = room;
    return rc;
}

hanse_rc hanse_hpke_sender_new(hanse_hpke **out, uint8_t enc[HANSE_X25519_LEN], hanse_aead aead,
                               const uint8_t recipient[HANSE_X25519_LEN], hanse_x25519_pair ephemeral, hanse_bytes info, hanse_err *err)
{
    uint8_t pub[32];
    hanse_rc rc = with_public(&ephemeral, pub, err);

    if (rc == HANSE_OK)
        rc = setup(out, true, aead, ephemeral, recipient, ephemeral.pub, recipient, info, err);
    if (rc == HANSE_OK)
        memcpy(enc, ephemeral.pub, sizeof pub);
    return rc;
}

hanse_rc hanse_hpke_receiver_new(hanse_hpke **out, hanse_aead aead, hanse_x25519_pair mine, const uint8_t enc[HANSE_X25519_LEN],
                                 hanse_bytes info, hanse_err *err)
{
    uint8_t pub[32];
    hanse_rc rc = with_public(&mine, pub, err);

    return rc == HANSE_OK ? setup(out, false, aead, mine, enc, enc, mine.pub, info, err) : rc;
}

hanse_rc hanse_hpke_clone(hanse_hpke **out, const hanse_hpke *ctx, hanse_err *err)
{
    hanse_hpke *copy = NULL;
    hanse_rc rc = context_new(&copy, ctx->sender, err);

    if (copy == NULL)
        return rc;
    memcpy(copy->base_nonce, ctx->base_nonce, NONCE_LEN);
    if (EVP_CIPHER_CTX_copy(copy->cipher, ctx->cipher) != 1) {
        hanse_hpke_free(copy);
        return HANSE_FAIL_OPENSSL(err, HANSE_E_NOMEM, "HPKE: copy of a context");
    }
    *out = copy;
    return HANSE_OK;
}

void hanse_hpke_free(hanse_hpke *ctx)
{
    if (ctx == NULL)
        return;
    EVP_CIPHER_CTX_free(ctx->cipher); /* wipes the key schedule */
    hanse_wipe(ctx, sizeof *ctx);
    hanse_free(ctx);
}

/* RFC 9180 5.2 ComputeNonce, then the associated data. */
static bool begin(hanse_hpke *ctx, uint64_t seq, hanse_bytes aad)
{
    uint8_t nonce[NONCE_LEN];
    int n;

    memcpy(nonce, ctx->base_nonce, NONCE_LEN);
    for (int i = 0; i < 8; i++)
        nonce[NONCE_LEN - 1 - i] ^= (uint8_t)(seq >> (8 * i));
    return EVP_CipherInit_ex2(ctx->cipher, NULL, NULL, nonce, ctx->sender, NULL) == 1
        && (aad.len == 0 || EVP_CipherUpdate(ctx->cipher, NULL, &n, aad.data, (int)aad.len) == 1);
}

hanse_rc hanse_hpke_seal(hanse_hpke *ctx, uint64_t seq, hanse_bytes aad, uint8_t *out, hanse_bytes plain, hanse_err *err)
{
    int n;

    if (!ctx->sender || plain.len > HANSE_HPKE_PLAIN_MAX || aad.len > HANSE_HPKE_PLAIN_MAX)
        return HANSE_FAIL(err, HANSE_E_USAGE, "HPKE: seal of %zu bytes by a %s", plain.len, ctx->sender ? "sender" : "receiver");
    if (!begin(ctx, seq, aad)
        || (plain.len > 0 && EVP_EncryptUpdate(ctx->cipher, out, &n, plain.data, (int)plain.len) != 1)
        || EVP_EncryptFinal_ex(ctx->cipher, out + plain.len, &n) != 1
        || EVP_CIPHER_CTX_ctrl(ctx->cipher, EVP_CTRL_AEAD_GET_TAG, HANSE_HPKE_TAG_LEN, out + plain.len) != 1)
        return HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "HPKE: seal");
    return HANSE_OK;
}

hanse_rc hanse_hpke_open(hanse_hpke *ctx, uint64_t seq, hanse_bytes aad, uint8_t *out, hanse_bytes sealed, hanse_err *err)
{
    size_t len = sealed.len - HANSE_HPKE_TAG_LEN;
    uint8_t tag[HANSE_HPKE_TAG_LEN], none[1];
    int n;

    if (ctx->sender)
        return HANSE_FAIL(err, HANSE_E_USAGE, "HPKE: open by a sender");
    if (sealed.len < HANSE_HPKE_TAG_LEN || len > HANSE_HPKE_PLAIN_MAX || aad.len > HANSE_HPKE_PLAIN_MAX)
        return HANSE_FAIL(err, HANSE_E_SHAPE, "sealed message %llu: %zu bytes, %d..2^30 possible", (unsigned long long)seq,
                          sealed.len, HANSE_HPKE_TAG_LEN);
    memcpy(tag, sealed.data + len, sizeof tag);
    if (!begin(ctx, seq, aad)
        || (len > 0 && EVP_DecryptUpdate(ctx->cipher, out, &n, sealed.data, (int)len) != 1)
        || EVP_CIPHER_CTX_ctrl(ctx->cipher, EVP_CTRL_AEAD_SET_TAG, HANSE_HPKE_TAG_LEN, tag) != 1
        || EVP_DecryptFinal_ex(ctx->cipher, none, &n) != 1) {
        hanse_wipe(out, len);
        ERR_clear_error();
        return HANSE_FAIL(err, HANSE_E_AUTH, "sealed message %llu (%zu bytes) does not verify: changed on the way or for another key",
                          (unsigned long long)seq, sealed.len);
    }
    return HANSE_OK;
}
