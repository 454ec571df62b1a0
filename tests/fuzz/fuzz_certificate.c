/* First byte: which parser; rest: its input. What parses is read and verified too: nothing may crash. */
#include "hanse/identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

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
        (void)!hanse_key_from_pem(&key, input, &err);
    else
        (void)!hanse_key_from_spki(&key, input, &err);
    if (cert != NULL) {
        hanse_trust trust = {.ca = cert, .enrolling = true};
        (void)!hanse_cert_read(cert, &info, &err);
        (void)!hanse_cert_verify(cert, &trust, HANSE_PROFILE_SITE_SIGN, 1800000000, &err);
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
