/* live_run.c - a run in memory: loading it, who is in it, what is said to them. Contributions are in contribution.c, opening
 * and closing rounds in round_edge.c, what masked runs have besides in masks.c. */
#include "coordinator/server/masks.h"

#include "hanse/clock.h"
#include "hanse/digest.h"
#include "hanse/hpke.h"
#include "hanse/log.h"
#include "hanse/model_root.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define LOAD_AGAIN_MS 10000 /* a run that could not be loaded is looked at again */
#define CHANGES_KEPT 16 /* of one site's answer, in the log of a run: a site cannot fill the store */

/* ---- loading ---- */

static hanse_rc load_seal_key(hanse_live_run *run, hanse_err *err)
{
    hanse_path path;
    hanse_buf key = HANSE_BUF_EMPTY;
    uint8_t public_key[32];
    hanse_rc rc = hanse_store_seal_path(path, run->server->dir, run->row.run_id, err);

    if (rc == HANSE_OK)
        rc = hanse_file_read(&key, path, 32, err);
    if (rc == HANSE_E_NOTFOUND || (rc == HANSE_OK && key.len != 32))
        rc = HANSE_FAIL(err, HANSE_E_CORRUPT, "%s is missing or damaged: put a backup in its place", path);
    if (rc == HANSE_OK) {
        memcpy(run->seal_key, key.data, 32);
        rc = hanse_x25519_public(public_key, run->seal_key, err);
    }
    if (rc == HANSE_OK)
        rc = hanse_sha256(run->key_id, (hanse_bytes){public_key, 32}, err);
    hanse_buf_wipe(&key);
    return rc;
}

void hanse_live_run_forget_key(hanse_live_run *run)
{
    hanse_path path;

    /* In memory it is wiped with the run: a worker may be opening a contribution right now. */
    if (hanse_store_seal_path(path, run->server->dir, run->row.run_id, NULL) == HANSE_OK && unlink(path) == 0)
        hanse_log(HANSE_LOG_INFO, "seal_key_destroyed run=%s", run->row.name);
}

static void restore_progress(hanse_live_run *run)
{
    hanse_progress_init(&run->progress, run->plan);
    if (run->row.statistics.len > 0)
        run->progress.statistics_due = false;
    run->progress.rounds_done = run->row.rounds_done;
    run->progress.evaluated = run->row.evaluated;
    run->progress.best_round = run->row.best_round;
    run->progress.best_value = run->row.best_value;
}

static hanse_rc load_last_result(hanse_live_run *run, hanse_err *err)
{
    hanse_store_round *rounds = NULL;
    size_t count = 0;
    hanse_rc rc = hanse_store_rounds(run->server->store, run->row.run_id, &rounds, &count, err);

    for (size_t i = count; rc == HANSE_OK && i-- > 0;) {
        if (rounds[i].result.len == 0)
            continue;
        rc = hanse_buf_append(&run->last_result, rounds[i].result.data, rounds[i].result.len, err);
        if (rc == HANSE_OK)
            rc = hanse_buf_append(&run->last_result_sig, rounds[i].result_sig.data, rounds[i].result_sig.len, err);
        break;
    }
    hanse_store_rounds_free(rounds, count);
    return rc;
}

/* Who has had part in the run so far. */
static hanse_rc restore_parts(hanse_live_run *run, hanse_err *err)
{
    hanse_store_round *rounds = NULL;
    size_t rounds_count = 0;
    hanse_rc rc = hanse_store_rounds(run->server->store, run->row.run_id, &rounds, &rounds_count, err);

    for (size_t i = 0; rc == HANSE_OK && i < rounds_count; i++) {
        hanse_store_contribution *parts = NULL;
        size_t count = 0, member;

        rc = hanse_store_contributions(run->server->store, run->row.run_id, rounds[i].round, rounds[i].attempt, &parts, &count, err);
        for (size_t j = 0; rc == HANSE_OK && j < count; j++)
            if (parts[j].state == HANSE_STORE_PART_ACCEPTED && hanse_live_run_member(run, parts[j].site_id, &member))
                run->members[member].took_part = true;
        hanse_store_contributions_free(parts, count);
    }
    hanse_store_rounds_free(rounds, rounds_count);
    return rc;
}

static hanse_rc reopen_spool(hanse_live_run *run, hanse_member *member, const hanse_store_contribution *part, hanse_err *err)
{
    hanse_spool_shape shape = {.slot = run->current.slot};
    hanse_upload header;
    hanse_rc rc;

    if (run->masks != NULL) {
        memcpy(shape.run, run->row.run_id, 16);
        memcpy(shape.site_id, part->site_id, 32);
        rc = hanse_masking_offsets(&shape.offsets, &shape.chunks, &run->masks->spec, err);
    } else {
        rc = hanse_upload_decode(&header, hanse_buf_bytes(&part->header), err);
        if (rc == HANSE_OK)
            rc = hanse_sealed_shape(&shape, &header, err);
    }
    if (rc != HANSE_OK)
        return rc;
    return hanse_spool_reopen(&member->spool, run->server->dir, &shape, hanse_buf_bytes(&part->header), hanse_buf_bytes(&part->header_sig), err);
}

static hanse_rc restore_member(hanse_live_run *run, const hanse_store_contribution *part, hanse_err *err)
{
    static const hanse_member_state states[] = {HANSE_MEMBER_ABSENT,   HANSE_MEMBER_VERIFYING, HANSE_MEMBER_REJECTED,
                                                HANSE_MEMBER_DECLINED, HANSE_MEMBER_LATE,      HANSE_MEMBER_ABSENT};
    hanse_member *member;
    size_t i;
    hanse_rc rc;

    if (!hanse_live_run_member(run, part->site_id, &i))
        return HANSE_OK;
    member = &run->members[i];
    hanse_round_restore(&run->round, i, states[part->state], part->weight);
    if (part->state != HANSE_STORE_PART_ACCEPTED)
        return HANSE_OK;
    /* It was acknowledged: its bytes are on disk. They are opened once more, for what is kept in memory only. */
    member->kept = true;
    rc = hanse_buf_append(&member->receipt, part->receipt.data, part->receipt.len, err);
    if (rc == HANSE_OK)
        rc = hanse_buf_append(&member->receipt_sig, part->receipt_sig.data, part->receipt_sig.len, err);
    if (rc == HANSE_OK)
        rc = reopen_spool(run, member, part, err);
    if (rc == HANSE_E_IO && run->round.phase == HANSE_PHASE_COLLECT) /* asking for it again costs less than waiting for that disk */
        rc = HANSE_E_CORRUPT;
    if (rc != HANSE_OK && !hanse_is_passing(rc)) { /* lost, but not by its site, which still has it */
        hanse_round_restore(&run->round, i, HANSE_MEMBER_ABSENT, 0);
        hanse_live_run_not_kept(run, i, rc, err);
        return HANSE_OK;
    }
    if (rc != HANSE_OK)
        return rc;
    if (run->round.phase == HANSE_PHASE_CUT) /* masked, and fixed: see hanse_masks_resume() */
        hanse_round_restore(&run->round, i, HANSE_MEMBER_ACCEPTED, part->weight);
    return HANSE_OK;
}

hanse_rc hanse_live_run_round_init(hanse_live_run *run, uint64_t deadline_ms, uint8_t kind, hanse_err *err)
{
    size_t sites_min = run->plan->rounds.sites_min;

    if (run->masks != NULL && run->masks->params.m > sites_min)
        sites_min = run->masks->params.m;
    return hanse_round_init(&run->round, run->roster.sites_count, sites_min, run->plan->rounds.sites_max, deadline_ms, kind != HANSE_ROUND_EVALUATION,
                            err);
}

/* After a restart: go on in the same round with every contribution that was acknowledged. */
static hanse_rc restore_round(hanse_live_run *run, hanse_err *err)
{
    hanse_store_contribution *parts = NULL;
    size_t count = 0;
    bool found = false;
    hanse_rc rc = hanse_store_round_newest(run->server->store, run->row.run_id, &run->current, &found, err);

    if (rc != HANSE_OK || !found)
        return rc;
    /* A round and attempt never come twice, not even in another process. */
    if (run->current.state != HANSE_STORE_ROUND_PUBLISHED)
        run->void_count = run->current.attempt + (run->current.state == HANSE_STORE_ROUND_VOID);
    if (run->current.state != HANSE_STORE_ROUND_OPEN) {
        hanse_store_round_clear(&run->current);
        return run->masks != NULL ? hanse_masks_restore(run, err) : HANSE_OK;
    }
    rc = hanse_spec_decode(&run->spec, hanse_buf_bytes(&run->current.spec), err);
    if (rc == HANSE_OK)
        rc = hanse_live_run_round_init(run, run->current.deadline_ms, run->current.kind, err);
    if (rc != HANSE_OK)
        return rc;
    run->round_open = true;
    if (run->masks != NULL)
        rc = hanse_masks_restore(run, err);
    if (rc != HANSE_OK && !hanse_is_passing(rc)) { /* a ticket or a certificate has ended meanwhile: nobody can go on with this slot */
        run->round.phase = HANSE_PHASE_CUT;
        hanse_live_run_folded(run, rc, NULL, NULL, 0, err);
        return HANSE_OK;
    }
    if (rc == HANSE_OK)
        rc = hanse_store_contributions(run->server->store, run->row.run_id, run->current.round, run->current.attempt, &parts, &count, err);
    for (size_t i = 0; rc == HANSE_OK && i < count; i++)
        rc = restore_member(run, &parts[i], err);
    hanse_store_contributions_free(parts, count);
    if (rc == HANSE_OK && run->masks != NULL)
        rc = hanse_masks_resume(run, err);
    /* Last: a run that cannot be loaded is freed, and no worker may hold it then. */
    for (size_t i = 0; rc == HANSE_OK && run->round_open && run->round.phase == HANSE_PHASE_COLLECT && i < run->roster.sites_count; i++)
        if (run->members[i].kept && run->round.members[i] == HANSE_MEMBER_VERIFYING)
            hanse_job_verify(run, i);
    return rc;
}

void hanse_live_run_sweep(const hanse_live_run *run)
{
    char hex[33], keep[64];
    const struct dirent *entry;
    hanse_path folder;
    DIR *dir;

    if (hanse_path_join(folder, run->server->dir, HANSE_SPOOL_DIR, NULL) != HANSE_OK || (dir = opendir(folder)) == NULL)
        return;
    hanse_hex_encode(hex, run->row.run_id, 16);
    (void)snprintf(keep, sizeof keep, "%s-%" PRIu64 "-", hex, run->current.slot);
    while ((entry = readdir(dir)) != NULL)
        if (strncmp(entry->d_name, hex, 32) == 0 && (!run->round_open || strncmp(entry->d_name, keep, strlen(keep)) != 0))
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    (void)closedir(dir);
}

/* A damaged model would be refused by every site, again and again. */
static hanse_rc check_model(const hanse_live_run *run, hanse_err *err)
{
    uint8_t root[32];
    hanse_rc rc = hanse_model_root_of_digests(root, run->row.model_size, run->digests.data, err);

    if (rc == HANSE_OK && memcmp(root, run->row.model_root, 32) != 0)
        rc = HANSE_FAIL(err, HANSE_E_CORRUPT, "%s is not the model that was published: put a backup in its place", run->model_path);
    return rc;
}

static hanse_rc load_run(hanse_server *server, const uint8_t run_id[16], hanse_live_run **out, hanse_err *err)
{
    hanse_live_run *run = hanse_calloc(1, sizeof *run);
    hanse_rc rc;

    if (run == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for a run");
    run->server = server;
    rc = hanse_store_run_get(server->store, run_id, &run->row, err);
    if (rc == HANSE_OK)
        rc = hanse_plan_parse(&run->plan, hanse_buf_bytes(&run->row.plan), "plan of the run", err);
    if (rc == HANSE_OK)
        rc = hanse_roster_decode(&run->roster, hanse_buf_bytes(&run->row.roster), err);
    if (rc == HANSE_OK && run->row.state == HANSE_STORE_RUN_OPEN)
        rc = hanse_live_run_renew(run, err);
    if (rc == HANSE_OK)
        rc = hanse_layout_of_plan(&run->layout, run->plan, err);
    if (rc == HANSE_OK && run->row.state == HANSE_STORE_RUN_OPEN)
        rc = load_seal_key(run, err);
    else if (rc == HANSE_OK)
        hanse_live_run_forget_key(run); /* the service ended before it could */
    if (rc == HANSE_OK)
        rc = hanse_store_model_path(run->model_path, server->dir, run_id, run->row.model_round, err);
    if (rc == HANSE_OK)
        rc = hanse_model_digests(&run->digests, &run->row.model_size, run->model_path, err);
    if (rc == HANSE_OK)
        rc = check_model(run, err);
    if (rc == HANSE_OK && (run->members = hanse_calloc(run->roster.sites_count, sizeof *run->members)) == NULL)
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for the sites of a run");
    if (rc != HANSE_OK) {
        hanse_live_run_free(run);
        return rc;
    }
    for (size_t i = 0; i < run->roster.sites_count; i++)
        run->members[i].spool = HANSE_SPOOL_CLOSED;
    restore_progress(run);
    rc = load_last_result(run, err);
    if (rc == HANSE_OK && run->row.state == HANSE_STORE_RUN_OPEN && run->plan->aggregation.privacy == HANSE_PRIVACY_MASKED)
        rc = hanse_masks_new(run, err);
    if (rc == HANSE_OK)
        rc = restore_parts(run, err);
    if (rc == HANSE_OK && run->row.state == HANSE_STORE_RUN_OPEN)
        rc = restore_round(run, err);
    if (rc != HANSE_OK) {
        hanse_live_run_free(run);
        return rc;
    }
    hanse_live_run_sweep(run);
    *out = run;
    return HANSE_OK;
}

void hanse_live_run_free(hanse_live_run *run)
{
    if (run == NULL)
        return;
    for (size_t i = 0; run->members != NULL && i < run->roster.sites_count; i++) {
        hanse_spool_close(&run->members[i].spool);
        hanse_free(run->members[i].aux);
        hanse_buf_clear(&run->members[i].receipt);
        hanse_buf_clear(&run->members[i].receipt_sig);
    }
    hanse_masks_free(run->masks);
    hanse_free(run->members);
    hanse_wipe(run->seal_key, sizeof run->seal_key);
    hanse_store_run_clear(&run->row);
    hanse_store_round_clear(&run->current);
    hanse_round_clear(&run->round);
    hanse_layout_clear(&run->layout);
    hanse_roster_clear(&run->roster);
    hanse_plan_free(run->plan);
    hanse_buf_clear(&run->digests);
    hanse_buf_clear(&run->best_digests);
    hanse_buf_clear(&run->new_digests);
    hanse_buf_clear(&run->last_result);
    hanse_buf_clear(&run->last_result_sig);
    hanse_free(run);
}

hanse_rc hanse_live_runs_load(hanse_server *server, hanse_err *err)
{
    hanse_store_run *rows = NULL;
    size_t count = 0;
    hanse_rc rc = hanse_store_runs(server->store, &rows, &count, err);

    server->load_ms = 0;
    server->load_err.rc = HANSE_OK;
    for (size_t i = 0; rc == HANSE_OK && i < count; i++) {
        hanse_live_run *run = hanse_live_run_find(server, rows[i].run_id), **tail = &server->runs;

        if (run != NULL)
            continue;
        rc = load_run(server, rows[i].run_id, &run, err);
        if (rc == HANSE_E_NOMEM)
            break;
        if (rc != HANSE_OK) { /* a damaged run does not stop the others; when it is mended, it goes on */
            hanse_log(HANSE_LOG_ERROR, "run_not_loaded run=%s code=%s reason=%s", rows[i].name, hanse_rc_name(rc), err->text);
            if (server->options->run_id != NULL && memcmp(server->options->run_id, rows[i].run_id, 16) == 0)
                server->load_err = *err;
            server->load_ms = hanse_clock_wall_ms() + LOAD_AGAIN_MS;
            rc = HANSE_OK;
            continue;
        }
        while (*tail != NULL)
            tail = &(*tail)->next;
        *tail = run; /* the oldest first: sites work on them in this order */
        for (hanse_session *session = server->sessions; session != NULL; session = session->next)
            if (session->greeted)
                hanse_live_run_greet(run, session);
    }
    hanse_store_runs_free(rows, count);
    return rc;
}

hanse_live_run *hanse_live_run_find(hanse_server *server, const uint8_t run_id[16])
{
    for (hanse_live_run *run = server->runs; run != NULL; run = run->next)
        if (memcmp(run->row.run_id, run_id, 16) == 0)
            return run;
    return NULL;
}

bool hanse_live_run_member(const hanse_live_run *run, const uint8_t site_id[32], size_t *member)
{
    const hanse_roster_site *site = hanse_roster_find(&run->roster, site_id);

    if (site == NULL)
        return false;
    *member = (size_t)(site - run->roster.sites);
    return true;
}

/* ---- what sites say ---- */

static void send_result(hanse_session *session, const hanse_buf *object, const hanse_buf *sig)
{
    hanse_message message = {.kind = HANSE_RESULT};

    message.result.object = hanse_buf_bytes(object);
    message.result.sig = hanse_buf_bytes(sig);
    if (object->len > 0)
        hanse_session_send(session, &message);
}

void hanse_live_run_greet(hanse_live_run *run, hanse_session *session)
{
    hanse_message message = {.kind = HANSE_OFFER};
    size_t member;

    if (!hanse_live_run_member(run, session->site_id, &member))
        return;
    if (run->row.state != HANSE_STORE_RUN_OPEN && !run->members[member].took_part) { /* over without this site: nothing to decide any more, */
        send_result(session, &run->last_result, &run->last_result_sig);              /* but it may have begun to work */
        return;
    }
    message.offer.offer = hanse_buf_bytes(&run->row.offer);
    message.offer.sig = hanse_buf_bytes(&run->row.offer_sig);
    message.offer.plan = hanse_buf_bytes(&run->row.plan);
    message.offer.roster = hanse_buf_bytes(&run->row.roster);
    message.offer.roster_sig = hanse_buf_bytes(&run->row.roster_sig);
    hanse_session_send(session, &message);
}

void hanse_live_run_send_spec(hanse_live_run *run, size_t member)
{
    hanse_session *session = hanse_session_of_site(run->server, run->roster.sites[member].id);
    hanse_message message = {.kind = HANSE_SPEC};

    if (session == NULL || !run->members[member].accepted)
        return;
    message.spec.spec = hanse_buf_bytes(&run->current.spec);
    message.spec.sig = hanse_buf_bytes(&run->current.spec_sig);
    message.spec.statistics = hanse_buf_bytes(&run->row.statistics);
    hanse_session_send(session, &message);
}

void hanse_live_run_send_result(hanse_live_run *run, size_t member)
{
    hanse_session *session = hanse_session_of_site(run->server, run->roster.sites[member].id);

    if (session != NULL && run->members[member].accepted)
        send_result(session, &run->last_result, &run->last_result_sig);
}

/* While a site was away rounds were void after the one that it was in. It must hear of that one first: its rows are in the run's total from
 * there on, and it takes part with no more than it knows to be in it. */
static void send_counted(hanse_live_run *run, size_t member)
{
    hanse_session *session = hanse_session_of_site(run->server, run->roster.sites[member].id);
    hanse_store_round round;
    bool found = false;
    hanse_err err = {0};

    if (session == NULL || hanse_store_round_counted(run->server->store, run->row.run_id, run->roster.sites[member].id, &round, &found, &err) != HANSE_OK) {
        if (session != NULL)
            hanse_log(HANSE_LOG_ERROR, "store reason=%s", err.text);
        return;
    }
    if (!found)
        return;
    if (!hanse_bytes_equal(hanse_buf_bytes(&round.result), hanse_buf_bytes(&run->last_result)))
        send_result(session, &round.result, &round.result_sig);
    hanse_store_round_clear(&round);
}

void hanse_live_run_answer(hanse_live_run *run, hanse_session *session, size_t member, const hanse_msg_answer *answer)
{
    hanse_member *self = &run->members[member];
    char reason[HANSE_REASON_MAX + 1];
    bool changed = !self->answered || self->accepted != answer->accepted;

    self->answered = true;
    self->accepted = answer->accepted;
    hanse_text_copy(reason, sizeof reason, answer->reason);
    if (changed && run->row.state == HANSE_STORE_RUN_OPEN && self->changes++ < CHANGES_KEPT)
        hanse_ignore(hanse_store_event_add(run->server->store, run->row.run_id, hanse_clock_wall_ms(), NULL, "%s %s%s%s", session->name,
                                           answer->accepted ? "takes part" : "refuses the run", *reason ? ": " : "", reason));
    if (hanse_session_may_log(session))
        hanse_log(HANSE_LOG_INFO, "run_answer run=%s site=%s accepted=%d reason=%s", run->row.name, session->name, (int)answer->accepted, reason);
    if (!answer->accepted)
        return;
    send_counted(run, member);
    hanse_live_run_send_result(run, member);
    if (run->masks != NULL) {
        run->masks->members[member].told = false; /* its EPOCH follows */
        hanse_masks_send(run, member);
    }
    if (run->round_open && run->round.members[member] != HANSE_MEMBER_ACCEPTED && run->round.members[member] != HANSE_MEMBER_REJECTED &&
        run->round.members[member] != HANSE_MEMBER_DECLINED && run->round.phase == HANSE_PHASE_COLLECT)
        hanse_live_run_send_spec(run, member);
    hanse_live_run_tick(run, hanse_clock_wall_ms());
}
