#include "crypto/ctr.h"
#include "crypto/openssl_error.h"

#include <openssl/evp.h>
#include <pthread.h>

static pthread_once_t fetched = PTHREAD_ONCE_INIT;
static EVP_CIPHER *aes256;

static void fetch(void)
{
    aes256 = EVP_CIPHER_fetch(NULL, "AES-256-CTR", NULL);
}

hanse_rc hanse_ctr_key(hanse_ctr *ctr, const uint8_t key[32], hanse_err *err)
{
    static const uint8_t start[16] = {0};

    (void)pthread_once(&fetched, fetch);
    if (ctr->ctx == NULL)
        ctr->ctx = EVP_CIPHER_CTX_new();
    if (ctr->ctx == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "AES-CTR: out of memory");
    if (aes256 == NULL || EVP_EncryptInit_ex2(ctr->ctx, aes256, key, start, NULL) != 1)
        return HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "AES-CTR key");
    return HANSE_OK;
}

hanse_rc hanse_ctr_seek(hanse_ctr *ctr, uint64_t position, hanse_err *err)
{
    uint8_t counter[16] = {0}, skipped[16];

    for (int i = 0; i < 8; i++)
        counter[15 - i] = (uint8_t)(position / 16 >> (8 * i));
    if (ctr->ctx == NULL || EVP_EncryptInit_ex2(ctr->ctx, NULL, NULL, counter, NULL) != 1)
        return HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "AES-CTR position");
    return position % 16 == 0 ? HANSE_OK : hanse_ctr_next(ctr, skipped, position % 16, err);
}

hanse_rc hanse_ctr_next(hanse_ctr *ctr, uint8_t *out, size_t len, hanse_err *err)
{
    static const _Alignas(64) uint8_t zeros[HANSE_CTR_BLOCK] = {0};
    int n;

    if (ctr->ctx == NULL || len > sizeof zeros || EVP_EncryptUpdate(ctr->ctx, out, &n, zeros, (int)len) != 1)
        return HANSE_FAIL_OPENSSL(err, HANSE_E_USAGE, "AES-CTR stream");
    return HANSE_OK;
}

void hanse_ctr_clear(hanse_ctr *ctr)
{
    EVP_CIPHER_CTX_free(ctr->ctx); /* wipes the key schedule */
    ctr->ctx = NULL;
}
