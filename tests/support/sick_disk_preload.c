/* sick_disk_preload.c - LD_PRELOAD: files whose path contains a text cannot be written, or read, as long as a switch says so.
 *
 * $SICK_DISK names the switch: a file with one line, one of
 *   full TEXT        writes end with ENOSPC after half of their bytes
 *   readonly TEXT    nothing is opened for writing, created, renamed or deleted: EROFS
 *   unreadable TEXT  nothing is opened or read: EIO
 *   bad TEXT         nothing is read behind the first 8 KiB: EIO
 *   stuck TEXT       fsync() returns when the switch says something else; $SICK_DISK.stuck is made when one begins to wait
 * No such file: the disk is well. SQLite's calls come by here as well: its library calls the C library. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

typedef int opener(const char *, int, ...);

/* Is a path with this sickness meant? */
static bool is_sick(const char *sickness, const char *path)
{
    const char *place = getenv("SICK_DISK");
    char line[256], *text;
    ssize_t len;
    int fd = place != NULL ? REAL(int, "open", const char *, int, ...)(place, O_RDONLY | O_CLOEXEC) : -1;

    if (fd < 0)
        return false;
    len = REAL(ssize_t, "read", int, void *, size_t)(fd, line, sizeof line - 1);
    (void)close(fd);
    if (len <= 0)
        return false;
    line[len] = '\0';
    line[strcspn(line, "\n")] = '\0';
    text = strchr(line, ' ');
    if (text == NULL)
        return false;
    *text++ = '\0';
    return strcmp(line, sickness) == 0 && strstr(path, text) != NULL;
}

static bool is_sick_fd(const char *sickness, int fd)
{
    char name[32], path[PATH_MAX];
    int saved = errno;
    ssize_t len;

    (void)snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    len = readlink(name, path, sizeof path - 1);
    errno = saved;
    if (len <= 0 || path[0] != '/')
        return false;
    path[len] = '\0';
    return is_sick(sickness, path);
}

static bool is_full(int fd)
{
    return is_sick_fd("full", fd);
}

static ssize_t no_room(void)
{
    errno = ENOSPC;
    return -1;
}

ssize_t write(int fd, const void *data, size_t len)
{
    ssize_t (*real)(int, const void *, size_t) = REAL(ssize_t, "write", int, const void *, size_t);

    if (!is_full(fd))
        return real(fd, data, len);
    if (len > 1)
        (void)!real(fd, data, len / 2);
    return no_room();
}

static ssize_t put_at(const char *name, int fd, const void *data, size_t len, off_t at)
{
    ssize_t (*real)(int, const void *, size_t, off_t) = REAL(ssize_t, name, int, const void *, size_t, off_t);

    if (!is_full(fd))
        return real(fd, data, len, at);
    if (len > 1)
        (void)!real(fd, data, len / 2, at);
    return no_room();
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
    return put_at("pwrite", fd, data, len, at);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off_t at)
{
    return put_at("pwrite64", fd, data, len, at);
}

static bool is_unreadable(int fd, off_t at)
{
    if (!is_sick_fd("unreadable", fd) && (at < 8192 || !is_sick_fd("bad", fd)))
        return false;
    errno = EIO;
    return true;
}

ssize_t read(int fd, void *data, size_t len)
{
    return is_unreadable(fd, 0) ? -1 : REAL(ssize_t, "read", int, void *, size_t)(fd, data, len);
}

ssize_t pread(int fd, void *data, size_t len, off_t at)
{
    return is_unreadable(fd, at) ? -1 : REAL(ssize_t, "pread", int, void *, size_t, off_t)(fd, data, len, at);
}

ssize_t pread64(int fd, void *data, size_t len, off_t at)
{
    return is_unreadable(fd, at) ? -1 : REAL(ssize_t, "pread64", int, void *, size_t, off_t)(fd, data, len, at);
}

int fsync(int fd)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    char mark[PATH_MAX];
    int made;

    if (is_sick_fd("stuck", fd)) {
        (void)snprintf(mark, sizeof mark, "%s.stuck", getenv("SICK_DISK"));
        made = REAL(int, "open", const char *, int, ...)(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (made >= 0)
            (void)close(made);
    }
    while (is_sick_fd("stuck", fd))
        (void)nanosleep(&pause, NULL);
    return REAL(int, "fsync", int)(fd);
}

static int open_as(const char *name, const char *path, int flags, mode_t mode)
{
    if ((flags & (O_WRONLY | O_RDWR | O_CREAT)) != 0 && is_sick("readonly", path)) {
        errno = EROFS;
        return -1;
    }
    if (is_sick("unreadable", path)) {
        errno = EIO;
        return -1;
    }
    return REAL(int, name, const char *, int, ...)(path, flags, mode);
}

#define OPENER(function)                                          \
    int function(const char *path, int flags, ...)                \
    {                                                             \
        va_list args;                                             \
        mode_t mode = 0;                                          \
                                                                  \
        if (flags & (O_CREAT | O_TMPFILE)) {                      \
            va_start(args, flags);                                \
            mode = va_arg(args, mode_t);                          \
            va_end(args);                                         \
        }                                                         \
        return open_as(#function, path, flags, mode);             \
    }

OPENER(open)
OPENER(open64)

static int is_readonly(const char *path)
{
    if (!is_sick("readonly", path))
        return 0;
    errno = EROFS;
    return -1;
}

int mkostemp(char *path, int flags)
{
    return is_readonly(path) != 0 ? -1 : REAL(int, "mkostemp", char *, int)(path, flags);
}

int rename(const char *from, const char *to)
{
    return is_readonly(to) != 0 ? -1 : REAL(int, "rename", const char *, const char *)(from, to);
}

int unlink(const char *path)
{
    return is_readonly(path) != 0 ? -1 : REAL(int, "unlink", const char *)(path);
}
