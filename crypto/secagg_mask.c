/* The mask streams of an upload, and those left over in a sum. */
#include "crypto/secagg_core.h"

hanse_rc secagg_streams_reserve(secagg_streams *streams, size_t count, hanse_err *err)
{
    streams->masks = hanse_calloc(count, sizeof(hanse_mask *));
    if (streams->masks == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for %zu masks", count);
    streams->count = count;
    return HANSE_OK;
}

hanse_rc secagg_self_mask(hanse_mask **out, const secagg_view *view, uint32_t of, const uint8_t b[32], bool subtract, hanse_err *err)
{
    uint8_t seed[HANSE_MASK_SEED_LEN];
    hanse_rc rc = hanse_mask_self_seed(seed, b, view->round_id, view->tickets[of].site_id, err);

    if (rc == HANSE_OK)
        rc = hanse_mask_new(out, seed, subtract, err);
    hanse_wipe(seed, sizeof seed);
    return rc;
}

hanse_rc secagg_pair_mask(hanse_mask **out, const secagg_view *view, uint32_t from, const uint8_t secret[32], uint32_t with, hanse_err *err)
{
    const hanse_secagg_ticket *mine = &view->tickets[from], *theirs = &view->tickets[with];
    uint8_t seed[HANSE_MASK_SEED_LEN];
    bool subtract;
    hanse_rc rc = hanse_mask_pair_seed(seed, &subtract, (hanse_mask_party){mine->site_id, mine->pk}, secret,
                                       (hanse_mask_party){theirs->site_id, theirs->pk}, HANSE_BYTES_EMPTY, view->round_id, err);

    if (rc == HANSE_E_AUTH)
        return HANSE_SECAGG_FAIL(err, LOWORDER, "ticket key of member %u is of low order", with);
    if (rc == HANSE_OK)
        rc = hanse_mask_new(out, seed, subtract, err);
    hanse_wipe(seed, sizeof seed);
    return rc;
}

hanse_rc secagg_streams_apply(const secagg_streams *streams, const hanse_secagg_spec *spec, hanse_secagg_chunk chunk,
                              void *words, hanse_err *err)
{
    if (spec->segments[chunk.segment].bits <= 32)
        return hanse_mask_apply_u32(streams->masks, streams->count, chunk.segment, chunk.word, words, chunk.words, err);
    return hanse_mask_apply_u64(streams->masks, streams->count, chunk.segment, chunk.word, words, chunk.words, err);
}

void secagg_streams_clear(secagg_streams *streams)
{
    for (size_t i = 0; i < streams->count; i++)
        hanse_mask_free(streams->masks[i]);
    hanse_free(streams->masks);
    *streams = (secagg_streams){NULL, 0};
}

/* The first word of the chunk that is a sanity word; chunk.words where none is. */
static uint32_t first_sanity(const hanse_secagg_segment *segment, hanse_secagg_chunk chunk)
{
    uint64_t before = segment->count > chunk.word ? segment->count - chunk.word : 0;

    return before < chunk.words ? (uint32_t)before : chunk.words;
}

/* What the sanity word at `place` of its segment must be. */
static uint64_t sanity(const hanse_secagg_segment *segment, uint64_t place, uint64_t survivors)
{
    return place == segment->count + HANSE_SECAGG_SANITY_WORDS - 1 ? survivors : 0;
}

void secagg_sanity_write(const hanse_secagg_spec *spec, hanse_secagg_chunk chunk, void *words)
{
    const hanse_secagg_segment *segment = &spec->segments[chunk.segment];

    for (uint32_t k = first_sanity(segment, chunk); k < chunk.words; k++) {
        uint64_t want = sanity(segment, chunk.word + k, 1);

        if (segment->bits <= 32)
            ((uint32_t *)words)[k] = (uint32_t)want;
        else
            ((uint64_t *)words)[k] = want;
    }
}

hanse_rc secagg_sanity_check(const hanse_secagg_spec *spec, hanse_secagg_chunk chunk, void *words, uint64_t survivors,
                             hanse_err *err)
{
    const hanse_secagg_segment *segment = &spec->segments[chunk.segment];
    const uint64_t low = UINT64_MAX >> (64 - segment->bits);
    uint64_t wrong = 0;

    for (uint32_t k = 0; k < chunk.words; k++) {
        if (segment->bits <= 32)
            ((uint32_t *)words)[k] &= (uint32_t)low;
        else
            ((uint64_t *)words)[k] &= low;
    }
    for (uint32_t k = first_sanity(segment, chunk); k < chunk.words; k++) {
        uint64_t word = segment->bits <= 32 ? ((uint32_t *)words)[k] : ((uint64_t *)words)[k];

        wrong |= word ^ sanity(segment, chunk.word + k, survivors);
    }
    if (wrong != 0)
        return HANSE_SECAGG_FAIL(err, SANITY, "segment %u: the masks did not cancel, the sum is worthless", chunk.segment);
    return HANSE_OK;
}
