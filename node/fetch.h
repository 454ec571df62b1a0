/* fetch.h - a model on its way here: chunk by chunk into DIR/work/ROOT.part, gone on with after a break, ROOT.safetensors when whole. */
#ifndef HANSE_NODE_FETCH_H
#define HANSE_NODE_FETCH_H

#include "hanse/digest.h"
#include "hanse/file.h"
#include "hanse/gather.h"
#include "hanse/message.h"

typedef struct hanse_node_fetch {
    bool active;
    bool announced; /* MODEL came */
    uint8_t root[32];
    uint64_t size_max, size, chunks;
    uint64_t next;     /* chunk to come */
    uint32_t transfer;
    uint32_t over;     /* transfers up to this one are given up: what still comes of them is dropped */
    bool dropping;     /* the chunk under way is of such a one */
    hanse_buf digests; /* [next], 32 bytes each */
    hanse_sha256_stream sha;
    hanse_gather gather;
    hanse_path part, path;
    int fd;
} hanse_node_fetch;

/* Prepare to receive the model `root`: *held when DIR/work has it whole already, else fetch->next chunks are there. */
HANSE_MUST_CHECK hanse_rc hanse_node_fetch_begin(hanse_node_fetch *fetch, const char *dir, const uint8_t root[32], uint64_t size_max,
                                                 bool *held, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_node_fetch_announced(hanse_node_fetch *fetch, const hanse_msg_model *model, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_node_fetch_head(hanse_node_fetch *fetch, const hanse_msg_chunk *chunk, hanse_err *err);
HANSE_MUST_CHECK hanse_rc hanse_node_fetch_data(hanse_node_fetch *fetch, size_t offset, hanse_bytes piece, hanse_err *err);
/* `whole` when the last chunk is here and the root holds: the file has its name then. Errors: AUTH. */
HANSE_MUST_CHECK hanse_rc hanse_node_fetch_end(hanse_node_fetch *fetch, const hanse_msg_chunk *chunk, bool *whole, hanse_err *err);
void hanse_node_fetch_stop(hanse_node_fetch *fetch); /* what is here stays on disk; on a new connection reset `over` */

#endif
