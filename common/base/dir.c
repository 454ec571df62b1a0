#include "hanse/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct entry {
    struct timespec changed;
    char *name; /* owned */
} entry;

static int by_age(const void *a, const void *b)
{
    const entry *left = a, *right = b;

    if (left->changed.tv_sec != right->changed.tv_sec)
        return left->changed.tv_sec < right->changed.tv_sec ? -1 : 1;
    if (left->changed.tv_nsec != right->changed.tv_nsec)
        return left->changed.tv_nsec < right->changed.tv_nsec ? -1 : 1;
    return strcmp(left->name, right->name);
}

hanse_rc hanse_dir_keep_newest(const char *path, size_t keep, hanse_err *err)
{
    entry *entries = NULL;
    size_t count = 0, room = 0;
    const struct dirent *at;
    hanse_rc rc = HANSE_OK;
    DIR *dir = opendir(path);

    if (dir == NULL)
        return HANSE_FAIL_ERRNO(err, "cannot open %s", path);
    while (rc == HANSE_OK && (at = readdir(dir)) != NULL) {
        struct stat info;

        if (fstatat(dirfd(dir), at->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(info.st_mode))
            continue;
        if (count == room) {
            entry *more = hanse_realloc(entries, 2 * room + 64, sizeof *entries);

            if (more == NULL) {
                rc = HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for the names in %s", path);
                break;
            }
            entries = more;
            room = 2 * room + 64;
        }
        entries[count] = (entry){.changed = info.st_mtim, .name = hanse_strndup(at->d_name, strlen(at->d_name))};
        if (entries[count].name == NULL)
            rc = HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for the names in %s", path);
        else
            count++;
    }
    if (rc == HANSE_OK && count > keep)
        qsort(entries, count, sizeof *entries, by_age);
    for (size_t i = 0; rc == HANSE_OK && i + keep < count; i++)
        if (unlinkat(dirfd(dir), entries[i].name, 0) != 0)
            rc = HANSE_FAIL_ERRNO(err, "cannot delete %s/%s", path, entries[i].name);
    for (size_t i = 0; i < count; i++)
        hanse_free(entries[i].name);
    hanse_free(entries);
    (void)closedir(dir);
    return rc;
}
