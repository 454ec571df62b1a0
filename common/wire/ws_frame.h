/* ws_frame.h - frames of RFC 6455 as bytes: headers, masks, and the rules that a client holds its server to. Pure. */
#ifndef HANSE_WS_FRAME_H
#define HANSE_WS_FRAME_H

#include "hanse/bytes.h"

#define HANSE_WS_HEAD_MAX 14    /* bytes of a header: 2, 8 of length, 4 of mask key */
#define HANSE_WS_CONTROL_MAX 125 /* bytes of a control frame's payload (section 5.5) */

typedef enum hanse_ws_opcode {
    HANSE_WS_CONTINUATION = 0,
    HANSE_WS_TEXT = 1,
    HANSE_WS_BINARY = 2,
    HANSE_WS_CLOSE = 8,
    HANSE_WS_PING = 9,
    HANSE_WS_PONG = 10,
} hanse_ws_opcode;

typedef struct hanse_ws_head {
    hanse_ws_opcode opcode;
    bool fin;
    bool masked;
    uint8_t key[4]; /* when masked */
    uint64_t len;   /* bytes of the payload */
} hanse_ws_head;

/* Header bytes into `out`; returns how many. */
size_t hanse_ws_head_encode(uint8_t out[HANSE_WS_HEAD_MAX], const hanse_ws_head *head);
/* From the first bytes of a frame. Errors: AGAIN (not whole yet), PROTOCOL (reserved bits or opcode, a length that is
 * not in its shortest form, a control frame that is fragmented or too long). */
HANSE_MUST_CHECK hanse_rc hanse_ws_head_decode(hanse_ws_head *out, size_t *head_len, hanse_bytes in, hanse_err *err);

/* out[i] = in[i] xor key[i mod 4]; the same call unmasks. out == in is allowed. */
void hanse_ws_mask(uint8_t *out, const uint8_t *in, size_t len, const uint8_t key[4]);

/* The client's receiving end. Takes bytes in pieces of any size and hands out what is in them, one event a call. */
typedef enum hanse_ws_event_kind {
    HANSE_WS_EVENT_NONE,    /* all input is used up */
    HANSE_WS_EVENT_DATA,    /* a piece of a binary message; `last` ends the message */
    HANSE_WS_EVENT_CONTROL, /* a whole control frame */
} hanse_ws_event_kind;

typedef struct hanse_ws_event {
    hanse_ws_event_kind kind;
    hanse_ws_opcode opcode; /* CONTROL */
    hanse_bytes data;       /* DATA: from the input; CONTROL: from the reader; until the next call */
    bool last;              /* DATA */
} hanse_ws_event;

typedef struct hanse_ws_reader {
    uint8_t head[HANSE_WS_HEAD_MAX]; /* of a header that is not whole yet */
    size_t head_len;
    hanse_ws_head frame; /* under way while `in_frame` */
    uint64_t frame_done; /* bytes of its payload seen */
    bool in_frame;
    bool in_message; /* between the first and the last frame of a message */
    uint8_t control[HANSE_WS_CONTROL_MAX];
} hanse_ws_reader;

/* Take the next event from `in`, which is shortened by what was used; zero-initialise the reader.
 * Errors: PROTOCOL (also: masked frames and text, which a server of ours never sends). */
HANSE_MUST_CHECK hanse_rc hanse_ws_read(hanse_ws_reader *reader, hanse_bytes *in, hanse_ws_event *event, hanse_err *err);

#endif
