#include "coordinator/store/models.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define FOLDER "models"

hanse_rc hanse_models_hold(int *out_fd, const char *dir, hanse_err *err)
{
    hanse_path path;
    hanse_rc rc = hanse_path_join(path, dir, FOLDER, err);

    *out_fd = -1;
    if (rc != HANSE_OK)
        return rc;
    *out_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*out_fd < 0)
        return errno == ENOENT ? HANSE_OK : HANSE_FAIL_ERRNO(err, "%s", path);
    if (flock(*out_fd, LOCK_SH) == 0) /* a deletion under way ends at once */
        return HANSE_OK;
    rc = HANSE_FAIL_ERRNO(err, "cannot lock %s", path);
    (void)close(*out_fd);
    *out_fd = -1;
    return rc;
}

bool hanse_model_name_round(const char *name, uint64_t *round)
{
    char again[64];

    if (sscanf(name, "%" SCNu64, round) != 1)
        return false;
    (void)snprintf(again, sizeof again, "%" PRIu64 ".safetensors", *round);
    return strcmp(again, name) == 0; /* no sign, no zeros before */
}

static void drop(int folder, uint64_t newest, uint64_t best)
{
    DIR *dir = fdopendir(folder);
    const struct dirent *entry;
    uint64_t round;

    if (dir == NULL) {
        (void)close(folder);
        return;
    }
    while ((entry = readdir(dir)) != NULL)
        if (hanse_model_name_round(entry->d_name, &round) && round > 0 && round != best && round <= newest && newest - round >= HANSE_MODELS_KEPT)
            (void)unlinkat(folder, entry->d_name, 0);
    (void)closedir(dir);
}

void hanse_models_drop(const char *dir, const uint8_t run_id[16], uint64_t newest, uint64_t best)
{
    char run[33];
    hanse_path path;
    int models = hanse_path_join(path, dir, FOLDER, NULL) == HANSE_OK ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1, folder;

    if (models < 0)
        return;
    hanse_hex_encode(run, run_id, 16);
    if (flock(models, LOCK_EX | LOCK_NB) == 0 && (folder = openat(models, run, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) >= 0)
        drop(folder, newest, best);
    (void)close(models);
}
