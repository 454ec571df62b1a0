#include "coordinator/store/store_sqlite.h"
#include "tests/unit/coordinator/fixture.h"

#include <fcntl.h>
#include <math.h>
#include <sqlite3.h>

static hanse_buf buf(const char *text)
{
    hanse_buf out = HANSE_BUF_EMPTY;

    assert_int_equal(hanse_buf_append(&out, text, strlen(text), NULL), HANSE_OK);
    return out;
}

static hanse_store *open_store(const char *dir)
{
    hanse_store *store = NULL;
    hanse_err err = {.rc = HANSE_OK};

    if (hanse_store_open(&store, dir, true, &err) != HANSE_OK)
        fail_msg("%s", err.text);
    return store;
}

static void path_of(const char *dir, hanse_path out)
{
    assert_int_equal(hanse_path_join(out, dir, HANSE_STORE_FILE, NULL), HANSE_OK);
}

/* Statements that no command of ours would run. */
static void exec(const char *dir, const char *sql)
{
    hanse_path path;
    sqlite3 *db;

    path_of(dir, path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static hanse_store_run sample_run(uint8_t first)
{
    hanse_store_run run = {.name = "plan", .created_ms = 1000 + first, .model_size = 64, .next_slot = 1, .best_value = NAN};

    run.run_id[0] = first;
    run.plan = buf("name: plan");
    run.roster = buf("roster");
    run.roster_sig = buf("sig");
    run.offer = buf("offer");
    run.offer_sig = buf("sig");
    memset(run.model_root, 7, 32);
    return run;
}

static hanse_store_round sample_round(const hanse_store_run *run, uint64_t number, uint64_t slot)
{
    hanse_store_round round = {.round = number, .attempt = 1, .slot = slot, .kind = 1, .opened_ms = 5, .deadline_ms = 9};

    memcpy(round.run_id, run->run_id, 16);
    round.spec = buf("spec");
    round.spec_sig = buf("sig");
    return round;
}

static hanse_store_site sample_site(const char *name, uint8_t key)
{
    hanse_store_site site = {0};

    snprintf(site.name, sizeof site.name, "%s", name);
    snprintf(site.organisation, sizeof site.organisation, "org");
    snprintf(site.uri, sizeof site.uri, "urn:hanse:org:%s", name);
    snprintf(site.serial_tls, sizeof site.serial_tls, "40%02x", key);
    snprintf(site.serial_sign, sizeof site.serial_sign, "41%02x", key);
    memset(site.site_id, key, 32);
    site.cert_tls = buf("tls");
    site.cert_sign = buf("sign");
    return site;
}

static void reopens_with_everything(void **state)
{
    hanse_store *store = open_store(*state);
    hanse_store_run run = sample_run(1), got = {0};
    hanse_store_round round = sample_round(&run, 1, 1), back = {0};
    hanse_store_contribution part = {.round = 1, .attempt = 1, .weight = 12, .bytes = 34, .state = HANSE_STORE_PART_ACCEPTED}, *parts;
    int64_t number = 0;
    size_t count;
    bool found = false;

    memset(part.site_id, 3, 32);
    memcpy(part.run_id, run.run_id, 16);
    part.receipt = buf("receipt");
    assert_int_equal(hanse_store_number_get(store, "x", &number, &found, NULL), HANSE_OK);
    assert_false(found);
    assert_int_equal(hanse_store_number_set(store, "x", -5, NULL), HANSE_OK);
    assert_int_equal(hanse_store_run_add(store, &run, NULL), HANSE_OK);
    assert_int_equal(hanse_store_round_open(store, &round, NULL), HANSE_OK);
    assert_int_equal(hanse_store_contribution_put(store, &part, NULL), HANSE_OK);
    hanse_store_close(store);

    store = open_store(*state);
    assert_int_equal(hanse_store_number_get(store, "x", &number, &found, NULL), HANSE_OK);
    assert_true(found && number == -5);
    assert_int_equal(hanse_store_run_get(store, run.run_id, &got, NULL), HANSE_OK);
    assert_int_equal(got.next_slot, 2);
    assert_true(isnan(got.best_value));
    assert_true(hanse_bytes_equal(hanse_buf_bytes(&got.plan), hanse_buf_bytes(&run.plan)));
    assert_memory_equal(got.model_root, run.model_root, 32);
    assert_int_equal(hanse_store_round_current(store, run.run_id, &back, &found, NULL), HANSE_OK);
    assert_true(found);
    assert_int_equal(back.deadline_ms, 9);
    assert_int_equal(hanse_store_contributions(store, run.run_id, 1, 1, &parts, &count, NULL), HANSE_OK);
    assert_int_equal(count, 1);
    assert_int_equal(parts[0].weight, 12);
    assert_int_equal(parts[0].state, HANSE_STORE_PART_ACCEPTED);
    assert_int_equal(parts[0].receipt.len, 7);
    hanse_store_contributions_free(parts, count);
    part.state = HANSE_STORE_PART_REJECTED; /* accepted is final */
    assert_int_equal(hanse_store_contribution_put(store, &part, NULL), HANSE_E_DUPLICATE);
    hanse_buf_clear(&part.receipt);
    hanse_store_round_clear(&round);
    hanse_store_round_clear(&back);
    hanse_store_run_clear(&got);
    hanse_store_run_clear(&run);
    hanse_store_close(store);
}

/* What opening says of files that are not what they should be. */
static void refuses_odd_files(void **state)
{
    static const struct {
        const char *name, *sql; /* NULL: garbage instead of a database */
        hanse_rc want;
        const char *words;
    } rows[] = {
        {"newer", "PRAGMA user_version = 99", HANSE_E_VERSION, "newer Hanse"},
        {"another program's", "PRAGMA application_id = 7", HANSE_E_CORRUPT, "no database of a coordinator"},
        {"garbage", NULL, HANSE_E_CORRUPT, "damaged"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        hanse_store *store = open_store(*state);
        hanse_path path;
        hanse_err err = {.rc = HANSE_OK};
        uint8_t garbage[8192];

        print_message("%s\n", rows[i].name);
        hanse_store_close(store);
        path_of(*state, path);
        memset(garbage, 0xa5, sizeof garbage);
        if (rows[i].sql != NULL)
            exec(*state, rows[i].sql);
        else
            assert_int_equal(hanse_file_write(path, (hanse_bytes){garbage, sizeof garbage}, 0600, NULL), HANSE_OK);
        store = NULL;
        assert_int_equal(hanse_store_open(&store, *state, false, &err), rows[i].want);
        assert_null(store);
        assert_non_null(strstr(err.text, rows[i].words));
        assert_non_null(strstr(err.text, HANSE_STORE_FILE));
        assert_int_equal(unlink(path), 0);
    }
}

/* From every schema that was ever published to ours, and on to one that does not exist yet: what was kept is there, a step that
 * fails leaves the file as it was, and the older program refuses the newer file. */
static void migrates_step_by_step(void **state)
{
    const char *steps[HANSE_STORE_SCHEMA + 1];
    hanse_err err = {.rc = HANSE_OK};
    hanse_path path;
    int64_t number = 0;
    bool found = false;

    path_of(*state, path);
    memcpy(steps, hanse_store_steps(), HANSE_STORE_SCHEMA * sizeof *steps);
    for (int old = 1; old <= HANSE_STORE_SCHEMA; old++) {
        hanse_store *store = NULL;

        print_message("schema %d\n", old);
        assert_int_equal(hanse_store_open_steps(&store, *state, true, steps, old, &err), HANSE_OK);
        assert_int_equal(hanse_store_number_set(store, "kept", 40 + old, &err), HANSE_OK);
        hanse_store_close(store);
        store = open_store(*state);
        hanse_store_close(store);

        steps[HANSE_STORE_SCHEMA] = "CREATE TABLE extra(x); INSERT INTO nowhere VALUES(1);";
        assert_int_not_equal(hanse_store_open_steps(&store, *state, false, steps, HANSE_STORE_SCHEMA + 1, &err), HANSE_OK);
        store = open_store(*state); /* still our schema, and no table `extra` */
        hanse_store_close(store);
        steps[HANSE_STORE_SCHEMA] = "CREATE TABLE extra(x); INSERT INTO extra VALUES(1); UPDATE meta SET value = value + 1;";
        assert_int_equal(hanse_store_open_steps(&store, *state, false, steps, HANSE_STORE_SCHEMA + 1, &err), HANSE_OK);
        assert_int_equal(hanse_store_number_get(store, "kept", &number, &found, &err), HANSE_OK);
        assert_true(found && number == 41 + old);
        hanse_store_close(store);
        store = NULL;
        assert_int_equal(hanse_store_open_steps(&store, *state, false, steps, HANSE_STORE_SCHEMA + 1, &err), HANSE_OK);
        assert_int_equal(hanse_store_number_get(store, "kept", &number, &found, &err), HANSE_OK);
        assert_int_equal(number, 41 + old); /* no step twice */
        hanse_store_close(store);
        store = NULL;
        assert_int_equal(hanse_store_open(&store, *state, false, &err), HANSE_E_VERSION);
        assert_int_equal(unlink(path), 0);
    }
}

static void refuses_missing_and_unwritable(void **state)
{
    hanse_store *store = NULL;
    hanse_err err = {.rc = HANSE_OK};
    hanse_path path;

    assert_int_equal(hanse_store_open(&store, *state, false, &err), HANSE_E_NOTFOUND);
    assert_non_null(strstr(err.text, "init"));
    assert_int_equal(hanse_store_open(&store, "/nonexistent/dir", true, &err), HANSE_E_NOTFOUND);
    path_of(*state, path);
    assert_int_equal(mkdir(path, 0700), 0); /* a directory in its place: even root cannot write it */
    assert_int_equal(hanse_store_open(&store, *state, true, &err), HANSE_E_IO);
    if (geteuid() != 0) {
        assert_int_equal(rmdir(path), 0);
        assert_int_equal(chmod(*state, 0500), 0);
        assert_int_equal(hanse_store_open(&store, *state, true, &err), HANSE_E_IO);
        assert_int_equal(chmod(*state, 0700), 0);
    }
}

/* A page in the middle is damaged: what is read says so, nothing crashes. */
static void notices_damaged_pages(void **state)
{
    hanse_store *store = open_store(*state);
    hanse_store_run run = sample_run(1);
    hanse_path path;
    hanse_err err = {.rc = HANSE_OK};
    hanse_rc rc = HANSE_OK;
    uint8_t junk[4096];
    struct stat info;
    int fd;

    assert_int_equal(hanse_store_run_add(store, &run, NULL), HANSE_OK);
    hanse_store_close(store); /* checkpoints: all is in the main file */
    path_of(*state, path);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &info), 0);
    memset(junk, 0xee, sizeof junk);
    for (off_t at = 4096; at < info.st_size; at += 4096)
        assert_int_equal(pwrite(fd, junk, sizeof junk, at), sizeof junk);
    close(fd);
    store = NULL;
    rc = hanse_store_open(&store, *state, false, &err);
    if (rc == HANSE_OK) {
        hanse_store_run got = {0};

        rc = hanse_store_run_get(store, run.run_id, &got, &err);
        hanse_store_run_clear(&got);
    }
    assert_int_equal(rc, HANSE_E_CORRUPT);
    hanse_store_close(store);
    hanse_store_run_clear(&run);
}

static void binds_tokens_to_keys(void **state)
{
    hanse_store *store = open_store(*state);
    hanse_store_invitation invitation = {.site = "a", .organisation = "org", .expires_ms = 1000}, got = {0};
    hanse_store_site site = sample_site("a", 1), *sites;
    hanse_store_event *events;
    uint8_t keys[32] = {1}, others[32] = {2}, unknown[32] = {9};
    hanse_err err = {.rc = HANSE_OK};
    size_t count;

    memset(invitation.token_hash, 5, 32);
    assert_int_equal(hanse_store_invite(store, &invitation, 1, NULL), HANSE_OK);
    assert_int_equal(hanse_store_invitation_find(store, unknown, keys, 2, &got, &err), HANSE_E_IDENTITY);
    assert_int_equal(hanse_store_invitation_find(store, invitation.token_hash, keys, 1000, &got, &err), HANSE_E_IDENTITY);
    assert_non_null(strstr(err.text, "expired"));
    assert_int_equal(hanse_store_invitation_find(store, invitation.token_hash, keys, 2, &got, &err), HANSE_OK);
    assert_false(got.bound);
    assert_string_equal(got.site, "a");
    assert_int_equal(hanse_store_enrol(store, invitation.token_hash, keys, &site, hanse_bytes_str("reply"), 3, NULL), HANSE_OK);
    /* the same keys get the same reply; others are refused and logged; nobody enrols twice */
    assert_int_equal(hanse_store_invitation_find(store, invitation.token_hash, keys, 4, &got, &err), HANSE_OK);
    assert_true(got.bound);
    assert_true(hanse_bytes_equal(hanse_buf_bytes(&got.reply), hanse_bytes_str("reply")));
    hanse_store_invitation_clear(&got);
    assert_int_equal(hanse_store_invitation_find(store, invitation.token_hash, others, 4, &got, &err), HANSE_E_IDENTITY);
    assert_non_null(strstr(err.text, "another key"));
    assert_int_equal(hanse_store_enrol(store, invitation.token_hash, others, &site, HANSE_BYTES_EMPTY, 4, NULL), HANSE_E_IDENTITY);
    assert_int_equal(hanse_store_events(store, NULL, &events, &count, NULL), HANSE_OK);
    assert_non_null(strstr(events[count - 1].text, "enrolment refused site=a"));
    hanse_free(events);
    /* an active name cannot be invited; a revoked one can, and its serials stay revoked */
    invitation.token_hash[0] = 6;
    assert_int_equal(hanse_store_invite(store, &invitation, 5, &err), HANSE_E_INVALID);
    assert_int_equal(hanse_store_site_revoke(store, "nobody", 6, &err), HANSE_E_NOTFOUND);
    assert_int_equal(hanse_store_site_revoke(store, "a", 6, NULL), HANSE_OK);
    assert_int_equal(hanse_store_site_revoke(store, "a", 7, NULL), HANSE_OK);
    assert_int_equal(hanse_store_invite(store, &invitation, 8, NULL), HANSE_OK);
    hanse_store_site_clear(&site);
    site = sample_site("a", 2);
    assert_int_equal(hanse_store_enrol(store, invitation.token_hash, others, &site, HANSE_BYTES_EMPTY, 9, NULL), HANSE_OK);
    assert_int_equal(hanse_store_sites(store, &sites, &count, NULL), HANSE_OK);
    assert_int_equal(count, 1);
    assert_int_equal(sites[0].status, HANSE_STORE_ACTIVE);
    assert_int_equal(sites[0].site_id[0], 2);
    hanse_store_sites_free(sites, count);
    hanse_store_site_clear(&site);
    assert_int_equal(hanse_store_site_by_uri(store, "urn:hanse:org:b", &site, &err), HANSE_E_NOTFOUND);
    assert_int_equal(hanse_store_site_by_uri(store, "urn:hanse:org:a", &site, NULL), HANSE_OK);
    assert_string_equal(site.name, "a");
    assert_int_equal(site.site_id[0], 2); /* the keys enrolled last */
    {
        hanse_store_serial *serials;
        uint64_t *times;

        assert_int_equal(hanse_store_revoked(store, &serials, &times, &count, NULL), HANSE_OK);
        assert_int_equal(count, 2);
        assert_int_equal(times[0], 6); /* the first revocation counts */
        assert_string_equal(serials[0], "4001");
        hanse_free(serials);
        hanse_free(times);
    }
    hanse_store_site_clear(&site);
    hanse_store_close(store);
}

static void finds_runs(void **state)
{
    hanse_store *store = open_store(*state);
    hanse_store_run a = sample_run(0xab), b = sample_run(0xac), *runs;
    static const struct {
        const char *prefix;
        hanse_rc want;
        uint8_t first;
    } rows[] = {{"ab", HANSE_OK, 0xab}, {"AC", HANSE_OK, 0xac}, {"a", HANSE_E_INVALID, 0}, {"b", HANSE_E_NOTFOUND, 0},
                {"", HANSE_E_INVALID, 0}, {"%", HANSE_E_INVALID, 0}, {"ab0000000000000000000000000000000", HANSE_E_INVALID, 0}};
    uint8_t id[16];
    bool found;
    size_t count;

    snprintf(a.token, sizeof a.token, "t");
    assert_int_equal(hanse_store_run_add(store, &a, NULL), HANSE_OK);
    assert_int_equal(hanse_store_run_add(store, &a, NULL), HANSE_E_DUPLICATE);
    snprintf(b.token, sizeof b.token, "t");
    assert_int_equal(hanse_store_run_add(store, &b, NULL), HANSE_E_DUPLICATE); /* one token, one run */
    b.token[0] = '\0';
    assert_int_equal(hanse_store_run_add(store, &b, NULL), HANSE_OK);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("%s\n", rows[i].prefix);
        assert_int_equal(hanse_store_run_find(store, rows[i].prefix, id, NULL), rows[i].want);
        if (rows[i].want == HANSE_OK)
            assert_int_equal(id[0], rows[i].first);
    }
    assert_int_equal(hanse_store_run_by_token(store, "t", id, &found, NULL), HANSE_OK);
    assert_true(found && id[0] == 0xab);
    assert_int_equal(hanse_store_run_by_token(store, "u", id, &found, NULL), HANSE_OK);
    assert_false(found);
    assert_int_equal(hanse_store_runs(store, &runs, &count, NULL), HANSE_OK);
    assert_int_equal(count, 2);
    assert_int_equal(runs[0].run_id[0], 0xab);
    hanse_store_runs_free(runs, count);
    hanse_store_run_clear(&a);
    hanse_store_run_clear(&b);
    hanse_store_close(store);
}

static void slots_and_requests(void **state)
{
    hanse_store *store = open_store(*state);
    hanse_store_run run = sample_run(1);
    hanse_store_round round = sample_round(&run, 1, 1), back = {0};
    hanse_store_request *requests;
    size_t count;
    bool found;

    assert_int_equal(hanse_store_run_add(store, &run, NULL), HANSE_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(hanse_store_request_add(store, HANSE_STORE_ASK_ROUND, run.run_id, 1, NULL), HANSE_OK);
    assert_int_equal(hanse_store_requests(store, &requests, &count, NULL), HANSE_OK);
    assert_int_equal(count, 1);
    hanse_free(requests);
    round.slot = 0; /* below next_slot, though never used */
    assert_int_equal(hanse_store_round_open(store, &round, NULL), HANSE_E_DUPLICATE);
    round.slot = 1;
    assert_int_equal(hanse_store_round_open(store, &round, NULL), HANSE_OK);
    assert_int_equal(hanse_store_request_add(store, HANSE_STORE_ASK_ROUND, run.run_id, 1, NULL), HANSE_OK); /* one is open */
    assert_int_equal(hanse_store_requests(store, &requests, &count, NULL), HANSE_OK);
    assert_int_equal(count, 0);
    round.round = 2;
    assert_int_equal(hanse_store_round_open(store, &round, NULL), HANSE_E_DUPLICATE); /* slot 1 again */
    round.slot = 2;
    assert_int_equal(hanse_store_round_open(store, &round, NULL), HANSE_E_DUPLICATE); /* round 1 is open */
    assert_int_equal(hanse_store_request_add(store, HANSE_STORE_ASK_STOP, run.run_id, 1, NULL), HANSE_OK);
    run.state = HANSE_STORE_RUN_STOPPED;
    (void)snprintf(run.reason, sizeof run.reason, "why\nnot");
    round.state = HANSE_STORE_ROUND_VOID;
    assert_int_equal(hanse_store_publish(store, &round, &run, NULL), HANSE_E_DUPLICATE); /* round 2 is not open, round 1 is */
    round.unopened = true;
    assert_int_equal(hanse_store_publish(store, &round, &run, NULL), HANSE_E_DUPLICATE);
    round.unopened = false;
    round.round = round.slot = 1;
    run.state = HANSE_STORE_RUN_OPEN;
    assert_int_equal(hanse_store_publish(store, &round, &run, NULL), HANSE_OK);
    round.unopened = true;
    run.state = HANSE_STORE_RUN_STOPPED;
    assert_int_equal(hanse_store_publish(store, &round, &run, NULL), HANSE_E_DUPLICATE); /* slot 1 again */
    round.round = round.slot = 2;
    assert_int_equal(hanse_store_publish(store, &round, &run, NULL), HANSE_OK);
    assert_int_equal(hanse_store_round_newest(store, run.run_id, &back, &found, NULL), HANSE_OK);
    assert_true(found && back.slot == 2 && back.state == HANSE_STORE_ROUND_VOID && back.spec.len == round.spec.len);
    hanse_store_round_clear(&back);
    assert_int_equal(hanse_store_requests(store, &requests, &count, NULL), HANSE_OK);
    assert_int_equal(count, 0);
    hanse_store_round_clear(&round);
    hanse_store_run_clear(&run);
    hanse_store_close(store);
}

/* Every k-th statement of a publication fails once: either nothing happened, or all of it did. */
static void publishes_all_or_nothing(void **state)
{
    hanse_store *store = open_store(*state);
    hanse_store_run run = sample_run(1), got = {0};
    hanse_store_round round = sample_round(&run, 1, 1), back = {0};
    hanse_store_contribution part = {.round = 1, .attempt = 1}, *parts;
    hanse_err err = {.rc = HANSE_OK};
    bool found;
    size_t count, faults = 0;
    hanse_rc rc;

    memcpy(part.run_id, run.run_id, 16);
    assert_int_equal(hanse_store_run_add(store, &run, NULL), HANSE_OK);
    assert_int_equal(hanse_store_round_open(store, &round, NULL), HANSE_OK);
    assert_int_equal(hanse_store_contribution_put(store, &part, NULL), HANSE_OK);
    round.state = HANSE_STORE_ROUND_PUBLISHED;
    round.weight = 77;
    round.result = buf("result");
    run.rounds_done = 1;
    run.model_round = 1;
    run.best_value = 0.5;
    for (;; faults++) {
        hanse_store_fail_at((long)faults);
        rc = hanse_store_publish(store, &round, &run, &err);
        hanse_store_fail_at(-1);
        if (rc == HANSE_OK)
            break;
        assert_int_equal(rc, HANSE_E_FULL);
        assert_non_null(strstr(err.text, HANSE_STORE_FILE));
        hanse_store_close(store); /* as if the process had died of it */
        store = open_store(*state);
        assert_int_equal(hanse_store_round_current(store, run.run_id, &back, &found, NULL), HANSE_OK);
        assert_true(found);
        assert_int_equal(back.result.len, 0);
        hanse_store_round_clear(&back);
        assert_int_equal(hanse_store_run_get(store, run.run_id, &got, NULL), HANSE_OK);
        assert_int_equal(got.rounds_done, 0);
        hanse_store_run_clear(&got);
    }
    assert_true(faults >= 5);
    assert_int_equal(hanse_store_round_newest(store, run.run_id, &back, &found, NULL), HANSE_OK);
    assert_int_equal(back.state, HANSE_STORE_ROUND_PUBLISHED);
    assert_int_equal(back.weight, 77);
    assert_int_equal(hanse_store_run_get(store, run.run_id, &got, NULL), HANSE_OK);
    assert_int_equal(got.rounds_done, 1);
    assert_true(got.best_value > 0.49 && got.best_value < 0.51);
    assert_int_equal(hanse_store_contributions(store, run.run_id, 1, 1, &parts, &count, NULL), HANSE_OK);
    assert_int_equal(parts[0].state, HANSE_STORE_PART_LATE);
    hanse_store_contributions_free(parts, count);
    assert_int_equal(hanse_store_publish(store, &round, &run, &err), HANSE_E_DUPLICATE);
    part.state = HANSE_STORE_PART_ACCEPTED; /* the round is closed */
    assert_int_equal(hanse_store_contribution_put(store, &part, &err), HANSE_E_DUPLICATE);
    hanse_store_round_clear(&round);
    hanse_store_round_clear(&back);
    hanse_store_run_clear(&run);
    hanse_store_run_clear(&got);
    hanse_store_close(store);
}

/* Renewed certificates are good until they expire: revoking takes them, too. And not too many are made. */
static void renews_and_revokes_all(void **state)
{
    const uint64_t hour = 3600 * 1000;
    hanse_store *store = open_store(*state);
    hanse_store_invitation invitation = {.site = "n", .organisation = "org", .expires_ms = 1000};
    hanse_store_site site = sample_site("n", 7), back = {0};
    const uint8_t keys[32] = {1};
    hanse_store_serial *serials = NULL;
    uint64_t *times = NULL;
    size_t count = 0;
    hanse_err err = {0};

    memset(invitation.token_hash, 5, 32);
    assert_int_equal(hanse_store_invite(store, &invitation, 1, NULL), HANSE_OK);
    assert_int_equal(hanse_store_enrol(store, invitation.token_hash, keys, &site, hanse_bytes_str("reply"), 3, NULL), HANSE_OK);
    snprintf(site.serial_tls, sizeof site.serial_tls, "5001");
    snprintf(site.serial_sign, sizeof site.serial_sign, "5101");
    assert_int_equal(hanse_store_site_renew(store, &site, 10 * hour, &err), HANSE_OK);
    assert_int_equal(hanse_store_site_renew(store, &site, 10 * hour + 1, &err), HANSE_E_LATE);
    snprintf(site.serial_tls, sizeof site.serial_tls, "5002");
    assert_int_equal(hanse_store_site_renew(store, &site, 12 * hour, &err), HANSE_OK);
    assert_int_equal(hanse_store_site_find(store, "n", &back, &err), HANSE_OK);
    assert_string_equal(back.serial_tls, "5002");
    assert_int_equal(hanse_store_site_revoke(store, "n", 13 * hour, &err), HANSE_OK);
    assert_int_equal(hanse_store_revoked(store, &serials, &times, &count, &err), HANSE_OK);
    assert_int_equal(count, 5); /* enrolled: two, renewed: two, and the third TLS certificate; the last signing one has the same number here */
    assert_int_equal(hanse_store_site_renew(store, &site, 20 * hour, &err), HANSE_E_IDENTITY);
    hanse_free(serials);
    hanse_free(times);
    hanse_store_site_clear(&site);
    hanse_store_site_clear(&back);
    hanse_store_close(store);
}

/* A site that was away while later rounds were void hears of the one that it was in. */
static void finds_the_round_that_counted(void **state)
{
    hanse_store *store = open_store(*state);
    hanse_store_run run = sample_run(1);
    hanse_store_contribution part = {.state = HANSE_STORE_PART_ACCEPTED};
    hanse_store_round back = {0};
    const hanse_store_round_state ends[] = {HANSE_STORE_ROUND_PUBLISHED, HANSE_STORE_ROUND_VOID};
    const uint8_t other[32] = {1};
    bool found = true;

    memcpy(part.run_id, run.run_id, 16);
    assert_int_equal(hanse_store_run_add(store, &run, NULL), HANSE_OK);
    for (unsigned i = 0; i < 2; i++) {
        hanse_store_round round = sample_round(&run, i + 1, i + 1);

        part.round = round.round;
        part.attempt = round.attempt;
        assert_int_equal(hanse_store_round_open(store, &round, NULL), HANSE_OK);
        assert_int_equal(hanse_store_contribution_put(store, &part, NULL), HANSE_OK);
        round.state = ends[i];
        round.result = buf(i == 0 ? "it counted" : "void");
        assert_int_equal(hanse_store_publish(store, &round, &run, NULL), HANSE_OK);
        hanse_store_round_clear(&round);
    }
    assert_int_equal(hanse_store_round_counted(store, run.run_id, other, &back, &found, NULL), HANSE_OK);
    assert_false(found);
    assert_int_equal(hanse_store_round_counted(store, run.run_id, part.site_id, &back, &found, NULL), HANSE_OK);
    assert_true(found);
    assert_memory_equal(back.result.data, "it counted", 10);
    hanse_store_round_clear(&back);
    hanse_store_run_clear(&run);
    hanse_store_close(store);
}

/* Memory runs out at every allocation of a listing: clean errors, no leak. */
static void survives_no_memory(void **state)
{
    hanse_store *store = open_store(*state);
    hanse_store_run run = sample_run(1), got = {0};
    hanse_rc rc = HANSE_E_NOMEM;

    assert_int_equal(hanse_store_run_add(store, &run, NULL), HANSE_OK);
    for (long k = 0; rc != HANSE_OK; k++) {
        hanse_alloc_fail_at(k);
        rc = hanse_store_run_get(store, run.run_id, &got, NULL);
        hanse_alloc_fail_at(-1);
        assert_true(rc == HANSE_OK || rc == HANSE_E_NOMEM);
    }
    hanse_store_run_clear(&got);
    hanse_store_run_clear(&run);
    hanse_store_close(store);
}

static void two_processes_at_once(void **state)
{
    hanse_store *a = open_store(*state), *b = open_store(*state);
    hanse_store_run run = sample_run(1), got = {0};

    assert_int_equal(hanse_store_run_add(a, &run, NULL), HANSE_OK);
    assert_int_equal(hanse_store_run_get(b, run.run_id, &got, NULL), HANSE_OK);
    assert_int_equal(hanse_store_request_add(b, HANSE_STORE_ASK_STOP, run.run_id, 1, NULL), HANSE_OK);
    hanse_store_run_clear(&got);
    hanse_store_run_clear(&run);
    hanse_store_close(a);
    hanse_store_close(b);
}

#define WITH_DIR(test) cmocka_unit_test_setup_teardown(test, dir_setup, dir_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_DIR(reopens_with_everything), WITH_DIR(refuses_odd_files), WITH_DIR(migrates_step_by_step), WITH_DIR(refuses_missing_and_unwritable),
        WITH_DIR(notices_damaged_pages), WITH_DIR(binds_tokens_to_keys), WITH_DIR(finds_runs), WITH_DIR(slots_and_requests),
        WITH_DIR(publishes_all_or_nothing), WITH_DIR(renews_and_revokes_all), WITH_DIR(finds_the_round_that_counted), WITH_DIR(survives_no_memory), WITH_DIR(two_processes_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
