/* shares.c - what the tickets of the open round hold for one member.
 *
 * Each of n tickets has a sealed share for each of n members. These n^2 stay in the store; memory holds those for some members in a row,
 * as everybody is told in a row when a round opens: one reading of all tickets for each block. */
#include "coordinator/server/masks.h"

#define BLOCK_LEN ((size_t)4 << 20) /* bytes; up to 223 sites it holds all of them */

typedef struct block {
    const hanse_live_run *run;
    uint8_t *shares; /* [count][n][HANSE_SECAGG_CT_LEN] for members first, first + 1, ... */
    size_t first, count, tickets; /* so many were read */
} block;

static hanse_rc take_ticket(void *context, const hanse_store_left *row, hanse_err *err)
{
    block *fresh = context;
    const size_t n = fresh->run->roster.sites_count;
    size_t maker;

    if (!hanse_live_run_member(fresh->run, row->site_id, &maker) || !hanse_masks_takes_part(fresh->run, maker))
        return HANSE_OK;
    if (row->extra.len != n * HANSE_SECAGG_CT_LEN)
        return HANSE_FAIL(err, HANSE_E_CORRUPT, "a ticket with %zu bytes of shares for %zu sites in the store", row->extra.len, n);
    for (size_t i = 0; i < fresh->count; i++)
        memcpy(fresh->shares + (i * n + maker) * HANSE_SECAGG_CT_LEN, row->extra.data + (fresh->first + i) * HANSE_SECAGG_CT_LEN, HANSE_SECAGG_CT_LEN);
    fresh->tickets++;
    return HANSE_OK;
}

/* A ticket of the round that is gone from the store would be shares of zeros. */
static hanse_rc check_all(const block *fresh, hanse_err *err)
{
    size_t want = 0;

    for (size_t i = 0; i < fresh->run->roster.sites_count; i++)
        want += hanse_masks_takes_part(fresh->run, i);
    return fresh->tickets == want ? HANSE_OK : HANSE_FAIL(err, HANSE_E_CORRUPT, "%zu of the round's %zu tickets in the store", fresh->tickets, want);
}

static hanse_rc read_block(hanse_live_run *run, size_t member, hanse_err *err)
{
    hanse_masks *masks = run->masks;
    const size_t n = run->roster.sites_count, column = n * HANSE_SECAGG_CT_LEN;
    size_t room = BLOCK_LEN / column;
    block fresh = {.run = run};
    hanse_rc rc;

    room = room == 0 ? 1 : room;
    fresh.first = member / room * room;
    fresh.count = n - fresh.first < room ? n - fresh.first : room;
    hanse_shares_forget(masks);
    fresh.shares = hanse_calloc(fresh.count, column);
    if (fresh.shares == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for the shares of %zu sites", fresh.count);
    rc = hanse_store_each_ticket(run->server->store, run->row.run_id, masks->spec.slot, take_ticket, &fresh, err);
    if (rc == HANSE_OK)
        rc = check_all(&fresh, err);
    if (rc != HANSE_OK) {
        hanse_free(fresh.shares);
        return rc;
    }
    masks->shares = fresh.shares;
    masks->shares_first = fresh.first;
    masks->shares_count = fresh.count;
    return HANSE_OK;
}

hanse_rc hanse_shares_for(hanse_live_run *run, size_t member, hanse_bytes *out, hanse_err *err)
{
    const hanse_masks *masks = run->masks;
    const size_t column = run->roster.sites_count * HANSE_SECAGG_CT_LEN;
    hanse_rc rc = HANSE_OK;

    if (member < masks->shares_first || member >= masks->shares_first + masks->shares_count)
        rc = read_block(run, member, err);
    if (rc == HANSE_OK)
        *out = (hanse_bytes){masks->shares + (member - masks->shares_first) * column, column};
    return rc;
}

void hanse_shares_forget(hanse_masks *masks)
{
    hanse_free(masks->shares);
    masks->shares = NULL;
    masks->shares_first = masks->shares_count = 0;
}
