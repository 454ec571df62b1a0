/* work.h - a round's local work, on a thread of its own: load data, evaluate the incoming model, train.
 *
 * The main thread starts a job, goes on serving the link, and hears of its end through a file descriptor. One job at a time; the
 * data set stays in memory between the rounds of a run. Nothing here touches the socket or the store. */
#ifndef HANSE_NODE_WORK_H
#define HANSE_NODE_WORK_H

#include "hanse/file.h"
#include "hanse/object.h"
#include "node/config.h"
#include "node/mask_work.h"

typedef struct hanse_node_job {
    hanse_spec spec;
    hanse_buf plan_text, statistics; /* owned; words of the statistics round, or empty */
    hanse_path model_in, model_out;
    uint64_t site_seed;
    hanse_mask_work mask; /* its masker NULL: not masked */
    /* filled by the work */
    hanse_rc rc;
    hanse_err err;
    uint64_t weight, data_offset, data_len; /* data segment in model_out; 0: none */
    size_t classes_count;
    hanse_buf aux;                          /* words, little-endian */
} hanse_node_job;

void hanse_node_job_clear(hanse_node_job *job);

typedef struct hanse_node_worker hanse_node_worker; /* opaque; body in work.c */

/* `config` and `dir` borrowed; `done_fd` is an eventfd that is written when a job ends. */
HANSE_MUST_CHECK hanse_rc hanse_node_worker_new(hanse_node_worker **out, const hanse_node_config *config, const char *dir, int done_fd,
                                                hanse_err *err);
void hanse_node_worker_free(hanse_node_worker *worker); /* NULL allowed; stops and waits */
bool hanse_node_worker_busy(const hanse_node_worker *worker);
/* Take over `job` (zeroed afterwards) and begin. Errors: USAGE (busy), IO (no thread). */
HANSE_MUST_CHECK hanse_rc hanse_node_worker_start(hanse_node_worker *worker, hanse_node_job *job, hanse_err *err);
void hanse_node_worker_stop(hanse_node_worker *worker); /* asks; the job ends with AGAIN */
/* The finished job, to be cleared by the caller; false while there is none. */
bool hanse_node_worker_take(hanse_node_worker *worker, hanse_node_job *job);
/* Let go of the data: nothing is due. */
void hanse_node_worker_forget(hanse_node_worker *worker);

/* Data of `plan`, scaled: by `statistics` under federated scaling, by the site's own rows when there are none. */
HANSE_MUST_CHECK hanse_rc hanse_node_dataset_ready(const hanse_node_config *config, const char *dir, const hanse_plan *plan,
                                                   hanse_bytes statistics, hanse_dataset **out, hanse_err *err);

#endif
