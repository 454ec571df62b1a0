/* sim_watch.c - what may never happen on the wire, whatever else does: watched over everything that ever left a process. */
#include "tests/sim/consortium/sim_watch.h"

#include "hanse/digest.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>

hanse_rc __wrap_hanse_secagg_answer_encode(hanse_buf *out, const hanse_secagg_answer *answer, hanse_err *err);
hanse_rc __real_hanse_secagg_answer_encode(hanse_buf *out, const hanse_secagg_answer *answer, hanse_err *err);

static watch_slot *slots[WATCH_SLOTS_MAX];
static uint64_t newest_result;                /* slot */
static uint64_t uploading[SIM_SITES_MAX + 1]; /* slot of the header that a site sent last */

watch_slot *watch_slot_of(uint64_t slot)
{
    if (slot >= WATCH_SLOTS_MAX)
        sim_wrong("slot %" PRIu64 ": that many attempts", slot);
    sim.own++;
    if (slots[slot] == NULL && (slots[slot] = hanse_calloc(1, sizeof **slots)) == NULL)
        sim_wrong("no memory");
    sim.own--;
    return slots[slot];
}

static void hash_of(uint8_t hash[32], hanse_bytes bytes)
{
    hanse_err err = {0};

    sim_must(hanse_sha256(hash, bytes, &err), &err, "hash");
}

/* The first one is kept, every other must be the same. */
static void once(watch_hash *kept, hanse_bytes bytes, const char *what, int site, uint64_t slot)
{
    uint8_t hash[32];

    hash_of(hash, bytes);
    if (kept->there && memcmp(kept->hash, hash, 32) != 0)
        sim_wrong("two different %s of slot %" PRIu64 " by %s", what, slot, sim_name(site));
    kept->there = true;
    memcpy(kept->hash, hash, 32);
}

static void keep_bytes(hanse_buf *to, hanse_bytes from)
{
    to->len = 0;
    if (hanse_buf_append(to, from.data, from.len, NULL) != HANSE_OK)
        sim_wrong("no memory");
}

/* ---- what sites send ---- */

hanse_rc __wrap_hanse_secagg_answer_encode(hanse_buf *out, const hanse_secagg_answer *answer, hanse_err *err)
{
    for (size_t i = 0; sim.current > SIM_COORDINATOR && i < WATCH_SLOTS_MAX; i++)
        if (slots[i] != NULL && slots[i]->masks.there && memcmp(slots[i]->round_id, answer->round_id, 32) == 0) {
            memcpy(slots[i]->parts[sim.current].sealed_kinds, answer->kinds, answer->n);
            slots[i]->parts[sim.current].sealed = true;
        }
    return __real_hanse_secagg_answer_encode(out, answer, err);
}

static void on_shares(int site, uint64_t slot)
{
    watch_part *part = &watch_slot_of(slot)->parts[site];

    if (!part->sealed)
        sim_wrong("%s sends shares that it did not seal", sim_name(site));
    if (part->dead)
        sim_wrong("%s gives shares of slot %" PRIu64 ", which it declared dead", sim_name(site), slot);
    part->answered = true;
    for (size_t i = 0; i < sim.setup.sites_count; i++) {
        if (part->sealed_kinds[i] == HANSE_SECAGG_SHARE_NONE)
            continue;
        if (part->kinds[i] != HANSE_SECAGG_SHARE_NONE && part->kinds[i] != part->sealed_kinds[i])
            sim_wrong("%s gives both kinds of shares of the ticket of %s for slot %" PRIu64, sim_name(site), sim_name(sim.site_of[i]), slot);
        part->kinds[i] = part->sealed_kinds[i];
    }
}

static void on_dead(int site, hanse_bytes object)
{
    hanse_secagg_dead dead;
    watch_part *part;
    hanse_err err = {0};

    sim_must(hanse_secagg_dead_decode(&dead, object, &err), &err, "DEAD");
    part = &watch_slot_of(dead.slot)->parts[site];
    if (part->answered)
        sim_wrong("%s declares slot %" PRIu64 " dead after it gave shares of it", sim_name(site), dead.slot);
    part->dead = true;
}

static void on_ticket(int site, const hanse_msg_ticket *message)
{
    hanse_secagg_ticket ticket;
    watch_part *part;
    hanse_err err = {0};

    sim_must(hanse_secagg_ticket_decode(&ticket, message->ticket, &err), &err, "TICKET");
    part = &watch_slot_of(ticket.slot)->parts[site];
    once(&part->ticket, message->ticket, "tickets", site, ticket.slot);
    once(&part->shares, message->shares, "shares of one ticket", site, ticket.slot);
}

static void on_upload(int site, hanse_bytes object, bool masked)
{
    hanse_secagg_upload header = {.slot = 0};
    hanse_upload sealed = {.slot = 0};
    hanse_err err = {0};
    watch_part *part;
    uint64_t slot;

    if (masked)
        sim_must(hanse_secagg_upload_decode(&header, object, &err), &err, "MASKED_UPLOAD");
    else
        sim_must(hanse_upload_decode(&sealed, object, &err), &err, "UPLOAD");
    slot = uploading[site] = masked ? header.slot : sealed.slot;
    part = &watch_slot_of(slot)->parts[site];
    hash_of(part->header_hash, object);
    if (!masked && part->header.there && memcmp(part->header.hash, part->header_hash, 32) != 0) {
        memset(part->chunks, 0, sizeof part->chunks); /* made anew, under a key of its own: it was rejected before */
        part->header.there = false;
    }
    once(&part->header, object, "uploads", site, slot);
    sim_sum_header(site, slot);
}

static void on_chunk(int site, const hanse_msg_chunk *chunk)
{
    watch_part *part = &watch_slot_of(uploading[site])->parts[site];

    if (chunk->index >= WATCH_CHUNKS_MAX)
        sim_wrong("chunk %" PRIu64, chunk->index);
    once(&part->chunks[chunk->index], chunk->payload, "bytes of one chunk of the upload", site, uploading[site]);
}

static void on_cutsig(int site, const hanse_msg_cutsig *message)
{
    hanse_secagg_cutsig cutsig;
    watch_slot *slot = watch_slot_of(message->slot);
    hanse_err err = {0};

    sim_must(hanse_secagg_cutsig_decode(&cutsig, message->object, &err), &err, "CUTSIG");
    once(&slot->parts[site].cutsig, message->object, "cut signatures", site, message->slot);
}

void sim_watch_sent(int site, hanse_bytes bytes)
{
    hanse_message message;
    hanse_err err = {0};

    sim.own++;
    sim_must(hanse_message_decode(&message, bytes, HANSE_FROM_NODE, &err), &err, "a site's message");
    sim_trace("-> %s", hanse_kind_name(message.kind));
    switch (message.kind) {
    case HANSE_TICKET:        on_ticket(site, &message.ticket); break;
    case HANSE_UPLOAD:        on_upload(site, message.upload.object, false); break;
    case HANSE_MASKED_UPLOAD: on_upload(site, message.masked_upload.object, true); break;
    case HANSE_CHUNK:         on_chunk(site, &message.chunk); break;
    case HANSE_CUTSIG:        on_cutsig(site, &message.cutsig); break;
    case HANSE_SHARES:        on_shares(site, message.shares.slot); break;
    case HANSE_DEAD:          on_dead(site, message.dead.object); break;
    default: break;
    }
    sim.own--;
}

/* ---- what the coordinator says ---- */

static void on_spec(const hanse_msg_spec *message)
{
    static const uint8_t none[32];
    watch_slot *slot;
    hanse_spec spec;
    uint8_t root[32];
    hanse_err err = {0};

    sim_must(hanse_spec_decode(&spec, message->spec, &err), &err, "SPEC");
    slot = watch_slot_of(spec.slot);
    once(&slot->spec, message->spec, "specs", SIM_COORDINATOR, spec.slot);
    slot->plain = spec;
    if (message->statistics.len > 0)
        hash_of(root, message->statistics);
    if (memcmp(message->statistics.len > 0 ? root : none, spec.statistics_root, 32) != 0)
        sim_wrong("the statistics beside the spec of slot %" PRIu64 " are not those that it names", spec.slot);
}

static void on_masks(const hanse_msg_masks *message)
{
    hanse_secagg_spec spec;
    watch_slot *slot;
    hanse_err err = {0};

    sim_must(hanse_secagg_spec_decode(&spec, message->spec, &err), &err, "MASKS");
    slot = watch_slot_of(spec.slot);
    once(&slot->masks, message->spec, "masked specs", SIM_COORDINATOR, spec.slot);
    if (slot->masks_spec.len == 0) {
        keep_bytes(&slot->masks_spec, message->spec);
        sim_must(hanse_secagg_hash(slot->round_id, "round", message->spec, &err), &err, "round id");
    }
    hanse_secagg_spec_clear(&spec);
}

static void on_cut(const hanse_msg_cut *message)
{
    hanse_secagg_cut cut;
    watch_slot *slot;
    hanse_err err = {0};

    sim_must(hanse_secagg_cut_decode(&cut, message->cut, &err), &err, "CUT");
    slot = watch_slot_of(cut.slot);
    once(&slot->cut, message->cut, "cuts", SIM_COORDINATOR, cut.slot);
    for (uint32_t i = 0; i < cut.n; i++)
        if (!cut.in[i] && slot->parts[sim.site_of[i]].receipt)
            sim_wrong("the cut of slot %" PRIu64 " leaves out %s, which has a receipt", cut.slot, sim_name(sim.site_of[i]));
    hanse_secagg_cut_clear(&cut);
}

static void on_receipt(int site, hanse_bytes object)
{
    hanse_receipt receipt;
    hanse_err err = {0};

    sim_must(hanse_receipt_decode(&receipt, object, &err), &err, "RECEIPT");
    for (size_t i = 0; i < WATCH_SLOTS_MAX; i++) {
        watch_part *part = slots[i] != NULL ? &slots[i]->parts[site] : NULL;

        if (part == NULL || !slots[i]->spec.there || memcmp(slots[i]->spec.hash, receipt.spec_hash, 32) != 0)
            continue;
        if (!part->header.there || memcmp(part->header_hash, receipt.upload_hash, 32) != 0)
            sim_wrong("%s has a receipt for what it did not send", sim_name(site));
        if (slots[i]->result.there && slots[i]->published && !slots[i]->in[site])
            sim_wrong("%s has a receipt of slot %zu, which was published without it", sim_name(site), i);
        part->receipt = true;
        return;
    }
    sim_wrong("a receipt of %s for a round that nobody was told of", sim_name(site));
}

static void take_participants(watch_slot *slot, const hanse_result *result)
{
    for (size_t i = 0; i < result->participants_count; i++) {
        const hanse_roster_site *entry = hanse_roster_find(&sim.roster, result->participants[i]);

        if (entry == NULL)
            sim_wrong("a stranger takes part in slot %" PRIu64, result->slot);
        slot->in[sim.site_of[entry - sim.roster.sites]] = true;
    }
    for (int site = 1; slot->published && site <= (int)sim.setup.sites_count; site++) {
        if (slot->parts[site].receipt && !slot->in[site])
            sim_wrong("slot %" PRIu64 " is published without %s, which has a receipt", result->slot, sim_name(site));
        if (slot->in[site] && !slot->parts[site].header.there)
            sim_wrong("slot %" PRIu64 " is published with %s, which sent nothing", result->slot, sim_name(site));
    }
}

static void on_result(hanse_bytes object)
{
    hanse_result result = {0};
    watch_slot *slot;
    hanse_err err = {0};
    bool fresh;

    sim_must(hanse_result_decode(&result, object, &err), &err, "RESULT");
    slot = watch_slot_of(result.slot);
    fresh = !slot->result.there;
    once(&slot->result, object, "results", SIM_COORDINATOR, result.slot);
    if (fresh) {
        slot->published = result.status == HANSE_ROUND_PUBLISHED;
        if (result.slot <= newest_result && !slot->published) /* else it is told to a site that was in it, and away since */
            sim_wrong("the result of slot %" PRIu64 " after that of slot %" PRIu64, result.slot, newest_result);
        newest_result = result.slot > newest_result ? result.slot : newest_result;
        if (result.state != HANSE_RUN_GOES_ON)
            sim.over_us = sim.now_us;
        take_participants(slot, &result);
        if (slot->published)
            sim_sum_check(&result);
    }
    hanse_result_clear(&result);
}

void sim_watch_told(int site, hanse_bytes bytes)
{
    hanse_message message;
    hanse_err err = {0};

    sim_must(hanse_message_decode(&message, bytes, HANSE_FROM_COORDINATOR, &err), &err, "a message of the coordinator");
    sim_trace("-> %s %s", sim_name(site), hanse_kind_name(message.kind));
    switch (message.kind) {
    case HANSE_SPEC:    on_spec(&message.spec); break;
    case HANSE_MASKS:   on_masks(&message.masks); break;
    case HANSE_CUT:     on_cut(&message.cut); break;
    case HANSE_RECEIPT: on_receipt(site, message.receipt.object); break;
    case HANSE_RESULT:  on_result(message.result.object); break;
    case HANSE_ABORT:   watch_slot_of(message.abort.slot)->parts[site].told_abort = true; break;
    default: break;
    }
}

void sim_watch_log(const char *line)
{
    static const char *const never[] = {" two_cuts ", " contribution_lost ", " run_not_loaded ", " wrong_shares ",
                                        "a masked round without its masks"};

    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (strstr(line, never[i]) != NULL)
            sim_wrong("%s logs: %s", sim_name(sim.current), never[i]);
    if (sim.current > SIM_COORDINATOR && strstr(line, "accept retry") != NULL)
        sim.sites[sim.current].wants_retry = true; /* its operator reads that */
}

/* ---- the end ---- */

bool sim_watch_put_away(const hanse_agent *agent)
{
    hanse_site_run run;

    return agent->welcomed && hanse_site_store_run_load(agent->store, sim.run_id, &run, NULL) == HANSE_OK &&
           run.run_state != HANSE_RUN_GOES_ON && run.stage == HANSE_STAGE_NONE;
}

bool sim_watch_done(void)
{
    bool done = sim.over_us != 0;

    for (int site = 1; sim.over_us != 0 && site <= (int)sim.setup.sites_count; site++) {
        sim_site *self = &sim.sites[site];
        bool took_part = false;

        for (size_t i = 0; i < WATCH_SLOTS_MAX && !took_part; i++)
            took_part = slots[i] != NULL && slots[i]->parts[site].receipt;
        self->heard_end = self->heard_end || (sim.procs[site].up && sim_watch_put_away(self->agent));
        done &= self->heard_end || !took_part;
    }
    return done;
}

static void must_be_empty(const char *dir, const char *folder)
{
    hanse_path path;
    const struct dirent *entry;
    DIR *list;
    hanse_err err = {0};

    sim_must(hanse_path_join(path, dir, folder, &err), &err, "path");
    list = opendir(path);
    while (list != NULL && (entry = readdir(list)) != NULL)
        if (entry->d_name[0] != '.')
            sim_wrong("%s holds %s when the run is over", path, entry->d_name);
    if (list != NULL)
        (void)closedir(list);
}

/* Each spec follows the result before it, and every published sum is right: also those that nobody was told of. */
static void check_chain(hanse_store *store)
{
    hanse_store_round *rounds = NULL;
    size_t count = 0;
    uint8_t previous[32] = {0};
    hanse_err err = {0};

    sim_must(hanse_store_rounds(store, sim.run_id, &rounds, &count, &err), &err, "rounds");
    for (size_t i = 0; i < count; i++) {
        hanse_spec spec;

        sim_must(hanse_spec_decode(&spec, hanse_buf_bytes(&rounds[i].spec), &err), &err, "spec");
        if (memcmp(spec.previous, previous, 32) != 0)
            sim_wrong("the spec of slot %" PRIu64 " does not follow the result before it", rounds[i].slot);
        if (rounds[i].state == HANSE_STORE_ROUND_OPEN)
            sim_wrong("slot %" PRIu64 " is open when the run is over", rounds[i].slot);
        watch_slot_of(rounds[i].slot)->plain = spec;
        on_result(hanse_buf_bytes(&rounds[i].result));
        hash_of(previous, hanse_buf_bytes(&rounds[i].result));
    }
    hanse_store_rounds_free(rounds, count);
}

void sim_watch_end(void)
{
    hanse_store *store = NULL;
    hanse_store_run run = {0};
    hanse_path path;
    hanse_err err = {0};

    sim_must(hanse_store_open(&store, sim.procs[SIM_COORDINATOR].dir, false, &err), &err, "store");
    sim_must(hanse_store_run_get(store, sim.run_id, &run, &err), &err, "run");
    if (run.state != HANSE_STORE_RUN_DONE || run.rounds_done != sim.setup.rounds)
        sim_wrong("the run is %s after %" PRIu64 " rounds", hanse_store_run_state_name(run.state), run.rounds_done);
    newest_result = 0;
    check_chain(store);
    hanse_store_run_clear(&run);
    hanse_store_close(store);
    must_be_empty(sim.procs[SIM_COORDINATOR].dir, HANSE_SPOOL_DIR);
    sim_must(hanse_store_seal_path(path, sim.procs[SIM_COORDINATOR].dir, sim.run_id, &err), &err, "path");
    if (hanse_file_exists(path))
        sim_wrong("the run is over, its key is still there");
    for (int site = 1; site <= (int)sim.setup.sites_count; site++)
        if (sim.sites[site].heard_end) /* who never took part is not waited for */
            must_be_empty(sim.procs[site].dir, "work");
}
