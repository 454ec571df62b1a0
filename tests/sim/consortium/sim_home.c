/* sim_home.c - directories. Enrolling is slow, for its keys: each size of consortium is enrolled once, by the real commands, and
 * its directories are copied for each seed. */
#include "tests/sim/consortium/sim.h"

#include "coordinator/commands.h"
#include "hanse/clock.h"
#include "hanse/config.h"
#include "node/commands.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static hanse_path root;
static bool enrolled[SIM_SITES_MAX + 1]; /* by number of sites */

/* ---- trees of files ---- */

static void join(hanse_path out, const char *dir, const char *name)
{
    hanse_err err = {0};

    sim_must(hanse_path_join(out, dir, name, &err), &err, "path");
}

static void make_dir(const char *path)
{
    hanse_err err = {0};

    sim_must(hanse_dir_make(path, 0700, &err), &err, "directory");
}

static void write_text(const char *path, const char *text)
{
    hanse_err err = {0};

    sim_must(hanse_file_write(path, hanse_bytes_str(text), 0600, &err), &err, "file");
}

static void copy_file(const char *from, const char *to)
{
    hanse_buf content = HANSE_BUF_EMPTY;
    hanse_err err = {0};
    int fd;

    sim_must(hanse_file_read(&content, from, (size_t)1 << 24, &err), &err, "copy");
    fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        sim_wrong("cannot write %s", to);
    sim_must(hanse_fd_write_at(fd, content.data, content.len, 0, to, &err), &err, "copy");
    (void)close(fd);
    hanse_buf_clear(&content);
}

static void copy_tree(const char *from, const char *to)
{
    DIR *dir = opendir(from);
    const struct dirent *entry;

    make_dir(to);
    if (dir == NULL)
        sim_wrong("cannot read %s", from);
    while ((entry = readdir(dir)) != NULL) {
        hanse_path source, target;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        join(source, from, entry->d_name);
        join(target, to, entry->d_name);
        if (entry->d_type == DT_DIR)
            copy_tree(source, target);
        else if (entry->d_type == DT_REG)
            copy_file(source, target);
    }
    (void)closedir(dir);
}

static void drop_tree(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        hanse_path inside;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        join(inside, path, entry->d_name);
        if (entry->d_type == DT_DIR)
            drop_tree(inside);
        else
            (void)unlink(inside);
    }
    if (dir != NULL)
        (void)closedir(dir);
    (void)unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

void sim_home_make(const char *where)
{
    (void)snprintf(root, sizeof root, "%s/hanse-sim-%d", where, (int)getpid());
    make_dir(root);
}

void sim_home_drop(void)
{
    drop_tree(root);
}

/* ---- commands ---- */

/* A command of one of the programs, as its operator types it; `words` ends with NULL. */
static void command(const hanse_cli_program *program, int proc, const char *const *words)
{
    char *argv[16];
    int argc = 0, code, before = sim_enter(SIM_NOBODY), out = dup(STDOUT_FILENO), nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

    argv[argc++] = (char *)(uintptr_t)program->name;
    while (*words != NULL)
        argv[argc++] = (char *)(uintptr_t)*words++;
    argv[argc++] = (char *)(uintptr_t)"--dir";
    argv[argc++] = sim.procs[proc].dir;
    (void)fflush(stdout);
    (void)dup2(nowhere, STDOUT_FILENO);
    (void)sim_enter(proc);
    code = hanse_cli_main(program, argc, argv);
    sim.current = before;
    (void)fflush(stdout);
    (void)dup2(out, STDOUT_FILENO);
    (void)close(out);
    (void)close(nowhere);
    if (code != 0)
        sim_wrong("%s %s: exit code %d", program->name, argv[1], code);
}

static void name_procs(const char *home, size_t sites_count)
{
    memset(sim.procs, 0, sizeof sim.procs);
    memset(sim.sites, 0, sizeof sim.sites);
    for (size_t i = 0; i <= sites_count; i++) {
        sim_proc *proc = &sim.procs[i];

        (void)snprintf(proc->name, sizeof proc->name, i == 0 ? "coord" : "s%zu", i);
        join(proc->dir, home, proc->name);
        proc->planned_us = SIM_NEVER;
    }
}

/* A site's rows: a and b, and a noisy y that depends on them; sites differ in number and in mean. */
static void write_rows(const char *path, size_t site)
{
    sim_rng rng = {.state = 77 + site};
    hanse_buf text = HANSE_BUF_EMPTY;
    hanse_err err = {0};

    sim_must(hanse_buf_printf(&text, &err, "a,b,y\n"), &err, "rows");
    for (size_t i = 0; i < 16 + 5 * (site % 7); i++) {
        double a = (double)sim_below(&rng, 8001) / 1000 - 4 + (double)(site % 3) / 2, b = (double)sim_below(&rng, 8001) / 1000 - 4;

        sim_must(hanse_buf_printf(&text, &err, "%.3f,%.3f,%d\n", a, b, a - b + (double)sim_below(&rng, 2001) / 1000 - 1 > 0), &err, "rows");
    }
    sim_must(hanse_file_write(path, hanse_buf_bytes(&text), 0600, &err), &err, "rows");
    hanse_buf_clear(&text);
}

/* What the operator adds to what `enrol` wrote. */
static void configure(size_t site)
{
    static const char no[] = "allow_sealed: false", data[] = "data: {toy: {files: [{path: rows.csv}]}}\n";
    hanse_buf text = HANSE_BUF_EMPTY;
    hanse_path path, rows;
    hanse_err err = {0};
    char *at;

    join(path, sim.procs[site].dir, HANSE_NODE_FILE);
    join(rows, sim.procs[site].dir, "rows.csv");
    sim_must(hanse_file_read(&text, path, HANSE_CONFIG_TEXT_MAX, &err), &err, "node.yaml");
    at = strstr((char *)text.data, no);
    if (at == NULL)
        sim_wrong("node.yaml has no allow_sealed");
    memcpy(at, "allow_sealed: true ", sizeof no - 1);
    sim_must(hanse_buf_append(&text, data, sizeof data - 1, &err), &err, "node.yaml");
    sim_must(hanse_file_write(path, hanse_buf_bytes(&text), 0600, &err), &err, "node.yaml");
    hanse_buf_clear(&text);
    write_rows(rows, site);
}

static void enrol(size_t site)
{
    char organisation[32];
    hanse_path invitation;
    hanse_site_store *store = NULL;
    hanse_err err = {0};

    (void)snprintf(organisation, sizeof organisation, "%s hospital", sim.procs[site].name);
    join(invitation, sim.home, "invitation");
    command(&hanse_coordinator_program, SIM_COORDINATOR,
            (const char *const[]){"invite", sim.procs[site].name, "--organisation", organisation, "-o", invitation, NULL});
    command(&hanse_node_program, (int)site, (const char *const[]){"enrol", invitation, NULL});
    (void)unlink(invitation);
    configure(site);
    sim_must(hanse_site_store_open(&store, sim.procs[site].dir, &err), &err, "state.db");
    hanse_site_store_close(store);
}

void sim_home_template(size_t sites_count)
{
    char name[32];

    if (enrolled[sites_count])
        return;
    enrolled[sites_count] = true;
    sim.seed = 0;
    sim.now_us = 0;
    sim.calm = true;
    sim.chance.state = sites_count;
    sim.setup = (sim_setup){.sites_count = sites_count, .deadline_ms = 60000};
    sim_random_begin(sites_count);
    (void)snprintf(name, sizeof name, "enrolled-%zu", sites_count);
    join(sim.home, root, name);
    name_procs(sim.home, sites_count);
    command(&hanse_coordinator_program, SIM_COORDINATOR,
            (const char *const[]){"init", "--name", "Sim", "--address", "127.0.0.1:7000", "--listen", "127.0.0.1:7000", NULL});
    sim_start(SIM_COORDINATOR);
    for (size_t site = 1; site <= sites_count; site++)
        enrol(site);
    sim_stop(SIM_COORDINATOR, false, SIM_NEVER);
    sim.heap_count = 0;
    sim_net_clear();
}

/* ---- a seed's own ---- */

static void plan_text(hanse_buf *out)
{
    const sim_setup *setup = &sim.setup;
    const bool mlp = strcmp(setup->model, "mlp") == 0;
    const unsigned sites_min = setup->masked ? 2 : (unsigned)(setup->sites_count + 1) / 2;
    hanse_err err = {0};

    sim_must(hanse_buf_printf(out, &err,
                              "hanse: 1\nname: sim\ndata: {name: toy, format: csv, target: {column: y, classes: [\"0\", \"1\"]},\n"
                              "  features: [{name: a, low: -10, high: 10}, {name: b, low: -10, high: 10}], test_share: 0.25}\n"
                              "scaling: %s\nmodel: {kind: %s%s}\ntrain: {rate: 0.1, batch: 8, epochs: 1, seed: %" PRIu64 "}\n"
                              "rounds: {count: %u, deadline: %" PRIu64 "s, min_sites: %u}\naggregation: {privacy: %s%s}\n",
                              sim.seed % 3 == 0 ? "federated" : "none", setup->model, mlp ? ", hidden: [4]" : "", sim.seed % 1000 + 1,
                              setup->rounds, setup->deadline_ms / 1000, sites_min, setup->masked ? "masked" : "sealed",
                              setup->cron ? ", profile: cron" : ""),
             &err, "plan");
}

static void read_run(void)
{
    hanse_store *store = NULL;
    hanse_store_run *rows = NULL, run = {0};
    size_t count = 0;
    hanse_err err = {0};

    sim_must(hanse_store_open(&store, sim.procs[SIM_COORDINATOR].dir, false, &err), &err, "store");
    sim_must(hanse_store_runs(store, &rows, &count, &err), &err, "store");
    if (count != 1)
        sim_wrong("%zu runs", count);
    memcpy(sim.run_id, rows[0].run_id, 16);
    sim_must(hanse_store_run_get(store, sim.run_id, &run, &err), &err, "store");
    sim_must(hanse_plan_parse(&sim.plan, hanse_buf_bytes(&run.plan), "plan", &err), &err, "plan");
    sim_must(hanse_buf_append(&sim.roster_bytes, run.roster.data, run.roster.len, &err), &err, "roster");
    sim_must(hanse_roster_decode(&sim.roster, hanse_buf_bytes(&sim.roster_bytes), &err), &err, "roster");
    for (size_t i = 0; i < sim.roster.sites_count; i++)
        for (int site = 1; site <= (int)sim.setup.sites_count; site++)
            if (strcmp(sim.roster.sites[i].name, sim.procs[site].name) == 0) {
                sim.member_of[site] = (int)i;
                sim.site_of[i] = site;
            }
    hanse_store_run_clear(&run);
    hanse_store_runs_free(rows, count);
    hanse_store_close(store);
}

void sim_home_copy(void)
{
    hanse_buf text = HANSE_BUF_EMPTY;
    hanse_path path;
    hanse_path from;
    char name[160];
    size_t sites_count = sim.setup.sites_count;

    (void)snprintf(name, sizeof name, "enrolled-%zu", sites_count);
    join(from, root, name);
    (void)snprintf(name, sizeof name, "seed-%" PRIu64 "-%s", sim.seed, sim.blow.kind == SIM_BLOW_NONE ? "drawn" : sim_blow_text());
    join(sim.home, root, name);
    copy_tree(from, sim.home);
    name_procs(sim.home, sites_count);
    join(path, sim.home, "plan.yaml");
    plan_text(&text);
    write_text(path, (const char *)text.data);
    hanse_buf_clear(&text);
    command(&hanse_coordinator_program, SIM_COORDINATOR, (const char *const[]){"submit", path, NULL});
    read_run();
}

void sim_home_accept(int site)
{
    hanse_site_store *store = NULL;
    hanse_store *runs = NULL;
    hanse_store_run run = {0};
    hanse_offer offer;
    uint8_t earlier[16];
    hanse_err err = {0};
    int before = sim_enter(SIM_NOBODY);

    sim_must(hanse_store_open(&runs, sim.procs[SIM_COORDINATOR].dir, false, &err), &err, "store");
    sim_must(hanse_store_run_get(runs, sim.run_id, &run, &err), &err, "store");
    sim_must(hanse_offer_decode(&offer, hanse_buf_bytes(&run.offer), &err), &err, "offer");
    sim_must(hanse_site_store_open(&store, sim.procs[site].dir, &err), &err, "state.db");
    sim_must(hanse_site_store_pin_roster(store, offer.roster_hash, &err), &err, "accept roster");
    sim_must(hanse_site_store_accept(store, &offer, hanse_clock_wall_ms(), earlier, &err), &err, "accept plan");
    hanse_site_store_close(store);
    hanse_store_run_clear(&run);
    hanse_store_close(runs);
    sim.current = before;
}

void sim_home_retry(int site)
{
    hanse_site_store *store = NULL;
    hanse_err err = {0};
    int before = sim_enter(SIM_NOBODY);

    sim_must(hanse_site_store_open(&store, sim.procs[site].dir, &err), &err, "state.db");
    sim_must(hanse_site_store_ask(store, HANSE_SITE_ASK_RETRY, sim.run_id, &err), &err, "accept retry");
    hanse_site_store_close(store);
    sim.current = before;
}

void sim_home_clear(void)
{
    drop_tree(sim.home);
}
