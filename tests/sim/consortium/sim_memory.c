/* sim_memory.c - the calls that ask for memory, of our own code: one may fail. Other libraries' are not counted. */
#include "tests/sim/consortium/sim.h"

#include <stdlib.h>

void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

static bool is_struck(void)
{
    sim_proc *proc;

    if (sim.current == SIM_NOBODY || sim.own > 0)
        return false;
    proc = &sim.procs[sim.current];
    if (!proc->short_of_memory || proc->killed || proc->memory_calls_left-- > 0)
        return false;
    proc->short_of_memory = false;
    sim.blow.struck = true;
    sim_trace("no memory");
    return true;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return is_struck() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return is_struck() ? NULL : __real_realloc(old, size);
}
