/* May a slot's values be sent, and how? Two sums of them over other members give away one member's part. In training another order
 * of the rows and another rounding blur it, a few times; statistics and metrics would be the same to the bit. */
#include "crypto/secagg_facts.h"

static bool is_zero(const uint8_t bytes[32])
{
    static const uint8_t zero[32] = {0};

    return memcmp(bytes, zero, 32) == 0; /* a root: public */
}

/* What a slot of `spec` would send again of what one of that kind on that base model has sent. */
typedef enum overlap { OVERLAP_NOTHING, OVERLAP_METRICS, OVERLAP_ALL } overlap;

static overlap find_overlap(const hanse_secagg_spec *spec, uint8_t kind, const uint8_t root[32], bool own_run)
{
    const bool same_root = memcmp(root, spec->model_root, 32) == 0;

    if (spec->kind == HANSE_ROUND_STATISTICS || kind == HANSE_ROUND_STATISTICS) /* of the data alone, whatever the model */
        return spec->kind == kind && (own_run || same_root) ? OVERLAP_ALL : OVERLAP_NOTHING;
    if (!same_root)
        return OVERLAP_NOTHING;
    return spec->kind == HANSE_ROUND_TRAINING && kind == HANSE_ROUND_EVALUATION ? OVERLAP_METRICS : OVERLAP_ALL;
}

/* What was found on the way. */
typedef struct findings {
    attempt_how how;
    burnt_count burnt;
    uint64_t burnt_slot; /* the last one */
} findings;

/* What a slot becomes whose values this spec sends again. */
static uint32_t burnt_for(const hanse_secagg_spec *spec)
{
    return spec->kind == HANSE_ROUND_TRAINING ? FLAG_BURNT : FLAG_BURNT | FLAG_EXACT;
}

static hanse_rc check_past(const hanse_secagg_site *site, const hanse_secagg_spec *spec, findings *out, hanse_err *err)
{
    for (size_t i = 0; i < site->attempts_count; i++) {
        const past_attempt *past = &site->attempts[i];
        const overlap of = past->aborted ? OVERLAP_NOTHING : find_overlap(spec, past->kind, past->root, past->own_run);

        out->how.told |= of == OVERLAP_METRICS;
        if (of != OVERLAP_ALL)
            continue;
        if (past->own_run)
            return HANSE_SECAGG_FAIL(err, DIFF, "a slot that is over has sent this already");
        return HANSE_SECAGG_FAIL(err, DIFF, "another run has used this base model already: give the plan another train.seed");
    }
    return HANSE_OK;
}

static hanse_rc check_slot(const slot_fact *fact, const hanse_secagg_spec *spec, findings *out, hanse_err *err)
{
    /* what was never sent cannot be compared with anything */
    const overlap of = is_zero(fact->upload_root) ? OVERLAP_NOTHING : find_overlap(spec, fact->attempt_kind, fact->attempt_root, true);

    if (of != OVERLAP_ALL)
        facts_count_burnt(&out->burnt, fact->flags);
    if (of == OVERLAP_NOTHING)
        return HANSE_OK;
    if ((fact->flags & FLAG_ABORTED) != 0) {
        out->how.again |= of == OVERLAP_ALL;
        return HANSE_OK;
    }
    out->how.told |= spec->kind == HANSE_ROUND_TRAINING;
    if (of == OVERLAP_METRICS)
        return HANSE_OK;
    if ((fact->flags & FLAG_RESULT) != 0)
        return HANSE_SECAGG_FAIL(err, DIFF, "slot %llu has a result of the same", (unsigned long long)fact->slot);
    out->how.reseed = true;
    out->burnt_slot = fact->slot;
    facts_count_burnt(&out->burnt, fact->flags | burnt_for(spec));
    return HANSE_OK;
}

hanse_rc attempt_check(const hanse_secagg_site *site, const hanse_secagg_spec *spec, attempt_how *how, hanse_err *err)
{
    findings found = {.burnt = site->burnt_over};
    uint32_t asked;
    hanse_rc rc = check_past(site, spec, &found, err);

    for (size_t i = 0; rc == HANSE_OK && i < site->slots_count; i++)
        if (site->slots[i]->slot != spec->slot && (site->slots[i]->flags & FLAG_TAKEN) != 0)
            rc = check_slot(site->slots[i], spec, &found, err);
    if (rc != HANSE_OK)
        return rc;
    *how = found.how;
    if (!how->reseed)
        return HANSE_OK;
    how->again = false; /* a sum of the burnt slot may exist: never the same values beside it */
    asked = found.burnt.exact + (found.burnt.trained > HANSE_SECAGG_BURNT_MAX ? found.burnt.trained - HANSE_SECAGG_BURNT_MAX : 0);
    if (asked <= site->retries)
        return HANSE_OK;
    if (spec->kind == HANSE_ROUND_TRAINING)
        return HANSE_SECAGG_FAIL(err, DIFF, "%u slots of this run ended without result: `accept retry` allows one more", found.burnt.trained);
    return HANSE_SECAGG_FAIL(err, DIFF, "slot %llu has sent the same and is not declared dead: `accept retry` allows to send it once more",
                             (unsigned long long)found.burnt_slot);
}

hanse_rc attempt_burn(hanse_secagg_site *site, const hanse_secagg_spec *spec, hanse_secagg_actions *actions, hanse_err *err)
{
    hanse_rc rc = HANSE_OK;

    for (size_t i = 0; rc == HANSE_OK && i < site->slots_count; i++) {
        slot_fact *old = site->slots[i];

        if (old->slot == spec->slot || is_zero(old->upload_root) || (old->flags & (FLAG_ABORTED | FLAG_RESULT)) != 0
            || (old->flags & burnt_for(spec)) == burnt_for(spec)
            || find_overlap(spec, old->attempt_kind, old->attempt_root, true) != OVERLAP_ALL)
            continue;
        old->flags |= burnt_for(spec);
        rc = facts_put_slot(site, old, actions, err);
    }
    return rc;
}
