#include "coordinator/archive.h"

#include "hanse/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "hanse-backup 1\n"
#define MAGIC_LEN (sizeof MAGIC - 1)
#define HEAD_LEN 16
#define NAME_MAX_LEN 255
#define PIECE ((size_t)1 << 20)
#define TAIL_LEN (4 + HANSE_DIGEST_LEN)

struct hanse_archive {
    hanse_path path, temp;
    int fd;
    bool writing;
    uint64_t at, size; /* reading: size of all entries and what is before them */
    hanse_sha256_stream digest;
    uint8_t *piece; /* [PIECE]; keys pass through it */
};

static hanse_rc archive_new(hanse_archive **out, const char *path, hanse_err *err)
{
    hanse_archive *archive = hanse_calloc(1, sizeof *archive);
    hanse_rc rc;

    if (archive == NULL || (archive->piece = hanse_calloc(1, PIECE)) == NULL) {
        hanse_free(archive);
        return HANSE_FAIL(err, HANSE_E_NOMEM, "out of memory for %s", path);
    }
    archive->fd = -1;
    rc = hanse_path_join(archive->path, "", path, err);
    if (rc == HANSE_OK)
        rc = hanse_sha256_init(&archive->digest, err);
    *out = archive;
    return rc;
}

static hanse_rc put(hanse_archive *archive, const void *data, size_t len, hanse_err *err)
{
    hanse_rc rc = hanse_fd_write_at(archive->fd, data, len, archive->at, archive->temp, err);

    archive->at += len;
    return rc == HANSE_OK ? hanse_sha256_update(&archive->digest, (hanse_bytes){data, len}, err) : rc;
}

static bool name_is_good(const char *name, size_t len)
{
    if (len == 0 || len > NAME_MAX_LEN || name[0] == '/' || strstr(name, "..") != NULL || strlen(name) != len)
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/.-_") == len;
}

hanse_rc hanse_archive_create(hanse_archive **out, const char *path, hanse_err *err)
{
    hanse_archive *archive = NULL;
    hanse_rc rc = archive_new(&archive, path, err);

    if (rc == HANSE_OK)
        rc = hanse_file_create(&archive->fd, archive->temp, archive->path, HANSE_MODE_SECRET, err);
    if (rc == HANSE_OK) {
        archive->writing = true;
        rc = put(archive, MAGIC, MAGIC_LEN, err);
    }
    if (rc == HANSE_OK)
        *out = archive;
    else
        hanse_archive_free(archive);
    return rc;
}

hanse_rc hanse_archive_add(hanse_archive *archive, const char *from, const char *name, unsigned mode, hanse_err *err)
{
    uint8_t head[HEAD_LEN];
    struct stat st;
    uint64_t len;
    hanse_rc rc;
    int fd = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0 && errno == ENOENT)
        return HANSE_FAIL(err, HANSE_E_NOTFOUND, "%s: no such file", from);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || !name_is_good(name, strlen(name))) {
        rc = fd < 0 ? HANSE_FAIL_ERRNO(err, "%s", from) : HANSE_FAIL(err, HANSE_E_IO, "%s: no plain file", from);
        if (fd >= 0)
            (void)close(fd);
        return rc;
    }
    len = (uint64_t)st.st_size;
    hanse_store_u32le(head, (uint32_t)strlen(name));
    hanse_store_u32le(head + 4, mode);
    hanse_store_u64le(head + 8, len);
    rc = put(archive, head, sizeof head, err);
    if (rc == HANSE_OK)
        rc = put(archive, name, strlen(name), err);
    for (uint64_t done = 0; rc == HANSE_OK && done < len;) {
        size_t step = len - done < PIECE ? (size_t)(len - done) : PIECE;

        rc = hanse_fd_read_at(fd, archive->piece, step, done, from, err);
        if (rc == HANSE_OK)
            rc = put(archive, archive->piece, step, err);
        done += step;
    }
    (void)close(fd);
    return rc;
}

hanse_rc hanse_archive_commit(hanse_archive *archive, hanse_err *err)
{
    uint8_t tail[TAIL_LEN] = {0};
    hanse_rc rc = put(archive, tail, 4, err);

    if (rc == HANSE_OK)
        rc = hanse_sha256_final(&archive->digest, tail + 4, err);
    if (rc == HANSE_OK)
        rc = hanse_fd_write_at(archive->fd, tail + 4, HANSE_DIGEST_LEN, archive->at, archive->temp, err);
    return rc == HANSE_OK ? hanse_file_commit(&archive->fd, archive->temp, archive->path, err) : rc;
}

/* Everything once, before anything of it is believed. */
static hanse_rc check_digest(hanse_archive *archive, uint64_t file_len, hanse_err *err)
{
    uint8_t want[HANSE_DIGEST_LEN], got[HANSE_DIGEST_LEN];
    hanse_rc rc = HANSE_OK;

    for (uint64_t done = 0; rc == HANSE_OK && done < file_len - HANSE_DIGEST_LEN;) {
        uint64_t rest = file_len - HANSE_DIGEST_LEN - done;
        size_t step = rest < PIECE ? (size_t)rest : PIECE;

        rc = hanse_fd_read_at(archive->fd, archive->piece, step, done, archive->path, err);
        if (rc == HANSE_OK)
            rc = hanse_sha256_update(&archive->digest, (hanse_bytes){archive->piece, step}, err);
        done += step;
    }
    if (rc == HANSE_OK)
        rc = hanse_fd_read_at(archive->fd, want, sizeof want, file_len - sizeof want, archive->path, err);
    if (rc == HANSE_OK)
        rc = hanse_sha256_final(&archive->digest, got, err);
    if (rc == HANSE_OK && memcmp(want, got, sizeof want) != 0)
        rc = HANSE_FAIL(err, HANSE_E_CORRUPT, "%s: its checksum is wrong: it was damaged or cut short; use another backup", archive->path);
    return rc;
}

hanse_rc hanse_archive_open(hanse_archive **out, const char *path, hanse_err *err)
{
    hanse_archive *archive = NULL;
    uint8_t magic[MAGIC_LEN];
    struct stat st;
    hanse_rc rc = archive_new(&archive, path, err);

    if (rc == HANSE_OK && (archive->fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        rc = errno == ENOENT ? HANSE_FAIL(err, HANSE_E_NOTFOUND, "%s: no such file", path) : HANSE_FAIL_ERRNO(err, "%s", path);
    if (rc == HANSE_OK && fstat(archive->fd, &st) != 0)
        rc = HANSE_FAIL_ERRNO(err, "%s", path);
    if (rc == HANSE_OK && (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < MAGIC_LEN + TAIL_LEN))
        rc = HANSE_FAIL(err, HANSE_E_CORRUPT, "%s is no backup of a coordinator", path);
    if (rc == HANSE_OK)
        rc = hanse_fd_read_at(archive->fd, magic, sizeof magic, 0, path, err);
    if (rc == HANSE_OK && memcmp(magic, MAGIC, MAGIC_LEN) != 0)
        rc = memcmp(magic, MAGIC, MAGIC_LEN - 2) == 0 ? HANSE_FAIL(err, HANSE_E_VERSION, "%s was written by a newer Hanse; update it", path)
                                                      : HANSE_FAIL(err, HANSE_E_CORRUPT, "%s is no backup of a coordinator", path);
    if (rc == HANSE_OK)
        rc = check_digest(archive, (uint64_t)st.st_size, err);
    if (rc == HANSE_OK) {
        archive->at = MAGIC_LEN;
        archive->size = (uint64_t)st.st_size - TAIL_LEN;
        *out = archive;
    } else {
        hanse_archive_free(archive);
    }
    return rc;
}

/* The checksum tells of damage, not of who made the file: sizes and names are checked all the same. */
hanse_rc hanse_archive_next(hanse_archive *archive, hanse_archive_entry *entry, bool *found, hanse_err *err)
{
    uint8_t head[HEAD_LEN];
    size_t name_len;
    hanse_rc rc;

    *found = archive->at < archive->size;
    if (!*found)
        return HANSE_OK;
    if (archive->size - archive->at < HEAD_LEN)
        return HANSE_FAIL(err, HANSE_E_CORRUPT, "%s: an entry is cut", archive->path);
    rc = hanse_fd_read_at(archive->fd, head, sizeof head, archive->at, archive->path, err);
    if (rc != HANSE_OK)
        return rc;
    name_len = hanse_load_u32le(head);
    entry->mode = hanse_load_u32le(head + 4);
    entry->len = hanse_load_u64le(head + 8);
    archive->at += HEAD_LEN;
    if (name_len > NAME_MAX_LEN || name_len > archive->size - archive->at || entry->len > archive->size - archive->at - name_len ||
        (entry->mode != HANSE_MODE_SECRET && entry->mode != HANSE_MODE_PUBLIC))
        return HANSE_FAIL(err, HANSE_E_CORRUPT, "%s: an entry is out of bounds", archive->path);
    memset(entry->name, 0, sizeof entry->name);
    rc = hanse_fd_read_at(archive->fd, entry->name, name_len, archive->at, archive->path, err);
    if (rc == HANSE_OK && !name_is_good(entry->name, name_len))
        rc = HANSE_FAIL(err, HANSE_E_CORRUPT, "%s: an entry has no good name", archive->path);
    archive->at += name_len;
    return rc;
}

hanse_rc hanse_archive_extract(hanse_archive *archive, const hanse_archive_entry *entry, const char *to, hanse_err *err)
{
    hanse_path temp;
    int fd = -1;
    hanse_rc rc = hanse_file_create(&fd, temp, to, entry->mode, err);

    for (uint64_t done = 0; rc == HANSE_OK && done < entry->len;) {
        size_t step = entry->len - done < PIECE ? (size_t)(entry->len - done) : PIECE;

        rc = hanse_fd_read_at(archive->fd, archive->piece, step, archive->at + done, archive->path, err);
        if (rc == HANSE_OK)
            rc = hanse_fd_write_at(fd, archive->piece, step, done, to, err);
        done += step;
    }
    if (rc == HANSE_OK)
        rc = hanse_file_commit(&fd, temp, to, err);
    else
        hanse_file_discard(&fd, temp);
    archive->at += entry->len;
    return rc;
}

void hanse_archive_free(hanse_archive *archive)
{
    if (archive == NULL)
        return;
    if (archive->writing)
        hanse_file_discard(&archive->fd, archive->temp);
    else if (archive->fd >= 0)
        (void)close(archive->fd);
    hanse_sha256_clear(&archive->digest);
    hanse_wipe(archive->piece, PIECE);
    hanse_free(archive->piece);
    hanse_free(archive);
}
