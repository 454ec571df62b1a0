#include "hanse/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

hanse_rc hanse_path_join(hanse_path out, const char *dir, const char *name, hanse_err *err)
{
    bool alone = dir[0] == '\0' || name[0] == '/';
    const char *slash = alone || dir[strlen(dir) - 1] == '/' ? "" : "/";
    int len = snprintf(out, HANSE_PATH_MAX, "%s%s%s", alone ? "" : dir, slash, name);

    if (len < 0 || len >= HANSE_PATH_MAX) {
        out[0] = '\0';
        return HANSE_FAIL(err, HANSE_E_INVALID, "the path %.64s... is longer than %d bytes", alone ? name : dir,
                          HANSE_PATH_MAX - 1);
    }
    return HANSE_OK;
}

bool hanse_file_exists(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0;
}

hanse_rc hanse_file_read(hanse_buf *out, const char *path, size_t len_max, hanse_err *err)
{
    hanse_rc rc = HANSE_OK;
    hanse_buf content = HANSE_BUF_EMPTY;
    struct stat info;
    /* Not blocking: opening a FIFO would otherwise wait for its other end. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0)
        return errno == ENOENT ? HANSE_FAIL(err, HANSE_E_NOTFOUND, "%s: no such file", path)
                               : HANSE_FAIL_ERRNO(err, "cannot open %s", path);
    if (fstat(fd, &info) != 0)
        rc = HANSE_FAIL_ERRNO(err, "cannot read %s", path);
    else if (!S_ISREG(info.st_mode))
        rc = HANSE_FAIL(err, HANSE_E_INVALID, "%s is no regular file", path);
    else if ((uintmax_t)info.st_size > len_max)
        rc = HANSE_FAIL(err, HANSE_E_INVALID, "%s has %jd bytes; at most %zu are taken", path, (intmax_t)info.st_size,
                        len_max);
    else
        rc = hanse_buf_reserve(&content, (size_t)info.st_size + 1, err);
    while (rc == HANSE_OK) {
        ssize_t got = read(fd, content.data + content.len, content.cap - content.len - 1);

        if (got == 0)
            break;
        if (got < 0 && errno != EINTR)
            rc = HANSE_FAIL_ERRNO(err, "cannot read %s", path);
        if (got > 0)
            content.len += (size_t)got;
        if (rc == HANSE_OK && content.len > len_max) /* grew while we read */
            rc = HANSE_FAIL(err, HANSE_E_INVALID, "%s grew beyond %zu bytes", path, len_max);
        if (rc == HANSE_OK && content.len + 1 == content.cap)
            rc = hanse_buf_reserve(&content, content.cap + 1, err);
    }
    (void)close(fd);
    if (rc != HANSE_OK) {
        hanse_buf_wipe(&content);
        return rc;
    }
    content.data[content.len] = '\0';
    hanse_buf_wipe(out);
    *out = content;
    return HANSE_OK;
}

hanse_rc hanse_fd_read_at(int fd, void *data, size_t len, uint64_t offset, const char *what, hanse_err *err)
{
    uint8_t *p = data;
    size_t done = 0;

    if (offset > INT64_MAX - len)
        return HANSE_FAIL(err, HANSE_E_CORRUPT, "%s ends before byte %ju", what, (uintmax_t)offset);
    while (done < len) {
        ssize_t got = pread(fd, p + done, len - done, (off_t)(offset + done));

        if (got == 0)
            return HANSE_FAIL(err, HANSE_E_CORRUPT, "%s ends at byte %ju; %zu more are expected", what,
                              (uintmax_t)(offset + done), len - done);
        if (got < 0 && errno != EINTR)
            return HANSE_FAIL_ERRNO(err, "cannot read %s", what);
        if (got > 0)
            done += (size_t)got;
    }
    return HANSE_OK;
}

hanse_rc hanse_fd_write_at(int fd, const void *data, size_t len, uint64_t offset, const char *what, hanse_err *err)
{
    const uint8_t *p = data;
    size_t done = 0;

    if (offset > INT64_MAX - len)
        return HANSE_FAIL(err, HANSE_E_FULL, "%s cannot hold a byte %ju", what, (uintmax_t)offset);
    while (done < len) {
        ssize_t put = pwrite(fd, p + done, len - done, (off_t)(offset + done));

        if (put < 0 && errno != EINTR)
            return HANSE_FAIL_ERRNO(err, "cannot write %s", what);
        if (put > 0)
            done += (size_t)put;
    }
    return HANSE_OK;
}

hanse_rc hanse_file_sync_parent(const char *path, hanse_err *err)
{
    hanse_path dir;
    const char *slash = strrchr(path, '/');
    int fd;
    hanse_rc rc = HANSE_OK;

    if (slash == NULL)
        (void)snprintf(dir, sizeof dir, ".");
    else
        (void)snprintf(dir, sizeof dir, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return HANSE_FAIL_ERRNO(err, "cannot open %s", dir);
    if (fsync(fd) != 0 && errno != EINVAL) /* EINVAL: a file system without syncing of directories */
        rc = HANSE_FAIL_ERRNO(err, "cannot flush %s", dir);
    (void)close(fd);
    return rc;
}

hanse_rc hanse_file_create(int *fd, hanse_path temp, const char *path, unsigned mode, hanse_err *err)
{
    int len = snprintf(temp, HANSE_PATH_MAX, "%s.XXXXXX", path);

    *fd = -1;
    if (len < 0 || len >= HANSE_PATH_MAX)
        return HANSE_FAIL(err, HANSE_E_INVALID, "the path %.64s... is longer than %d bytes", path, HANSE_PATH_MAX - 8);
    *fd = mkostemp(temp, O_CLOEXEC); /* 0600 until the mode is set */
    if (*fd < 0)
        return HANSE_FAIL_ERRNO(err, "cannot create a file beside %s", path);
    if (fchmod(*fd, mode) != 0) {
        hanse_rc rc = HANSE_FAIL_ERRNO(err, "cannot set mode %o on %s", mode, temp);

        hanse_file_discard(fd, temp);
        return rc;
    }
    return HANSE_OK;
}

void hanse_file_discard(int *fd, const char *temp)
{
    if (*fd < 0)
        return;
    (void)close(*fd);
    (void)unlink(temp);
    *fd = -1;
}

hanse_rc hanse_file_commit(int *fd, const char *temp, const char *path, hanse_err *err)
{
    hanse_rc rc;
    int closing = *fd;

    assert(closing >= 0);
    if (fsync(closing) != 0) {
        rc = HANSE_FAIL_ERRNO(err, "cannot flush %s", temp);
        hanse_file_discard(fd, temp);
        return rc;
    }
    *fd = -1;
    if (close(closing) != 0) {
        rc = HANSE_FAIL_ERRNO(err, "cannot write %s", temp);
        (void)unlink(temp);
        return rc;
    }
    if (rename(temp, path) != 0) {
        rc = HANSE_FAIL_ERRNO(err, "cannot move %s to %s", temp, path);
        (void)unlink(temp);
        return rc;
    }
    return hanse_file_sync_parent(path, err);
}

hanse_rc hanse_file_write(const char *path, hanse_bytes content, unsigned mode, hanse_err *err)
{
    hanse_path temp;
    int fd;
    hanse_rc rc = hanse_file_create(&fd, temp, path, mode, err);

    if (rc != HANSE_OK)
        return rc;
    rc = hanse_fd_write_at(fd, content.data, content.len, 0, temp, err);
    if (rc != HANSE_OK) {
        hanse_file_discard(&fd, temp);
        return rc;
    }
    return hanse_file_commit(&fd, temp, path, err);
}

hanse_rc hanse_dir_make(const char *path, unsigned mode, hanse_err *err)
{
    hanse_path part;
    struct stat info;
    size_t len = strlen(path);

    if (len == 0 || len >= sizeof part)
        return HANSE_FAIL(err, HANSE_E_INVALID, "a directory path has 1 .. %zu bytes, this one %zu", sizeof part - 1, len);
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, mode) == 0)
            continue;
        /* A directory that is there already may answer EEXIST, EROFS or EACCES: look instead of guessing. */
        int why = errno;
        if (stat(part, &info) == 0 && S_ISDIR(info.st_mode))
            continue;
        errno = why;
        return HANSE_FAIL_ERRNO(err, "cannot create the directory %s", part);
    }
    return HANSE_OK;
}

hanse_rc hanse_lock_try(int *out_fd, const char *dir, hanse_err *err)
{
    hanse_path path;
    int fd;
    hanse_rc rc = hanse_path_join(path, dir, "lock", err);

    if (rc != HANSE_OK)
        return rc;
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, HANSE_MODE_SECRET);
    if (fd < 0)
        return HANSE_FAIL_ERRNO(err, "cannot open %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        rc = errno == EWOULDBLOCK ? HANSE_FAIL(err, HANSE_E_LOCKED, "another process works on %s", dir)
                                  : HANSE_FAIL_ERRNO(err, "cannot lock %s", path);
        (void)close(fd);
        return rc;
    }
    *out_fd = fd;
    return HANSE_OK;
}

void hanse_lock_release(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}
