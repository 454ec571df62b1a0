#include "hanse/model_root.h"

#include "hanse/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

static const char label[] = "hanse1/model"; /* its terminating zero is part of what is hashed */

hanse_rc hanse_model_root_of_digests(uint8_t root[32], uint64_t size, const uint8_t *digests, hanse_err *err)
{
    size_t digests_len = 32 * (size_t)hanse_model_chunks(size);
    uint8_t size_be[8];
    hanse_buf text = HANSE_BUF_EMPTY;
    hanse_rc rc;

    for (int i = 0; i < 8; i++)
        size_be[i] = (uint8_t)(size >> (56 - 8 * i));
    rc = hanse_buf_append(&text, label, sizeof label, err);
    if (rc == HANSE_OK)
        rc = hanse_buf_append(&text, size_be, sizeof size_be, err);
    if (rc == HANSE_OK)
        rc = hanse_buf_append(&text, digests, digests_len, err);
    if (rc == HANSE_OK)
        rc = hanse_sha256(root, hanse_buf_bytes(&text), err);
    hanse_buf_clear(&text);
    return rc;
}

hanse_rc hanse_model_root_of_file(uint8_t root[32], uint64_t *size_out, const char *path, hanse_err *err)
{
    uint8_t *chunk = NULL, *digests = NULL;
    uint64_t size, chunks;
    struct stat info;
    hanse_rc rc = HANSE_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return errno == ENOENT ? HANSE_FAIL(err, HANSE_E_NOTFOUND, "%s: no such model file", path) : HANSE_FAIL_ERRNO(err, "%s", path);
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        rc = HANSE_FAIL(err, HANSE_E_INVALID, "%s: not a regular file", path);
        goto done;
    }
    size = (uint64_t)info.st_size;
    chunks = hanse_model_chunks(size);
    chunk = hanse_calloc(HANSE_MODEL_CHUNK, 1);
    digests = hanse_calloc((size_t)chunks, 32);
    if (chunk == NULL || digests == NULL) {
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "%s: no memory for %" PRIu64 " digests", path, chunks);
        goto done;
    }
    for (uint64_t i = 0; i < chunks && rc == HANSE_OK; i++) {
        uint64_t left = size - i * HANSE_MODEL_CHUNK;
        size_t len = left < HANSE_MODEL_CHUNK ? (size_t)left : HANSE_MODEL_CHUNK;
        rc = hanse_fd_read_at(fd, chunk, len, i * HANSE_MODEL_CHUNK, path, err);
        if (rc == HANSE_OK)
            rc = hanse_sha256(digests + 32 * i, (hanse_bytes){chunk, len}, err);
    }
    if (rc == HANSE_OK)
        rc = hanse_model_root_of_digests(root, size, digests, err);
    if (rc == HANSE_OK && size_out != NULL)
        *size_out = size;

done:
    (void)close(fd);
    hanse_free(digests);
    hanse_free(chunk);
    return rc;
}

hanse_rc hanse_model_root_check(const uint8_t root[32], const char *path, hanse_err *err)
{
    uint8_t got[32];
    char got_hex[65], want_hex[65];
    hanse_rc rc = hanse_model_root_of_file(got, NULL, path, err);

    if (rc != HANSE_OK || memcmp(got, root, sizeof got) == 0) /* public values */
        return rc;
    hanse_hex_encode(got_hex, got, 32);
    hanse_hex_encode(want_hex, root, 32);
    return HANSE_FAIL(err, HANSE_E_AUTH, "%s: root is %s, want %s: not the model that was published", path, got_hex, want_hex);
}
