/* First byte: which parser; rest: its input. What parses is read and verified too: nothing may crash.
 * Private keys stand in the corpus as DER ('k') and are wrapped here: the mutations then hit the key and not its base64.
 * They are the published test keys of RFC 8032 7.1 and RFC 6979 A.2.5. */
#include "hanse/identity.h"

#include <openssl/pem.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void key_from_der(hanse_key **key, hanse_bytes der, hanse_err *err)
{
    BIO *pem = BIO_new(BIO_s_mem());
    BUF_MEM *text;

    if (pem != NULL && PEM_write_bio(pem, "PRIVATE KEY", "", der.data, (long)der.len) > 0 && BIO_get_mem_ptr(pem, &text) == 1)
        (void)!hanse_key_from_pem(key, (hanse_bytes){(uint8_t *)text->data, text->length}, err);
    BIO_free(pem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    hanse_bytes input = {data + 1, len - 1};
    hanse_cert_info info;
    hanse_cert *cert = NULL;
    hanse_crl *crl = NULL;
    hanse_key *key = NULL;
    uint8_t id[32];
    hanse_err err;

    if (len < 2)
        return 0;
    if (data[0] == 'c')
        (void)!hanse_cert_from_der(&cert, input, &err);
    else if (data[0] == 'p')
        (void)!hanse_cert_from_pem(&cert, input, &err);
    else if (data[0] == 'r')
        (void)!hanse_csr_key_id(input, id, &err);
    else if (data[0] == 'l')
        (void)!hanse_crl_from_pem(&crl, input, &err);
    else if (data[0] == 'k')
        key_from_der(&key, input, &err);
    else if (data[0] == 'q')
        (void)!hanse_key_from_pem(&key, input, &err);
    else
        (void)!hanse_key_from_spki(&key, input, &err);
    if (cert != NULL) {
        hanse_trust trust = {.ca = cert, .enrolling = true};
        (void)!hanse_cert_read(cert, &info, &err);
        (void)!hanse_cert_verify(cert, &trust, HANSE_PROFILE_SITE_SIGN, 1800000000, &err);
    }
    if (key != NULL) {
        hanse_key_kind kind;
        (void)!hanse_key_check(key, &kind, &err);
        (void)!hanse_key_id(key, id, &err);
    }
    if (crl != NULL) {
        (void)hanse_crl_number(crl);
        (void)hanse_crl_next_update(crl);
        (void)hanse_crl_has(crl, (const uint8_t[HANSE_SERIAL_LEN]){0});
    }
    hanse_cert_free(cert);
    hanse_crl_free(crl);
    hanse_key_free(key);
    return 0;
}
