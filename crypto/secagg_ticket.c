/* Tickets: secrets from a seed, shares of them for every holder, sealed. */
#include "crypto/secagg_core.h"

#include "hanse/digest.h"
#include "hanse/hpke.h"
#include "hanse/reader.h"
#include "hanse/shamir.h"

static hanse_rc derive(uint8_t *out, size_t len, const uint8_t seed[32], const char *what, uint32_t index, hanse_err *err)
{
    hanse_buf info = HANSE_BUF_EMPTY;
    hanse_writer writer = hanse_writer_to(&info);
    hanse_rc rc;

    hanse_write_str(&writer, "hanse1/ticket");
    hanse_write_str(&writer, what);
    hanse_write_u32(&writer, index);
    rc = hanse_writer_done(&writer, err);
    if (rc == HANSE_OK) /* the seed is uniform: it serves as the PRK itself */
        rc = hanse_hkdf_expand(out, len, seed, hanse_buf_bytes(&info), err);
    hanse_buf_clear(&info);
    return rc;
}

hanse_rc secagg_secrets_from(secagg_secrets *out, const uint8_t seed[32], hanse_err *err)
{
    hanse_rc rc = derive(out->nonce, 16, seed, "nonce", 0, err);

    if (rc == HANSE_OK)
        rc = derive(out->sk, 32, seed, "sk", 0, err);
    if (rc == HANSE_OK)
        rc = derive(out->b, 32, seed, "b", 0, err);
    if (rc == HANSE_OK)
        rc = derive(out->share_sk, 32, seed, "share", 0, err);
    return rc;
}

hanse_rc secagg_commit(uint8_t out[32], const char *label, const uint8_t secret[32], hanse_err *err)
{
    uint8_t text[64];
    size_t len = strlen(label);
    hanse_rc rc;

    memcpy(text, label, len);
    memcpy(text + len, secret, 32);
    rc = hanse_sha256(out, (hanse_bytes){text, len + 32}, err);
    hanse_wipe(text, sizeof text);
    return rc;
}

/* Who, to whom, for which ticket: HPKE's info, so that each pair of shares has a key of its own. */
static hanse_rc share_info(uint8_t info[44], const hanse_secagg_ticket *ticket, const uint8_t holder_id[32], uint32_t holder,
                           hanse_err *err)
{
    hanse_buf text = HANSE_BUF_EMPTY;
    hanse_writer writer = hanse_writer_to(&text);
    hanse_rc rc;

    hanse_write_raw(&writer, ticket->run, 16);
    hanse_write_u64(&writer, ticket->slot);
    hanse_write_raw(&writer, ticket->nonce, 16);
    hanse_write_raw(&writer, ticket->site_id, 32);
    hanse_write_raw(&writer, holder_id, 32);
    hanse_write_u32(&writer, holder + 1); /* x */
    rc = hanse_writer_done(&writer, err);
    memcpy(info, "hanse1/share", 12);
    if (rc == HANSE_OK)
        rc = hanse_sha256(info + 12, hanse_buf_bytes(&text), err);
    hanse_buf_clear(&text);
    return rc;
}

static hanse_rc seal_one(uint8_t ct[HANSE_SECAGG_CT_LEN], const hanse_secagg_ticket *ticket, uint32_t holder, const hanse_secagg_epoch *epoch,
                         const uint8_t share_sk[32], const uint8_t plain[64], hanse_err *err)
{
    uint8_t info[44], enc[32];
    hanse_hpke *ctx = NULL;
    hanse_rc rc = share_info(info, ticket, epoch->site_id, holder, err);

    if (rc == HANSE_OK) {
        rc = hanse_hpke_sender_new(&ctx, enc, HANSE_AEAD_AES256GCM, epoch->pub, (hanse_x25519_pair){share_sk, ticket->share_pub}, (hanse_bytes){info, sizeof info}, err);
        if (rc == HANSE_E_AUTH)
            rc = HANSE_SECAGG_FAIL(err, LOWORDER, "epoch key of member %u is of low order", holder);
    }
    if (rc == HANSE_OK)
        rc = hanse_hpke_seal(ctx, 0, (hanse_bytes){info, sizeof info}, ct + 4, (hanse_bytes){plain, 64}, err);
    for (int i = 0; i < 4; i++)
        ct[i] = (uint8_t)(epoch->epoch >> (24 - 8 * i));
    hanse_hpke_free(ctx);
    return rc;
}

uint32_t secagg_share_epoch(hanse_bytes ct)
{
    hanse_reader reader = hanse_reader_of(ct);

    return hanse_read_u32(&reader); /* 0 where there are no bytes */
}

hanse_rc secagg_share_open(uint8_t shares[2][32], const hanse_secagg_ticket *ticket, const uint8_t holder_id[32],
                           uint32_t holder, hanse_x25519_pair epoch, hanse_bytes ct, hanse_err *err)
{
    uint8_t info[44], plain[64];
    hanse_hpke *ctx = NULL;
    hanse_rc rc = share_info(info, ticket, holder_id, holder, err);

    if (rc == HANSE_OK)
        rc = hanse_hpke_receiver_new(&ctx, HANSE_AEAD_AES256GCM, epoch, ticket->share_pub,
                                     (hanse_bytes){info, sizeof info}, err);
    if (rc == HANSE_OK && ct.len != HANSE_SECAGG_CT_LEN)
        rc = HANSE_E_AUTH;
    if (rc == HANSE_OK)
        rc = hanse_hpke_open(ctx, 0, (hanse_bytes){info, sizeof info}, plain, (hanse_bytes){ct.data + 4, ct.len - 4}, err);
    if (rc == HANSE_E_AUTH)
        rc = HANSE_SECAGG_FAIL(err, SHARE_AUTH, "sealed share of slot %llu for member %u does not open",
                               (unsigned long long)ticket->slot, holder);
    if (rc == HANSE_OK)
        memcpy(shares, plain, 64);
    hanse_wipe(plain, sizeof plain);
    hanse_hpke_free(ctx);
    return rc;
}

/* shares [n][32] of one secret; its polynomial comes from the seed too. */
static hanse_rc share_secret(uint8_t (*shares)[32], const uint8_t secret[32], const char *what, uint32_t n, uint32_t t,
                             const uint8_t seed[32], hanse_err *err)
{
    uint8_t (*coefficients)[32] = hanse_calloc(t, sizeof *coefficients);
    uint16_t *x = hanse_calloc(n, sizeof *x);
    hanse_rc rc = HANSE_OK;

    if (coefficients == NULL || x == NULL)
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for %u shares", n);
    for (uint32_t i = 0; rc == HANSE_OK && i < n; i++)
        x[i] = (uint16_t)(i + 1);
    for (uint32_t i = 0; rc == HANSE_OK && i + 1 < t; i++)
        rc = derive(coefficients[i], 32, seed, what, i, err);
    if (rc == HANSE_OK)
        rc = hanse_shamir_share(shares, secret, (const uint8_t (*)[32])coefficients, x, n, t, err);
    if (coefficients != NULL)
        hanse_wipe(coefficients, t * sizeof *coefficients);
    hanse_free(coefficients);
    hanse_free(x);
    return rc;
}

static hanse_rc seal_all(const hanse_secagg_ticket *ticket, hanse_buf *cts, const hanse_secagg_epoch *const *epochs, uint32_t t,
                         const secagg_secrets *secrets, const uint8_t seed[32], hanse_err *err)
{
    uint32_t n = ticket->holders;
    uint8_t (*shares)[32] = hanse_calloc(2 * (size_t)n, sizeof *shares);
    uint8_t plain[64], ct[HANSE_SECAGG_CT_LEN];
    hanse_rc rc;

    if (shares == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for %u shares", n);
    rc = share_secret(shares, secrets->sk, "coefficient of sk", n, t, seed, err);
    if (rc == HANSE_OK)
        rc = share_secret(shares + n, secrets->b, "coefficient of b", n, t, seed, err);
    for (uint32_t h = 0; rc == HANSE_OK && h < n; h++) {
        memset(ct, 0, sizeof ct);
        memcpy(plain, shares[h], 32);
        memcpy(plain + 32, shares[n + h], 32);
        if (epochs[h] != NULL)
            rc = seal_one(ct, ticket, h, epochs[h], secrets->share_sk, plain, err);
        if (rc == HANSE_OK)
            rc = hanse_buf_append(cts, ct, sizeof ct, err);
    }
    hanse_wipe(plain, sizeof plain);
    hanse_wipe(shares, 2 * (size_t)n * sizeof *shares);
    hanse_free(shares);
    return rc;
}

hanse_rc secagg_ticket_make(hanse_secagg_ticket *ticket, hanse_buf *cts, const hanse_secagg_roster *roster, uint32_t self,
                            const hanse_secagg_epoch *const *epochs, uint32_t t, const uint8_t seed[32], hanse_err *err)
{
    secagg_secrets secrets;
    hanse_rc rc = secagg_secrets_from(&secrets, seed, err);

    ticket->holders = hanse_secagg_roster_count(roster);
    memcpy(ticket->site_id, hanse_secagg_roster_id(roster, self), 32);
    memcpy(ticket->roster_hash, hanse_secagg_roster_hash(roster), 32);
    if (rc == HANSE_OK) {
        memcpy(ticket->nonce, secrets.nonce, 16);
        rc = hanse_x25519_public(ticket->pk, secrets.sk, err);
    }
    if (rc == HANSE_OK)
        rc = hanse_x25519_public(ticket->share_pub, secrets.share_sk, err);
    if (rc == HANSE_OK)
        rc = secagg_commit(ticket->c_sk, "hanse1/csk", secrets.sk, err);
    if (rc == HANSE_OK)
        rc = secagg_commit(ticket->c_b, "hanse1/cb", secrets.b, err);
    if (rc == HANSE_OK)
        rc = seal_all(ticket, cts, epochs, t, &secrets, seed, err);
    if (rc == HANSE_OK)
        rc = hanse_secagg_hash(ticket->cts_hash, "shares", hanse_buf_bytes(cts), err);
    hanse_wipe(&secrets, sizeof secrets);
    return rc;
}
