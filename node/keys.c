#include "node/keys.h"

#include "hanse/clock.h"
#include "hanse/digest.h"
#include "hanse/sealed.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

hanse_rc hanse_node_hash_path(hanse_path out, const char *dir, const char *folder, const uint8_t *hash, size_t len, const char *suffix,
                              hanse_err *err)
{
    char hex[65], name[160];

    hanse_hex_encode(hex, hash, len);
    (void)snprintf(name, sizeof name, "%s/%s%s", folder, hex, suffix);
    return hanse_path_join(out, dir, name, err);
}

static hanse_rc read_file(hanse_buf *out, const char *dir, const char *name, hanse_err *err)
{
    hanse_path path;
    hanse_rc rc = hanse_path_join(path, dir, name, err);

    if (rc == HANSE_OK)
        rc = hanse_file_read(out, path, HANSE_CRL_PEM_MAX, err);
    return rc;
}

static hanse_rc load_key(hanse_key **out, const char *dir, const char *name, const hanse_cert *cert, hanse_err *err)
{
    hanse_buf pem = HANSE_BUF_EMPTY;
    hanse_rc rc = read_file(&pem, dir, name, err);

    if (rc == HANSE_OK) {
        rc = hanse_key_from_pem(out, hanse_buf_bytes(&pem), err);
        if (rc == HANSE_OK)
            rc = hanse_cert_check_key(cert, *out, err);
        if (rc != HANSE_OK)
            hanse_err_wrap(err, "%s/%s", dir, name);
    }
    hanse_buf_wipe(&pem);
    return rc;
}

static hanse_rc load_cert(hanse_cert **out, hanse_buf *pem, const char *dir, const char *name, hanse_err *err)
{
    hanse_buf own = HANSE_BUF_EMPTY;
    hanse_rc rc = read_file(pem ? pem : &own, dir, name, err);

    if (rc == HANSE_OK) {
        rc = hanse_cert_from_pem(out, hanse_buf_bytes(pem ? pem : &own), err);
        if (rc != HANSE_OK)
            hanse_err_wrap(err, "%s/%s", dir, name);
    }
    hanse_buf_clear(&own);
    return rc;
}

hanse_rc hanse_node_keys_load(hanse_node_keys *out, const char *dir, hanse_err *err)
{
    hanse_rc rc;

    memset(out, 0, sizeof *out);
    rc = load_cert(&out->ca, &out->ca_pem, dir, HANSE_NODE_CA, err);
    if (rc == HANSE_OK)
        rc = load_cert(&out->tls_cert, &out->tls_pem, dir, HANSE_NODE_TLS_CERT, err);
    if (rc == HANSE_OK)
        rc = load_cert(&out->sign_cert, NULL, dir, HANSE_NODE_SIGN_CERT, err);
    if (rc == HANSE_OK)
        rc = load_cert(&out->coordinator, NULL, dir, HANSE_NODE_COORDINATOR, err);
    if (rc == HANSE_OK)
        rc = load_key(&out->tls, dir, HANSE_NODE_TLS_KEY, out->tls_cert, err);
    if (rc == HANSE_OK)
        rc = load_key(&out->sign, dir, HANSE_NODE_SIGN_KEY, out->sign_cert, err);
    if (rc == HANSE_E_NOTFOUND)
        rc = HANSE_FAIL(err, rc, "%s: this directory is not enrolled; run `hanse-node enrol INVITATION --dir %s`", dir, dir);
    if (rc == HANSE_OK)
        rc = hanse_cert_read(out->sign_cert, &out->info, err);
    if (rc == HANSE_OK) {
        rc = read_file(&out->crl_pem, dir, HANSE_NODE_CRL, err);
        if (rc == HANSE_OK && (rc = hanse_crl_from_pem(&out->crl, hanse_buf_bytes(&out->crl_pem), err)) != HANSE_OK)
            hanse_err_wrap(err, "%s/%s", dir, HANSE_NODE_CRL);
        else if (rc == HANSE_E_NOTFOUND)
            rc = HANSE_OK;
    }
    out->trust = (hanse_site_trust){.ca = out->ca, .coordinator = out->coordinator, .crl = out->crl};
    memcpy(out->trust.site_id, out->info.key_id, 32);
    return rc;
}

void hanse_node_keys_clear(hanse_node_keys *keys)
{
    hanse_key_free(keys->tls);
    hanse_key_free(keys->sign);
    hanse_cert_free(keys->ca);
    hanse_cert_free(keys->tls_cert);
    hanse_cert_free(keys->sign_cert);
    hanse_cert_free(keys->coordinator);
    hanse_crl_free(keys->crl);
    hanse_buf_clear(&keys->ca_pem);
    hanse_buf_clear(&keys->tls_pem);
    hanse_buf_clear(&keys->crl_pem);
    memset(keys, 0, sizeof *keys);
}

hanse_rc hanse_node_cert_check(hanse_cert **cert, hanse_bytes pem, const hanse_trust *trust, hanse_profile want, const hanse_key *key, hanse_err *err)
{
    hanse_cert_info info;
    uint8_t id[32];
    hanse_rc rc = hanse_cert_from_pem(cert, pem, err);

    if (rc == HANSE_OK)
        rc = hanse_cert_verify(*cert, trust, want, (int64_t)(hanse_clock_wall_ms() / 1000), err);
    if (rc == HANSE_OK)
        rc = hanse_cert_read(*cert, &info, err);
    if (rc == HANSE_OK && key != NULL)
        rc = hanse_key_id(key, id, err);
    if (rc == HANSE_OK && key != NULL && memcmp(id, info.key_id, 32) != 0)
        rc = HANSE_FAIL(err, HANSE_E_IDENTITY, "it is for another key than it must be");
    if (rc != HANSE_OK)
        hanse_err_wrap(err, "%s certificate from the coordinator", hanse_profile_name(want));
    return rc;
}

hanse_rc hanse_node_keys_take_crl(hanse_node_keys *keys, const char *dir, hanse_site_store *store, hanse_bytes pem, uint64_t now_ms,
                                  hanse_err *err)
{
    const int64_t now = (int64_t)(now_ms / 1000);
    hanse_crl *crl = NULL;
    hanse_trust chain;
    hanse_path path;
    hanse_rc rc = hanse_crl_from_pem(&crl, pem, err);

    if (rc == HANSE_OK)
        rc = hanse_crl_verify(crl, keys->ca, now, err);
    if (rc == HANSE_OK)
        rc = hanse_site_store_crl_seen(store, hanse_crl_number(crl), err);
    chain = (hanse_trust){.ca = keys->ca, .crl = crl};
    if (rc == HANSE_OK)
        rc = hanse_cert_verify(keys->coordinator, &chain, HANSE_PROFILE_COORDINATOR_SIGN, now, err);
    if (rc == HANSE_OK)
        rc = hanse_cert_verify(keys->sign_cert, &chain, HANSE_PROFILE_SITE_SIGN, now, err);
    if (rc != HANSE_OK) {
        hanse_crl_free(crl);
        return rc;
    }
    hanse_crl_free(keys->crl);
    keys->crl = crl;
    keys->trust.crl = crl;
    hanse_node_keys_vet(keys, now_ms);
    if (hanse_bytes_equal(pem, hanse_buf_bytes(&keys->crl_pem)))
        return HANSE_OK;
    keys->crl_pem.len = 0;
    rc = hanse_buf_append(&keys->crl_pem, pem.data, pem.len, err);
    if (rc == HANSE_OK)
        rc = hanse_path_join(path, dir, HANSE_NODE_CRL, err);
    if (rc == HANSE_OK)
        rc = hanse_file_write(path, pem, HANSE_MODE_PUBLIC, err);
    return rc;
}

void hanse_node_keys_vet(hanse_node_keys *keys, uint64_t now_ms)
{
    const hanse_trust chain = {.ca = keys->ca, .crl = keys->crl};

    keys->trust.vetted_from_ms = keys->trust.vetted_until_ms = 0;
    if (keys->crl == NULL ||
        hanse_cert_verify(keys->coordinator, &chain, HANSE_PROFILE_COORDINATOR_SIGN, (int64_t)(now_ms / 1000), NULL) != HANSE_OK)
        return; /* the next message says why */
    keys->trust.vetted_from_ms = now_ms;
    keys->trust.vetted_until_ms = now_ms + HANSE_SITE_VETTED_MS;
}

void hanse_node_link_config(hanse_link_config *link, const hanse_node_config *config, const hanse_node_keys *keys)
{
    *link = (hanse_link_config){.host = config->host, .port = config->port, .server_name = config->server_name,
                                .ca_pem = hanse_buf_bytes(&keys->ca_pem), .crl_pem = hanse_buf_bytes(&keys->crl_pem),
                                .cert_pem = hanse_buf_bytes(&keys->tls_pem), .key = keys->tls, .rate = config->rate, .wake_fd = -1};
}

/* ---- sealing ---- */

hanse_rc hanse_node_seal_make(const hanse_node_keys *keys, const char *dir, const hanse_offer *offer, const hanse_spec *spec,
                              const uint8_t spec_hash[32], hanse_site_work *work, hanse_err *err)
{
    uint8_t secret[HANSE_X25519_LEN], pub[HANSE_X25519_LEN], sig[HANSE_SIG_MAX];
    size_t sig_len = 0;
    char hex[33], name[160];
    hanse_path path;
    hanse_upload header = {.round = spec->round, .attempt = spec->attempt, .slot = spec->slot, .aux_len = work->aux.len,
                           .data_len = work->data_len};
    hanse_rc rc = hanse_x25519_keygen(secret, pub, err);

    if (rc != HANSE_OK)
        return rc;
    hanse_hex_encode(hex, offer->run, 16);
    (void)snprintf(work->key, sizeof work->key, "%s-%" PRIu64 ".key", hex, spec->slot);
    (void)snprintf(name, sizeof name, "work/%s", work->key);
    rc = hanse_path_join(path, dir, name, err);
    if (rc == HANSE_OK)
        rc = hanse_file_write(path, (hanse_bytes){secret, sizeof secret}, HANSE_MODE_SECRET, err);
    hanse_wipe(secret, sizeof secret);

    memcpy(header.run, offer->run, 16);
    memcpy(header.site_id, keys->trust.site_id, 32);
    memcpy(header.plan_hash, spec->plan_hash, 32);
    memcpy(header.model_root, spec->model_root, 32);
    memcpy(header.spec_hash, spec_hash, 32);
    memcpy(header.enc, pub, 32); /* RFC 9180, 4.1: enc is the ephemeral's public key */
    if (rc == HANSE_OK)
        rc = hanse_sha256(header.key_id, (hanse_bytes){offer->seal_key, 32}, err);
    if (rc == HANSE_OK)
        rc = hanse_upload_encode(&work->header, &header, err);
    if (rc == HANSE_OK)
        rc = hanse_sign_object(keys->sign, HANSE_UPLOAD_LABEL, hanse_buf_bytes(&work->header), sig, &sig_len, err);
    if (rc == HANSE_OK)
        rc = hanse_buf_append(&work->sig, sig, sig_len, err);
    return rc;
}
