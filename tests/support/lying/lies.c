/* lies.c - linked into hanse-coordinator-lying: the real coordinator that says one thing wrong. HANSE_LIE names it:
 *
 *   tickets, shares  MASKS has those of all members but the last
 *   headers          CUT has those of all members but the last
 *   rows             the total of rows is one less from the second result on */
#include "coordinator/server/masks.h"

#include <stdlib.h>

void __real_hanse_session_send(hanse_session *session, const hanse_message *message);
void __wrap_hanse_session_send(hanse_session *session, const hanse_message *message);
hanse_rc __real_hanse_masking_state_encode(hanse_buf *out, const hanse_masking_state *state, hanse_err *err);
hanse_rc __wrap_hanse_masking_state_encode(hanse_buf *out, const hanse_masking_state *state, hanse_err *err);

static bool lies(const char *about)
{
    const char *lie = getenv("HANSE_LIE");

    return lie != NULL && strcmp(lie, about) == 0;
}

/* The same list without its last entry, in `room`. */
static hanse_bytes shorter(hanse_bytes list, hanse_buf *room)
{
    hanse_signed *entries = NULL;
    size_t count = 0;

    if (hanse_signed_list_decode(&entries, &count, list, HANSE_SECAGG_SITES_MAX, NULL) != HANSE_OK || count == 0 ||
        hanse_signed_list_encode(room, entries, count - 1, NULL) != HANSE_OK)
        abort();
    hanse_free(entries);
    return hanse_buf_bytes(room);
}

void __wrap_hanse_session_send(hanse_session *session, const hanse_message *message)
{
    hanse_message said = *message;
    hanse_buf room = HANSE_BUF_EMPTY;

    if (said.kind == HANSE_MASKS && lies("tickets"))
        said.masks.tickets = shorter(said.masks.tickets, &room);
    if (said.kind == HANSE_MASKS && lies("shares"))
        said.masks.shares.len -= HANSE_SECAGG_CT_LEN;
    if (said.kind == HANSE_CUT && lies("headers"))
        said.cut.uploads = shorter(said.cut.uploads, &room);
    __real_hanse_session_send(session, &said);
    hanse_buf_clear(&room);
}

hanse_rc __wrap_hanse_masking_state_encode(hanse_buf *out, const hanse_masking_state *state, hanse_err *err)
{
    static unsigned results;
    hanse_masking_state said = *state;

    if (results++ > 0 && lies("rows"))
        said.weight_total--;
    return __real_hanse_masking_state_encode(out, &said, err);
}
