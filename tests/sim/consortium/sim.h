/* sim.h - a whole consortium in one process, on invented time.
 *
 * The coordinator's service and the sites' agents are the real ones; their edges are doubles, found by the linker before the
 * libraries' own: clocks (sim_clock.c), sockets and TLS of both sides (sim_link.c, sim_edge.c over sim_net.c), threads
 * (sim_threads.c), the disk's calls and OpenSSL's randomness (sim_disk.c, sim_clock.c). Files and SQLite are real, in a
 * directory of their own. One event is handled at a time; which comes next, how long things take and what goes wrong follows
 * from the seed alone, so that a seed is a whole history and can be looked at again.
 *
 *   sim_core.c   events, chance, trace, what to do when something is wrong     sim_home.c   directories: enrolled once, copied a seed
 *   sim_proc.c   processes: start, step, stop, kill                            sim_fault.c  what goes wrong, and when
 *   sim_watch.c  what may never happen on the wire                             sim_sum.c    the sums, made again from what the sites trained
 *   sim_blow.c   one fault at one call, for every call there is                sim_memory.c the calls that ask for memory */
#ifndef HANSE_SIM_H
#define HANSE_SIM_H

#include "coordinator/server/server.h"
#include "node/agent.h"

#define SIM_SITES_MAX 50
#define SIM_COORDINATOR 0 /* processes: the coordinator, then the sites 1..n */
#define SIM_NOBODY (-1)
#define SIM_NEVER UINT64_MAX
#define SIM_S ((uint64_t)1000000) /* microseconds */

/* ---- chance ---- */
typedef struct sim_rng { uint64_t state; } sim_rng;
uint64_t sim_draw(sim_rng *rng);
uint64_t sim_below(sim_rng *rng, uint64_t bound);                 /* 0 .. bound - 1 */
uint64_t sim_between(sim_rng *rng, uint64_t low, uint64_t high);  /* both may come */
bool sim_chance(sim_rng *rng, unsigned per_mille);

/* ---- the network between a site and the coordinator: one direction of a connection ---- */
typedef struct sim_piece { /* of a message, as it travels */
    struct sim_piece *next;
    bool last, end; /* of its message; of the connection: no bytes */
    uint64_t at_us;
    size_t len;
    uint8_t data[];
} sim_piece;

typedef struct sim_pipe {
    sim_piece *head, *tail;
    uint64_t last_us; /* nothing overtakes within a connection */
    bool ended;       /* the writer has closed it: nothing more goes in */
} sim_pipe;

typedef struct sim_conn {
    struct sim_conn *next;
    int site;
    unsigned serial;
    sim_pipe up, down;
    hanse_link *link; /* the site's end; NULL: closed */
    bool edge_open;   /* the coordinator's end */
    bool flush_planned;
    hanse_connection peer;
    hanse_session session; /* while edge_open */
    hanse_buf cert_pem;    /* what the site showed */
    hanse_buf told;        /* the message that the coordinator is writing */
    hanse_buf masks;       /* the last MASKS that it wrote */
} sim_conn;

/* ---- processes ---- */
typedef enum sim_disk { SIM_DISK_GOOD, SIM_DISK_KILL, SIM_DISK_ERROR, SIM_DISK_FULL } sim_disk;

typedef struct sim_proc {
    char name[16];
    hanse_path dir;
    bool up;
    unsigned lives;      /* processes so far: events of an earlier one are void */
    int64_t skew_ms;     /* of its wall clock */
    uint64_t planned_us; /* its next step */
    int wait_ms;         /* what it last waited for; -1: nothing */
    bool killed;         /* within the step that it is in: from here on nothing it does happens */
    sim_disk disk;
    uint64_t disk_calls_left; /* until KILL or ERROR; FULL: unused */
    uint64_t disk_calls;      /* that changed something, in all */
    unsigned bad_reads;       /* the next readings of a site's facts that end halfway */
    bool short_of_memory;     /* memory_calls_left from now one call for memory fails */
    uint64_t memory_calls_left;
} sim_proc;

typedef struct sim_site {
    hanse_agent *agent; /* while up */
    hanse_node_config config;
    uint64_t cut_off_until_us; /* partition */
    uint64_t latency_us;
    bool thread_waits; /* its worker's thread, not run yet */
    void *(*thread_main)(void *);
    void *thread_argument;
    uint64_t accepts_us; /* when its operator accepts the run */
    uint64_t next_contact_us; /* cron */
    bool wants_retry;    /* it told its operator that only `accept retry` helps */
    bool heard_end;      /* that the run is over */
} sim_site;

typedef struct sim_event {
    uint64_t at_us, order;
    void (*fire)(const struct sim_event *event);
    int proc;       /* whose; SIM_NOBODY: not bound to a process's life */
    unsigned life;
    void *thing;
} sim_event;

/* What a seed draws before it begins. */
typedef struct sim_setup {
    size_t sites_count;
    bool masked, cron;
    unsigned rounds;
    uint64_t deadline_ms, period_ms; /* of a round; between the contacts of a site under cron */
    const char *model;
    uint64_t calm_us; /* nothing goes wrong from then on */
    bool network, crashes, clocks, disk; /* kinds of faults */
    uint64_t pace_us;                    /* mean time between two of them */
} sim_setup;

/* Instead of chance: nothing goes wrong in the consortium but one call of one process. */
typedef enum sim_blow_kind { SIM_BLOW_NONE, SIM_BLOW_KILL, SIM_BLOW_ERROR, SIM_BLOW_MEMORY } sim_blow_kind;
typedef struct sim_blow {
    sim_blow_kind kind; /* NONE: chance it is */
    unsigned consortium; /* 0: sealed, 1: masked online, 2: masked cron */
    int proc;
    uint64_t call; /* the one that is struck, from 0 */
    bool struck;
} sim_blow;

typedef struct sim_world {
    uint64_t seed, now_us, order, events_count;
    uint64_t trace; /* hash over all that happened */
    uint64_t over_us; /* the run was over then; 0: not yet */
    bool verbose, firing, calm;
    sim_blow blow;
    unsigned own; /* > 0: what asks for memory is the simulation itself */
    int current; /* the process whose code runs */
    sim_rng chance, keys;
    sim_event *heap;
    size_t heap_count, heap_cap;
    sim_setup setup;
    hanse_path home;
    sim_proc procs[SIM_SITES_MAX + 1];
    sim_site sites[SIM_SITES_MAX + 1];
    hanse_server server;
    hanse_coordinator_config config;
    sim_conn *conns;
    unsigned conns_count;
    uint8_t run_id[16];
    hanse_plan *plan;
    hanse_roster roster;
    hanse_buf roster_bytes;
    int member_of[SIM_SITES_MAX + 1]; /* site -> place in the roster */
    int site_of[SIM_SITES_MAX];       /* and back */
    struct { unsigned kills, stops, resets, partitions, jumps, disk, delays, duplicates, exits, retries; } faults;
} sim_world;

extern sim_world sim;

/* ---- sim_core.c ---- */
void sim_plan(uint64_t at_us, void (*fire)(const sim_event *event), int proc, void *thing);
bool sim_run_next(uint64_t until_us); /* one event, or time moves to until_us: false */
void sim_trace(const char *format, ...) HANSE_PRINTF(1, 2); /* --verbose; always part of sim.trace */
void sim_trace_line(const char *line, size_t len);         /* of the log */
/* Something that may never happen: say it with the last lines of the trace, and end this process with 1. */
_Noreturn void sim_wrong(const char *format, ...) HANSE_PRINTF(1, 2);
void sim_must(hanse_rc rc, const hanse_err *err, const char *what);
const char *sim_name(int proc);

/* ---- sim_clock.c ---- */
void sim_random_begin(uint64_t seed); /* OpenSSL's randomness follows from the seed from now on */

/* ---- sim_net.c ---- */
sim_conn *sim_conn_open(int site, hanse_link *link, hanse_bytes cert_pem); /* NULL: not reachable */
void sim_conn_send(sim_conn *conn, bool up, hanse_bytes bytes, bool last);
void sim_conn_end(sim_conn *conn, bool up); /* behind what is on its way */
void sim_conn_reset(sim_conn *conn);        /* what is on its way is lost, each end hears of it sooner or later */
void sim_cut_off(int site, uint64_t until_us);
void sim_silence(int proc); /* its machine loses power: its peers hear nothing, for a minute or more */
void sim_net_clear(void);     /* every connection is gone, and what was under way in it */
sim_piece *sim_pipe_take(sim_pipe *pipe);   /* its first piece, to be freed */

/* ---- sim_link.c, sim_edge.c: what the network hands on ---- */
void sim_link_arrive(hanse_link *link, sim_piece *piece);
void sim_edge_established(sim_conn *conn);
void sim_edge_arrive(sim_conn *conn, const sim_piece *piece);
void sim_edge_closed(sim_conn *conn);

/* ---- sim_threads.c ---- */
void sim_thread_drop(int site); /* its process is gone */

/* ---- sim_proc.c ---- */
void sim_start(int proc);
void sim_stop(int proc, bool killed, uint64_t down_us); /* and again after down_us */
void sim_step_soon(int proc, uint64_t in_us);
void sim_serve(void);      /* the coordinator does what is due, after whatever was handed to it */
int sim_enter(int proc);   /* returns whose code ran before */
void sim_leave(int before);

/* ---- sim_home.c ---- */
void sim_home_make(const char *root);             /* once */
void sim_home_drop(void);
void sim_home_template(size_t sites_count);       /* enrol so many sites, unless that was done */
void sim_home_copy(void);                         /* the world's own directories, its plan submitted */
void sim_home_accept(int site);                   /* play its operator */
void sim_home_retry(int site);                    /* `accept retry` */
void sim_home_clear(void);

/* ---- sim_blow.c ---- */
void sim_setup_blow(void); /* the consortium of sim.blow, in place of what a seed draws */
void sim_blow_arm(void);
bool sim_blow_parse(const char *text); /* "CONSORTIUM,KIND,PROC,CALL", as sim_blow_text() writes it */
const char *sim_blow_text(void);
/* Every `stride`-th call there is, each in a process of its own, `jobs` at a time: begin() forks it, and it ends with 0 (struck, and all was
 * well), SIM_NOT_STRUCK (there is no such call any more) or anything else. Returns how many went wrong. */
size_t sim_blow_all(uint64_t stride, uint64_t jobs, pid_t (*begin)(void));
#define SIM_NOT_STRUCK 2

/* ---- sim_fault.c ---- */
void sim_setup_draw(void);
void sim_faults_begin(void);

/* ---- sim_watch.c ---- */
void sim_watch_sent(int site, hanse_bytes message);  /* has left the site */
void sim_watch_told(int site, hanse_bytes message);  /* has left the coordinator */
void sim_watch_log(const char *line);                /* of the process that runs */
bool sim_watch_put_away(const hanse_agent *agent);   /* the site knows that the run is over, and has nothing left to do for it */
bool sim_watch_done(void);                           /* the run is over for everybody */
void sim_watch_end(void);                            /* what must be so when it is */

/* ---- sim_sum.c ---- */
void sim_sum_header(int site, uint64_t slot);        /* its contribution is fixed: what is in it */
void sim_sum_check(const hanse_result *result);

#endif
