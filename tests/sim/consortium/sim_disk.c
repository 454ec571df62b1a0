/* sim_disk.c - the calls that change a disk, of our code and of SQLite: each may fail, or be the last that a process makes.
 *
 * The program's own definitions stand before the C library's. Nothing is flushed: a killed process loses no page, and a power
 * cut is not simulated. Times of files and names of temporary files are not the seed's; nothing depends on them. */
#include "tests/sim/consortium/sim.h"

#include "node/site/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Deleting goes wrong only for the dead: what it leaves behind lies there until the next start, and nobody promises more. */
static bool may_delete(void)
{
    errno = EIO;
    return sim.current == SIM_NOBODY || !sim.procs[sim.current].killed;
}

/* May this call go on? Otherwise errno is set. `grows`: it needs room. */
static bool may(bool grows)
{
    sim_proc *proc;

    if (sim.current == SIM_NOBODY)
        return true;
    proc = &sim.procs[sim.current];
    proc->disk_calls++;
    errno = EIO;
    if (proc->killed)
        return false;
    if (proc->disk == SIM_DISK_FULL && grows) {
        errno = ENOSPC;
        return false;
    }
    if ((proc->disk != SIM_DISK_KILL && proc->disk != SIM_DISK_ERROR) || proc->disk_calls_left-- > 0)
        return true;
    sim_trace("disk %s", proc->disk == SIM_DISK_KILL ? "killed within" : "error");
    sim.blow.struck = true;
    proc->killed = proc->disk == SIM_DISK_KILL;
    proc->disk = SIM_DISK_GOOD;
    errno = EIO;
    return false;
}

static ssize_t put(int fd, const void *data, size_t len, off_t offset)
{
    bool was_alive = sim.current != SIM_NOBODY && !sim.procs[sim.current].killed;

    if (may(true))
        return syscall(SYS_pwrite64, fd, data, len, offset);
    if (was_alive && sim.procs[sim.current].killed && len > 1) /* it dies within the write */
        (void)!syscall(SYS_pwrite64, fd, data, (size_t)sim_below(&sim.chance, len), offset);
    errno = errno == ENOSPC ? ENOSPC : EIO;
    return -1;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    return put(fd, data, len, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off_t offset)
{
    return put(fd, data, len, offset);
}

int fsync(int fd)
{
    (void)fd;
    return may(false) ? 0 : -1;
}

int fdatasync(int fd)
{
    (void)fd;
    return may(false) ? 0 : -1;
}

int ftruncate(int fd, off_t len)
{
    return may(false) ? (int)syscall(SYS_ftruncate, fd, len) : -1;
}

int ftruncate64(int fd, off_t len)
{
    return may(false) ? (int)syscall(SYS_ftruncate, fd, len) : -1;
}

int rename(const char *from, const char *to)
{
    return may(false) ? (int)syscall(SYS_rename, from, to) : -1;
}

int link(const char *from, const char *to)
{
    return may(true) ? (int)syscall(SYS_link, from, to) : -1;
}

int unlink(const char *path)
{
    return may_delete() ? (int)syscall(SYS_unlink, path) : -1;
}

int unlinkat(int dir, const char *path, int flags)
{
    return may_delete() ? (int)syscall(SYS_unlinkat, dir, path, flags) : -1;
}

int mkdir(const char *path, mode_t mode)
{
    if (access(path, F_OK) == 0) {
        errno = EEXIST;
        return -1;
    }
    return may(true) ? (int)syscall(SYS_mkdir, path, mode) : -1;
}

static int open_any(const char *path, int flags, va_list args)
{
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;

    if ((flags & O_TRUNC) != 0 || ((flags & O_CREAT) != 0 && access(path, F_OK) != 0)) {
        if (!may(true))
            return -1;
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list args;
    int fd;

    va_start(args, flags);
    fd = open_any(path, flags, args);
    va_end(args);
    return fd;
}

int open64(const char *path, int flags, ...)
{
    va_list args;
    int fd;

    va_start(args, flags);
    fd = open_any(path, flags, args);
    va_end(args);
    return fd;
}

int mkostemp(char *name, int flags)
{
    static unsigned long count;
    char *end = name + strlen(name) - 6;
    int fd = -1;

    for (int tries = 0; fd < 0 && tries < 1000; tries++) {
        (void)snprintf(end, 7, "%06lx", ++count & 0xffffff);
        if (access(name, F_OK) == 0)
            continue;
        fd = open(name, O_RDWR | O_CREAT | O_EXCL | flags, 0600);
        if (fd < 0)
            break;
    }
    return fd;
}

/* The log goes to stderr, a line a call: it is part of the trace. */
ssize_t write(int fd, const void *data, size_t len)
{
    if (fd == STDERR_FILENO && sim.current != SIM_NOBODY) {
        char line[HANSE_LOG_LINE_MAX + 1];
        size_t kept = len < sizeof line - 1 ? len : sizeof line - 1;

        memcpy(line, data, kept);
        line[kept] = '\0';
        if (!sim.procs[sim.current].killed) {
            sim_trace_line(line, kept);
            sim_watch_log(line);
        }
        return (ssize_t)len;
    }
    return syscall(SYS_write, fd, data, len);
}

/* ---- reading ---- */

/* Nothing is read while a process works but what its machine of masks has to see again; that ends halfway now and then. */
hanse_rc __wrap_hanse_site_store_facts(hanse_site_store *store, hanse_site_fact_take take, void *user, hanse_err *err);
hanse_rc __real_hanse_site_store_facts(hanse_site_store *store, hanse_site_fact_take take, void *user, hanse_err *err);

typedef struct half_reading {
    hanse_site_fact_take take;
    void *user;
    uint64_t left;
} half_reading;

static hanse_rc take_some(void *user, hanse_bytes key, hanse_bytes value, hanse_err *err)
{
    half_reading *half = user;

    if (half->left-- == 0)
        return HANSE_FAIL(err, HANSE_E_IO, "a record does not read");
    return half->take(half->user, key, value, err);
}

hanse_rc __wrap_hanse_site_store_facts(hanse_site_store *store, hanse_site_fact_take take, void *user, hanse_err *err)
{
    half_reading half = {.take = take, .user = user};

    if (sim.current == SIM_NOBODY || sim.procs[sim.current].bad_reads == 0 || sim.procs[sim.current].killed)
        return __real_hanse_site_store_facts(store, take, user, err);
    sim.procs[sim.current].bad_reads--;
    sim_trace("reading ends halfway");
    half.left = sim_below(&sim.chance, 12);
    return __real_hanse_site_store_facts(store, take_some, &half, err);
}
