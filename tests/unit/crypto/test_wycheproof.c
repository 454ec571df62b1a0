/* Wycheproof's vectors against the functions that production calls: tests/vectors/crypto.md.
 *
 * Two of them add what a vector cannot have: hanse_verify_object() a label before the text, an HPKE context a key and a nonce
 * of its own derivation. Both are called as they are; what they ask of the next layer is replaced on the way
 * (__wrap_ below, -Wl,--wrap in tests/CMakeLists.txt). */
#include "hanse/digest.h"
#include "hanse/file.h"
#include "hanse/hpke.h"
#include "hanse/sign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <openssl/evp.h>

#define FILE_MAX ((size_t)1 << 20)
#define FIELDS_MAX 5
#define NONCE_LEN 12

/* One line: <number> <verdict> <field>..., and the public key of its group where there is one. */
typedef struct vector {
    const char *number, *verdict, *key;
    const char *fields[FIELDS_MAX];
    uint8_t *owned[FIELDS_MAX + 1]; /* what was decoded; each of exactly its own length, so that a sanitizer sees one byte too many */
} vector;

static uint8_t *room(size_t len)
{
    uint8_t *memory = hanse_calloc(len > 0 ? len : 1, 1);

    assert_non_null(memory);
    return memory;
}

static hanse_bytes decode(uint8_t **owned, const char *hex)
{
    size_t len = strcmp(hex, "-") == 0 ? 0 : strlen(hex) / 2;

    if (len == 0)
        return HANSE_BYTES_EMPTY;
    *owned = room(len);
    assert_int_equal(hanse_hex_decode(*owned, len, hex, NULL), HANSE_OK);
    return (hanse_bytes){*owned, len};
}

static hanse_bytes field(vector *v, size_t i)
{
    return decode(&v->owned[i], v->fields[i]);
}

static bool is_valid(const vector *v)
{
    return strcmp(v->verdict, "valid") == 0;
}

/* The next word of a line, which is cut behind it; NULL after the last. */
static char *next_word(char **at)
{
    char *word = *at;
    size_t len = strcspn(word, " ");

    *at = word + len + (word[len] != '\0');
    word[len] = '\0';
    return len > 0 ? word : NULL;
}

/* Give every vector of wycheproof_<name>.txt to `wrong`, which says what is wrong with our answer, or NULL. */
static void run(const char *name, size_t fields_count, size_t vectors_count, const char *(*wrong)(vector *))
{
    hanse_buf text = HANSE_BUF_EMPTY;
    const char *key = NULL;
    size_t count = 0, failed = 0;
    hanse_path path, base;

    (void)snprintf(base, sizeof base, "wycheproof_%s.txt", name);
    assert_int_equal(hanse_path_join(path, HANSE_SOURCE_DIR "/tests/vectors", base, NULL), HANSE_OK);
    assert_int_equal(hanse_file_read(&text, path, FILE_MAX, NULL), HANSE_OK);
    for (char *line = (char *)text.data, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        vector v = {.key = key};
        const char *what;

        *end = '\0';
        if (line[0] == '#')
            continue;
        v.number = next_word(&line);
        v.verdict = next_word(&line);
        if (strcmp(v.number, "key") == 0) {
            key = v.verdict;
            continue;
        }
        assert_true(is_valid(&v) || strcmp(v.verdict, "invalid") == 0 || strcmp(v.verdict, "acceptable") == 0);
        for (size_t i = 0; i < fields_count; i++)
            assert_non_null(v.fields[i] = next_word(&line));
        assert_null(next_word(&line));
        what = wrong(&v);
        if (what != NULL) {
            print_error("%s: vector %s (%s): %s\n", base, v.number, v.verdict, what);
            failed++;
        }
        for (size_t i = 0; i <= FIELDS_MAX; i++)
            hanse_free(v.owned[i]);
        count++;
    }
    hanse_buf_clear(&text);
    assert_int_equal(failed, 0);
    assert_int_equal(count, vectors_count);
}

/* HPKE with a point of low order, as recipient or as enc. */
static bool hpke_refuses(const uint8_t secret[32], const uint8_t peer[32])
{
    hanse_hpke *sender = NULL, *receiver = NULL;
    uint8_t enc[32];
    hanse_x25519_pair mine = {secret, NULL};
    bool both = hanse_hpke_sender_new(&sender, enc, HANSE_AEAD_AES256GCM, peer, mine, HANSE_BYTES_EMPTY, NULL) == HANSE_E_AUTH
             && hanse_hpke_receiver_new(&receiver, HANSE_AEAD_AES256GCM, mine, peer, HANSE_BYTES_EMPTY, NULL) == HANSE_E_AUTH;

    hanse_hpke_free(sender);
    hanse_hpke_free(receiver);
    return both;
}

/* private public shared. "acceptable" leaves it open: we take twists and other forms of a number, as RFC 7748 5 says, and
 * refuse points of low order, whose shared secret is zero (6.1). */
static const char *wrong_x25519(vector *v)
{
    static const uint8_t zeros[32];
    hanse_bytes secret = field(v, 0), peer = field(v, 1), want = field(v, 2);
    bool low = hanse_bytes_equal(want, (hanse_bytes){zeros, 32});
    uint8_t pub[32], got[32];

    assert_int_equal(secret.len, 32);
    assert_int_equal(peer.len, 32);
    assert_false(low && is_valid(v));
    if (hanse_x25519_public(pub, secret.data, NULL) != HANSE_OK)
        return "no public key of its secret";
    for (int known = 0; known <= 1; known++) {
        hanse_rc rc = hanse_x25519(got, (hanse_x25519_pair){secret.data, known ? pub : NULL}, peer.data, NULL);

        if (low && rc != HANSE_E_AUTH)
            return "a point of low order is taken";
        if (!low && rc != HANSE_OK)
            return "refused";
        if (!low && !hanse_bytes_equal((hanse_bytes){got, 32}, want))
            return "another shared secret";
    }
    return low && !hpke_refuses(secret.data, peer.data) ? "HPKE takes a point of low order" : NULL;
}

static void test_x25519(void **state)
{
    (void)state;
    run("x25519", 3, 164, wrong_x25519);
}

/* hanse_verify_object() without the label that it has put before the text. */
static const char label[] = "hanse1/wycheproof"; /* with its zero */

int __real_EVP_DigestVerify(EVP_MD_CTX *ctx, const unsigned char *sig, size_t sig_len, const unsigned char *text, size_t text_len);
int __wrap_EVP_DigestVerify(EVP_MD_CTX *ctx, const unsigned char *sig, size_t sig_len, const unsigned char *text, size_t text_len);

int __wrap_EVP_DigestVerify(EVP_MD_CTX *ctx, const unsigned char *sig, size_t sig_len, const unsigned char *text, size_t text_len)
{
    assert_true(text_len >= sizeof label);
    assert_memory_equal(text, label, sizeof label);
    return __real_EVP_DigestVerify(ctx, sig, sig_len, text + sizeof label, text_len - sizeof label);
}

/* message signature. Of ECDSA one is "acceptable": r or s without its leading zero, which is not DER: refused. */
static const char *wrong_signature(vector *v)
{
    hanse_bytes message = field(v, 0), sig = field(v, 1), spki = decode(&v->owned[FIELDS_MAX], v->key);
    hanse_key *key = NULL;
    hanse_rc rc;

    if (hanse_key_from_spki(&key, spki, NULL) != HANSE_OK)
        return "its public key is refused";
    rc = hanse_verify_object(key, "wycheproof", message, sig, NULL);
    hanse_key_free(key);
    if (is_valid(v))
        return rc == HANSE_OK ? NULL : "does not verify";
    return rc == HANSE_E_AUTH ? NULL : rc == HANSE_OK ? "verifies" : "refused as another error than AUTH";
}

static void test_ed25519(void **state)
{
    (void)state;
    run("ed25519", 2, 116, wrong_signature);
}

static void test_p256(void **state)
{
    (void)state;
    run("p256", 2, 305, wrong_signature);
}

/* The key and the nonce that the next HPKE context derives; NULL: its own. */
static const uint8_t *forced_key, *forced_nonce;

hanse_rc __real_hanse_hkdf_expand(uint8_t *out, size_t out_len, const uint8_t prk[32], hanse_bytes info, hanse_err *err);
hanse_rc __wrap_hanse_hkdf_expand(uint8_t *out, size_t out_len, const uint8_t prk[32], hanse_bytes info, hanse_err *err);

hanse_rc __wrap_hanse_hkdf_expand(uint8_t *out, size_t out_len, const uint8_t prk[32], hanse_bytes info, hanse_err *err)
{
    if (forced_key == NULL)
        return __real_hanse_hkdf_expand(out, out_len, prk, info, err);
    assert_true(out_len == 32 || out_len == NONCE_LEN); /* KEM's secret, from which nothing is derived here, and key; base nonce */
    memcpy(out, out_len == NONCE_LEN ? forced_nonce : forced_key, out_len);
    return HANSE_OK;
}

/* A sender and a receiver whose message 0 has this key and nonce. */
static void hpke_pair(hanse_hpke **sender, hanse_hpke **receiver, hanse_bytes key, hanse_bytes nonce)
{
    static const uint8_t e[32] = {1}, r[32] = {2};
    uint8_t enc[32], pub[32];

    assert_int_equal(key.len, 32);
    assert_int_equal(nonce.len, NONCE_LEN);
    assert_int_equal(hanse_x25519_public(pub, r, NULL), HANSE_OK);
    forced_key = key.data;
    forced_nonce = nonce.data;
    assert_int_equal(hanse_hpke_sender_new(sender, enc, HANSE_AEAD_AES256GCM, pub, (hanse_x25519_pair){e, NULL}, HANSE_BYTES_EMPTY, NULL), HANSE_OK);
    assert_int_equal(hanse_hpke_receiver_new(receiver, HANSE_AEAD_AES256GCM, (hanse_x25519_pair){r, pub}, enc, HANSE_BYTES_EMPTY, NULL), HANSE_OK);
    forced_key = forced_nonce = NULL;
}

/* key nonce aad message sealed; the message of an invalid one is what must not come out. */
static const char *wrong_gcm(vector *v)
{
    hanse_bytes key = field(v, 0), nonce = field(v, 1), aad = field(v, 2), message = field(v, 3), sealed = field(v, 4);
    uint8_t *opened = room(message.len), *closed = room(sealed.len);
    const char *what = NULL;
    hanse_hpke *sender, *receiver;
    hanse_rc rc;

    assert_int_equal(sealed.len, message.len + HANSE_HPKE_TAG_LEN);
    hpke_pair(&sender, &receiver, key, nonce);
    memset(opened, 0x55, message.len);
    rc = hanse_hpke_open(receiver, 0, aad, opened, sealed, NULL);
    if (is_valid(v)) {
        if (rc != HANSE_OK || !hanse_bytes_equal((hanse_bytes){opened, message.len}, message))
            what = "does not open";
        else if (hanse_hpke_seal(sender, 0, aad, closed, message, NULL) != HANSE_OK
                 || !hanse_bytes_equal((hanse_bytes){closed, sealed.len}, sealed))
            what = "sealed to other bytes";
    } else if (rc != HANSE_E_AUTH)
        what = "opens";
    else
        for (size_t i = 0; i < message.len; i++)
            if (opened[i] != 0)
                what = "unverified bytes are left";
    hanse_hpke_free(sender);
    hanse_hpke_free(receiver);
    hanse_free(opened);
    hanse_free(closed);
    return what;
}

static void test_gcm(void **state)
{
    (void)state;
    run("gcm", 5, 48, wrong_gcm);
}

/* ikm salt info size okm; "sha256:" and its digest for a long okm. Invalid are sizes above 255 blocks. */
static const char *wrong_hkdf(vector *v)
{
    static const char digest[] = "sha256:";
    bool digested = strncmp(v->fields[4], digest, strlen(digest)) == 0;
    hanse_bytes ikm = field(v, 0), salt = field(v, 1), info = field(v, 2);
    hanse_bytes want = decode(&v->owned[4], v->fields[4] + (digested ? strlen(digest) : 0));
    size_t size = strtoul(v->fields[3], NULL, 10);
    uint8_t prk[32], sum[32], *okm = room(size);
    hanse_bytes got = {okm, size};
    const char *what = NULL;
    hanse_rc rc;

    assert_int_equal(hanse_hkdf_extract(prk, salt, ikm, NULL), HANSE_OK);
    rc = hanse_hkdf_expand(okm, size, prk, info, NULL);
    if (rc == HANSE_OK && digested) {
        assert_int_equal(hanse_sha256(sum, got, NULL), HANSE_OK);
        got = (hanse_bytes){sum, sizeof sum};
    }
    if (!is_valid(v))
        what = rc == HANSE_E_USAGE ? NULL : "its size is taken";
    else if (rc != HANSE_OK || !hanse_bytes_equal(got, want))
        what = "another output";
    hanse_free(okm);
    return what;
}

static void test_hkdf(void **state)
{
    (void)state;
    run("hkdf", 5, 105, wrong_hkdf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_x25519), cmocka_unit_test(test_ed25519), cmocka_unit_test(test_p256),
                                       cmocka_unit_test(test_gcm), cmocka_unit_test(test_hkdf)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
