/* sim_blow.c - one fault at one call, for every call there is: a countdown over the whole of contribute, fold, unmask and publish.
 *
 * A small consortium works through a run in which nothing happens but that: the k-th call with which the coordinator, or one site,
 * changes its disk is the last that the process makes (kill), or fails (EIO), or the k-th call for memory fails. What must hold is
 * what must hold for every seed. */
#include "tests/sim/consortium/sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/wait.h>

#define QUIET_S 3600 /* much longer than the run: no other fault comes */

static const char *const consortia[] = {"sealed", "online", "cron"};
static const char *const kinds[] = {"none", "kill", "error", "memory"};
enum { CONSORTIA = sizeof consortia / sizeof *consortia, KINDS = sizeof kinds / sizeof *kinds, STRUCK_SITE = 1, JOBS_MAX = 64 };

void sim_setup_blow(void)
{
    const bool masked = sim.blow.consortium > 0, cron = sim.blow.consortium == 2;

    sim.setup = (sim_setup){.sites_count = masked ? 4 : 3, .masked = masked, .cron = cron, .rounds = 2, .model = "logistic",
                            .deadline_ms = cron ? 300000 : 30000, .period_ms = 60000, .calm_us = QUIET_S * SIM_S, .pace_us = QUIET_S * SIM_S};
}

void sim_blow_arm(void)
{
    sim_proc *proc = &sim.procs[sim.blow.proc];

    if (sim.blow.kind == SIM_BLOW_MEMORY) {
        proc->short_of_memory = true;
        proc->memory_calls_left = sim.blow.call;
    } else if (sim.blow.kind != SIM_BLOW_NONE) {
        proc->disk = sim.blow.kind == SIM_BLOW_KILL ? SIM_DISK_KILL : SIM_DISK_ERROR;
        proc->disk_calls_left = sim.blow.call;
    }
}

const char *sim_blow_text(void)
{
    static char text[96];

    (void)snprintf(text, sizeof text, "%s,%s,%d,%" PRIu64, consortia[sim.blow.consortium], kinds[sim.blow.kind], sim.blow.proc, sim.blow.call);
    return text;
}

bool sim_blow_parse(const char *text)
{
    char consortium[16], kind[16];

    if (sscanf(text, "%15[a-z],%15[a-z],%d,%" SCNu64, consortium, kind, &sim.blow.proc, &sim.blow.call) != 4 || sim.blow.proc < 0 ||
        sim.blow.proc > 3)
        return false;
    for (unsigned i = 0; i < CONSORTIA; i++)
        for (unsigned j = SIM_BLOW_KILL; j < KINDS; j++)
            if (strcmp(consortium, consortia[i]) == 0 && strcmp(kind, kinds[j]) == 0) {
                sim.blow.consortium = i;
                sim.blow.kind = (sim_blow_kind)j;
                return true;
            }
    return false;
}

/* One kind of blow to one process: until a call is not there any more. */
static size_t count_down(uint64_t stride, uint64_t jobs, pid_t (*begin)(void))
{
    pid_t children[JOBS_MAX] = {0};
    uint64_t calls[JOBS_MAX] = {0}, next = 0, struck = 0;
    size_t running = 0, wrong = 0;
    bool over = false;

    while (!over || running > 0) {
        int status = 0;
        pid_t ended;
        size_t slot;

        while (!over && running < jobs) {
            for (slot = 0; children[slot] != 0; slot++)
                continue;
            sim.blow.call = calls[slot] = next;
            next += stride;
            children[slot] = begin();
            if (children[slot] < 0)
                return wrong + 1;
            running++;
        }
        ended = waitpid(-1, &status, 0);
        for (slot = 0; slot < JOBS_MAX && children[slot] != ended; slot++)
            continue;
        if (ended <= 0 || slot == JOBS_MAX)
            return wrong + 1;
        children[slot] = 0;
        running--;
        if (WIFEXITED(status) && WEXITSTATUS(status) == SIM_NOT_STRUCK) {
            over = true;
        } else if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
            struck++;
        } else {
            sim.blow.call = calls[slot];
            printf("again: test_consortium --blow %s --verbose\n", sim_blow_text());
            wrong++;
        }
    }
    printf("%s, %s, %s: %" PRIu64 " calls struck, %zu wrong\n", consortia[sim.blow.consortium], kinds[sim.blow.kind],
           sim.blow.proc == SIM_COORDINATOR ? "coordinator" : "site", struck + wrong, wrong);
    (void)fflush(stdout);
    return wrong;
}

size_t sim_blow_all(uint64_t stride, uint64_t jobs, pid_t (*begin)(void))
{
    size_t wrong = 0;

    for (sim.blow.consortium = 0; sim.blow.consortium < CONSORTIA; sim.blow.consortium++)
        for (unsigned kind = SIM_BLOW_KILL; kind < KINDS; kind++)
            for (sim.blow.proc = SIM_COORDINATOR; sim.blow.proc <= STRUCK_SITE; sim.blow.proc++) {
                sim.blow.kind = (sim_blow_kind)kind;
                wrong += count_down(stride, jobs, begin);
            }
    return wrong;
}
