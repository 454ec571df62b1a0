#include "node/fetch.h"

#include "hanse/model_root.h"
#include "node/keys.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* Digests of the whole chunks that an earlier try left; what follows them is written again. */
static hanse_rc count_held(hanse_node_fetch *fetch, hanse_err *err)
{
    struct stat status;
    uint8_t *chunk = hanse_malloc(1, HANSE_MODEL_CHUNK), digest[32];
    hanse_rc rc = HANSE_OK;

    if (chunk == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "chunk");
    if (fstat(fetch->fd, &status) != 0)
        rc = HANSE_FAIL_ERRNO(err, "%s", fetch->part);
    while (rc == HANSE_OK && (fetch->next + 1) * HANSE_MODEL_CHUNK <= (uint64_t)status.st_size) {
        rc = hanse_fd_read_at(fetch->fd, chunk, HANSE_MODEL_CHUNK, fetch->next * HANSE_MODEL_CHUNK, fetch->part, err);
        if (rc == HANSE_OK)
            rc = hanse_sha256(digest, (hanse_bytes){chunk, HANSE_MODEL_CHUNK}, err);
        if (rc == HANSE_OK)
            rc = hanse_buf_append(&fetch->digests, digest, 32, err);
        if (rc == HANSE_OK)
            fetch->next++;
    }
    if (fetch->next > 0) { /* the last one comes again, so that something always comes */
        fetch->next--;
        fetch->digests.len -= 32;
    }
    hanse_free(chunk);
    return rc;
}

hanse_rc hanse_node_fetch_begin(hanse_node_fetch *fetch, const char *dir, const uint8_t root[32], uint64_t size_max, bool *held,
                                hanse_err *err)
{
    hanse_rc rc;

    hanse_node_fetch_stop(fetch);
    memcpy(fetch->root, root, 32);
    fetch->size_max = size_max;
    *held = false;
    rc = hanse_node_hash_path(fetch->path, dir, "work", root, 32, ".safetensors", err);
    if (rc == HANSE_OK)
        rc = hanse_node_hash_path(fetch->part, dir, "work", root, 32, ".part", err);
    if (rc != HANSE_OK)
        return rc;
    if (hanse_file_exists(fetch->path) && hanse_model_root_check(root, fetch->path, NULL) == HANSE_OK) {
        *held = true;
        return HANSE_OK;
    }
    fetch->fd = open(fetch->part, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fetch->fd < 0)
        return HANSE_FAIL_ERRNO(err, "%s", fetch->part);
    fetch->active = true;
    return count_held(fetch, err);
}

hanse_rc hanse_node_fetch_announced(hanse_node_fetch *fetch, const hanse_msg_model *model, hanse_err *err)
{
    if (!fetch->active) { /* the round ended while FETCH was on its way */
        fetch->over = model->transfer;
        return HANSE_OK;
    }
    if (model->size == 0 || model->size > fetch->size_max || model->chunks != hanse_model_chunks(model->size) || model->chunks < fetch->next)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "MODEL of %" PRIu64 " bytes in %" PRIu64 " chunks, at most %" PRIu64 " bytes were named",
                          model->size, model->chunks, fetch->size_max);
    fetch->size = model->size;
    fetch->chunks = model->chunks;
    fetch->transfer = model->transfer;
    fetch->announced = true;
    return HANSE_OK;
}

hanse_rc hanse_node_fetch_head(hanse_node_fetch *fetch, const hanse_msg_chunk *chunk, hanse_err *err)
{
    uint64_t left = fetch->size - fetch->next * HANSE_MODEL_CHUNK;
    size_t want = left < HANSE_MODEL_CHUNK ? (size_t)left : HANSE_MODEL_CHUNK;

    fetch->dropping = chunk->transfer <= fetch->over;
    if (fetch->dropping)
        return HANSE_OK;
    if (!fetch->active || !fetch->announced || chunk->transfer != fetch->transfer)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "CHUNK of a transfer that this site did not ask for");
    if (chunk->index != fetch->next || chunk->index >= fetch->chunks || chunk->payload.len != want || chunk->digest.len != 32)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "CHUNK %" PRIu64 " of %zu bytes, want %" PRIu64 " of %zu", chunk->index,
                          chunk->payload.len, fetch->next, want);
    return hanse_sha256_init(&fetch->sha, err);
}

hanse_rc hanse_node_fetch_data(hanse_node_fetch *fetch, size_t offset, hanse_bytes piece, hanse_err *err)
{
    hanse_rc rc;

    if (!fetch->active || fetch->dropping)
        return HANSE_OK; /* given up before or within the chunk */
    rc = hanse_sha256_update(&fetch->sha, piece, err);
    if (rc == HANSE_OK)
        rc = hanse_gather_put(&fetch->gather, fetch->fd, fetch->next * HANSE_MODEL_CHUNK + offset, piece, fetch->part, err);
    return rc;
}

/* All chunks are here: the root decides. */
static hanse_rc finish(hanse_node_fetch *fetch, hanse_err *err)
{
    uint8_t root[32];
    hanse_rc rc = hanse_model_root_of_digests(root, fetch->size, fetch->digests.data, err);

    if (rc == HANSE_OK && memcmp(root, fetch->root, 32) != 0) {
        (void)unlink(fetch->part);
        rc = HANSE_FAIL(err, HANSE_E_AUTH, "the model that came is not the one that was signed");
    }
    if (rc == HANSE_OK && ftruncate(fetch->fd, (off_t)fetch->size) != 0)
        rc = HANSE_FAIL_ERRNO(err, "%s", fetch->part);
    /* Not flushed: who finds it again checks its root, and fetches it once more if a power cut took it. */
    if (rc == HANSE_OK && rename(fetch->part, fetch->path) != 0)
        rc = HANSE_FAIL_ERRNO(err, "cannot move %s to %s", fetch->part, fetch->path);
    return rc;
}

hanse_rc hanse_node_fetch_end(hanse_node_fetch *fetch, const hanse_msg_chunk *chunk, bool *whole, hanse_err *err)
{
    uint8_t digest[32];
    hanse_rc rc;

    *whole = false;
    if (!fetch->active || fetch->dropping)
        return HANSE_OK;
    rc = hanse_sha256_final(&fetch->sha, digest, err);
    if (rc == HANSE_OK && memcmp(digest, chunk->digest.data, 32) != 0)
        rc = HANSE_FAIL(err, HANSE_E_AUTH, "chunk %" PRIu64 " of the model does not have its digest", fetch->next);
    if (rc == HANSE_OK)
        rc = hanse_gather_flush(&fetch->gather, fetch->fd, fetch->part, err);
    if (rc == HANSE_OK)
        rc = hanse_buf_append(&fetch->digests, digest, 32, err);
    if (rc != HANSE_OK)
        return rc;
    fetch->next++;
    if (fetch->next < fetch->chunks)
        return HANSE_OK;
    rc = finish(fetch, err);
    *whole = rc == HANSE_OK;
    hanse_node_fetch_stop(fetch);
    return rc;
}

void hanse_node_fetch_stop(hanse_node_fetch *fetch)
{
    if (fetch->active && fetch->fd >= 0)
        (void)close(fetch->fd);
    hanse_buf_clear(&fetch->digests);
    hanse_sha256_clear(&fetch->sha);
    hanse_gather_clear(&fetch->gather);
    *fetch = (hanse_node_fetch){.fd = -1, .over = fetch->transfer > fetch->over ? fetch->transfer : fetch->over, .dropping = fetch->dropping};
}
