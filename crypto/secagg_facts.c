#include "crypto/secagg_facts.h"

#include "hanse/reader.h"

#define VERSION 1
#define RECORD_MAX ((size_t)1 << 20)

slot_fact *facts_find(const hanse_secagg_site *site, uint64_t slot)
{
    for (size_t i = 0; i < site->slots_count; i++)
        if (site->slots[i]->slot == slot)
            return site->slots[i];
    return NULL;
}

static void free_slot(slot_fact *fact)
{
    if (fact == NULL)
        return;
    hanse_wipe(fact->seed, sizeof fact->seed);
    hanse_buf_clear(&fact->ticket);
    hanse_buf_clear(&fact->sig);
    hanse_buf_clear(&fact->cts);
    hanse_free(fact->kinds);
    hanse_free(fact);
}

hanse_rc facts_slot(slot_fact **out, hanse_secagg_site *site, uint64_t slot, hanse_err *err)
{
    slot_fact *fact = facts_find(site, slot), **grown;

    if (fact == NULL) {
        hanse_rc rc = facts_check_over(site, slot, err);

        if (rc != HANSE_OK)
            return rc;
        fact = hanse_calloc(1, sizeof *fact);
        grown = hanse_realloc(site->slots, site->slots_count + 1, sizeof(slot_fact *));
        if (grown != NULL)
            site->slots = grown;
        if (fact == NULL || grown == NULL || (fact->kinds = hanse_calloc(site->n, 1)) == NULL) {
            free_slot(fact);
            return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for slot %llu", (unsigned long long)slot);
        }
        fact->slot = slot;
        site->slots[site->slots_count++] = fact;
    }
    *out = fact;
    return HANSE_OK;
}

void facts_destroy_ticket(slot_fact *fact)
{
    if (fact->state == STATE_UNUSED || fact->state == STATE_BOUND)
        fact->state = STATE_DEAD; /* SENT stays: what was sent counts as an attempt */
    hanse_wipe(fact->seed, sizeof fact->seed);
    hanse_buf_clear(&fact->ticket);
    hanse_buf_clear(&fact->sig);
    hanse_buf_clear(&fact->cts);
}

own_epoch *facts_epoch(const hanse_secagg_site *site, uint32_t epoch)
{
    for (size_t i = 0; i < site->epochs_count; i++)
        if (site->epochs[i].epoch == epoch)
            return &site->epochs[i];
    return NULL;
}

hanse_rc facts_add_epoch(hanse_secagg_site *site, const own_epoch *epoch, hanse_err *err)
{
    own_epoch *old = site->epochs;
    own_epoch *grown = hanse_calloc(site->epochs_count + 1, sizeof *grown);

    if (grown == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for an epoch");
    if (old != NULL) { /* no realloc: it could leave a secret behind */
        memcpy(grown, old, site->epochs_count * sizeof *grown);
        hanse_wipe(old, site->epochs_count * sizeof *old);
        hanse_free(old);
    }
    grown[site->epochs_count++] = *epoch;
    site->epochs = grown;
    return HANSE_OK;
}

hanse_rc facts_check_over(const hanse_secagg_site *site, uint64_t slot, hanse_err *err)
{
    if (slot >= site->over_slot)
        return HANSE_OK;
    return HANSE_SECAGG_FAIL(err, REPLAY, "slot %llu is over: slot %llu has its result", (unsigned long long)slot,
                             (unsigned long long)site->over_slot);
}

static hanse_rc add_attempt(hanse_secagg_site *site, const slot_fact *fact, bool own_run, hanse_err *err)
{
    past_attempt *grown, *attempt;

    if (fact->state != STATE_SENT)
        return HANSE_OK;
    grown = hanse_realloc(site->attempts, site->attempts_count + 1, sizeof *grown);
    if (grown == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for %zu attempts", site->attempts_count + 1);
    site->attempts = grown;
    attempt = &grown[site->attempts_count++];
    *attempt = (past_attempt){.kind = fact->attempt_kind, .aborted = (fact->flags & FLAG_ABORTED) != 0, .own_run = own_run};
    memcpy(attempt->root, fact->attempt_root, 32);
    return HANSE_OK;
}

void facts_count_burnt(burnt_count *count, uint32_t flags)
{
    if ((flags & (FLAG_BURNT | FLAG_ABORTED)) != FLAG_BURNT)
        return;
    if ((flags & FLAG_EXACT) != 0)
        count->exact++;
    else
        count->trained++;
}

void facts_over(hanse_secagg_site *site, uint64_t slot)
{
    size_t left = 0;
    hanse_err ignored;

    if (slot > site->over_slot)
        site->over_slot = slot;
    for (size_t i = 0; i < site->slots_count; i++) {
        slot_fact *fact = site->slots[i];

        if (fact->slot >= site->over_slot || add_attempt(site, fact, true, &ignored) != HANSE_OK) {
            site->slots[left++] = fact;
            continue;
        }
        facts_count_burnt(&site->burnt_over, fact->flags);
        free_slot(fact);
    }
    site->slots_count = left;
}

/* --- rounds --- */

const site_round *facts_round_read(const hanse_secagg_site *site, uint64_t slot)
{
    for (size_t i = 0; i < SITE_ROUNDS; i++)
        if (site->rounds[i].view.n > 0 && site->rounds[i].view.spec.slot == slot)
            return &site->rounds[i];
    return NULL;
}

site_round *facts_round(hanse_secagg_site *site, uint64_t slot)
{
    return (site_round *)facts_round_read(site, slot);
}

void site_round_clear(site_round *round)
{
    secagg_view_clear(&round->view);
    hanse_buf_clear(&round->shares);
    secagg_streams_clear(&round->masks);
}

bool facts_take_round(site_round *out, hanse_secagg_site *site, const uint8_t round_id[32])
{
    for (size_t i = 0; i < SITE_ROUNDS; i++) {
        if (site->rounds[i].view.n == 0 || memcmp(site->rounds[i].view.round_id, round_id, 32) != 0) /* public */
            continue;
        *out = site->rounds[i];
        memmove(&site->rounds[i], &site->rounds[i + 1], (SITE_ROUNDS - 1 - i) * sizeof site->rounds[0]);
        site->rounds[SITE_ROUNDS - 1] = (site_round){.view = {.n = 0}};
        return true;
    }
    return false;
}

void facts_keep_round(hanse_secagg_site *site, site_round *fresh)
{
    const site_round *same_slot = facts_round_read(site, fresh->view.spec.slot);
    size_t place = SITE_ROUNDS - 1;

    if (same_slot != NULL)
        place = (size_t)(same_slot - site->rounds);
    else if (site->rounds[place].view.n > 0 && site->rounds[place].view.spec.slot == site->highest_taken)
        place--;
    site_round_clear(&site->rounds[place]);
    memmove(&site->rounds[1], &site->rounds[0], place * sizeof site->rounds[0]);
    site->rounds[0] = *fresh;
    *fresh = (site_round){.view = {.n = 0}};
}

void facts_forget_rounds(hanse_secagg_site *site)
{
    for (size_t i = 0; i < SITE_ROUNDS; i++)
        site_round_clear(&site->rounds[i]);
}

/* --- actions --- */

hanse_secagg_action *actions_add(hanse_secagg_actions *actions, hanse_secagg_action_kind kind, hanse_err *err)
{
    hanse_secagg_action *action;

    if (actions->count == actions->room) {
        size_t room = actions->room == 0 ? 4 : 2 * actions->room;

        action = hanse_realloc(actions->items, room, sizeof *action); /* buffers behind pointers: nothing secret moves */
        if (action == NULL) {
            hanse_ignore(HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for %zu actions", room));
            return NULL;
        }
        actions->items = action;
        actions->room = room;
    }
    action = &actions->items[actions->count++];
    *action = (hanse_secagg_action){.kind = kind};
    return action;
}

void hanse_secagg_actions_clear(hanse_secagg_actions *actions)
{
    for (size_t i = 0; i < actions->count; i++) {
        hanse_buf_wipe(&actions->items[i].key);
        hanse_buf_wipe(&actions->items[i].value);
        hanse_buf_wipe(&actions->items[i].sig);
        hanse_buf_wipe(&actions->items[i].extra);
    }
    hanse_free(actions->items);
    *actions = HANSE_SECAGG_ACTIONS_EMPTY;
}

/* A PUT with its key filled in. Epochs are a site's, not a run's. */
static hanse_secagg_action *put(const hanse_secagg_site *site, char kind, uint64_t number, hanse_secagg_actions *actions,
                                hanse_err *err)
{
    static const uint8_t no_run[16] = {0};
    hanse_secagg_action *action = actions_add(actions, HANSE_SECAGG_DO_PUT, err);
    hanse_writer writer;

    if (action == NULL)
        return NULL;
    writer = hanse_writer_to(&action->key);
    hanse_write_u8(&writer, (uint8_t)kind);
    hanse_write_raw(&writer, kind == 'E' || kind == 'P' ? no_run : site->config->run, 16);
    hanse_write_u64(&writer, number);
    return hanse_writer_done(&writer, err) == HANSE_OK ? action : NULL;
}

static hanse_rc encode_slot(hanse_buf *out, const slot_fact *fact, size_t n, hanse_err *err)
{
    hanse_writer writer = hanse_writer_to(out);

    hanse_write_u8(&writer, VERSION);
    hanse_write_u8(&writer, fact->state);
    hanse_write_u32(&writer, fact->flags);
    hanse_write_raw(&writer, fact->round_id, 32);
    hanse_write_raw(&writer, fact->cut_hash, 32);
    hanse_write_u8(&writer, fact->attempt_kind);
    hanse_write_raw(&writer, fact->attempt_root, 32);
    hanse_write_raw(&writer, fact->upload_root, 32);
    hanse_write_raw(&writer, fact->seed, 32);
    hanse_write_raw(&writer, fact->ticket_hash, 32);
    hanse_write_bytes(&writer, (hanse_bytes){fact->kinds, n});
    hanse_write_bytes(&writer, hanse_buf_bytes(&fact->ticket));
    hanse_write_bytes(&writer, hanse_buf_bytes(&fact->sig));
    hanse_write_bytes(&writer, hanse_buf_bytes(&fact->cts));
    return hanse_writer_done(&writer, err);
}

hanse_rc facts_put_slot(const hanse_secagg_site *site, const slot_fact *fact, hanse_secagg_actions *actions, hanse_err *err)
{
    hanse_secagg_action *action = put(site, 'S', fact->slot, actions, err);

    return action != NULL ? encode_slot(&action->value, fact, site->n, err) : HANSE_E_NOMEM;
}

hanse_rc facts_put_epoch(const hanse_secagg_site *site, const own_epoch *epoch, hanse_secagg_actions *actions, hanse_err *err)
{
    hanse_secagg_action *action = put(site, 'E', epoch->epoch, actions, err);
    hanse_writer writer;

    if (action == NULL)
        return HANSE_E_NOMEM;
    writer = hanse_writer_to(&action->value);
    hanse_write_u8(&writer, VERSION);
    hanse_write_raw(&writer, epoch->secret, 32);
    hanse_write_raw(&writer, epoch->pub, 32);
    hanse_write_u64(&writer, epoch->not_before_ms);
    hanse_write_u64(&writer, epoch->not_after_ms);
    return hanse_writer_done(&writer, err);
}

hanse_rc facts_put_peer(const hanse_secagg_site *site, uint32_t idx, hanse_secagg_actions *actions, hanse_err *err)
{
    /* by id: a member has another place in the roster of another run */
    hanse_secagg_action *action = put(site, 'P', hanse_load_u64le(hanse_secagg_roster_id(site->config->roster, idx)), actions, err);
    uint8_t version = VERSION;
    hanse_rc rc;

    if (action == NULL)
        return HANSE_E_NOMEM;
    rc = hanse_buf_append(&action->value, &version, 1, err);
    return rc == HANSE_OK ? hanse_secagg_epoch_encode(&action->value, &site->peers[idx], err) : rc;
}

hanse_rc facts_put_floor(const hanse_secagg_site *site, hanse_secagg_actions *actions, hanse_err *err)
{
    hanse_secagg_action *action = put(site, 'F', 0, actions, err);
    hanse_writer writer;

    if (action == NULL)
        return HANSE_E_NOMEM;
    writer = hanse_writer_to(&action->value);
    hanse_write_u8(&writer, VERSION);
    hanse_write_u64(&writer, site->floor_slot);
    hanse_write_u32(&writer, site->retries);
    hanse_write_u8(&writer, site->rolled_back);
    return hanse_writer_done(&writer, err);
}

hanse_rc facts_rolled_back(hanse_secagg_site *site, hanse_secagg_actions *actions, hanse_err *err)
{
    hanse_secagg_action *alarm;
    hanse_rc rc;

    site->rolled_back = true;
    hanse_secagg_actions_clear(actions);
    rc = facts_put_floor(site, actions, err);
    alarm = rc == HANSE_OK ? actions_add(actions, HANSE_SECAGG_DO_ALARM, err) : NULL;
    if (alarm == NULL) {
        hanse_secagg_actions_clear(actions);
        return HANSE_E_NOMEM;
    }
    alarm->label = HANSE_SECAGG_ALARM_ROLLED_BACK;
    return HANSE_SECAGG_FAIL(err, ROLLBACK, "others hold what this site signed and does not know: was an old copy restored? run recover");
}

/* --- loading --- */

static hanse_rc bad_record(hanse_err *err)
{
    return HANSE_FAIL(err, HANSE_E_CORRUPT, "a stored record of secure aggregation does not read back: restore the directory, then recover");
}

/* A slot's record as it lies in `reader`: its bytes are borrowed. */
typedef struct slot_record {
    slot_fact fact; /* its pointers and buffers empty */
    hanse_bytes kinds, ticket, sig, cts;
} slot_record;

static hanse_rc read_slot(slot_record *out, uint64_t slot, hanse_reader *reader, hanse_err *err)
{
    *out = (slot_record){.fact = {.slot = slot}};
    out->fact.state = hanse_read_u8(reader);
    out->fact.flags = hanse_read_u32(reader);
    hanse_read_raw(reader, out->fact.round_id, 32);
    hanse_read_raw(reader, out->fact.cut_hash, 32);
    out->fact.attempt_kind = hanse_read_u8(reader);
    hanse_read_raw(reader, out->fact.attempt_root, 32);
    hanse_read_raw(reader, out->fact.upload_root, 32);
    hanse_read_raw(reader, out->fact.seed, 32);
    hanse_read_raw(reader, out->fact.ticket_hash, 32);
    out->kinds = hanse_read_bytes(reader, RECORD_MAX);
    out->ticket = hanse_read_bytes(reader, RECORD_MAX);
    out->sig = hanse_read_bytes(reader, RECORD_MAX);
    out->cts = hanse_read_bytes(reader, RECORD_MAX);
    if (hanse_reader_done(reader, "slot", NULL) == HANSE_OK && out->fact.state <= STATE_DEAD)
        return HANSE_OK;
    hanse_wipe(out->fact.seed, sizeof out->fact.seed);
    return bad_record(err);
}

/* A slot of this run that is not over. */
static hanse_rc keep_slot(hanse_secagg_site *site, const slot_record *record, hanse_err *err)
{
    slot_fact *fact;
    uint8_t *kinds;
    hanse_rc rc;

    if (record->kinds.len != site->n || facts_find(site, record->fact.slot) != NULL)
        return bad_record(err);
    rc = facts_slot(&fact, site, record->fact.slot, err);
    if (rc != HANSE_OK)
        return rc;
    kinds = fact->kinds;
    *fact = record->fact;
    fact->kinds = kinds;
    memcpy(fact->kinds, record->kinds.data, record->kinds.len);
    rc = hanse_buf_append(&fact->ticket, record->ticket.data, record->ticket.len, err);
    if (rc == HANSE_OK)
        rc = hanse_buf_append(&fact->sig, record->sig.data, record->sig.len, err);
    if (rc == HANSE_OK)
        rc = hanse_buf_append(&fact->cts, record->cts.data, record->cts.len, err);
    if (rc == HANSE_OK && (record->fact.flags & FLAG_RESULT) != 0)
        facts_over(site, record->fact.slot);
    return rc;
}

static hanse_rc load_slot(hanse_secagg_site *site, uint64_t slot, bool own_run, hanse_reader *reader, hanse_err *err)
{
    slot_record record;
    hanse_rc rc = read_slot(&record, slot, reader, err);

    if (rc != HANSE_OK)
        return rc;
    if (own_run && (record.fact.flags & FLAG_TAKEN) != 0 && slot > site->highest_taken)
        site->highest_taken = slot;
    if (own_run && slot >= site->over_slot) {
        rc = keep_slot(site, &record, err);
    } else {
        if (own_run)
            facts_count_burnt(&site->burnt_over, record.fact.flags);
        rc = add_attempt(site, &record.fact, own_run, err);
    }
    hanse_wipe(record.fact.seed, sizeof record.fact.seed);
    return rc;
}

static hanse_rc load_epoch(hanse_secagg_site *site, uint64_t number, hanse_reader *reader, hanse_err *err)
{
    own_epoch epoch = {.epoch = (uint32_t)number};
    hanse_rc rc;

    hanse_read_raw(reader, epoch.secret, 32);
    hanse_read_raw(reader, epoch.pub, 32);
    epoch.not_before_ms = hanse_read_u64(reader);
    epoch.not_after_ms = hanse_read_u64(reader);
    rc = hanse_reader_done(reader, "epoch", NULL) == HANSE_OK ? facts_add_epoch(site, &epoch, err) : bad_record(err);
    hanse_wipe(&epoch, sizeof epoch);
    return rc;
}

static hanse_rc load_peer(hanse_secagg_site *site, hanse_bytes value, hanse_err *err)
{
    hanse_secagg_epoch epoch;
    int idx;

    if (hanse_secagg_epoch_decode(&epoch, value, NULL) != HANSE_OK)
        return bad_record(err);
    idx = hanse_secagg_roster_find(site->config->roster, epoch.site_id);
    if (idx >= 0)
        site->peers[idx] = epoch;
    return HANSE_OK; /* else of a run with another roster */
}

hanse_rc hanse_secagg_site_load(hanse_secagg_site *site, hanse_bytes key, hanse_bytes value, hanse_err *err)
{
    hanse_reader keys = hanse_reader_of(key), reader = hanse_reader_of(value);
    uint8_t kind = hanse_read_u8(&keys), run[16];
    uint64_t number;
    bool own_run;

    hanse_read_raw(&keys, run, 16);
    number = hanse_read_u64(&keys);
    if (hanse_reader_done(&keys, "key", NULL) != HANSE_OK || hanse_read_u8(&reader) != VERSION)
        return bad_record(err);
    own_run = memcmp(run, site->config->run, 16) == 0; /* public */
    if (kind == 'S')
        return load_slot(site, number, own_run, &reader, err);
    if (kind == 'E')
        return load_epoch(site, number, &reader, err);
    if (kind == 'P')
        return load_peer(site, reader.left, err);
    if (kind != 'F')
        return bad_record(err);
    if (!own_run)
        return HANSE_OK;
    site->floor_slot = hanse_read_u64(&reader);
    site->retries = hanse_read_u32(&reader);
    if (reader.left.len > 0) /* records of before have it not */
        site->rolled_back = hanse_read_u8(&reader) != 0;
    return hanse_reader_done(&reader, "floor", NULL) == HANSE_OK ? HANSE_OK : bad_record(err);
}

/* --- the end of a record --- */

static hanse_rc end_slot(hanse_buf *out, bool *changed, hanse_reader *reader, hanse_err *err)
{
    static const uint8_t none[32] = {0};
    slot_record record;
    hanse_rc rc = read_slot(&record, 0, reader, err);

    if (rc != HANSE_OK)
        return rc;
    *changed = memcmp(record.fact.seed, none, 32) != 0 || record.ticket.len > 0; /* which it is may be seen in the record */
    facts_destroy_ticket(&record.fact);
    record.fact.kinds = (uint8_t *)record.kinds.data; /* only read */
    return *changed ? encode_slot(out, &record.fact, record.kinds.len, err) : HANSE_OK;
}

static hanse_rc end_epoch(bool *changed, hanse_reader *reader, uint64_t now_ms, hanse_err *err)
{
    uint8_t before[32 + 32 + 8]; /* secret, pub, not_before */
    uint64_t until_ms;

    hanse_read_raw(reader, before, sizeof before);
    hanse_wipe(before, sizeof before);
    until_ms = hanse_read_u64(reader);
    if (hanse_reader_done(reader, "epoch", NULL) != HANSE_OK)
        return bad_record(err);
    *changed = until_ms + HANSE_SECAGG_LIFE_MAX_MS < now_ms;
    return HANSE_OK;
}

hanse_rc hanse_secagg_record_end(hanse_buf *out, bool *changed, hanse_bytes key, hanse_bytes value, const uint8_t over_run[16], uint64_t now_ms,
                                 hanse_err *err)
{
    hanse_reader keys = hanse_reader_of(key), reader = hanse_reader_of(value);
    uint8_t kind = hanse_read_u8(&keys), run[16];

    *changed = false;
    hanse_read_raw(&keys, run, 16);
    (void)hanse_read_u64(&keys);
    if (hanse_reader_done(&keys, "key", NULL) != HANSE_OK || hanse_read_u8(&reader) != VERSION)
        return bad_record(err);
    if (kind == 'S' && over_run != NULL && memcmp(run, over_run, 16) == 0) /* public */
        return end_slot(out, changed, &reader, err);
    return kind == 'E' ? end_epoch(changed, &reader, now_ms, err) : HANSE_OK;
}

/* --- life --- */

hanse_rc hanse_secagg_site_new(hanse_secagg_site **out, const hanse_secagg_site_config *config, hanse_err *err)
{
    hanse_secagg_site *site;
    hanse_rc rc = hanse_secagg_params_check_roster(&config->params, &config->policy, config->roster, err);

    if (rc != HANSE_OK)
        return rc;
    if (config->self >= config->params.n)
        return HANSE_FAIL(err, HANSE_E_USAGE, "secure aggregation: member %u of %u", config->self, config->params.n);
    site = hanse_calloc(1, sizeof *site);
    if (site == NULL || (site->peers = hanse_calloc(config->params.n, sizeof *site->peers)) == NULL) {
        hanse_free(site);
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for %u members", config->params.n);
    }
    site->config = config;
    site->n = config->params.n;
    *out = site;
    return HANSE_OK;
}

void hanse_secagg_site_free(hanse_secagg_site *site)
{
    if (site == NULL)
        return;
    for (size_t i = 0; i < site->slots_count; i++)
        free_slot(site->slots[i]);
    hanse_free(site->slots);
    if (site->epochs != NULL)
        hanse_wipe(site->epochs, site->epochs_count * sizeof *site->epochs);
    hanse_free(site->epochs);
    hanse_free(site->peers);
    hanse_free(site->attempts);
    facts_forget_rounds(site);
    hanse_free(site);
}
