#include "coordinator/commands.h"
#include "coordinator/server/control.h"
#include "hanse/identity.h"
#include "hanse/invitation.h"
#include "hanse/safetensors.h"
#include "tests/unit/coordinator/fixture.h"

#include <fcntl.h>
#include <math.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#define ARGS_MAX 16

static const char plan_text[] = "hanse: 1\n"
                                "name: tiny\n"
                                "data: {name: d, format: idx, rows: 2, cols: 2, classes: 3}\n"
                                "model: {kind: softmax}\n"
                                "train: {rate: 0.1, epochs: 1}\n"
                                "rounds: {count: 2, min_sites: 2}\n"
                                "aggregation: {privacy: sealed}\n";

static void join(hanse_path out, const char *dir, const char *name)
{
    assert_int_equal(hanse_path_join(out, dir, name, NULL), HANSE_OK);
}

/* What the last command printed. */
static char out_text[1 << 16], err_text[1 << 12];

static void slurp(const char *dir, const char *name, char *out, size_t size)
{
    hanse_path path;
    hanse_buf text = HANSE_BUF_EMPTY;

    join(path, dir, name);
    assert_int_equal(hanse_file_read(&text, path, size - 1, NULL), HANSE_OK);
    memcpy(out, text.data, text.len);
    out[text.len] = '\0';
    hanse_buf_clear(&text);
}

/* Run `line` (words split at single blanks; "@" before a word stands for a path in the test's directory) in a child process. */
static int run(const char *dir, const char *line)
{
    char words[1024], *argv[ARGS_MAX + 1], *rest = words;
    hanse_path paths[ARGS_MAX];
    int argc = 0, status;
    pid_t child;

    snprintf(words, sizeof words, "hanse-coordinator %s", line);
    while (argc < ARGS_MAX && (argv[argc] = strsep(&rest, " ")) != NULL) {
        if (argv[argc][0] == '@') {
            join(paths[argc], dir, argv[argc] + 1);
            argv[argc] = paths[argc];
        }
        argc++;
    }
    argv[argc] = NULL;
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (chdir(dir) != 0 || freopen("stdout.txt", "w", stdout) == NULL || freopen("stderr.txt", "w", stderr) == NULL)
            _exit(99);
        status = hanse_cli_main(&hanse_coordinator_program, argc, argv);
        fflush(NULL);
        _exit(status);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    slurp(dir, "stdout.txt", out_text, sizeof out_text);
    slurp(dir, "stderr.txt", err_text, sizeof err_text);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void expect(const char *dir, int code, const char *line)
{
    int got = run(dir, line);

    if (got != code)
        fail_msg("%s: exit code %d, not %d: %s", line, got, code, err_text);
    if (code != 0) /* one line */
        assert_ptr_equal(strchr(err_text, '\n'), err_text + strlen(err_text) - 1);
}

#define INIT "init --dir @c --name Baltic --address coordinator.example:7443"

/* The same, asked for as JSON. */
static void expect_json(void *state, const char *line)
{
    char command[256];

    (void)snprintf(command, sizeof command, "%s --format json", line);
    expect(state, 0, command);
}

static void write_text(const char *dir, const char *name, const char *text)
{
    hanse_path path;

    join(path, dir, name);
    assert_int_equal(hanse_file_write(path, hanse_bytes_str(text), 0644, NULL), HANSE_OK);
}

static hanse_store *store_of(const char *dir)
{
    hanse_path path;
    hanse_store *store = NULL;

    join(path, dir, "c");
    assert_int_equal(hanse_store_open(&store, path, false, NULL), HANSE_OK);
    return store;
}

/* A site as the service would enrol it. */
static void enrol(const char *dir, const char *name, uint8_t key)
{
    hanse_store *store = store_of(dir);
    hanse_store_invitation invitation = {.expires_ms = UINT64_MAX >> 1};
    hanse_store_site site = {0};
    uint8_t keys[32] = {key};

    memset(invitation.token_hash, key, 32);
    snprintf(invitation.site, sizeof invitation.site, "%s", name);
    snprintf(invitation.organisation, sizeof invitation.organisation, "%s", name);
    memcpy(site.name, invitation.site, sizeof site.name);
    memcpy(site.organisation, invitation.site, sizeof site.name);
    snprintf(site.uri, sizeof site.uri, "urn:hanse:%s:%s", name, name);
    memset(site.site_id, key, 32);
    snprintf(site.serial_tls, sizeof site.serial_tls, "400000000000000000000000000000%02x", key);
    snprintf(site.serial_sign, sizeof site.serial_sign, "410000000000000000000000000000%02x", key);
    assert_int_equal(hanse_buf_append(&site.cert_tls, "tls", 3, NULL), HANSE_OK);
    assert_int_equal(hanse_buf_append(&site.cert_sign, "sign", 4, NULL), HANSE_OK);
    assert_int_equal(hanse_store_invite(store, &invitation, 1, NULL), HANSE_OK);
    assert_int_equal(hanse_store_enrol(store, invitation.token_hash, keys, &site, hanse_bytes_str("r"), 2, NULL), HANSE_OK);
    hanse_store_site_clear(&site);
    hanse_store_close(store);
}

static void usage_and_exit_codes(void **state)
{
    static const struct {
        int code;
        const char *line, *words; /* in the error line */
    } rows[] = {
        {0, "--help", ""},
        {0, "--version", ""},
        {0, "submit --help", ""},
        {4, "frobnicate", "frobnicate"},
        {4, "list", "--dir"},
        {4, "list --dir @nothing", "init"},
        {4, "init --dir @c --name Baltic", "--address"},
        {4, "init --dir @c --name Baltic --address nowhere", "HOST:PORT"},
        {4, "init --dir @c --name Baltic --address ::1:7", "HOST:PORT"},
        {4, "init --dir @c --name Baltic --address a\"b:7", "HOST:PORT"},
        {4, "init --dir @c --name Baltic --address host:0", "port 0"},
        {4, "init --dir @c --name \x1b[2J --address host:1", "--name"},
        {7, "init --dir /proc/nothing --name Baltic --address host:1", "/proc/nothing"},
        {0, INIT, ""},
        {4, INIT, "exists"},
        {0, "list --dir @c", ""},
        {0, "sites --dir @c", ""},
        {4, "show --dir @c ab", "no run"},
        {4, "show --dir @c xyz", "hex digits"},
        {4, "log --dir @c ab", "no run"},
        {4, "stop --dir @c ab", "no run"},
        {4, "round --dir @c ab", "no run"},
        {4, "round --dir @c ab --wait soon", "--wait"},
        {4, "export --dir @c ab", "-o"},
        {4, "submit --dir @c @missing.yaml", "missing.yaml"},
        {4, "revoke --dir @c nobody", "no site"},
        {4, "invite --dir @c a\nb", "not valid"},
        {4, "invite --dir @c coordinator", "own name"},
        {4, "invite --dir @c lubeck --expires 1s", "--expires"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int code = run(*state, rows[i].line);

        if (code != rows[i].code || strstr(err_text, rows[i].words) == NULL)
            fail_msg("%s: exit code %d, want %d: %s", rows[i].line, code, rows[i].code, err_text);
    }
}

static void init_makes_a_coordinator(void **state)
{
    static const struct {
        const char *file;
        mode_t mode;
    } files[] = {{"c/ca/ca.key", 0600}, {"c/identity/tls.key", 0600}, {"c/identity/sign.key", 0600}, {"c/state.db", 0600},
                 {"c/ca/ca.crt", 0644}, {"c/identity/tls.crt", 0644}, {"c/identity/sign.crt", 0644}, {"c/crl.pem", 0644}};
    hanse_coordinator_config config;
    hanse_cert *ca = NULL, *tls = NULL, *sign = NULL;
    hanse_trust trust = {.enrolling = true};
    int64_t now = (int64_t)time(NULL);
    hanse_path path;

    expect(*state, 0, INIT " --listen 127.0.0.1:0 --format json");
    assert_non_null(strstr(out_text, "\"ok\":true"));
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct stat info;

        join(path, *state, files[i].file);
        assert_int_equal(stat(path, &info), 0);
        assert_int_equal(info.st_mode & 0777, files[i].mode);
    }
    join(path, *state, "c");
    assert_int_equal(hanse_coordinator_config_load(&config, path, NULL), HANSE_OK);
    assert_string_equal(config.name, "Baltic");
    assert_string_equal(config.host, "coordinator.example");
    assert_int_equal(config.port, 7443);
    assert_int_equal(config.listen_port, 0);
    assert_int_equal(hanse_command_cert(path, HANSE_CA_CERT_FILE, &ca, NULL), HANSE_OK);
    assert_int_equal(hanse_command_cert(path, HANSE_TLS_CERT_FILE, &tls, NULL), HANSE_OK);
    assert_int_equal(hanse_command_cert(path, HANSE_SIGN_CERT_FILE, &sign, NULL), HANSE_OK);
    trust.ca = ca;
    assert_int_equal(hanse_cert_verify(tls, &trust, HANSE_PROFILE_COORDINATOR_TLS, now, NULL), HANSE_OK);
    assert_int_equal(hanse_cert_verify(sign, &trust, HANSE_PROFILE_COORDINATOR_SIGN, now, NULL), HANSE_OK);
    assert_int_equal(hanse_cert_match(tls, sign, NULL), HANSE_OK);
    hanse_cert_free(ca);
    hanse_cert_free(tls);
    hanse_cert_free(sign);
}

static void invitations(void **state)
{
    hanse_invitation invitation;
    hanse_buf text = HANSE_BUF_EMPTY;
    hanse_path path;
    struct stat info;

    expect(*state, 0, INIT);
    expect(*state, 0, "invite lubeck --dir @c --organisation Hospital --expires 2d -o @lubeck.yaml");
    join(path, *state, "lubeck.yaml");
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(hanse_file_read(&text, path, 4096, NULL), HANSE_OK);
    assert_int_equal(hanse_invitation_decode(&invitation, hanse_buf_bytes(&text), path, NULL), HANSE_OK);
    assert_string_equal(invitation.site, "lubeck");
    assert_string_equal(invitation.organisation, "Hospital");
    assert_string_equal(invitation.coordinator, "coordinator.example:7443");
    hanse_buf_clear(&text);
    expect(*state, 0, "invite lubeck --dir @c"); /* again: the first one is withdrawn; to standard output */
    assert_int_equal(hanse_invitation_decode(&invitation, hanse_bytes_str(out_text), "stdout", NULL), HANSE_OK);
    enrol(*state, "visby", 1);
    expect(*state, 4, "invite visby --dir @c");
    assert_non_null(strstr(err_text, "revoke it first"));
}

static void revocation(void **state)
{
    hanse_path key, away, path;
    hanse_buf pem = HANSE_BUF_EMPTY;
    hanse_crl *crl = NULL;
    uint8_t serial[HANSE_SERIAL_LEN] = {0x40};

    expect(*state, 0, INIT);
    enrol(*state, "visby", 1);
    join(key, *state, "c/ca/ca.key");
    join(away, *state, "away.key");
    assert_int_equal(rename(key, away), 0);
    expect(*state, 4, "revoke visby --dir @c");
    assert_non_null(strstr(err_text, "offline"));
    expect(*state, 0, "sites --dir @c");
    assert_non_null(strstr(out_text, "active")); /* nothing has happened */
    assert_int_equal(rename(away, key), 0);
    expect(*state, 0, "revoke visby --dir @c");
    expect(*state, 0, "sites --dir @c --format json");
    assert_non_null(strstr(out_text, "\"revoked\""));
    expect(*state, 0, "revoke --dir @c");
    join(path, *state, "c/crl.pem");
    assert_int_equal(hanse_file_read(&pem, path, 65536, NULL), HANSE_OK);
    assert_int_equal(hanse_crl_from_pem(&crl, hanse_buf_bytes(&pem), NULL), HANSE_OK);
    serial[HANSE_SERIAL_LEN - 1] = 1;
    assert_true(hanse_crl_has(crl, serial));
    assert_int_equal(hanse_crl_number(crl), 3);
    hanse_crl_free(crl);
    hanse_buf_clear(&pem);
    expect(*state, 0, "log --dir @c");
    assert_non_null(strstr(out_text, "revoked site=visby"));
}

static void submits_once_a_token(void **state)
{
    char first[64], line[128], root[128], other[sizeof plan_text];
    hanse_path path;
    hanse_model_file model = {.fd = -1};

    expect(*state, 0, INIT);
    write_text(*state, "plan.yaml", plan_text);
    enrol(*state, "visby", 1);
    expect(*state, 3, "submit @plan.yaml --dir @c"); /* quorum */
    assert_non_null(strstr(err_text, "2 sites, 1"));
    enrol(*state, "lubeck", 2);
    expect(*state, 0, "submit @plan.yaml --dir @c --token monday");
    assert_int_equal(strlen(out_text), 33);
    snprintf(first, sizeof first, "%.32s", out_text);
    expect(*state, 0, "submit @plan.yaml --dir @c --token monday");
    assert_memory_equal(out_text, first, 32);
    memcpy(other, plan_text, sizeof other);
    memcpy(strstr(other, "tiny"), "tidy", 4);
    write_text(*state, "other.yaml", other);
    expect(*state, 4, "submit @other.yaml --dir @c --token monday");
    assert_non_null(strstr(err_text, "another plan"));
    expect(*state, 0, "submit @plan.yaml --dir @c");
    assert_memory_not_equal(out_text, first, 32);
    expect(*state, 0, "list --dir @c --format json");
    assert_non_null(strstr(out_text, first));
    snprintf(line, sizeof line, "show %.8s --dir @c --format json", first);
    expect(*state, 0, line);
    assert_non_null(strstr(out_text, "\"rounds\":[]"));
    snprintf(line, sizeof line, "export %s --dir @c -o @none.safetensors", first);
    expect(*state, 4, line);
    snprintf(line, sizeof line, "export %s --dir @c --round 0 -o @start.safetensors", first);
    expect(*state, 0, line);
    snprintf(root, sizeof root, "%.90s", out_text); /* "round 0 (root HEX)" */
    *strchr(root, ')') = '\0';
    join(path, *state, "start.safetensors");
    assert_int_equal(hanse_model_open(&model, path, NULL), HANSE_OK);
    assert_int_equal(model.layout.parameters, 3 * 4 + 3);
    hanse_model_close(&model);
    /* from a model: the same values, so the same root */
    expect(*state, 0, "submit @plan.yaml --dir @c --model @start.safetensors");
    snprintf(line, sizeof line, "export %.32s --dir @c --round 0 -o @again.safetensors", out_text);
    expect(*state, 0, line);
    assert_non_null(strstr(out_text, root));
    expect(*state, 4, "submit @plan.yaml --dir @c --model @plan.yaml");
    snprintf(line, sizeof line, "stop %s --dir @c", first);
    expect(*state, 0, line);
    expect(*state, 0, line); /* harmless */
    assert_non_null(strstr(out_text, "stops when `serve` or `round` runs next"));
    snprintf(line, sizeof line, "round %s --dir @c", first);
    assert_int_equal(run(*state, line), 1); /* it stops it instead */
    assert_non_null(strstr(err_text, "is void: stopped by the operator"));
    expect(*state, 1, line);
    assert_non_null(strstr(err_text, "the run is stopped"));
    snprintf(line, sizeof line, "log %s --dir @c", first);
    expect(*state, 0, line);
    assert_non_null(strstr(out_text, "submitted"));
    assert_non_null(strstr(out_text, "by the operator"));
}

/* From cron: each call is a process of its own, nobody comes, and the next call makes the next attempt. */
static void rounds_without_a_service(void **state)
{
    char plan[sizeof plan_text + 32], line[128];

    expect(*state, 0, INIT " --listen 127.0.0.1:0");
    snprintf(plan, sizeof plan, "%s", plan_text);
    snprintf(strstr(plan, "min_sites"), 64, "min_sites: 1, deadline: 1s}\naggregation: {privacy: sealed}\n");
    write_text(*state, "plan.yaml", plan);
    enrol(*state, "visby", 1);
    expect(*state, 0, "submit @plan.yaml --dir @c");
    snprintf(line, sizeof line, "%.32s --dir @c --quiet --log-level error", out_text);
    for (int i = 0; i < 3; i++) {
        char command[160];

        snprintf(command, sizeof command, "round %s%s", line, i == 0 ? " --wait 100ms" : ""); /* the second goes on with the first */
        expect(*state, 3, command);
        assert_non_null(strstr(err_text, i == 0 ? "still open" : "0 of 1 sites"));
    }
    memmove(line + 5, line, strlen(line) + 1);
    memcpy(line, "show ", 5);
    expect_json(*state, line);
    assert_non_null(strstr(out_text, "\"attempt\":1"));
    assert_null(strstr(out_text, "\"attempt\":2"));
}

/* A round with its metrics, as the service leaves it. */
static void shows_rounds(void **state)
{
    hanse_store *store;
    hanse_store_run *runs, row = {0};
    hanse_store_round round = {.round = 1, .attempt = 1, .slot = 1, .kind = 1, .opened_ms = 1};
    hanse_store_contribution part = {.round = 1, .attempt = 1, .weight = 10, .state = HANSE_STORE_PART_ACCEPTED};
    size_t count;
    char line[128];

    expect(*state, 0, INIT);
    write_text(*state, "plan.yaml", plan_text);
    enrol(*state, "visby", 1);
    enrol(*state, "lubeck", 2);
    expect(*state, 0, "submit @plan.yaml --dir @c");
    snprintf(line, sizeof line, "show %.32s --dir @c", out_text);
    store = store_of(*state);
    assert_int_equal(hanse_store_runs(store, &runs, &count, NULL), HANSE_OK);
    memcpy(&row, runs, sizeof row);
    memcpy(round.run_id, row.run_id, 16);
    memcpy(part.run_id, row.run_id, 16);
    memset(part.site_id, 1, 32);
    assert_int_equal(hanse_store_round_open(store, &round, NULL), HANSE_OK);
    assert_int_equal(hanse_store_contribution_put(store, &part, NULL), HANSE_OK);
    expect(*state, 0, line);
    assert_non_null(strstr(out_text, "awaited"));
    memset(part.site_id, 2, 32);
    part.state = HANSE_STORE_PART_DECLINED;
    part.weight = 0;
    snprintf(part.code, sizeof part.code, "policy");
    snprintf(part.reason, sizeof part.reason, "not today");
    assert_int_equal(hanse_store_contribution_put(store, &part, NULL), HANSE_OK);
    round.state = HANSE_STORE_ROUND_VOID;
    round.code = HANSE_E_QUORUM;
    snprintf(round.reason, sizeof round.reason, "1 of 2 sites");
    round.closed_ms = 2;
    assert_int_equal(hanse_store_publish(store, &round, &row, NULL), HANSE_OK);
    expect(*state, 0, line);
    assert_non_null(strstr(out_text, "policy: not today"));
    assert_non_null(strstr(out_text, "1 of 2 sites"));
    assert_non_null(strstr(out_text, "void"));
    expect_json(*state, line);
    assert_non_null(strstr(out_text, "\"auc\":null"));
    hanse_store_runs_free(runs, count);
    hanse_store_close(store);
}

static void wakes_the_service(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int dir_fd = open(*state, O_PATH | O_DIRECTORY), listener = socket(AF_UNIX, SOCK_STREAM, 0), status;
    bool running = true;
    char name[64];
    pid_t child;

    assert_int_equal(hanse_control_wake(*state, &running, NULL), HANSE_OK);
    assert_false(running); /* no socket */
    hanse_control_name(name, dir_fd);
    memcpy(address.sun_path, name, sizeof name);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(hanse_control_wake(*state, &running, NULL), HANSE_OK);
    assert_false(running); /* left behind by a killed service */
    assert_int_equal(listen(listener, 1), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char line[5];
        int fd = accept(listener, NULL, NULL);

        _exit(fd >= 0 && recv(fd, line, 5, MSG_WAITALL) == 5 && memcmp(line, "wake\n", 5) == 0 && send(fd, "ok\n", 3, 0) == 3 ? 0 : 1);
    }
    assert_int_equal(hanse_control_wake(*state, &running, NULL), HANSE_OK);
    assert_true(running);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(listener);
    close(dir_fd);
}

static void configuration(void **state)
{
    static const struct {
        const char *text, *words; /* NULL: good */
    } rows[] = {
        {"name: n\naddress: h:1\nlisten: '[::]:1'\n", NULL},
        {"name: n\naddress: h:1\n", "listen"},
        {"name: n\naddress: h:0\nlisten: h:1\n", "c:2: address"},
        {"name: n\naddress: h:1\nlisten: h\n", "c:3: listen"},
        {"name: n\naddress: h:1\nlisten: h:1\nlimits: {workers: 65}\n", "workers"},
        {"name: n\naddress: h:1\nlisten: h:1\ncolour: red\n", "colour"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        hanse_coordinator_config config;
        hanse_err err = {.rc = HANSE_OK};
        hanse_rc rc = hanse_coordinator_config_parse(&config, hanse_bytes_str(rows[i].text), "c", &err);

        if (rc != (rows[i].words == NULL ? HANSE_OK : HANSE_E_INVALID) || (rows[i].words != NULL && strstr(err.text, rows[i].words) == NULL))
            fail_msg("row %zu: %s", i, err.text);
        if (rc == HANSE_OK)
            assert_int_equal(config.limits.connections_per_site, 4);
    }
}

#define WITH_DIR(test) cmocka_unit_test_setup_teardown(test, dir_setup, dir_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_DIR(usage_and_exit_codes), WITH_DIR(init_makes_a_coordinator), WITH_DIR(invitations), WITH_DIR(revocation),
        WITH_DIR(submits_once_a_token), WITH_DIR(rounds_without_a_service), WITH_DIR(shows_rounds), WITH_DIR(wakes_the_service), cmocka_unit_test(configuration),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
