#include "node/outgoing.h"

#include "hanse/digest.h"
#include "hanse/masking.h"
#include "hanse/sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRAIN_AGAIN "this round goes on without this site, the next one with it"

/* Its last byte is at `end`. */
static hanse_rc open_file(hanse_node_outgoing *out, const char *dir, const char *file, uint64_t end, hanse_err *err)
{
    char name[160];
    struct stat info;
    hanse_rc rc;

    (void)snprintf(name, sizeof name, "work/%s", file);
    rc = hanse_path_join(out->path, dir, name, err);
    if (rc != HANSE_OK)
        return rc;
    out->fd = open(out->path, O_RDONLY | O_CLOEXEC);
    if (out->fd < 0 && errno == ENOENT)
        return HANSE_FAIL(err, HANSE_E_CORRUPT, "%s is gone: " TRAIN_AGAIN, out->path);
    if (out->fd < 0 || fstat(out->fd, &info) != 0)
        return HANSE_FAIL_ERRNO(err, "%s", out->path);
    if ((uint64_t)info.st_size < end)
        return HANSE_FAIL(err, HANSE_E_CORRUPT, "%s is damaged, %jd bytes instead of %ju: " TRAIN_AGAIN, out->path, (intmax_t)info.st_size,
                          (uintmax_t)end);
    return HANSE_OK;
}

static hanse_rc open_masked(hanse_node_outgoing *out, const char *dir, const hanse_site_work *work, hanse_err *err)
{
    hanse_secagg_spec spec;
    hanse_rc rc = hanse_secagg_spec_decode(&spec, hanse_buf_bytes(&work->masks), err);

    if (rc != HANSE_OK)
        return rc;
    rc = hanse_masking_offsets(&out->offsets, &out->chunks, &spec, err);
    hanse_secagg_spec_clear(&spec);
    return rc == HANSE_OK ? open_file(out, dir, work->trained, out->offsets[out->chunks], err) : rc;
}

static hanse_rc open_sealed(hanse_node_outgoing *out, const char *dir, const hanse_offer *offer, const hanse_site_work *work, hanse_err *err)
{
    hanse_buf secret = HANSE_BUF_EMPTY;
    uint8_t enc[HANSE_X25519_LEN];
    char name[160];
    hanse_path path;
    hanse_rc rc = hanse_upload_decode(&out->header, hanse_buf_bytes(&work->header), err);

    if (rc == HANSE_OK)
        rc = hanse_sha256(out->header_hash, hanse_buf_bytes(&work->header), err);
    (void)snprintf(name, sizeof name, "work/%s", work->key);
    if (rc == HANSE_OK)
        rc = hanse_path_join(path, dir, name, err);
    if (rc == HANSE_OK)
        rc = hanse_file_read(&secret, path, HANSE_X25519_LEN, err);
    if (rc == HANSE_E_NOTFOUND)
        rc = HANSE_FAIL(err, HANSE_E_CORRUPT, "%s is gone: " TRAIN_AGAIN, path);
    if (rc == HANSE_OK && secret.len != HANSE_X25519_LEN)
        rc = HANSE_FAIL(err, HANSE_E_CORRUPT, "%s: %zu bytes, want %d", path, secret.len, HANSE_X25519_LEN);
    if (rc == HANSE_OK)
        rc = hanse_hpke_sender_new(&out->hpke, enc, HANSE_AEAD_AES256GCM, offer->seal_key, (hanse_x25519_pair){secret.data, NULL}, hanse_bytes_str(HANSE_SEALED_INFO), err);
    hanse_buf_wipe(&secret);
    if (rc == HANSE_OK && memcmp(enc, out->header.enc, 32) != 0)
        rc = HANSE_FAIL(err, HANSE_E_CORRUPT, "%s: not the key of the stored contribution", path);
    out->chunks = hanse_upload_chunks(&out->header);
    return rc != HANSE_OK || work->data_len == 0 ? rc : open_file(out, dir, work->trained, work->data_offset + work->data_len, err);
}

hanse_rc hanse_node_outgoing_open(hanse_node_outgoing *out, const char *dir, const hanse_offer *offer, const hanse_site_work *work, hanse_err *err)
{
    *out = (hanse_node_outgoing){.fd = -1};
    return work->masks.len > 0 ? open_masked(out, dir, work, err) : open_sealed(out, dir, offer, work, err);
}

hanse_rc hanse_node_outgoing_check(const hanse_node_outgoing *outgoing, const hanse_site_work *work, uint8_t *room, hanse_err *err)
{
    hanse_secagg_upload header;
    uint8_t (*leaves)[32] = NULL, root[32];
    hanse_rc rc;

    if (outgoing->offsets == NULL)
        return HANSE_OK;
    rc = hanse_secagg_upload_decode(&header, hanse_buf_bytes(&work->header), err);
    if (rc == HANSE_OK && (leaves = hanse_calloc((size_t)outgoing->chunks, sizeof *leaves)) == NULL)
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "no memory to check %s", outgoing->path);
    for (uint64_t i = 0; rc == HANSE_OK && i < outgoing->chunks; i++) {
        const size_t len = (size_t)(outgoing->offsets[i + 1] - outgoing->offsets[i]);

        rc = hanse_fd_read_at(outgoing->fd, room, len, outgoing->offsets[i], outgoing->path, err);
        if (rc == HANSE_OK)
            rc = hanse_secagg_leaf(leaves[i], (hanse_bytes){room, len}, err);
    }
    if (rc == HANSE_OK)
        rc = hanse_secagg_merkle(root, leaves, (size_t)outgoing->chunks, err);
    if (rc == HANSE_OK && memcmp(root, header.root, sizeof root) != 0)
        rc = HANSE_FAIL(err, HANSE_E_CORRUPT, "%s is damaged, other bytes than were signed: " TRAIN_AGAIN, outgoing->path);
    hanse_free(leaves);
    return rc;
}

hanse_rc hanse_node_outgoing_chunk(hanse_node_outgoing *outgoing, const hanse_site_work *work, uint64_t index, uint8_t *out, size_t *len, hanse_err *err)
{
    uint8_t aad[HANSE_SEALED_AAD_LEN];
    hanse_rc rc = HANSE_OK;
    size_t plain;

    if (outgoing->offsets != NULL) {
        *len = (size_t)(outgoing->offsets[index + 1] - outgoing->offsets[index]);
        return hanse_fd_read_at(outgoing->fd, out, *len, outgoing->offsets[index], outgoing->path, err);
    }
    plain = hanse_upload_chunk_len(&outgoing->header, index);
    if (index == 0)
        memcpy(out, work->aux.data, plain);
    else
        rc = hanse_fd_read_at(outgoing->fd, out, plain, work->data_offset + (index - 1) * HANSE_CHUNK_LEN, outgoing->path, err);
    if (rc != HANSE_OK)
        return rc;
    hanse_sealed_aad(aad, outgoing->header_hash, index, index + 1 == outgoing->chunks);
    rc = hanse_hpke_seal(outgoing->hpke, index, (hanse_bytes){aad, sizeof aad}, out, (hanse_bytes){out, plain}, err);
    *len = plain + HANSE_HPKE_TAG_LEN;
    return rc;
}

void hanse_node_outgoing_close(hanse_node_outgoing *outgoing)
{
    hanse_hpke_free(outgoing->hpke);
    hanse_free(outgoing->offsets);
    if (outgoing->fd >= 0)
        (void)close(outgoing->fd);
    *outgoing = (hanse_node_outgoing){.fd = -1};
}
