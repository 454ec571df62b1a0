#include "coordinator/server/spool.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define TAG_LEN 16
#define HEADER_ROOM 8192 /* u32 lengths, header (<= 4 KiB), signature; chunks begin here, on a page */

hanse_rc hanse_spool_path(hanse_path out, const char *dir, const hanse_upload *upload, hanse_err *err)
{
    char run[33], site[65], name[160];

    hanse_hex_encode(run, upload->run, sizeof upload->run);
    hanse_hex_encode(site, upload->site_id, sizeof upload->site_id);
    (void)snprintf(name, sizeof name, "spool/%s-%" PRIu64 "-%s", run, upload->slot, site);
    return hanse_path_join(out, dir, name, err);
}

size_t hanse_spool_chunk_len(const hanse_spool *spool, uint64_t index)
{
    return hanse_upload_chunk_len(&spool->upload, index) + TAG_LEN;
}

static uint64_t chunk_offset(const hanse_upload *upload, uint64_t index)
{
    return HEADER_ROOM + (index == 0 ? 0 : upload->aux_len + TAG_LEN + (index - 1) * (HANSE_CHUNK_LEN + TAG_LEN));
}

uint64_t hanse_spool_size(const hanse_upload *upload)
{
    return HEADER_ROOM + upload->aux_len + upload->data_len + TAG_LEN * hanse_upload_chunks(upload);
}

/* How many whole chunks a file of `size` bytes holds. */
static uint64_t chunks_held(const hanse_upload *upload, uint64_t size)
{
    uint64_t chunks = hanse_upload_chunks(upload), held = 0;

    if (size >= hanse_spool_size(upload))
        return chunks;
    if (size >= chunk_offset(upload, 1))
        held = 1 + (size - chunk_offset(upload, 1)) / (HANSE_CHUNK_LEN + TAG_LEN);
    return held < chunks ? held : chunks - 1;
}

static hanse_rc write_header(const hanse_spool *spool, hanse_err *err)
{
    uint8_t page[HEADER_ROOM] = {0};

    hanse_store_u32le(page, (uint32_t)spool->header.len);
    memcpy(page + 4, spool->header.data, spool->header.len);
    hanse_store_u32le(page + 4 + spool->header.len, (uint32_t)spool->sig.len);
    memcpy(page + 8 + spool->header.len, spool->sig.data, spool->sig.len);
    return hanse_fd_write_at(spool->fd, page, sizeof page, 0, spool->path, err);
}

static bool has_same_header(const hanse_spool *spool)
{
    uint8_t page[HEADER_ROOM];

    if (hanse_fd_read_at(spool->fd, page, sizeof page, 0, spool->path, NULL) != HANSE_OK)
        return false;
    return hanse_load_u32le(page) == spool->header.len && memcmp(page + 4, spool->header.data, spool->header.len) == 0;
}

hanse_rc hanse_spool_open(hanse_spool *spool, const char *dir, hanse_bytes header, hanse_bytes sig, hanse_err *err)
{
    struct stat st;
    hanse_rc rc;

    *spool = HANSE_SPOOL_CLOSED;
    if (header.len + sig.len + 8 > HEADER_ROOM)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "an upload header of %zu bytes", header.len);
    rc = hanse_upload_decode(&spool->upload, header, err);
    if (rc == HANSE_OK)
        rc = hanse_object_hash(spool->upload_hash, header, err);
    if (rc == HANSE_OK)
        rc = hanse_buf_append(&spool->header, header.data, header.len, err);
    if (rc == HANSE_OK)
        rc = hanse_buf_append(&spool->sig, sig.data, sig.len, err);
    if (rc == HANSE_OK)
        rc = hanse_spool_path(spool->path, dir, &spool->upload, err);
    if (rc != HANSE_OK)
        goto done;
    spool->chunks = hanse_upload_chunks(&spool->upload);
    spool->fd = open(spool->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (spool->fd < 0 || fstat(spool->fd, &st) != 0) {
        rc = HANSE_FAIL_ERRNO(err, "%s", spool->path);
        goto done;
    }
    if (has_same_header(spool)) {
        spool->held = chunks_held(&spool->upload, (uint64_t)st.st_size);
    } else if (ftruncate(spool->fd, 0) != 0) {
        rc = HANSE_FAIL_ERRNO(err, "%s", spool->path);
    } else {
        rc = write_header(spool, err);
    }

done:
    if (rc != HANSE_OK)
        hanse_spool_close(spool);
    return rc;
}

hanse_rc hanse_spool_put(hanse_spool *spool, uint64_t index, size_t offset, hanse_bytes piece, hanse_err *err)
{
    bool whole = offset + piece.len == hanse_spool_chunk_len(spool, index);
    hanse_rc rc = hanse_gather_put(&spool->gather, spool->fd, chunk_offset(&spool->upload, index) + offset, piece, spool->path, err);

    if (rc == HANSE_OK && whole)
        rc = hanse_gather_flush(&spool->gather, spool->fd, spool->path, err);
    if (rc == HANSE_OK && whole && index + 1 == spool->chunks)
        hanse_gather_clear(&spool->gather);
    return rc;
}

hanse_rc hanse_spool_get(const hanse_spool *spool, uint64_t index, uint8_t *out, hanse_err *err)
{
    return hanse_fd_read_at(spool->fd, out, hanse_spool_chunk_len(spool, index), chunk_offset(&spool->upload, index), spool->path,
                            err);
}

hanse_rc hanse_spool_sync(const hanse_spool *spool, hanse_err *err)
{
    if (fsync(spool->fd) != 0)
        return HANSE_FAIL_ERRNO(err, "%s", spool->path);
    return hanse_file_sync_parent(spool->path, err);
}

void hanse_spool_close(hanse_spool *spool)
{
    if (spool->fd >= 0)
        (void)close(spool->fd);
    spool->fd = -1;
    hanse_gather_clear(&spool->gather);
    hanse_buf_clear(&spool->header);
    hanse_buf_clear(&spool->sig);
}

void hanse_spool_remove(hanse_spool *spool)
{
    if (spool->fd >= 0)
        (void)unlink(spool->path);
    hanse_spool_close(spool);
}
