/* The sealing, hashing, signing and key agreement of crypto/ beside the same work done by OpenSSL directly.
 * Usage: bench_crypto. One thread; each row is the best of several repeats. */
#include "hanse/digest.h"
#include "hanse/hpke.h"
#include "hanse/sign.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CHUNK ((size_t)1 << 20)
enum { REPEATS = 5, TAG = HANSE_HPKE_TAG_LEN };
#define REPEAT_S 0.15

typedef struct bench {
    uint8_t *plain;  /* CHUNK bytes */
    uint8_t *sealed; /* CHUNK + TAG bytes */
    uint8_t *out;    /* CHUNK + TAG bytes */
    hanse_hpke *sender, *receiver;
    EVP_CIPHER_CTX *gcm_seal, *gcm_open;
    EVP_MD *md;
    hanse_key *key;
    uint8_t sig[HANSE_SIG_MAX], secret[32], pub[32];
    size_t sig_len;
    uint64_t seq;
} bench;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "bench_crypto: %s failed\n", what);
        exit(5);
    }
}

static void seal(bench *b)
{
    must(hanse_hpke_seal(b->sender, b->seq++, HANSE_BYTES_EMPTY, b->out, (hanse_bytes){b->plain, CHUNK}, NULL) == HANSE_OK, "seal");
}

static void unseal(bench *b) /* always the message that main() sealed */
{
    must(hanse_hpke_open(b->receiver, 0, HANSE_BYTES_EMPTY, b->out, (hanse_bytes){b->sealed, CHUNK + TAG}, NULL) == HANSE_OK, "open");
}

static void gcm_seal(bench *b)
{
    uint8_t nonce[12] = {0};
    int n;

    memcpy(nonce, &b->seq, sizeof b->seq);
    b->seq++;
    must(EVP_EncryptInit_ex2(b->gcm_seal, NULL, NULL, nonce, NULL) == 1
             && EVP_EncryptUpdate(b->gcm_seal, b->out, &n, b->plain, (int)CHUNK) == 1 && EVP_EncryptFinal_ex(b->gcm_seal, b->out, &n) == 1
             && EVP_CIPHER_CTX_ctrl(b->gcm_seal, EVP_CTRL_AEAD_GET_TAG, TAG, b->out + CHUNK) == 1, "EVP AES-256-GCM");
}

/* The tag does not fit and Final says so: the same work. */
static void gcm_open(bench *b)
{
    uint8_t nonce[12] = {0};
    int n;

    must(EVP_DecryptInit_ex2(b->gcm_open, NULL, NULL, nonce, NULL) == 1
             && EVP_DecryptUpdate(b->gcm_open, b->out, &n, b->sealed, (int)CHUNK) == 1
             && EVP_CIPHER_CTX_ctrl(b->gcm_open, EVP_CTRL_AEAD_SET_TAG, TAG, b->sealed + CHUNK) == 1, "EVP AES-256-GCM");
    (void)EVP_DecryptFinal_ex(b->gcm_open, b->out, &n);
}

static void digest_1m(bench *b)
{
    must(hanse_sha256(b->out, (hanse_bytes){b->plain, CHUNK}, NULL) == HANSE_OK, "SHA-256");
}

static void evp_digest_1m(bench *b)
{
    must(EVP_Digest(b->plain, CHUNK, b->out, NULL, b->md, NULL) == 1, "EVP SHA-256");
}

static void digest_64(bench *b)
{
    must(hanse_sha256(b->out, (hanse_bytes){b->plain, 64}, NULL) == HANSE_OK, "SHA-256");
}

static void evp_digest_64(bench *b)
{
    must(EVP_Digest(b->plain, 64, b->out, NULL, b->md, NULL) == 1, "EVP SHA-256");
}

static void sign_1k(bench *b)
{
    must(hanse_sign_object(b->key, "spec", (hanse_bytes){b->plain, 1024}, b->sig, &b->sig_len, NULL) == HANSE_OK, "sign");
}

static void verify_1k(bench *b)
{
    must(hanse_verify_object(b->key, "spec", (hanse_bytes){b->plain, 1024}, (hanse_bytes){b->sig, b->sig_len}, NULL) == HANSE_OK, "verify");
}

static void evp_sign(bench *b)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY *key = (EVP_PKEY *)b->key;
    EVP_MD *md = EVP_PKEY_is_a(key, "ED25519") ? NULL : b->md;
    uint8_t sig[HANSE_SIG_MAX];
    size_t len = sizeof sig;

    must(ctx != NULL && EVP_DigestSignInit_ex(ctx, NULL, md != NULL ? "SHA256" : NULL, NULL, NULL, key, NULL) == 1
             && EVP_DigestSign(ctx, sig, &len, b->plain, 1024) == 1, "EVP sign");
    EVP_MD_CTX_free(ctx);
}

static void agree(bench *b)
{
    must(hanse_x25519(b->out, (hanse_x25519_pair){b->secret, NULL}, b->pub, NULL) == HANSE_OK, "X25519");
}

static void keygen(bench *b)
{
    must(hanse_x25519_keygen(b->out, b->out + 32, NULL) == HANSE_OK, "X25519 key pair");
}

static void evp_keygen(bench *b)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
    size_t len = 32;

    must(key != NULL && EVP_PKEY_get_raw_public_key(key, b->out, &len) == 1, "EVP X25519 key pair");
    EVP_PKEY_free(key);
}

/* Calls a second over one stretch. */
static double rate(void (*call)(bench *), bench *b)
{
    double start = now_s(), took = 0;
    size_t calls = 0;

    for (; took < REPEAT_S; took = now_s() - start, calls += 8)
        for (int i = 0; i < 8; i++)
            call(b);
    return (double)calls / took;
}

/* Best of REPEATS for both, in turns: what else the machine does then hits both. `theirs` may be NULL. */
static void best_of(double best[2], void (*ours)(bench *), void (*theirs)(bench *), bench *b)
{
    best[0] = best[1] = 0;
    for (int r = 0; r < REPEATS; r++) {
        double a = rate(ours, b), c = theirs != NULL ? rate(theirs, b) : 0;
        best[0] = a > best[0] ? a : best[0];
        best[1] = c > best[1] ? c : best[1];
    }
}

static void row_gb(const char *name, double bytes, void (*ours)(bench *), void (*theirs)(bench *), bench *b)
{
    double best[2];

    best_of(best, ours, theirs, b);
    printf("%-24s %8.2f GB/s; EVP %8.2f GB/s; ratio %.2f\n", name, 1e-9 * best[0] * bytes, 1e-9 * best[1] * bytes, best[0] / best[1]);
}

static void row_ops(const char *name, void (*ours)(bench *), void (*theirs)(bench *), bench *b)
{
    double best[2];

    best_of(best, ours, theirs, b);
    printf("%-24s %8.0f /s", name, best[0]);
    if (theirs != NULL)
        printf(";    EVP %8.0f /s;    ratio %.2f", best[1], best[0] / best[1]);
    printf("\n");
}

static void bench_keys(bench *b)
{
    static const char *const names[] = {NULL, "Ed25519", "P-256"};

    for (int kind = HANSE_KEY_ED25519; kind <= HANSE_KEY_P256; kind++) {
        char name[64];

        must(hanse_key_new(&b->key, (hanse_key_kind)kind, NULL) == HANSE_OK, "key");
        snprintf(name, sizeof name, "%s sign 1 KiB", names[kind]);
        row_ops(name, sign_1k, evp_sign, b);
        snprintf(name, sizeof name, "%s verify 1 KiB", names[kind]);
        row_ops(name, verify_1k, NULL, b);
        hanse_key_free(b->key);
    }
}

int main(void)
{
    bench b = {.plain = hanse_calloc(CHUNK, 1), .sealed = hanse_calloc(CHUNK + TAG, 1), .out = hanse_calloc(CHUNK + TAG, 1),
               .gcm_seal = EVP_CIPHER_CTX_new(), .gcm_open = EVP_CIPHER_CTX_new(), .md = EVP_MD_fetch(NULL, "SHA256", NULL), .seq = 1};
    EVP_CIPHER *gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    uint8_t enc[32], key[32];

    must(b.plain != NULL && b.sealed != NULL && b.out != NULL && b.gcm_seal != NULL && b.gcm_open != NULL && b.md != NULL && gcm != NULL, "memory");
    must(hanse_random(b.plain, CHUNK, NULL) == HANSE_OK && hanse_random(key, sizeof key, NULL) == HANSE_OK, "random bytes");
    must(EVP_EncryptInit_ex2(b.gcm_seal, gcm, key, NULL, NULL) == 1 && EVP_DecryptInit_ex2(b.gcm_open, gcm, key, NULL, NULL) == 1, "EVP key");
    must(hanse_x25519_keygen(b.secret, b.pub, NULL) == HANSE_OK
             && hanse_hpke_sender_new(&b.sender, enc, HANSE_AEAD_AES256GCM, b.pub, (hanse_x25519_pair){key, NULL}, HANSE_BYTES_EMPTY, NULL) == HANSE_OK
             && hanse_hpke_receiver_new(&b.receiver, HANSE_AEAD_AES256GCM, (hanse_x25519_pair){b.secret, b.pub}, enc, HANSE_BYTES_EMPTY, NULL) == HANSE_OK
             && hanse_hpke_seal(b.sender, 0, HANSE_BYTES_EMPTY, b.sealed, (hanse_bytes){b.plain, CHUNK}, NULL) == HANSE_OK, "HPKE");

    row_gb("HPKE seal 1 MiB", (double)CHUNK, seal, gcm_seal, &b);
    row_gb("HPKE open 1 MiB", (double)CHUNK, unseal, gcm_open, &b);
    row_gb("SHA-256 1 MiB", (double)CHUNK, digest_1m, evp_digest_1m, &b);
    row_gb("SHA-256 64 B", 64, digest_64, evp_digest_64, &b);
    bench_keys(&b);
    row_ops("X25519", agree, NULL, &b);
    row_ops("X25519 key pair", keygen, evp_keygen, &b);

    hanse_hpke_free(b.sender);
    hanse_hpke_free(b.receiver);
    EVP_CIPHER_CTX_free(b.gcm_seal);
    EVP_CIPHER_CTX_free(b.gcm_open);
    EVP_CIPHER_free(gcm);
    EVP_MD_free(b.md);
    hanse_free(b.plain);
    hanse_free(b.sealed);
    hanse_free(b.out);
    return 0;
}
