#include "tests/support/faults.h"

#include "hanse/digest.h"
#include "hanse/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* ---- the countdown ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    bool armed, lasting;
    fault_kind kind;
    long left;
    unsigned long failed;
    const char *only;
} plan;

void faults_arm(fault_kind kind, long k, bool lasting)
{
    pthread_mutex_lock(&lock);
    plan.kind = kind;
    plan.left = k;
    plan.lasting = lasting;
    plan.failed = 0;
    plan.armed = true;
    pthread_mutex_unlock(&lock);
}

unsigned long faults_disarm(void)
{
    pthread_mutex_lock(&lock);
    plan.armed = false;
    pthread_mutex_unlock(&lock);
    return plan.failed;
}

void faults_only(const char *text)
{
    plan.only = text;
}

static bool is_meant(int fd, const char *path)
{
    char link_name[32], target[PATH_MAX];
    ssize_t len;

    if (plan.only == NULL || (fd < 0 && path == NULL))
        return true;
    if (path != NULL)
        return strstr(path, plan.only) != NULL;
    (void)snprintf(link_name, sizeof link_name, "/proc/self/fd/%d", fd);
    len = readlink(link_name, target, sizeof target - 1);
    if (len < 0)
        return false;
    target[len] = '\0';
    return strstr(target, plan.only) != NULL;
}

static bool due(fault_kind kind, int fd, const char *path)
{
    bool now = false;

    pthread_mutex_lock(&lock);
    if (plan.armed && plan.kind == kind && is_meant(fd, path)) {
        now = plan.lasting ? plan.left <= 0 : plan.left == 0;
        plan.left--;
        plan.failed += now;
    }
    pthread_mutex_unlock(&lock);
    return now;
}

/* Pipes, sockets and terminals are not what a full disk strikes. */
static bool is_file(int fd)
{
    struct stat info;

    return fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
}

/* ---- Hanse's own calls: the linker sends them here ---- */

#define WRAP(type, name, ...)          \
    type __real_##name(__VA_ARGS__);   \
    type __wrap_##name(__VA_ARGS__);   \
    type __wrap_##name(__VA_ARGS__)

WRAP(void *, malloc, size_t size)
{
    return due(FAULT_MEMORY, -1, NULL) ? NULL : __real_malloc(size);
}

WRAP(void *, calloc, size_t count, size_t size)
{
    return due(FAULT_MEMORY, -1, NULL) ? NULL : __real_calloc(count, size);
}

WRAP(void *, realloc, void *old, size_t size)
{
    return due(FAULT_MEMORY, -1, NULL) ? NULL : __real_realloc(old, size);
}

WRAP(ssize_t, write, int fd, const void *data, size_t len)
{
    if (!is_file(fd) || !due(FAULT_WRITE, fd, NULL))
        return __real_write(fd, data, len);
    if (len > 1)
        (void)!__real_write(fd, data, len / 2);
    errno = ENOSPC;
    return -1;
}

WRAP(ssize_t, pwrite, int fd, const void *data, size_t len, off_t at)
{
    if (!is_file(fd) || !due(FAULT_WRITE, fd, NULL))
        return __real_pwrite(fd, data, len, at);
    if (len > 1)
        (void)!__real_pwrite(fd, data, len / 2, at);
    errno = ENOSPC;
    return -1;
}

WRAP(ssize_t, writev, int fd, const struct iovec *parts, int count)
{
    if (!is_file(fd) || !due(FAULT_WRITE, fd, NULL))
        return __real_writev(fd, parts, count);
    errno = ENOSPC;
    return -1;
}

WRAP(int, ftruncate, int fd, off_t len)
{
    if (!due(FAULT_WRITE, fd, NULL))
        return __real_ftruncate(fd, len);
    errno = ENOSPC;
    return -1;
}

WRAP(int, fsync, int fd)
{
    if (!due(FAULT_SYNC, fd, NULL))
        return __real_fsync(fd);
    errno = EIO;
    return -1;
}

WRAP(int, fdatasync, int fd)
{
    if (!due(FAULT_SYNC, fd, NULL))
        return __real_fdatasync(fd);
    errno = EIO;
    return -1;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    unsigned mode = 0;

    if (flags & O_CREAT) {
        va_start(args, flags);
        mode = va_arg(args, unsigned);
        va_end(args);
        if (access(path, F_OK) != 0 && due(FAULT_NAME, -1, path)) {
            errno = EACCES;
            return -1;
        }
    }
    return __real_open(path, flags, mode);
}

WRAP(int, mkostemp, char *template, int flags)
{
    if (!due(FAULT_NAME, -1, template))
        return __real_mkostemp(template, flags);
    errno = EACCES;
    return -1;
}

WRAP(int, rename, const char *from, const char *to)
{
    if (!due(FAULT_NAME, -1, to))
        return __real_rename(from, to);
    errno = EACCES;
    return -1;
}

WRAP(int, link, const char *from, const char *to)
{
    if (!due(FAULT_NAME, -1, to))
        return __real_link(from, to);
    errno = EACCES;
    return -1;
}

WRAP(ssize_t, read, int fd, void *data, size_t len)
{
    if (!is_file(fd) || !due(FAULT_READ, fd, NULL))
        return __real_read(fd, data, len);
    errno = EIO;
    return -1;
}

WRAP(ssize_t, pread, int fd, void *data, size_t len, off_t at)
{
    if (!is_file(fd) || !due(FAULT_READ, fd, NULL))
        return __real_pread(fd, data, len, at);
    errno = EIO;
    return -1;
}

/* ---- SQLite: a layer over its file system, and over its allocator ---- */

typedef struct layer_file {
    sqlite3_file base;
    const char *path;
    sqlite3_file *real; /* right behind this struct */
} layer_file;

static sqlite3_vfs layer;
static const sqlite3_vfs *below_vfs;
static sqlite3_mem_methods below_memory;

static sqlite3_file *below(sqlite3_file *file)
{
    return ((layer_file *)(void *)file)->real;
}

static bool strikes(fault_kind kind, sqlite3_file *file)
{
    const char *path = ((layer_file *)(void *)file)->path;

    return due(kind, -1, path != NULL ? path : "sqlite");
}

static int layer_close(sqlite3_file *file) { return below(file)->pMethods->xClose(below(file)); }
static int layer_read(sqlite3_file *file, void *out, int len, sqlite3_int64 at)
{
    return strikes(FAULT_READ, file) ? SQLITE_IOERR_READ : below(file)->pMethods->xRead(below(file), out, len, at);
}
static int layer_write(sqlite3_file *file, const void *data, int len, sqlite3_int64 at)
{
    if (!strikes(FAULT_WRITE, file))
        return below(file)->pMethods->xWrite(below(file), data, len, at);
    (void)below(file)->pMethods->xWrite(below(file), data, len / 2, at);
    return SQLITE_FULL;
}
static int layer_truncate(sqlite3_file *file, sqlite3_int64 len)
{
    return strikes(FAULT_WRITE, file) ? SQLITE_IOERR_TRUNCATE : below(file)->pMethods->xTruncate(below(file), len);
}
static int layer_sync(sqlite3_file *file, int flags)
{
    return strikes(FAULT_SYNC, file) ? SQLITE_IOERR_FSYNC : below(file)->pMethods->xSync(below(file), flags);
}
static int layer_size(sqlite3_file *file, sqlite3_int64 *out) { return below(file)->pMethods->xFileSize(below(file), out); }
static int layer_lock(sqlite3_file *file, int how) { return below(file)->pMethods->xLock(below(file), how); }
static int layer_unlock(sqlite3_file *file, int how) { return below(file)->pMethods->xUnlock(below(file), how); }
static int layer_reserved(sqlite3_file *file, int *out) { return below(file)->pMethods->xCheckReservedLock(below(file), out); }
static int layer_control(sqlite3_file *file, int what, void *arg) { return below(file)->pMethods->xFileControl(below(file), what, arg); }
static int layer_sector(sqlite3_file *file) { return below(file)->pMethods->xSectorSize(below(file)); }
static int layer_traits(sqlite3_file *file) { return below(file)->pMethods->xDeviceCharacteristics(below(file)); }
static int layer_map(sqlite3_file *file, int page, int len, int extend, void volatile **out)
{
    return below(file)->pMethods->xShmMap(below(file), page, len, extend, out);
}
static int layer_shm_lock(sqlite3_file *file, int at, int n, int flags) { return below(file)->pMethods->xShmLock(below(file), at, n, flags); }
static void layer_barrier(sqlite3_file *file) { below(file)->pMethods->xShmBarrier(below(file)); }
static int layer_unmap(sqlite3_file *file, int remove_it) { return below(file)->pMethods->xShmUnmap(below(file), remove_it); }

static const sqlite3_io_methods layer_methods = {
    2, layer_close, layer_read, layer_write, layer_truncate, layer_sync, layer_size, layer_lock, layer_unlock, layer_reserved,
    layer_control, layer_sector, layer_traits, layer_map, layer_shm_lock, layer_barrier, layer_unmap, NULL, NULL};

static int layer_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags, int *out_flags)
{
    layer_file *self = (layer_file *)(void *)file;
    int code;

    (void)vfs;
    self->base.pMethods = NULL;
    self->path = path;
    self->real = (sqlite3_file *)(void *)(self + 1);
    code = below_vfs->xOpen((sqlite3_vfs *)below_vfs, path, self->real, flags, out_flags);
    if (self->real->pMethods != NULL)
        self->base.pMethods = &layer_methods;
    return code;
}

static void *layer_malloc(int len)
{
    return due(FAULT_MEMORY, -1, NULL) ? NULL : below_memory.xMalloc(len);
}

static void *layer_realloc(void *old, int len)
{
    return due(FAULT_MEMORY, -1, NULL) ? NULL : below_memory.xRealloc(old, len);
}

void faults_init(void)
{
    sqlite3_mem_methods counting;

    assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &below_memory), SQLITE_OK);
    counting = below_memory;
    counting.xMalloc = layer_malloc;
    counting.xRealloc = layer_realloc;
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &counting), SQLITE_OK);
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0), SQLITE_OK); /* each allocation counts */
    below_vfs = sqlite3_vfs_find(NULL);
    layer = *below_vfs;
    layer.zName = "faults";
    layer.szOsFile = (int)sizeof(layer_file) + below_vfs->szOsFile;
    layer.xOpen = layer_open;
    assert_int_equal(sqlite3_vfs_register(&layer, 1), SQLITE_OK);
}

/* ---- what a directory holds ---- */

static bool ends_with(const char *name, const char *end)
{
    return strlen(name) >= strlen(end) && strcmp(name + strlen(name) - strlen(end), end) == 0;
}

static bool is_temporary(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot != NULL && strlen(dot) == 7; /* of hanse_file_create() */
}

static void feed(hanse_sha256_stream *sha, const void *data, size_t len)
{
    uint8_t prefix[8];

    hanse_store_u64le(prefix, len);
    assert_int_equal(hanse_sha256_update(sha, (hanse_bytes){prefix, sizeof prefix}, NULL), HANSE_OK);
    assert_int_equal(hanse_sha256_update(sha, (hanse_bytes){data, len}, NULL), HANSE_OK);
}

static void feed_rows(hanse_sha256_stream *sha, sqlite3 *db, const char *table)
{
    char *sql = sqlite3_mprintf("SELECT * FROM %Q", table);
    sqlite3_stmt *rows;

    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &rows, NULL), SQLITE_OK);
    while (sqlite3_step(rows) == SQLITE_ROW)
        for (int i = 0; i < sqlite3_column_count(rows); i++) {
            const void *value = sqlite3_column_blob(rows, i);
            feed(sha, value != NULL ? value : "", value != NULL ? (size_t)sqlite3_column_bytes(rows, i) : 0);
        }
    assert_int_equal(sqlite3_finalize(rows), SQLITE_OK);
    sqlite3_free(sql);
}

static void feed_database(hanse_sha256_stream *sha, const char *path)
{
    sqlite3 *db;
    sqlite3_stmt *tables;

    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    (void)sqlite3_busy_timeout(db, 5000);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name", -1, &tables, NULL), SQLITE_OK);
    while (sqlite3_step(tables) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(tables, 0), *sql = (const char *)sqlite3_column_text(tables, 1);

        feed(sha, name, strlen(name));
        feed(sha, sql, strlen(sql));
        feed_rows(sha, db, name);
    }
    assert_int_equal(sqlite3_finalize(tables), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void feed_file(hanse_sha256_stream *sha, const char *path)
{
    hanse_buf content = HANSE_BUF_EMPTY;
    hanse_err err;

    if (hanse_file_read(&content, path, (size_t)1 << 30, &err) != HANSE_OK)
        fail_msg("%s", err.text);
    feed(sha, content.data, content.len);
    hanse_buf_clear(&content);
}

static void feed_folder(hanse_sha256_stream *sha, const char *dir, bool temporary)
{
    struct dirent **names;
    int count = scandir(dir, &names, NULL, alphasort);

    assert_true(count >= 0);
    for (int i = 0; i < count; i++) {
        const char *name = names[i]->d_name;
        struct stat info;
        hanse_path path;

        assert_int_equal(hanse_path_join(path, dir, name, NULL), HANSE_OK);
        assert_int_equal(lstat(path, &info), 0);
        if (name[0] != '.' && !ends_with(name, "-wal") && !ends_with(name, "-shm") && (temporary || !is_temporary(name))) {
            feed(sha, name, strlen(name));
            if (S_ISDIR(info.st_mode))
                feed_folder(sha, path, temporary);
            else if (ends_with(name, ".db"))
                feed_database(sha, path);
            else if (S_ISREG(info.st_mode))
                feed_file(sha, path);
        }
        free(names[i]);
    }
    free(names);
}

void faults_snapshot(uint8_t out[32], const char *dir, bool temporary)
{
    hanse_sha256_stream sha = HANSE_SHA256_STREAM_EMPTY;

    assert_int_equal(hanse_sha256_init(&sha, NULL), HANSE_OK);
    feed_folder(&sha, dir, temporary);
    assert_int_equal(hanse_sha256_final(&sha, out, NULL), HANSE_OK);
    hanse_sha256_clear(&sha);
}

/* ---- the walk ---- */

static const char *kind_name(fault_kind kind)
{
    static const char *const names[] = {"memory", "write", "sync", "name", "read"};

    return names[kind];
}

static bool is_code_of(fault_kind kind, hanse_rc rc)
{
    switch (kind) {
    case FAULT_MEMORY: return rc == HANSE_E_NOMEM;
    case FAULT_WRITE:  return rc == HANSE_E_FULL || rc == HANSE_E_IO;
    default:           return rc == HANSE_E_IO;
    }
}

static bool says_where(const fault_walk *walk, const char *text)
{
    for (size_t i = 0; i < sizeof walk->where / sizeof *walk->where && walk->where[i] != NULL; i++)
        if (strstr(text, walk->where[i]) != NULL)
            return true;
    return walk->where[0] == NULL;
}

/* One fault; `before`: what the directory holds without it. False: the k-th call was not reached. */
static bool strike(const fault_walk *walk, const uint8_t before[32], fault_kind kind, long k, bool lasting)
{
    hanse_err err = {0};
    uint8_t after[32];
    unsigned long failed;
    hanse_rc rc;

    faults_arm(kind, k, lasting);
    rc = walk->operate(walk->user, &err);
    failed = faults_disarm();
    if (rc == HANSE_OK) { /* it was not reached, or the operation can do without */
        if (walk->check_done != NULL)
            walk->check_done(walk->user);
        walk->undo(walk->user);
        return failed > 0;
    }
    if (failed == 0)
        fail_msg("%s: failed by itself: %s", walk->name, err.text);
    if (!is_code_of(kind, rc) || hanse_rc_exit_code(rc) != 7)
        fail_msg("%s, %s fault %ld: %s: %s", walk->name, kind_name(kind), k, hanse_rc_name(rc), err.text);
    if (err.rc != rc || (kind != FAULT_MEMORY && !says_where(walk, err.text)))
        fail_msg("%s, %s fault %ld: the text does not say where: %s", walk->name, kind_name(kind), k, err.text);
    if (walk->reopen != NULL && k % 2 == 0)
        walk->reopen(walk->user);
    if (walk->whole != NULL && kind == FAULT_SYNC && hanse_file_exists(walk->whole)) {
        walk->check_done(walk->user);
        walk->undo(walk->user);
    }
    if (!walk->grows)
        faults_snapshot(after, walk->dir, !lasting); /* where nothing works any more, not even taking away works */
    if (!walk->grows && memcmp(before, after, sizeof after) != 0)
        fail_msg("%s, %s fault %ld%s: something of it was left (%s)", walk->name, kind_name(kind), k, lasting ? ", lasting" : "", err.text);
    rc = walk->operate(walk->user, &err);
    if (rc != HANSE_OK)
        fail_msg("%s, %s fault %ld: the retry: %s", walk->name, kind_name(kind), k, err.text);
    if (walk->check_done != NULL)
        walk->check_done(walk->user);
    walk->undo(walk->user);
    return true;
}

unsigned long faults_walk_kind(const fault_walk *walk, fault_kind kind)
{
    unsigned long met = 0;
    uint8_t before[32] = {0};

    if (!walk->grows)
        faults_snapshot(before, walk->dir, true);
    for (long k = 0; strike(walk, before, kind, k, false); k++)
        met++;
    /* Lasting ones differ in what can be cleaned up: a sample is enough behind the first. */
    for (long k = 0; strike(walk, before, kind, k, true); k += k < 12 ? 1 : 7)
        met++;
    return met;
}

unsigned long faults_walk(const fault_walk *walk)
{
    unsigned long met = 0;

    for (fault_kind kind = FAULT_MEMORY; kind < FAULT_KINDS; kind++)
        met += faults_walk_kind(walk, kind);
    return met;
}
