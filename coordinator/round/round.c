#include "coordinator/round/round.h"

#include <assert.h>
#include <stdio.h>

hanse_rc hanse_round_init(hanse_round *round, size_t members_count, size_t sites_min, size_t sites_max,
                          uint64_t deadline_ms, bool needs_weight, hanse_err *err)
{
    hanse_round fresh = {.phase = HANSE_PHASE_COLLECT,
                         .needs_weight = needs_weight,
                         .deadline_ms = deadline_ms,
                         .sites_min = sites_min,
                         .sites_max = sites_max == 0 || sites_max > members_count ? members_count : sites_max,
                         .members_count = members_count};

    if (sites_min == 0 || sites_min > members_count || fresh.sites_max < sites_min)
        return HANSE_FAIL(err, HANSE_E_USAGE, "quorum %zu..%zu of a roster of %zu", sites_min, sites_max, members_count);
    fresh.members = hanse_calloc(members_count, sizeof *fresh.members);
    fresh.weights = hanse_calloc(members_count, sizeof *fresh.weights);
    if (fresh.members == NULL || fresh.weights == NULL) {
        hanse_round_clear(&fresh);
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for a round of %zu sites", members_count);
    }
    *round = fresh;
    return HANSE_OK;
}

void hanse_round_clear(hanse_round *round)
{
    if (round == NULL)
        return;
    hanse_free(round->members);
    hanse_free(round->weights);
    *round = (hanse_round){0};
}

void hanse_round_restore(hanse_round *round, size_t member, hanse_member_state state, uint64_t weight)
{
    assert(member < round->members_count);
    round->members[member] = state;
    round->weights[member] = weight;
}

void hanse_round_withdraw(hanse_round *round, size_t member)
{
    hanse_round_restore(round, member, HANSE_MEMBER_ABSENT, 0);
    if (round->phase == HANSE_PHASE_CUT)
        round->phase = HANSE_PHASE_COLLECT;
}

static size_t count(const hanse_round *round, hanse_member_state state)
{
    size_t found = 0;

    for (size_t i = 0; i < round->members_count; i++)
        found += round->members[i] == state;
    return found;
}

size_t hanse_round_accepted(const hanse_round *round)
{
    return count(round, HANSE_MEMBER_ACCEPTED);
}

const char *hanse_member_state_name(hanse_member_state state)
{
    static const char *const names[] = {"absent", "uploading", "verifying", "accepted", "rejected", "declined", "late"};
    return names[state];
}

static hanse_round_actions refuse(hanse_rc rc, const char *words)
{
    return (hanse_round_actions){.set = HANSE_ROUND_DO_REFUSE, .refusal = rc, .words = words};
}

static unsigned go_void(hanse_round *round, const char *reason)
{
    round->phase = HANSE_PHASE_VOID;
    (void)snprintf(round->reason, sizeof round->reason, "%s", reason);
    return HANSE_ROUND_DO_VOID;
}

/* Is it time to fix the survivors, or clear that there will never be enough of them? */
static unsigned settle(hanse_round *round, uint64_t now_ms)
{
    size_t accepted = hanse_round_accepted(round);
    size_t lost = count(round, HANSE_MEMBER_REJECTED) + count(round, HANSE_MEMBER_DECLINED);
    size_t verifying = count(round, HANSE_MEMBER_VERIFYING);
    bool over = now_ms >= round->deadline_ms;
    char reason[128];

    if (accepted >= round->sites_max || (accepted + lost == round->members_count && accepted >= round->sites_min) ||
        (over && verifying == 0 && accepted >= round->sites_min)) {
        round->phase = HANSE_PHASE_CUT;
        return HANSE_ROUND_DO_FOLD;
    }
    if (round->members_count - lost < round->sites_min || (over && verifying == 0)) {
        (void)snprintf(reason, sizeof reason, "%s: %zu of %zu sites contributed, the plan needs %zu",
                       over ? "deadline" : "quorum", accepted, round->members_count, round->sites_min);
        return go_void(round, reason);
    }
    return HANSE_ROUND_DO_NOTHING;
}

static hanse_round_actions on_upload(hanse_round *round, const hanse_round_event *event)
{
    hanse_member_state *state = &round->members[event->member];

    if (event->now_ms >= round->deadline_ms)
        return refuse(HANSE_E_LATE, "the round's deadline has passed");
    *state = HANSE_MEMBER_UPLOADING;
    return (hanse_round_actions){.set = HANSE_ROUND_DO_RESUME};
}

static hanse_round_actions on_verified(hanse_round *round, const hanse_round_event *event)
{
    hanse_round_actions actions;

    if (round->needs_weight && event->weight == 0) {
        round->members[event->member] = HANSE_MEMBER_REJECTED;
        actions = refuse(HANSE_E_WEIGHT, "a weight of 0: the site trained on no rows");
    } else {
        round->members[event->member] = HANSE_MEMBER_ACCEPTED;
        round->weights[event->member] = event->weight;
        actions = (hanse_round_actions){.set = HANSE_ROUND_DO_ACCEPT};
    }
    actions.set |= settle(round, event->now_ms);
    return actions;
}

/* Members in these states are answered by what they are, whatever they ask for. */
static bool is_final(hanse_member_state state)
{
    return state == HANSE_MEMBER_ACCEPTED || state == HANSE_MEMBER_REJECTED || state == HANSE_MEMBER_DECLINED;
}

static hanse_round_actions answer_final(hanse_member_state state)
{
    if (state == HANSE_MEMBER_ACCEPTED)
        return (hanse_round_actions){.set = HANSE_ROUND_DO_RECEIPT};
    if (state == HANSE_MEMBER_REJECTED)
        return refuse(HANSE_E_DUPLICATE, "this round's contribution was refused already");
    return refuse(HANSE_E_DUPLICATE, "the site declined this round already");
}

static hanse_round_actions step_collect(hanse_round *round, const hanse_round_event *event)
{
    hanse_round_actions actions = {0};

    switch (event->kind) {
    case HANSE_ROUND_EV_UPLOAD:
        if (is_final(round->members[event->member]))
            return answer_final(round->members[event->member]);
        if (round->members[event->member] == HANSE_MEMBER_VERIFYING)
            return actions; /* the receipt or refusal is on its way */
        return on_upload(round, event);
    case HANSE_ROUND_EV_COMPLETE:
        if (round->members[event->member] != HANSE_MEMBER_UPLOADING)
            return actions;
        if (event->now_ms >= round->deadline_ms) {
            round->members[event->member] = HANSE_MEMBER_LATE;
            return refuse(HANSE_E_LATE, "the last byte came after the round's deadline");
        }
        round->members[event->member] = HANSE_MEMBER_VERIFYING;
        actions.set = HANSE_ROUND_DO_VERIFY;
        return actions;
    case HANSE_ROUND_EV_VERIFIED:
        if (round->members[event->member] != HANSE_MEMBER_VERIFYING)
            return actions;
        return on_verified(round, event);
    case HANSE_ROUND_EV_INVALID:
        if (round->members[event->member] != HANSE_MEMBER_VERIFYING)
            return actions;
        round->members[event->member] = HANSE_MEMBER_REJECTED;
        actions = refuse(event->rc, NULL);
        actions.set |= settle(round, event->now_ms);
        return actions;
    case HANSE_ROUND_EV_DECLINE:
        if (is_final(round->members[event->member]))
            return actions;
        round->members[event->member] = HANSE_MEMBER_DECLINED;
        actions.set = settle(round, event->now_ms);
        return actions;
    case HANSE_ROUND_EV_TICK:
        actions.set = settle(round, event->now_ms);
        return actions;
    case HANSE_ROUND_EV_STOP:
        actions.set = go_void(round, "stopped by the operator");
        return actions;
    case HANSE_ROUND_EV_FOLDED:
        break; /* only after a cut */
    }
    return actions;
}

/* From the cut on: nothing may enter the sum any more. */
static hanse_round_actions step_closed(hanse_round *round, const hanse_round_event *event)
{
    switch (event->kind) {
    case HANSE_ROUND_EV_UPLOAD:
    case HANSE_ROUND_EV_COMPLETE:
    case HANSE_ROUND_EV_VERIFIED:
    case HANSE_ROUND_EV_INVALID:
        if (is_final(round->members[event->member]))
            return answer_final(round->members[event->member]);
        round->members[event->member] = HANSE_MEMBER_LATE;
        return refuse(HANSE_E_LATE, "the round was closed without this contribution");
    case HANSE_ROUND_EV_DECLINE:
        if (!is_final(round->members[event->member]))
            round->members[event->member] = HANSE_MEMBER_DECLINED;
        return (hanse_round_actions){0};
    case HANSE_ROUND_EV_FOLDED:
        if (round->phase != HANSE_PHASE_CUT)
            break;
        if (event->rc != HANSE_OK)
            return (hanse_round_actions){.set = go_void(round, "the sum could not be made")};
        round->phase = HANSE_PHASE_PUBLISHED;
        return (hanse_round_actions){.set = HANSE_ROUND_DO_PUBLISH};
    case HANSE_ROUND_EV_STOP:
        if (round->phase == HANSE_PHASE_CUT)
            return (hanse_round_actions){.set = go_void(round, "stopped by the operator")};
        break;
    case HANSE_ROUND_EV_TICK:
        break;
    }
    return (hanse_round_actions){0};
}

hanse_round_actions hanse_round_step(hanse_round *round, const hanse_round_event *event)
{
    assert(event->member < round->members_count);
    return round->phase == HANSE_PHASE_COLLECT ? step_collect(round, event) : step_closed(round, event);
}
