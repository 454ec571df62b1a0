/* backup and restore. The database is copied first and the files after it: models and keys are never changed under their name, no
 * model goes meanwhile, and a run whose key has gone is over: then the copy is made again. */
#include "coordinator/archive.h"
#include "coordinator/commands.h"
#include "coordinator/store/models.h"
#include "hanse/clock.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define TRIES 5
#define RESTORE_DIR "restore" /* the database lies here until it is ready */

/* ---- backup ---- */

typedef struct backup {
    hanse_archive *archive;
    const char *dir;
    size_t files;
} backup;

static hanse_rc add(backup *b, const char *name, unsigned mode, bool required, hanse_err *err)
{
    hanse_path path;
    hanse_rc rc = hanse_path_join(path, b->dir, name, err);

    if (rc == HANSE_OK)
        rc = hanse_archive_add(b->archive, path, name, mode, err);
    if (rc == HANSE_OK)
        b->files++;
    return rc == HANSE_E_NOTFOUND && !required ? HANSE_OK : rc;
}

/* The models of a run that are there; those that the copied database needs must be. */
static hanse_rc add_models(backup *b, const hanse_store_run *run, hanse_err *err)
{
    const uint64_t needed[] = {0, run->model_round, run->best_round};
    char hex[33], name[128];
    const struct dirent *entry;
    hanse_path path;
    DIR *folder;
    hanse_rc rc = HANSE_OK;

    hanse_hex_encode(hex, run->run_id, 16);
    for (size_t i = 0; rc == HANSE_OK && i < 3; i++) {
        if (i > 0 && (needed[i] == 0 || needed[i] == needed[i - 1]))
            continue;
        (void)snprintf(name, sizeof name, "models/%s/%" PRIu64 ".safetensors", hex, needed[i]);
        rc = add(b, name, HANSE_MODE_SECRET, true, err);
    }
    (void)snprintf(name, sizeof name, "models/%s", hex);
    if (rc == HANSE_OK)
        rc = hanse_path_join(path, b->dir, name, err);
    folder = rc == HANSE_OK ? opendir(path) : NULL;
    while (rc == HANSE_OK && folder != NULL && (entry = readdir(folder)) != NULL) {
        uint64_t round;
        bool again = false;

        if (!hanse_model_name_round(entry->d_name, &round) || round > run->model_round) /* beyond the copied moment */
            continue;
        for (size_t i = 0; i < 3; i++)
            again |= round == needed[i];
        if (again)
            continue;
        (void)snprintf(name, sizeof name, "models/%s/%" PRIu64 ".safetensors", hex, round);
        rc = add(b, name, HANSE_MODE_SECRET, false, err);
    }
    if (folder != NULL)
        (void)closedir(folder);
    return rc;
}

static hanse_rc add_runs(backup *b, const char *snapshot_dir, hanse_err *err)
{
    hanse_store *copy = NULL;
    hanse_store_run *runs = NULL;
    size_t count = 0;
    char hex[33], name[96];
    hanse_rc rc = hanse_store_open(&copy, snapshot_dir, false, err);

    if (rc == HANSE_OK)
        rc = hanse_store_runs(copy, &runs, &count, err);
    for (size_t i = 0; rc == HANSE_OK && i < count; i++) {
        hanse_hex_encode(hex, runs[i].run_id, 16);
        (void)snprintf(name, sizeof name, "runs/%s/seal.key", hex);
        rc = add(b, name, HANSE_MODE_SECRET, runs[i].state == HANSE_STORE_RUN_OPEN, err);
        if (rc == HANSE_OK)
            rc = add_models(b, &runs[i], err);
    }
    hanse_store_runs_free(runs, count);
    hanse_store_close(copy);
    return rc;
}

static hanse_rc add_identity(backup *b, bool with_ca_key, hanse_err *err)
{
    static const struct {
        const char *name;
        unsigned mode;
    } files[] = {{HANSE_COORDINATOR_FILE, HANSE_MODE_PUBLIC}, {HANSE_CA_CERT_FILE, HANSE_MODE_PUBLIC},
                 {HANSE_TLS_KEY_FILE, HANSE_MODE_SECRET},     {HANSE_TLS_CERT_FILE, HANSE_MODE_PUBLIC},
                 {HANSE_SIGN_KEY_FILE, HANSE_MODE_SECRET},    {HANSE_SIGN_CERT_FILE, HANSE_MODE_PUBLIC},
                 {HANSE_CRL_FILE, HANSE_MODE_PUBLIC}};
    hanse_rc rc = HANSE_OK;

    for (size_t i = 0; rc == HANSE_OK && i < sizeof files / sizeof files[0]; i++)
        rc = add(b, files[i].name, files[i].mode, true, err);
    return rc == HANSE_OK && with_ca_key ? add(b, HANSE_CA_KEY_FILE, HANSE_MODE_SECRET, false, err) : rc; /* it may be offline */
}

/* One try; NOTFOUND: a file went while it was looked for. */
static hanse_rc make_backup(backup *b, const hanse_cli *cli, hanse_store *store, const char *work, hanse_err *err)
{
    hanse_path snapshot;
    hanse_rc rc = hanse_path_join(snapshot, work, HANSE_STORE_FILE, err);

    if (rc != HANSE_OK)
        return rc;
    b->files = 0;
    (void)unlink(snapshot);
    rc = hanse_archive_create(&b->archive, cli->args[0], err);
    if (rc == HANSE_OK)
        rc = hanse_store_snapshot(store, snapshot, err);
    if (rc == HANSE_OK) /* opening it may leave a journal beside it: the copy goes in before */
        rc = hanse_archive_add(b->archive, snapshot, HANSE_STORE_FILE, HANSE_MODE_SECRET, err);
    if (rc == HANSE_OK)
        rc = add_identity(b, hanse_cli_value(cli, "without-ca-key") == NULL, err);
    if (rc == HANSE_OK)
        rc = add_runs(b, work, err);
    if (rc == HANSE_OK)
        rc = hanse_archive_commit(b->archive, err);
    hanse_archive_free(b->archive);
    b->archive = NULL;
    return rc;
}

/* DIR/<name> with nothing but a database in it. */
static void remove_work(const char *work)
{
    static const char *const names[] = {HANSE_STORE_FILE, HANSE_STORE_FILE "-wal", HANSE_STORE_FILE "-shm"};
    hanse_path path;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (hanse_path_join(path, work, names[i], NULL) == HANSE_OK)
            (void)unlink(path);
    (void)rmdir(work);
}

hanse_rc hanse_command_backup(hanse_cli *cli, hanse_err *err)
{
    backup b = {.dir = cli->dir};
    hanse_store *store = NULL;
    char name[32];
    hanse_path work;
    int models = -1;
    hanse_rc rc = hanse_store_open(&store, cli->dir, false, err);

    (void)snprintf(name, sizeof name, "backup-%ld", (long)getpid());
    if (rc == HANSE_OK)
        rc = hanse_models_hold(&models, cli->dir, err);
    if (rc == HANSE_OK)
        rc = hanse_path_join(work, cli->dir, name, err);
    if (rc == HANSE_OK)
        rc = hanse_dir_make(work, HANSE_MODE_DIR, err);
    if (rc == HANSE_OK) {
        rc = HANSE_E_NOTFOUND;
        for (int i = 0; i < TRIES && rc == HANSE_E_NOTFOUND; i++)
            rc = make_backup(&b, cli, store, work, err);
        remove_work(work);
    }
    if (models >= 0)
        (void)close(models);
    if (rc == HANSE_OK) {
        hanse_cli_print(cli, "%s: the database and %zu files; it holds private keys: keep it as safe as %s\n", cli->args[0], b.files, cli->dir);
        cli->data = json_pack("{s:s, s:I}", "file", cli->args[0], "files", (json_int_t)b.files + 1);
    }
    hanse_store_close(store);
    return rc;
}

/* ---- restore ---- */

static hanse_rc refuse_used(const char *dir, hanse_err *err)
{
    static const char *const marks[] = {HANSE_STORE_FILE, HANSE_COORDINATOR_FILE, HANSE_CA_CERT_FILE};
    hanse_path path;

    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        hanse_rc rc = hanse_path_join(path, dir, marks[i], err);

        if (rc != HANSE_OK)
            return rc;
        if (hanse_file_exists(path))
            return HANSE_FAIL(err, HANSE_E_INVALID, "%s exists: nothing is overwritten; choose a new directory, or move this one away", path);
    }
    return HANSE_OK;
}

static hanse_rc extract(hanse_archive *archive, const hanse_archive_entry *entry, const char *dir, hanse_err *err)
{
    static const char *const folders[] = {"ca/", "identity/", "models/", "runs/"};
    bool is_store = strcmp(entry->name, HANSE_STORE_FILE) == 0;
    bool known = is_store || strcmp(entry->name, HANSE_COORDINATOR_FILE) == 0 || strcmp(entry->name, HANSE_CRL_FILE) == 0;
    char name[300];
    hanse_path path, folder;
    hanse_rc rc;

    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
        known |= strncmp(entry->name, folders[i], strlen(folders[i])) == 0;
    if (!known)
        return HANSE_FAIL(err, HANSE_E_CORRUPT, "the backup has a file that does not belong there: %s", entry->name);
    (void)snprintf(name, sizeof name, "%s%.255s", is_store ? RESTORE_DIR "/" : "", entry->name);
    rc = hanse_path_join(path, dir, name, err);
    if (rc != HANSE_OK)
        return rc;
    memcpy(folder, path, sizeof folder);
    *strrchr(folder, '/') = '\0';
    rc = hanse_dir_make(folder, HANSE_MODE_DIR, err);
    return rc == HANSE_OK ? hanse_archive_extract(archive, entry, path, err) : rc;
}

/* The database becomes DIR/state.db last: until then the directory is none, and the command can be repeated on a new one. */
static hanse_rc finish_store(const char *dir, size_t *voided, hanse_err *err)
{
    hanse_store *store = NULL;
    hanse_path work, from, to;
    hanse_rc rc = hanse_path_join(work, dir, RESTORE_DIR, err);

    if (rc == HANSE_OK)
        rc = hanse_path_join(from, work, HANSE_STORE_FILE, err);
    if (rc == HANSE_OK)
        rc = hanse_path_join(to, dir, HANSE_STORE_FILE, err);
    if (rc == HANSE_OK)
        rc = hanse_store_open(&store, work, false, err);
    if (rc == HANSE_OK)
        rc = hanse_store_restored(store, hanse_clock_wall_ms(), voided, err);
    hanse_store_close(store); /* the last one to close: its journal is in the file now */
    if (rc == HANSE_OK && rename(from, to) != 0)
        rc = HANSE_FAIL_ERRNO(err, "%s", to);
    if (rc == HANSE_OK)
        rc = hanse_file_sync_parent(to, err);
    if (rc == HANSE_OK)
        remove_work(work);
    return rc;
}

hanse_rc hanse_command_restore(hanse_cli *cli, hanse_err *err)
{
    hanse_archive *archive = NULL;
    hanse_archive_entry entry;
    hanse_path spool;
    size_t files = 0, voided = 0;
    bool found = true;
    int lock = -1;
    hanse_rc rc = hanse_archive_open(&archive, cli->args[0], err);

    if (rc == HANSE_OK)
        rc = refuse_used(cli->dir, err);
    if (rc == HANSE_OK)
        rc = hanse_dir_make(cli->dir, HANSE_MODE_DIR, err);
    if (rc == HANSE_OK)
        rc = hanse_lock_try(&lock, cli->dir, err);
    if (rc == HANSE_OK) /* another restore may have been faster */
        rc = refuse_used(cli->dir, err);
    while (rc == HANSE_OK && found) {
        rc = hanse_archive_next(archive, &entry, &found, err);
        if (rc == HANSE_OK && found)
            rc = extract(archive, &entry, cli->dir, err);
        files += rc == HANSE_OK && found;
    }
    if (rc == HANSE_OK)
        rc = hanse_path_join(spool, cli->dir, HANSE_SPOOL_DIR, err);
    if (rc == HANSE_OK)
        rc = hanse_dir_make(spool, HANSE_MODE_DIR, err);
    if (rc == HANSE_OK)
        rc = finish_store(cli->dir, &voided, err);
    if (rc == HANSE_OK) {
        hanse_cli_print(cli, "%s: %zu files restored, %zu rounds that were open are void\n", cli->dir, files, voided);
        cli->data = json_pack("{s:I, s:I}", "files", (json_int_t)files, "voided", (json_int_t)voided);
    }
    hanse_lock_release(&lock);
    hanse_archive_free(archive);
    return rc;
}
