/* outgoing.h - a finished contribution as it goes out, chunk by chunk, the same bytes each time: sealed on the way from the trained
 * model, or masked as it lies on disk. */
#ifndef HANSE_NODE_OUTGOING_H
#define HANSE_NODE_OUTGOING_H

#include "hanse/hpke.h"
#include "node/keys.h"

typedef struct hanse_node_outgoing {
    uint64_t chunks;
    int fd; /* of the trained model or the masked words; -1: none */
    hanse_path path; /* of it */
    /* sealed */
    hanse_hpke *hpke;
    hanse_upload header;
    uint8_t header_hash[32];
    /* masked */
    uint64_t *offsets; /* [chunks + 1]; NULL: sealed */
} hanse_node_outgoing;

/* Open finished work for sending. Close also after an error. Errors: CORRUPT (the files are not those of the work), IO, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_node_outgoing_open(hanse_node_outgoing *out, const char *dir, const hanse_offer *offer,
                                                   const hanse_site_work *work, hanse_err *err);
/* Masked: is the file still what the header was signed over? Reads all of it into `room` [HANSE_PAYLOAD_MAX], chunk by chunk. Errors: CORRUPT, IO, NOMEM. */
HANSE_MUST_CHECK hanse_rc hanse_node_outgoing_check(const hanse_node_outgoing *outgoing, const hanse_site_work *work, uint8_t *room, hanse_err *err);
/* Chunk `index` into `out` [HANSE_PAYLOAD_MAX]; *len bytes. */
HANSE_MUST_CHECK hanse_rc hanse_node_outgoing_chunk(hanse_node_outgoing *outgoing, const hanse_site_work *work, uint64_t index, uint8_t *out,
                                                    size_t *len, hanse_err *err);
void hanse_node_outgoing_close(hanse_node_outgoing *outgoing);

#endif
