/* sweep.c - at the start: what a crash, or a `submit` that was killed, left behind of runs that the store does not know, and
 * half-written models of those it knows.
 *
 * A folder is only taken when it is an hour old, because a `submit` beside us makes folders before the row, and only when it
 * holds nothing that was ever published: a store that was put back from an older copy must not cost anybody a model. */
#include "coordinator/server/server.h"

#include "hanse/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define YOUNG_S 3600
#define HEX_LEN 32 /* digits of a run's id */

/* Is `name` a run's id, alone or followed by `behind`, and of a run that does not exist? */
static bool is_orphan(const hanse_server *server, const char *name, char behind)
{
    char hex[HEX_LEN + 1];
    uint8_t run_id[16];
    hanse_store_run row = {0};
    hanse_rc rc;

    if (strlen(name) < HEX_LEN || name[HEX_LEN] != behind)
        return false;
    memcpy(hex, name, HEX_LEN);
    hex[HEX_LEN] = '\0';
    if (hanse_hex_decode(run_id, sizeof run_id, hex, NULL) != HANSE_OK)
        return false;
    rc = hanse_store_run_get(server->store, run_id, &row, NULL);
    hanse_store_run_clear(&row);
    return rc == HANSE_E_NOTFOUND; /* any other trouble is none of ours */
}

static DIR *open_folder(const hanse_server *server, const char *name)
{
    hanse_path path;

    return hanse_path_join(path, server->dir, name, NULL) == HANSE_OK ? opendir(path) : NULL;
}

static size_t sweep_spool(const hanse_server *server)
{
    DIR *dir = open_folder(server, HANSE_SPOOL_DIR);
    const struct dirent *entry;
    size_t count = 0;

    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (is_orphan(server, entry->d_name, '-'))
            count += unlinkat(dirfd(dir), entry->d_name, 0) == 0;
    if (dir != NULL)
        (void)closedir(dir);
    return count;
}

/* May this be deleted with its folder: the file `name`, or a temporary file beside it ("name.XXXXXX")? */
static bool is_left_over(const char *entry, const char *name)
{
    size_t len = strlen(name);

    return strncmp(entry, name, len) == 0 && (entry[len] == '\0' || (entry[len] == '.' && strlen(entry) == len + 7));
}

static bool remove_folder(int parent, const char *folder, const char *only)
{
    int fd = openat(parent, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *entry;
    struct stat info;
    bool good = dir != NULL && fstat(fd, &info) == 0 && info.st_mtime + YOUNG_S < time(NULL);

    if (dir == NULL && fd >= 0)
        (void)close(fd);
    if (dir == NULL)
        return false;
    while (good && (entry = readdir(dir)) != NULL) /* all of it, before anything is touched */
        good = entry->d_name[0] == '.' || is_left_over(entry->d_name, only);
    rewinddir(dir);
    while (good && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.')
            (void)unlinkat(fd, entry->d_name, 0);
    (void)closedir(dir);
    return good && unlinkat(parent, folder, AT_REMOVEDIR) == 0;
}

static size_t sweep_folders(const hanse_server *server, const char *where, const char *only)
{
    DIR *dir = open_folder(server, where);
    const struct dirent *entry;
    size_t count = 0;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (!is_orphan(server, entry->d_name, '\0'))
            continue;
        if (remove_folder(dirfd(dir), entry->d_name, only))
            count++;
        else
            hanse_log(HANSE_LOG_WARN, "orphan_kept path=%s run=%s reason=%s", where, entry->d_name,
                      "young, or it holds more than an unfinished `submit` leaves");
    }
    if (dir != NULL)
        (void)closedir(dir);
    return count;
}

/* Models of runs that exist, half-written when the service was killed: we hold the directory's lock, nobody else writes there. */
static size_t sweep_half_models(const hanse_server *server)
{
    DIR *models = open_folder(server, "models"), *dir;
    const struct dirent *run, *entry;
    size_t count = 0;

    while (models != NULL && (run = readdir(models)) != NULL) {
        int fd = strlen(run->d_name) == HEX_LEN && !is_orphan(server, run->d_name, '\0')
                     ? openat(dirfd(models), run->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;

        dir = fd >= 0 ? fdopendir(fd) : NULL;
        if (dir == NULL && fd >= 0)
            (void)close(fd);
        while (dir != NULL && (entry = readdir(dir)) != NULL) {
            const char *end = strstr(entry->d_name, ".safetensors.");

            if (end != NULL && strlen(end) == strlen(".safetensors.XXXXXX"))
                count += unlinkat(fd, entry->d_name, 0) == 0;
        }
        if (dir != NULL)
            (void)closedir(dir);
    }
    if (models != NULL)
        (void)closedir(models);
    return count;
}

void hanse_server_sweep(const hanse_server *server)
{
    size_t spools = sweep_spool(server), keys = sweep_folders(server, "runs", "seal.key");
    size_t models = sweep_folders(server, "models", "0.safetensors"), half = sweep_half_models(server);

    if (spools + keys + models + half > 0)
        hanse_log(HANSE_LOG_INFO, "swept contributions=%zu keys=%zu models=%zu half_written=%zu", spools, keys, models, half);
}
