/* service.c - start, loop, stop. One service thread runs the protocol; workers compute; one thread listens on the control socket. */
#include "coordinator/server/service.h"

#include "coordinator/server/control.h"
#include "coordinator/server/masks.h"

#include "hanse/clock.h"
#include "hanse/log.h"
#include "hanse/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <libwebsockets.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static atomic_bool woken, told_to_stop;
static struct lws_context *_Atomic running; /* what a signal or another thread may wake */

static void wake(void *user)
{
    struct lws_context *context = atomic_load(&running);

    (void)user;
    if (context != NULL)
        lws_cancel_service(context);
}

static void on_signal(int number)
{
    (void)number;
    atomic_store(&told_to_stop, true);
    wake(NULL); /* a write to a pipe inside */
}

/* ---- control socket ---- */

typedef struct control {
    int dir_fd, listener, quit[2]; /* quit: a pipe that ends the thread */
    hanse_path path;
    pthread_t thread;
    bool started;
} control;

static void *listen_for_wakes(void *arg)
{
    control *self = arg;
    struct pollfd fds[2] = {{.fd = self->listener, .events = POLLIN}, {.fd = self->quit[0], .events = POLLIN}};

    while (poll(fds, 2, -1) >= 0 || errno == EINTR) {
        struct timeval patience = {.tv_sec = 1};
        char line[8];
        int client;

        if (fds[1].revents != 0)
            break;
        client = accept4(self->listener, NULL, NULL, SOCK_CLOEXEC);
        if (client < 0) {
            (void)poll(&fds[1], 1, 100); /* no descriptors left, perhaps: it stays readable */
            continue;
        }
        (void)setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        if (recv(client, line, sizeof line, 0) == 5 && memcmp(line, "wake\n", 5) == 0) {
            atomic_store(&woken, true);
            wake(NULL);
            (void)send(client, "ok\n", 3, MSG_NOSIGNAL);
        }
        (void)close(client);
    }
    return NULL;
}

static hanse_rc control_open(control *self, const char *dir, hanse_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[64];
    hanse_rc rc = hanse_path_join(self->path, dir, HANSE_CONTROL_FILE, err);

    if (rc != HANSE_OK)
        return rc;
    self->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (self->dir_fd < 0)
        return HANSE_FAIL_ERRNO(err, "%s", dir);
    hanse_control_name(name, self->dir_fd);
    memcpy(address.sun_path, name, sizeof name);
    self->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (self->listener < 0 || pipe(self->quit) != 0)
        return HANSE_FAIL_ERRNO(err, "control socket");
    (void)unlink(self->path); /* ours: we hold the directory's lock */
    if (fchmod(self->listener, 0600) != 0 || bind(self->listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        chmod(self->path, 0600) != 0 || listen(self->listener, 16) != 0)
        return HANSE_FAIL_ERRNO(err, "%s", self->path);
    if (pthread_create(&self->thread, NULL, listen_for_wakes, self) != 0)
        return HANSE_FAIL_ERRNO(err, "control thread");
    self->started = true;
    return HANSE_OK;
}

static void control_close(control *self)
{
    if (self->started) {
        (void)!write(self->quit[1], "q", 1);
        pthread_join(self->thread, NULL);
        (void)unlink(self->path);
    }
    if (self->listener >= 0)
        (void)close(self->listener);
    if (self->dir_fd >= 0)
        (void)close(self->dir_fd);
    for (int i = 0; i < 2; i++)
        if (self->quit[i] >= 0)
            (void)close(self->quit[i]);
}

/* ---- identity ---- */

static hanse_rc read_pem(const hanse_server *server, const char *name, hanse_buf *out, hanse_err *err)
{
    hanse_path path;
    hanse_rc rc = hanse_path_join(path, server->dir, name, err);

    return rc == HANSE_OK ? hanse_file_read(out, path, HANSE_CRL_PEM_MAX, err) : rc;
}

static hanse_rc load_crl(hanse_server *server, hanse_err *err)
{
    hanse_buf pem = HANSE_BUF_EMPTY;
    hanse_crl *crl = NULL;
    hanse_rc rc = read_pem(server, HANSE_CRL_FILE, &pem, err);

    if (rc == HANSE_OK)
        rc = hanse_crl_from_pem(&crl, hanse_buf_bytes(&pem), err);
    if (rc == HANSE_OK)
        rc = hanse_crl_verify(crl, server->ca, (int64_t)(hanse_clock_wall_ms() / 1000), err);
    if (rc != HANSE_OK) {
        hanse_err_wrap(err, HANSE_CRL_FILE);
        hanse_buf_clear(&pem);
        hanse_crl_free(crl);
        return rc;
    }
    hanse_buf_clear(&server->crl_pem);
    hanse_crl_free(server->crl);
    server->crl_pem = pem;
    server->crl = crl;
    return HANSE_OK;
}

/* `rc`, with the file's name before the words. */
static hanse_rc of_file(hanse_rc rc, const char *name, hanse_err *err)
{
    if (rc != HANSE_OK)
        hanse_err_wrap(err, "%s", name);
    return rc;
}

static hanse_rc load_key(const hanse_server *server, const char *name, const hanse_cert *cert, hanse_key **out, hanse_err *err)
{
    hanse_buf pem = HANSE_BUF_EMPTY;
    hanse_rc rc = read_pem(server, name, &pem, err);

    if (rc == HANSE_OK)
        rc = of_file(hanse_key_from_pem(out, hanse_buf_bytes(&pem), err), name, err);
    if (rc == HANSE_OK)
        rc = of_file(hanse_cert_check_key(cert, *out, err), name, err);
    hanse_buf_wipe(&pem);
    return rc;
}

static hanse_rc load_identity(hanse_server *server, hanse_err *err)
{
    hanse_buf ca = HANSE_BUF_EMPTY, tls_pem = HANSE_BUF_EMPTY;
    hanse_cert *tls = NULL, *sign = NULL;
    hanse_key *tls_key = NULL;
    int64_t now = (int64_t)(hanse_clock_wall_ms() / 1000);
    hanse_trust trust = {0};
    hanse_rc rc = read_pem(server, HANSE_CA_CERT_FILE, &ca, err);

    if (rc == HANSE_OK)
        rc = of_file(hanse_cert_from_pem(&server->ca, hanse_buf_bytes(&ca), err), HANSE_CA_CERT_FILE, err);
    if (rc == HANSE_OK)
        rc = load_crl(server, err);
    if (rc == HANSE_OK)
        rc = read_pem(server, HANSE_SIGN_CERT_FILE, &server->sign_cert_pem, err);
    if (rc == HANSE_OK)
        rc = of_file(hanse_cert_from_pem(&sign, hanse_buf_bytes(&server->sign_cert_pem), err), HANSE_SIGN_CERT_FILE, err);
    if (rc == HANSE_OK)
        rc = read_pem(server, HANSE_TLS_CERT_FILE, &tls_pem, err);
    if (rc == HANSE_OK)
        rc = of_file(hanse_cert_from_pem(&tls, hanse_buf_bytes(&tls_pem), err), HANSE_TLS_CERT_FILE, err);
    trust.ca = server->ca;
    trust.crl = server->crl;
    if (rc == HANSE_OK)
        rc = of_file(hanse_cert_verify(sign, &trust, HANSE_PROFILE_COORDINATOR_SIGN, now, err), HANSE_SIGN_CERT_FILE, err);
    if (rc == HANSE_OK)
        rc = of_file(hanse_cert_verify(tls, &trust, HANSE_PROFILE_COORDINATOR_TLS, now, err), HANSE_TLS_CERT_FILE, err);
    if (rc == HANSE_OK)
        rc = load_key(server, HANSE_SIGN_KEY_FILE, sign, &server->sign_key, err);
    if (rc == HANSE_OK) /* the library reads it again, and would only say that it cannot listen */
        rc = load_key(server, HANSE_TLS_KEY_FILE, tls, &tls_key, err);
    hanse_key_free(tls_key);
    hanse_cert_free(tls);
    hanse_cert_free(sign);
    hanse_buf_clear(&tls_pem);
    hanse_buf_clear(&ca);
    return rc;
}

/* ---- the loop ---- */

#define REQUESTS_AGAIN_MS 5000

/* Commands left requests in the store, revoked a site, or submitted a run. */
static hanse_rc take_requests(hanse_server *server, hanse_err *err)
{
    hanse_store_request *requests = NULL;
    size_t count = 0;
    hanse_rc rc = load_crl(server, err);

    if (rc == HANSE_OK && hanse_crl_number(server->crl) != server->crl_in_use) {
        rc = hanse_edge_reload_crl(server, err);
        for (hanse_live_run *run = server->runs; rc == HANSE_OK && run != NULL; run = run->next)
            hanse_masks_refresh(run);
        if (rc == HANSE_OK)
            server->crl_in_use = hanse_crl_number(server->crl);
    }
    if (rc == HANSE_OK)
        rc = hanse_live_runs_load(server, err);
    if (rc == HANSE_OK)
        rc = hanse_store_requests(server->store, &requests, &count, err);
    for (size_t i = 0; rc == HANSE_OK && i < count; i++) {
        hanse_live_run *run = hanse_live_run_find(server, requests[i].run_id);

        if (run != NULL && requests[i].kind == HANSE_STORE_ASK_STOP)
            hanse_live_run_stop(run, "stopped by the operator");
        else if (run != NULL && !run->round_open)
            run->requested = true;
        if (run == NULL || (run->row.state == HANSE_STORE_RUN_OPEN && !run->round_open))
            continue; /* opening the round, or the end of the run, settles the request in one transaction; one that is not loaded is to be mended */
        rc = hanse_store_request_done(server->store, requests[i].id, err);
    }
    hanse_free(requests);
    return rc;
}

/* lws sleeps until something happens; a timer of ours wakes it for deadlines. */
static void on_timer(lws_sorted_usec_list_t *sul)
{
    (void)sul; /* the loop looks at the clock itself */
}

uint64_t hanse_server_serve(hanse_server *server)
{
    uint64_t now_ms = hanse_clock_wall_ms(), due_ms = now_ms + 60000;
    hanse_err err = {0};
    hanse_job *job;

    while ((job = hanse_workers_next(server->workers)) != NULL)
        job->done(job);
    if (server->load_ms > 0 && now_ms >= server->load_ms && hanse_live_runs_load(server, &err) != HANSE_OK)
        hanse_log(HANSE_LOG_ERROR, "runs_unreadable reason=%s", err.text);
    if (atomic_exchange(&woken, false) || (server->requests_ms > 0 && now_ms >= server->requests_ms)) {
        server->requests_ms = 0;
        if (take_requests(server, &err) != HANSE_OK) { /* a revocation must not wait for the next command */
            server->requests_ms = now_ms + REQUESTS_AGAIN_MS;
            hanse_log(HANSE_LOG_ERROR, "requests reason=%s", err.text);
        }
    }
    for (hanse_live_run *run = server->runs; run != NULL; run = run->next)
        hanse_live_run_tick(run, now_ms);
    hanse_edge_log_unlogged(server);
    hanse_watch(server, now_ms);
    for (const hanse_live_run *run = server->runs; run != NULL; run = run->next)
        due_ms = hanse_sooner(now_ms, due_ms, hanse_live_run_due(run, now_ms));
    due_ms = hanse_sooner(now_ms, due_ms, server->requests_ms);
    return due_ms - now_ms;
}

static hanse_rc loop(hanse_server *server, hanse_err *err)
{
    uint64_t until_ms = server->options->wait_ms > 0 ? hanse_clock_wall_ms() + server->options->wait_ms : UINT64_MAX;
    lws_sorted_usec_list_t timer = {0};

    for (;;) {
        uint64_t now_ms = hanse_clock_wall_ms(), wait_ms = hanse_server_serve(server), alive_ms;

        if (server->stopping || atomic_load(&told_to_stop))
            break;
        if (now_ms >= until_ms)
            return HANSE_FAIL(err, HANSE_E_LATE, "the round is still open; the next call goes on with it");
        if (until_ms - now_ms < wait_ms)
            wait_ms = until_ms - now_ms;
        alive_ms = hanse_notify_alive(hanse_clock_mono_us());
        lws_sul_schedule(server->context, 0, &timer, on_timer, (lws_usec_t)(wait_ms < alive_ms ? wait_ms : alive_ms) * 1000);
        if (lws_service(server->context, 0) < 0)
            return HANSE_FAIL(err, HANSE_E_IO, "the event loop ended");
    }
    lws_sul_cancel(&timer);
    if (server->outcome != HANSE_OK)
        *err = server->outcome_err;
    return server->outcome;
}

void hanse_server_bye(hanse_server *server)
{
    for (hanse_session *session = server->sessions; session != NULL; session = session->next) {
        hanse_message message = {.kind = HANSE_BYE};

        message.bye.reason = hanse_bytes_str("the coordinator stops");
        session->closing = true;
        hanse_session_send(session, &message);
    }
}

/* Say good-bye, and let what is queued (a last RESULT) leave. */
static void end_sessions(hanse_server *server)
{
    uint64_t end_us = hanse_clock_mono_us() + 2000000;
    lws_sorted_usec_list_t timer = {0};

    hanse_server_bye(server);
    while (server->sessions != NULL && hanse_clock_mono_us() < end_us) {
        lws_sul_schedule(server->context, 0, &timer, on_timer, 50000);
        if (lws_service(server->context, 0) < 0)
            break;
    }
    lws_sul_cancel(&timer);
}

static hanse_rc start_one_round(hanse_server *server, hanse_err *err)
{
    hanse_live_run *run;

    if (server->options->run_id == NULL)
        return HANSE_OK;
    run = hanse_live_run_find(server, server->options->run_id);
    if (run == NULL && server->load_err.rc != HANSE_OK) {
        *err = server->load_err;
        return err->rc;
    }
    if (run == NULL)
        return HANSE_FAIL(err, HANSE_E_NOTFOUND, "no such run");
    if (run->row.state != HANSE_STORE_RUN_OPEN) {
        hanse_log(HANSE_LOG_INFO, "nothing_due run=%s state=%s", run->row.name, hanse_store_run_state_name(run->row.state));
        server->stopping = true;
    } else if (!run->round_open) {
        run->requested = true;
    }
    return HANSE_OK;
}

hanse_rc hanse_server_open(hanse_server *server, hanse_err *err)
{
    hanse_path spool;
    hanse_rc rc = hanse_path_join(spool, server->dir, HANSE_SPOOL_DIR, err);

    if (rc == HANSE_OK)
        rc = hanse_dir_make(spool, 0700, err);
    if (rc == HANSE_OK)
        rc = load_identity(server, err);
    if (rc == HANSE_OK)
        rc = hanse_store_open(&server->store, server->dir, false, err);
    if (rc == HANSE_OK)
        hanse_server_sweep(server);
    if (rc == HANSE_OK)
        rc = hanse_workers_new(&server->workers, server->config->limits.workers, wake, NULL, err);
    if (rc == HANSE_OK)
        rc = hanse_edge_open(server, err);
    if (rc != HANSE_OK)
        return rc;
    atomic_store(&running, server->context);
    atomic_store(&woken, true); /* what was asked while we were away */
    rc = hanse_live_runs_load(server, err);
    return rc == HANSE_OK ? start_one_round(server, err) : rc;
}

void hanse_server_close(hanse_server *server)
{
    server->stopping = true; /* what still ends now is kept, but no round begins */
    hanse_edge_close(server);
    hanse_workers_free(server->workers);
    while (server->runs != NULL) {
        hanse_live_run *run = server->runs;

        server->runs = run->next;
        hanse_live_run_free(run);
    }
    hanse_store_close(server->store);
    hanse_key_free(server->sign_key);
    hanse_cert_free(server->ca);
    hanse_crl_free(server->crl);
    hanse_buf_clear(&server->crl_pem);
    hanse_buf_clear(&server->sign_cert_pem);
}

/* Connections and spools must not compete for the usual 1024 descriptors. */
static void raise_files_limit(const hanse_coordinator_config *config)
{
    struct rlimit limit;
    rlim_t want = 2 * (rlim_t)config->limits.connections + 4096;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= want)
        return;
    limit.rlim_cur = want < limit.rlim_max ? want : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < want)
        hanse_log(HANSE_LOG_WARN, "files_limit_low limit=%ju wanted=%ju text=%s", (uintmax_t)limit.rlim_cur, (uintmax_t)want,
                  "raise the hard limit on open files (LimitNOFILE, ulimit -Hn), or lower limits.connections");
}

hanse_rc hanse_service_run(const char *dir, const hanse_coordinator_config *config, const hanse_service_options *options, hanse_err *err)
{
    hanse_server server = {.dir = dir, .config = config, .options = options};
    control ctl = {.dir_fd = -1, .listener = -1, .quit = {-1, -1}};
    struct sigaction on_stop = {.sa_handler = on_signal};
    int lock = -1;
    hanse_rc rc;

    (void)prctl(PR_SET_DUMPABLE, 0); /* keys are in memory: no core dumps */
    raise_files_limit(config);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigaction(SIGTERM, &on_stop, NULL);
    (void)sigaction(SIGINT, &on_stop, NULL);
    rc = hanse_lock_try(&lock, dir, err);
    if (rc != HANSE_OK)
        return rc;
    rc = hanse_server_open(&server, err);
    if (rc == HANSE_OK)
        rc = control_open(&ctl, dir, err);
    if (rc == HANSE_OK) {
        hanse_log(HANSE_LOG_INFO, "service_up consortium=%s listen=%s runs_dir=%s", config->name, config->listen, dir);
        hanse_notify(HANSE_NOTIFY_READY);
        rc = loop(&server, err);
        hanse_notify(HANSE_NOTIFY_STOPPING);
        end_sessions(&server);
    }
    server.stopping = true;
    atomic_store(&running, NULL);
    control_close(&ctl);
    hanse_server_close(&server);
    hanse_lock_release(&lock);
    return rc;
}
