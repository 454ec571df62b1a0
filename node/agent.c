/* The loop. Every wait is one poll inside hanse_link_step() or on wake_fd: nothing spins, nothing blocks the link.
 *
 * --once has no message that says "that was all": the coordinator sends what is due right behind WELCOME and ANSWER, so silence of
 * twice the round trip and 15 ms with no work under way means that nothing is due. --wait makes that silence longer. */
#include "node/agent_masks.h"
#include "node/renew.h"

#include "hanse/clock.h"
#include "hanse/digest.h"
#include "hanse/log.h"
#include "hanse/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#define GRACE_US ((uint64_t)15000)
#define RENEW_US ((uint64_t)3000000) /* for an answer to RENEW */
#define BACKOFF_MIN_MS 250u
#define BACKOFF_MAX_MS 60000u
#define BACKOFF_ONCE_MS 1000u
#define FINAL_MAX_US ((uint64_t)30 * 1000000)

static volatile sig_atomic_t stop_asked;
static volatile sig_atomic_t stop_fd = -1;

static void on_signal(int number)
{
    const uint64_t one = 1;
    int saved = errno;

    (void)number;
    stop_asked = 1;
    if (stop_fd >= 0 && write(stop_fd, &one, sizeof one) < 0) {
        /* the counter is full: the loop wakes up anyway */
    }
    errno = saved;
}

hanse_rc hanse_agent_feed(hanse_agent *agent, hanse_site_event *event, hanse_err *err)
{
    hanse_site_actions actions;
    hanse_site_state before = agent->site.state;
    hanse_rc rc = hanse_site_step(&agent->site, event, &actions, err);

    if (agent->site.state != before)
        hanse_log(HANSE_LOG_DEBUG, "state from=%s to=%s", hanse_site_state_name(before), hanse_site_state_name(agent->site.state));
    for (size_t i = 0; i < actions.count && rc == HANSE_OK; i++)
        rc = hanse_agent_do(agent, &actions.items[i], event, err);
    return rc;
}

static hanse_rc connect_now(hanse_agent *agent, hanse_err *err)
{
    hanse_link_config config;
    hanse_message hello = {.kind = HANSE_HELLO, .hello = {.protocol = HANSE_PROTOCOL, .software = hanse_bytes_str("hanse/" HANSE_VERSION)}};
    hanse_rc rc;

    hanse_node_link_config(&config, agent->config, &agent->keys);
    config.ops = &hanse_agent_ops;
    config.user = agent;
    config.wake_fd = agent->wake_fd;
    if (agent->renewing)
        agent->renew_look_ms = 0; /* nobody answered */
    agent->welcomed = agent->others = agent->reconnect = agent->renewing = false;
    agent->refused_count = 0;
    rc = hanse_link_open(&agent->link, &config, err);
    if (rc != HANSE_OK)
        return rc;
    agent->hello_us = agent->active_us = hanse_clock_mono_us();
    hello.hello.time_ms = hanse_clock_wall_ms();
    return hanse_link_send_message(agent->link, &hello, err);
}

static void disconnect(hanse_agent *agent, int linger_ms)
{
    hanse_site_event lost = {.kind = HANSE_SITE_EV_LOST, .now_ms = hanse_clock_wall_ms()};

    if (agent->link == NULL)
        return;
    hanse_link_close(agent->link, linger_ms);
    agent->link = NULL;
    hanse_agent_upload_stop(agent);
    hanse_node_fetch_stop(&agent->fetch);
    agent->fetch.over = 0; /* transfers count anew on the next connection */
    agent->welcomed = false;
    if (agent->final.active && hanse_agent_run_over(agent, NULL) != HANSE_OK) /* without the models that were still to come */
        hanse_log(HANSE_LOG_WARN, "work_not_deleted");
    if (hanse_agent_feed(agent, &lost, NULL) != HANSE_OK)
        hanse_log(HANSE_LOG_ERROR, "lost_link_unhandled");
}

/* 250 ms, doubled each time up to a minute, plus up to half as much by chance: a consortium must not come back in step. */
static void plan_retry(hanse_agent *agent)
{
    const uint64_t most = agent->options.once ? BACKOFF_ONCE_MS : BACKOFF_MAX_MS; /* --wait is short: do not oversleep its end */
    const unsigned doublings = agent->failures + agent->troubles;
    uint64_t ms = BACKOFF_MIN_MS << (doublings < 8 ? doublings : 8);
    uint8_t chance = 0;

    if (ms > most)
        ms = most;
    if (hanse_random(&chance, 1, NULL) != HANSE_OK)
        chance = 128;
    ms += ms * chance / 512;
    agent->failures++;
    agent->retry_us = hanse_clock_mono_us() + ms * 1000;
}

/* What went wrong with a connection: try again, or end? */
static void on_failure(hanse_agent *agent, const hanse_err *why, bool last_try)
{
    hanse_blame blame = hanse_rc_blame(why->rc);
    bool local = blame == HANSE_BLAME_LOCAL || blame == HANSE_BLAME_BUG;
    bool peer_wire = why->rc == HANSE_E_LINK || why->rc == HANSE_E_PROTOCOL || why->rc == HANSE_E_AUTH || why->rc == HANSE_E_LATE;

    disconnect(agent, 200);
    if (why->rc == HANSE_E_AGAIN)
        return;
    hanse_log(HANSE_LOG_WARN, "link_down code=%s text=%s", hanse_rc_name(why->rc), why->text);
    if (last_try || why->rc == HANSE_E_IDENTITY || why->rc == HANSE_E_VERSION || (local && !peer_wire)) {
        agent->outcome = *why;
        agent->fatal = true;
        return;
    }
    plan_retry(agent);
    if (why->rc == HANSE_E_PROTOCOL || why->rc == HANSE_E_AUTH)
        agent->troubles++; /* it will say the same again */
}

static hanse_rc on_wake(hanse_agent *agent, hanse_err *err)
{
    uint64_t count;

    if (read(agent->wake_fd, &count, sizeof count) < 0 && errno != EAGAIN)
        return HANSE_FAIL_ERRNO(err, "eventfd");
    return hanse_agent_worked(agent, err);
}

/* Once a second: deadlines, and whether the operator has accepted meanwhile. */
static hanse_rc tick(hanse_agent *agent, hanse_err *err)
{
    const uint64_t now_us = hanse_clock_mono_us();
    hanse_site_event event = {.kind = HANSE_SITE_EV_TICK, .now_ms = hanse_clock_wall_ms()};
    uint8_t pinned[32];
    bool accepted = false, has_roster = false;
    hanse_rc rc = HANSE_OK;

    if (now_us < agent->tick_us)
        return HANSE_OK;
    agent->tick_us = now_us + 1000000;
    if (event.now_ms < agent->keys.trust.vetted_from_ms || event.now_ms + HANSE_SITE_VETTED_MS / 2 > agent->keys.trust.vetted_until_ms)
        hanse_node_keys_vet(&agent->keys, event.now_ms);
    for (size_t i = 0; i < agent->refused_count && rc == HANSE_OK && !agent->reconnect; i++) {
        rc = hanse_site_store_accepted(agent->store, &agent->refused[i], &accepted, err);
        if (rc == HANSE_OK)
            rc = hanse_site_store_pinned_roster(agent->store, pinned, &has_roster, err);
        if (rc == HANSE_OK && accepted && has_roster && memcmp(pinned, agent->refused[i].roster_hash, 32) == 0 &&
            (agent->site.state < HANSE_SITE_APPROVED || agent->site.state == HANSE_SITE_DONE))
            agent->reconnect = true;
    }
    if (rc == HANSE_OK)
        rc = hanse_agent_window_tick(agent, err);
    if (rc == HANSE_OK)
        rc = hanse_agent_renew_tick(agent, event.now_ms, err);
    if (rc == HANSE_OK)
        rc = hanse_agent_masks_tick(agent, event.now_ms, err);
    return rc == HANSE_OK ? hanse_agent_feed(agent, &event, err) : rc;
}

static bool under_way(const hanse_agent *agent)
{
    return agent->site.state == HANSE_SITE_FETCHING || agent->site.state == HANSE_SITE_TRAINING || agent->site.state == HANSE_SITE_UPLOADING ||
           agent->final.active;
}

/* May --once end now? */
static bool once_done(const hanse_agent *agent)
{
    const uint64_t now_us = hanse_clock_mono_us(), silence = now_us - agent->active_us;
    const uint64_t grace = GRACE_US + 2 * agent->rtt_us;

    if (agent->final.active)
        return silence > FINAL_MAX_US;
    if (!agent->welcomed || under_way(agent) || hanse_link_queued(agent->link) > 0 || (agent->renewing && silence < RENEW_US))
        return false;
    if (agent->round_over)
        return true;
    if (agent->reported || now_us - agent->began_us >= agent->options.wait_ms * 1000)
        return silence >= grace;
    return false;
}

static int next_wait_ms(const hanse_agent *agent)
{
    if ((agent->options.once || agent->options.look) && !under_way(agent))
        return 5;
    return agent->wait_max_ms;
}

static hanse_rc serve_step(hanse_agent *agent, hanse_err *err)
{
    hanse_rc rc = hanse_link_step(agent->link, next_wait_ms(agent), agent->wake_fd, err);

    if (rc == HANSE_OK)
        rc = on_wake(agent, err);
    if (rc == HANSE_OK)
        rc = hanse_agent_pump(agent, err);
    if (rc == HANSE_OK)
        rc = tick(agent, err);
    return rc;
}

/* Not connected: wait for the next try, or for the worker. */
static hanse_rc offline_step(hanse_agent *agent, hanse_err *err)
{
    const uint64_t now_us = hanse_clock_mono_us();
    struct pollfd wake = {.fd = agent->wake_fd, .events = POLLIN};
    uint64_t wait_us = agent->retry_us > now_us ? agent->retry_us - now_us : 0;
    hanse_rc rc = on_wake(agent, err); /* a wake-up that nobody takes would interrupt every connection */

    if (rc != HANSE_OK)
        return rc;
    if (wait_us == 0)
        return connect_now(agent, err);
    if (poll(&wake, 1, wait_us / 1000 < (uint64_t)agent->wait_max_ms ? (int)(wait_us / 1000) + 1 : agent->wait_max_ms) < 0 && errno != EINTR)
        return HANSE_FAIL_ERRNO(err, "poll");
    rc = on_wake(agent, err);
    return rc == HANSE_OK ? tick(agent, err) : rc;
}

bool hanse_agent_step(hanse_agent *agent, int wait_max_ms)
{
    const bool brief = agent->options.once || agent->options.look;
    hanse_err why = {0};
    hanse_rc rc;

    agent->wait_max_ms = wait_max_ms;
    rc = agent->link != NULL ? serve_step(agent, &why) : offline_step(agent, &why);

    if (rc == HANSE_E_LINK && brief && !under_way(agent) && (agent->round_over || agent->reported)) {
        disconnect(agent, 0); /* a coordinator that runs one round leaves behind its result */
        return false;
    } else if (rc != HANSE_OK) {
        uint64_t spent_us = hanse_clock_mono_us() - agent->began_us;
        on_failure(agent, &why, brief && !under_way(agent) && spent_us >= agent->options.wait_ms * 1000);
    } else if (agent->link != NULL && brief && once_done(agent)) {
        return false;
    } else if (agent->link != NULL && agent->reconnect) {
        disconnect(agent, 200);
        agent->retry_us = 0;
    }
    return !agent->fatal;
}

static void loop(hanse_agent *agent)
{
    uint64_t alive_ms;

    do
        alive_ms = hanse_notify_alive(hanse_clock_mono_us()); /* the watchdog may be impatient */
    while (!stop_asked && hanse_agent_step(agent, alive_ms < 1000 ? (int)alive_ms : 1000));
}

static hanse_rc prepare(hanse_agent *agent, hanse_err *err)
{
    static const char *const folders[] = {"plans", "rosters", "work", "models"};
    hanse_path path;
    hanse_rc rc = hanse_node_keys_load(&agent->keys, agent->dir, err);

    for (size_t i = 0; rc == HANSE_OK && i < sizeof folders / sizeof *folders; i++) {
        rc = hanse_path_join(path, agent->dir, folders[i], err);
        if (rc == HANSE_OK)
            rc = hanse_dir_make(path, HANSE_MODE_DIR, err);
    }
    if (rc == HANSE_OK)
        rc = hanse_site_store_open(&agent->store, agent->dir, err);
    if (rc == HANSE_OK && (agent->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
        rc = HANSE_FAIL_ERRNO(err, "eventfd");
    if (rc == HANSE_OK)
        rc = hanse_node_worker_new(&agent->worker, agent->config, agent->dir, agent->wake_fd, err);
    return rc;
}

hanse_rc hanse_agent_open(hanse_agent **out, const char *dir, const hanse_node_config *config, const hanse_agent_options *options, hanse_err *err)
{
    hanse_agent *agent = hanse_calloc(1, sizeof *agent);
    hanse_rc rc;

    if (agent == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "site");
    agent->dir = dir;
    agent->config = config;
    agent->options = *options;
    agent->wake_fd = agent->fetch.fd = agent->outgoing.fd = -1;
    agent->began_us = hanse_clock_mono_us();
    hanse_site_init(&agent->site);
    rc = prepare(agent, err);
    if (rc == HANSE_OK)
        rc = hanse_agent_window_tick(agent, err); /* before the first message */
    if (rc == HANSE_OK)
        *out = agent;
    else
        hanse_agent_close(agent);
    return rc;
}

void hanse_agent_close(hanse_agent *agent)
{
    hanse_message bye = {.kind = HANSE_BYE, .bye = {.reason = hanse_bytes_str("")}};

    if (agent->link != NULL && hanse_link_send_message(agent->link, &bye, NULL) == HANSE_OK)
        disconnect(agent, 200);
    disconnect(agent, 0);
    if (agent->took_round)
        hanse_agent_models_sync(agent);
    hanse_node_worker_free(agent->worker);
    hanse_agent_masks_free(agent);
    hanse_node_fetch_stop(&agent->fetch);
    hanse_agent_upload_stop(agent);
    hanse_site_work_clear(&agent->work);
    hanse_site_offer_clear(&agent->offer);
    hanse_buf_clear(&agent->plan_text);
    hanse_buf_clear(&agent->roster_bytes);
    hanse_buf_clear(&agent->statistics);
    hanse_site_store_close(agent->store);
    hanse_node_keys_clear(&agent->keys);
    if (agent->wake_fd >= 0)
        (void)close(agent->wake_fd);
    hanse_free(agent->up.room);
    hanse_free(agent);
}

hanse_rc hanse_agent_run(const char *dir, const hanse_node_config *config, const hanse_agent_options *options, int64_t *skew_ms,
                         hanse_err *err)
{
    struct sigaction action = {.sa_handler = on_signal};
    hanse_agent *agent = NULL;
    hanse_rc rc;

    (void)prctl(PR_SET_DUMPABLE, 0); /* keys are in memory: no core dumps */
    rc = hanse_agent_open(&agent, dir, config, options, err);
    if (rc != HANSE_OK)
        return rc;
    stop_asked = 0;
    stop_fd = agent->wake_fd;
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    hanse_notify(HANSE_NOTIFY_READY); /* it waits for the coordinator, however long that takes */
    loop(agent);
    hanse_notify(HANSE_NOTIFY_STOPPING);
    stop_fd = -1;
    /* A daemon that was told to stop has done its duty, whatever became of its last round. */
    if (agent->fatal || (options->once && !stop_asked && agent->reported && agent->outcome.rc != HANSE_OK)) {
        rc = agent->outcome.rc;
        if (err != NULL)
            *err = agent->outcome;
    }
    if (skew_ms != NULL)
        *skew_ms = agent->skew_ms;
    hanse_agent_close(agent);
    return rc;
}
