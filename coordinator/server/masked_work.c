/* masked_work.c - contributions that the coordinator cannot read: what workers do with them. */
#include "coordinator/aggregate/unmask.h"
#include "coordinator/server/masks.h"

#include "hanse/parallel.h"
#include "hanse/ring.h"

#include <inttypes.h>

hanse_rc hanse_masked_root(const hanse_spool *spool, uint8_t root[32], hanse_err *err)
{
    const uint64_t count = spool->shape.chunks;
    uint8_t (*leaves)[32] = hanse_calloc((size_t)count + 1, sizeof *leaves);
    uint8_t *chunk = hanse_malloc(1, HANSE_PAYLOAD_MAX);
    hanse_rc rc = leaves != NULL && chunk != NULL ? HANSE_OK : HANSE_FAIL(err, HANSE_E_NOMEM, "no memory to check a contribution");

    for (uint64_t i = 0; rc == HANSE_OK && i < count; i++) {
        rc = hanse_spool_get(spool, i, chunk, err);
        if (rc == HANSE_OK)
            rc = hanse_secagg_leaf(leaves[i], (hanse_bytes){chunk, hanse_spool_chunk_len(spool, i)}, err);
    }
    if (rc == HANSE_OK)
        rc = hanse_secagg_merkle(root, leaves, (size_t)count, err);
    hanse_free(leaves);
    hanse_free(chunk);
    return rc;
}

/* It was checked before its receipt; since then it has lain on the disk, and nothing in a masked sum shows what became of it there. */
static hanse_rc check_again(const hanse_member *member, hanse_err *err)
{
    hanse_secagg_upload header;
    uint8_t root[32];
    hanse_rc rc = HANSE_OK;

    rc = hanse_secagg_upload_decode(&header, hanse_buf_bytes(&member->spool.header), err);
    if (rc == HANSE_OK)
        rc = hanse_masked_root(&member->spool, root, err);
    if (rc == HANSE_OK && memcmp(root, header.root, sizeof root) != 0)
        rc = HANSE_FAIL(err, HANSE_E_CORRUPT, "%s is damaged: its bytes are not those that its site has signed", member->spool.path);
    return rc;
}

typedef struct accepted_uploads {
    const hanse_live_run *run;
    const size_t *members; /* [count] */
} accepted_uploads;

static hanse_rc check_range(void *context, size_t first, size_t count, hanse_err *err)
{
    const accepted_uploads *accepted = context;
    hanse_rc rc = HANSE_OK;

    for (size_t i = first; rc == HANSE_OK && i < first + count; i++)
        rc = check_again(&accepted->run->members[accepted->members[i]], err);
    return rc;
}

static hanse_rc read_upload(void *context, uint64_t at, uint8_t *out, size_t len, hanse_err *err)
{
    return hanse_spool_read(context, at, out, len, err);
}

hanse_rc hanse_masked_fold(hanse_live_run *run, const size_t *accepted, size_t accepted_count, const hanse_model_meta *meta, const char *path,
                           uint8_t root[32], hanse_err *err)
{
    hanse_masks *masks = run->masks;
    hanse_unmask_source *sources = hanse_calloc(accepted_count, sizeof *sources);
    hanse_unmask *unmask = NULL;
    hanse_rc rc = HANSE_OK;

    hanse_free(masks->sums);
    masks->sums = hanse_calloc((size_t)masks->spec.segments[masks->spec.segments_count - 1].count, sizeof *masks->sums);
    if (sources == NULL || masks->sums == NULL) {
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "no memory to sum %zu contributions", accepted_count);
        goto done;
    }
    rc = hanse_in_parallel(run->server->config->limits.workers, accepted_count, 1, check_range, &(accepted_uploads){run, accepted}, err);
    if (rc != HANSE_OK)
        goto done;
    for (size_t i = 0; i < accepted_count; i++)
        sources[i] = (hanse_unmask_source){read_upload, &run->members[accepted[i]].spool};
    rc = hanse_unmask_new(&unmask, masks->round, &masks->spec, &run->layout, sources, accepted_count, run->server->config->limits.workers, err);
    if (rc == HANSE_OK)
        rc = hanse_unmask_aux(unmask, masks->sums, err);
    if (rc != HANSE_OK || run->current.kind != HANSE_ROUND_TRAINING)
        goto done;
    if (masks->sums[0] == 0 || masks->sums[0] > HANSE_RING_SHARE_ONE + run->roster.sites_count) {
        rc = HANSE_SECAGG_FAIL(err, RANGE, "the sites' weights add up to %" PRIu64 " / 2^40 of all", masks->sums[0]);
        goto done;
    }
    rc = hanse_unmask_fold(unmask, masks->sums[0], run->model_path, meta, path, root, err);

done:
    hanse_unmask_free(unmask);
    hanse_free(sources);
    return rc;
}
