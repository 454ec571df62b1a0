#include "coordinator/server/spool.h"

#include "hanse/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER_ROOM 8192 /* u32 lengths, header (<= 4 KiB), signature; chunks begin here, on a page */

static hanse_rc make_path(hanse_path out, const char *dir, const hanse_spool_shape *shape, hanse_err *err)
{
    char run[33], site[65], name[160];

    hanse_hex_encode(run, shape->run, sizeof shape->run);
    hanse_hex_encode(site, shape->site_id, sizeof shape->site_id);
    (void)snprintf(name, sizeof name, "spool/%s-%" PRIu64 "-%s", run, shape->slot, site);
    return hanse_path_join(out, dir, name, err);
}

size_t hanse_spool_chunk_len(const hanse_spool *spool, uint64_t index)
{
    return (size_t)(spool->shape.offsets[index + 1] - spool->shape.offsets[index]);
}

uint64_t hanse_spool_shape_size(const hanse_spool_shape *shape)
{
    return HEADER_ROOM + shape->offsets[shape->chunks];
}

uint64_t hanse_spool_size(const hanse_spool *spool)
{
    return spool->fd >= 0 ? hanse_spool_shape_size(&spool->shape) : 0;
}

/* How many whole chunks a file of `size` bytes holds. */
static uint64_t chunks_held(const hanse_spool_shape *shape, uint64_t size)
{
    uint64_t low = 0, high = shape->chunks; /* the largest i with offsets[i] <= size - HEADER_ROOM */

    while (low < high) {
        uint64_t middle = high - (high - low) / 2;

        if (HEADER_ROOM + shape->offsets[middle] <= size)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
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

/* A file that cannot be read is not one with another header: what it holds may be all there is of a contribution. */
static hanse_rc has_same_header(const hanse_spool *spool, bool *same, hanse_err *err)
{
    uint8_t page[HEADER_ROOM];
    hanse_rc rc = hanse_fd_read_at(spool->fd, page, sizeof page, 0, spool->path, err);

    *same = rc == HANSE_OK && hanse_load_u32le(page) == spool->header.len && memcmp(page + 4, spool->header.data, spool->header.len) == 0;
    return rc == HANSE_E_CORRUPT ? HANSE_OK : rc; /* it ends before: new, or broken off */
}

/* `again`: of a contribution that was acknowledged; the file is there and whole, or it is damaged. */
static hanse_rc open_file(hanse_spool *spool, bool again, hanse_err *err)
{
    struct stat st;
    bool same = false;
    hanse_rc rc;

    spool->fd = open(spool->path, O_RDWR | O_CLOEXEC | (again ? 0 : O_CREAT), 0600);
    if (spool->fd < 0 && again && errno == ENOENT)
        return HANSE_FAIL(err, HANSE_E_CORRUPT, "%s is gone", spool->path);
    if (spool->fd < 0 || fstat(spool->fd, &st) != 0)
        return HANSE_FAIL_ERRNO(err, "%s", spool->path);
    rc = has_same_header(spool, &same, err);
    if (rc != HANSE_OK)
        return rc;
    spool->held = same ? chunks_held(&spool->shape, (uint64_t)st.st_size) : 0;
    if (again && spool->held < spool->shape.chunks)
        return HANSE_FAIL(err, HANSE_E_CORRUPT, "%s is damaged: %jd bytes, want %ju that begin with the site's header", spool->path,
                          (intmax_t)st.st_size, (uintmax_t)hanse_spool_shape_size(&spool->shape));
    if (same)
        return HANSE_OK;
    if (ftruncate(spool->fd, 0) != 0)
        return HANSE_FAIL_ERRNO(err, "%s", spool->path);
    return write_header(spool, err);
}

static hanse_rc open_spool(hanse_spool *spool, const char *dir, const hanse_spool_shape *shape, hanse_bytes header, hanse_bytes sig, bool again,
                           hanse_err *err)
{
    hanse_rc rc = HANSE_OK;

    *spool = HANSE_SPOOL_CLOSED;
    spool->shape = *shape;
    if (header.len + sig.len + 8 > HEADER_ROOM)
        rc = HANSE_FAIL(err, HANSE_E_PROTOCOL, "an upload header of %zu bytes", header.len);
    if (rc == HANSE_OK)
        rc = hanse_sha256(spool->header_hash, header, err);
    if (rc == HANSE_OK)
        rc = hanse_buf_append(&spool->header, header.data, header.len, err);
    if (rc == HANSE_OK)
        rc = hanse_buf_append(&spool->sig, sig.data, sig.len, err);
    if (rc == HANSE_OK)
        rc = make_path(spool->path, dir, shape, err);
    if (rc == HANSE_OK)
        rc = open_file(spool, again, err);
    if (rc != HANSE_OK)
        hanse_spool_close(spool);
    return rc;
}

hanse_rc hanse_spool_open(hanse_spool *spool, const char *dir, const hanse_spool_shape *shape, hanse_bytes header, hanse_bytes sig,
                          hanse_err *err)
{
    return open_spool(spool, dir, shape, header, sig, false, err);
}

hanse_rc hanse_spool_reopen(hanse_spool *spool, const char *dir, const hanse_spool_shape *shape, hanse_bytes header, hanse_bytes sig,
                            hanse_err *err)
{
    return open_spool(spool, dir, shape, header, sig, true, err);
}

hanse_rc hanse_spool_share(hanse_spool *out, const hanse_spool *spool, hanse_err *err)
{
    const size_t count = (size_t)spool->shape.chunks + 1;

    *out = HANSE_SPOOL_CLOSED;
    memcpy(out->path, spool->path, sizeof out->path);
    memcpy(out->header_hash, spool->header_hash, sizeof out->header_hash);
    out->shape = spool->shape;
    out->held = spool->held;
    out->shape.offsets = hanse_calloc(count, sizeof *out->shape.offsets);
    if (out->shape.offsets == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for the offsets of %zu chunks", count);
    memcpy(out->shape.offsets, spool->shape.offsets, count * sizeof *out->shape.offsets);
    out->fd = fcntl(spool->fd, F_DUPFD_CLOEXEC, 0);
    if (out->fd >= 0)
        return HANSE_OK;
    hanse_spool_close(out);
    return HANSE_FAIL_ERRNO(err, "%s", spool->path);
}

hanse_rc hanse_spool_put(hanse_spool *spool, uint64_t index, size_t offset, hanse_bytes piece, hanse_err *err)
{
    bool whole = offset + piece.len == hanse_spool_chunk_len(spool, index);
    hanse_rc rc = hanse_gather_put(&spool->gather, spool->fd, HEADER_ROOM + spool->shape.offsets[index] + offset, piece, spool->path, err);

    if (rc == HANSE_OK && whole)
        rc = hanse_gather_flush(&spool->gather, spool->fd, spool->path, err);
    if (rc == HANSE_OK && whole && index + 1 == spool->shape.chunks)
        hanse_gather_clear(&spool->gather);
    return rc;
}

hanse_rc hanse_spool_read(const hanse_spool *spool, uint64_t at, uint8_t *out, size_t len, hanse_err *err)
{
    return hanse_fd_read_at(spool->fd, out, len, HEADER_ROOM + at, spool->path, err);
}

hanse_rc hanse_spool_get(const hanse_spool *spool, uint64_t index, uint8_t *out, hanse_err *err)
{
    return hanse_spool_read(spool, spool->shape.offsets[index], out, hanse_spool_chunk_len(spool, index), err);
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
    hanse_free(spool->shape.offsets);
    spool->shape.offsets = NULL;
}

void hanse_spool_remove(hanse_spool *spool)
{
    if (spool->fd >= 0)
        (void)unlink(spool->path);
    hanse_spool_close(spool);
}
