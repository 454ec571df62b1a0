/* The running link: frames out of a queue, bytes in to the inbox.
 *
 *   queue --flush()--> SSL_write      SSL_read --receive()--> ws reader --> inbox callbacks
 *
 * step() is the only caller of both; pings, pongs and the answer to a close frame go through the queue like any message. */
#include "link_internal.h"

#include "hanse/clock.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAGMENT_LEN ((size_t)64 << 10) /* bytes of a frame's payload: what the server's buffers like best */
#define QUEUE_MAX ((size_t)4 << 20)
#define CONTROL_ROOM ((size_t)64 << 10) /* beyond queue_max, for control frames: who pings more does not read */
#define STEP_LEN ((size_t)4 << 20)      /* bytes read in one step at most, so that the caller gets a turn */
#define QUEUE_KEPT ((size_t)64 << 10)   /* of the empty queue while idle */
#define PACED_LEN ((size_t)16 << 10) /* bytes written at a time under a cap: one TLS record */
#define PING_MS 20000
#define DEAD_MS 60000

/* --- the queue --- */

static hanse_rc reserve(hanse_link *link, size_t len, hanse_err *err)
{
    if (link->sent > 0 && link->queue.cap - link->queue.len < len) {
        memmove(link->queue.data, link->queue.data + link->sent, link->queue.len - link->sent);
        link->queue.len -= link->sent;
        link->sent = 0;
    }
    return hanse_buf_reserve(&link->queue, link->queue.len + len, err);
}

/* One frame whose payload is `first` and then `second`; there is room. The mask goes on while it is copied. */
static void put_frame(hanse_link *link, hanse_ws_head *head, hanse_bytes first, hanse_bytes second)
{
    uint8_t *at = link->queue.data + link->queue.len, turned[4];

    head->masked = true;
    head->len = first.len + second.len;
    at += hanse_ws_head_encode(at, head);
    if (first.len > 0)
        hanse_ws_mask(at, first.data, first.len, head->key);
    for (size_t i = 0; i < 4; i++)
        turned[i] = head->key[(first.len + i) % 4];
    if (second.len > 0)
        hanse_ws_mask(at + first.len, second.data, second.len, turned);
    link->queue.len = (size_t)(at - link->queue.data) + first.len + second.len;
}

static hanse_rc put_control(hanse_link *link, hanse_ws_opcode opcode, hanse_bytes payload, hanse_err *err)
{
    hanse_ws_head head = {.opcode = opcode, .fin = true};
    hanse_rc rc;

    assert(payload.len <= HANSE_WS_CONTROL_MAX);
    if (hanse_link_queued(link) > link->queue_max + CONTROL_ROOM)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "the coordinator sends control frames but reads nothing");
    rc = reserve(link, HANSE_WS_HEAD_MAX + payload.len, err);
    if (rc == HANSE_OK && RAND_bytes(head.key, 4) != 1)
        rc = HANSE_FAIL(err, HANSE_E_IO, "no random bytes");
    if (rc == HANSE_OK)
        put_frame(link, &head, payload, HANSE_BYTES_EMPTY);
    return rc;
}

/* The message `first` || `second` as frames; first.len < FRAGMENT_LEN or second is empty. */
static hanse_rc put_message(hanse_link *link, hanse_bytes first, hanse_bytes second, hanse_err *err)
{
    size_t total = first.len + second.len, frames = total / FRAGMENT_LEN + 1, before;
    hanse_rc rc;

    if (link->failed || link->close_sent)
        return HANSE_FAIL(err, HANSE_E_LINK, "the connection is closed");
    if (hanse_link_queued(link) > 0 && hanse_link_queued(link) + total > link->queue_max)
        return HANSE_FAIL(err, HANSE_E_FULL, "%zu bytes already wait to be sent", hanse_link_queued(link));
    rc = reserve(link, total + frames * HANSE_WS_HEAD_MAX, err);
    if (rc != HANSE_OK)
        return rc;
    before = link->queue.len;
    for (size_t done = 0; done == 0 || done < total;) {
        hanse_ws_head head = {.opcode = done == 0 ? HANSE_WS_BINARY : HANSE_WS_CONTINUATION};
        size_t len = total - done < FRAGMENT_LEN ? total - done : FRAGMENT_LEN;
        size_t a = first.len < len ? first.len : len, b = len - a;

        head.fin = done + len == total;
        if (RAND_bytes(head.key, 4) != 1) { /* section 10.3: a fresh, unpredictable key a frame */
            link->queue.len = before;
            return HANSE_FAIL(err, HANSE_E_IO, "no random bytes");
        }
        put_frame(link, &head, (hanse_bytes){first.data, a}, (hanse_bytes){second.data, b});
        first = a > 0 ? (hanse_bytes){first.data + a, first.len - a} : first;
        second = b > 0 ? (hanse_bytes){second.data + b, second.len - b} : second;
        done += len;
        if (total == 0)
            break;
    }
    return HANSE_OK;
}

hanse_rc hanse_link_send(hanse_link *link, hanse_bytes message, hanse_err *err)
{
    return put_message(link, message, HANSE_BYTES_EMPTY, err);
}

hanse_rc hanse_link_send_message(hanse_link *link, const hanse_message *message, hanse_err *err)
{
    hanse_buf encoded = HANSE_BUF_EMPTY;
    hanse_rc rc = hanse_message_encode(&encoded, message, err);

    if (rc == HANSE_OK)
        rc = put_message(link, hanse_buf_bytes(&encoded), HANSE_BYTES_EMPTY, err);
    hanse_buf_clear(&encoded);
    return rc;
}

hanse_rc hanse_link_send_chunk(hanse_link *link, const hanse_msg_chunk *chunk, hanse_err *err)
{
    uint8_t head[HANSE_CHUNK_HEAD_MAX];
    size_t head_len = 0;
    hanse_rc rc = hanse_chunk_head_encode(head, &head_len, chunk, err);

    return rc == HANSE_OK ? put_message(link, (hanse_bytes){head, head_len}, chunk->payload, err) : rc;
}

size_t hanse_link_queued(const hanse_link *link)
{
    return link->queue.len - link->sent;
}

static hanse_rc flush(hanse_link *link, hanse_err *err)
{
    link->write_waits = false;
    while (hanse_link_queued(link) > 0) {
        const size_t left = hanse_link_queued(link), most = link->out_pace.rate != 0 ? PACED_LEN : INT32_MAX;
        short events = 0;
        int ret;
        hanse_rc rc;

        if (!hanse_pace_may(&link->out_pace, hanse_clock_mono_us()))
            return HANSE_OK;
        ERR_clear_error();
        errno = 0;
        ret = SSL_write(link->ssl, link->queue.data + link->sent, (int)(left < most ? left : most));
        if (ret > 0) {
            link->sent += (size_t)ret;
            hanse_pace_took(&link->out_pace, (size_t)ret);
            continue;
        }
        rc = hanse_link_ssl_problem(link, ret, &events, err);
        link->write_waits = rc == HANSE_OK && (events & POLLOUT) != 0;
        return rc;
    }
    link->queue.len = link->sent = 0;
    return HANSE_OK;
}

/* --- receiving --- */

static hanse_rc on_control(hanse_link *link, const hanse_ws_event *event, hanse_err *err)
{
    unsigned code;

    if (event->opcode == HANSE_WS_PING)
        return put_control(link, HANSE_WS_PONG, event->data, err);
    if (event->opcode == HANSE_WS_PONG)
        return HANSE_OK;
    if (event->data.len == 1)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "websocket close frame of one byte");
    code = event->data.len >= 2 ? (unsigned)(event->data.data[0] << 8 | event->data.data[1]) : 1005;
    if (!link->close_sent && put_control(link, HANSE_WS_CLOSE, event->data.len >= 2 ? (hanse_bytes){event->data.data, 2}
                                                                                  : HANSE_BYTES_EMPTY, NULL) == HANSE_OK)
        (void)flush(link, NULL);
    link->close_sent = true;
    return HANSE_FAIL(err, HANSE_E_LINK, "the coordinator closed the connection (websocket code %u)", code);
}

static hanse_rc take(hanse_link *link, hanse_bytes in, hanse_err *err)
{
    while (true) {
        hanse_ws_event event;
        hanse_rc rc = hanse_ws_read(&link->reader, &in, &event, err);

        if (rc == HANSE_OK && event.kind == HANSE_WS_EVENT_NONE)
            return HANSE_OK;
        if (rc == HANSE_OK)
            rc = event.kind == HANSE_WS_EVENT_CONTROL ? on_control(link, &event, err)
                                                      : hanse_inbox_feed(&link->inbox, event.data, event.last, err);
        if (rc != HANSE_OK)
            return rc;
    }
}

/* Read until OpenSSL has nothing more, or until STEP_LEN or the cap. */
static hanse_rc receive(hanse_link *link, hanse_err *err)
{
    hanse_rc rc = HANSE_OK;

    if (link->early.len > 0) {
        rc = take(link, hanse_buf_bytes(&link->early), err);
        hanse_buf_clear(&link->early);
    }
    link->drained = false;
    for (size_t sum = 0; rc == HANSE_OK && sum < STEP_LEN;) {
        short events = 0;
        int ret;

        if (!hanse_pace_may(&link->in_pace, hanse_clock_mono_us()))
            return HANSE_OK;
        ERR_clear_error();
        errno = 0;
        ret = SSL_read(link->ssl, link->in, sizeof link->in);
        if (ret <= 0) {
            link->drained = true;
            return hanse_link_ssl_problem(link, ret, &events, err);
        }
        sum += (size_t)ret;
        hanse_pace_took(&link->in_pace, (size_t)ret);
        link->rx_mono_us = hanse_clock_mono_us();
        link->ping_mono_us = 0;
        rc = take(link, (hanse_bytes){link->in, (size_t)ret}, err);
    }
    return rc;
}

/* A ping when nothing came for ping_ms; gone when nothing answered it until dead_ms. The clock of the silence starts with
 * the ping, so that a caller who slept, or a machine that was suspended, does not take its own absence for the peer's. */
static hanse_rc keep_alive(hanse_link *link, hanse_err *err)
{
    uint64_t now = hanse_clock_mono_us();

    if (link->ping_mono_us != 0) {
        if (now - link->ping_mono_us >= (link->dead_ms - link->ping_ms) * 1000)
            return HANSE_FAIL(err, HANSE_E_LINK, "the coordinator has been silent for %llu s",
                              (unsigned long long)((now - link->rx_mono_us) / 1000000));
        return HANSE_OK;
    }
    if (now - link->rx_mono_us < link->ping_ms * 1000)
        return HANSE_OK;
    if (link->queue.len == 0 && link->queue.cap > QUEUE_KEPT)
        hanse_buf_clear(&link->queue);
    link->ping_mono_us = now;
    return put_control(link, HANSE_WS_PING, HANSE_BYTES_EMPTY, err);
}

/* --- the loop --- */

int hanse_link_fd(const hanse_link *link)
{
    return link->fd;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

short hanse_link_wants(const hanse_link *link, int *timeout_ms)
{
    const uint64_t now = hanse_clock_mono_us(), since = link->ping_mono_us != 0 ? link->ping_mono_us : link->rx_mono_us;
    const uint64_t silence_us = (link->ping_mono_us != 0 ? link->dead_ms - link->ping_ms : link->ping_ms) * 1000;
    const uint64_t in_us = hanse_pace_wait_us(&link->in_pace, now), out_us = hanse_pace_wait_us(&link->out_pace, now);
    uint64_t wait_us = now - since >= silence_us ? 0 : silence_us - (now - since);

    if (!link->drained || link->early.len > 0 || in_us > 0)
        wait_us = least(wait_us, in_us);
    if (hanse_link_queued(link) > 0 && (!link->write_waits || out_us > 0))
        wait_us = least(wait_us, out_us);
    *timeout_ms = wait_us == 0 ? 0 : (int)(wait_us / 1000 + 1);
    return (short)((in_us == 0 ? POLLIN : 0) | (link->write_waits && out_us == 0 ? POLLOUT : 0));
}

static hanse_rc step(hanse_link *link, int timeout_ms, int wake_fd, hanse_err *err)
{
    struct pollfd fds[2] = {{.fd = link->fd}, {.fd = wake_fd, .events = POLLIN}};
    hanse_err write_err;
    int longest;
    hanse_rc rc, write_rc;

    fds[0].events = hanse_link_wants(link, &longest);
    if (timeout_ms < 0 || timeout_ms > longest)
        timeout_ms = longest;
    if (poll(fds, 2, timeout_ms) < 0 && errno != EINTR)
        return HANSE_FAIL_ERRNO(err, "poll");
    write_rc = flush(link, &write_err);
    /* Read even when writing failed: why the server hung up lies in what it sent before. */
    rc = receive(link, err);
    if (rc != HANSE_OK)
        return rc;
    if (write_rc != HANSE_OK) {
        if (err != NULL)
            *err = write_err;
        return write_rc;
    }
    rc = keep_alive(link, err);
    return rc == HANSE_OK ? flush(link, err) : rc;
}

hanse_rc hanse_link_step(hanse_link *link, int timeout_ms, int wake_fd, hanse_err *err)
{
    hanse_rc rc;

    if (link->failed)
        return HANSE_FAIL(err, HANSE_E_LINK, "the connection is closed");
    rc = step(link, timeout_ms, wake_fd, err);
    link->failed = rc != HANSE_OK;
    return rc;
}

/* --- life --- */

hanse_rc hanse_link_open(hanse_link **out, const hanse_link_config *config, hanse_err *err)
{
    hanse_link *link = hanse_calloc(1, sizeof *link);
    struct sigaction pipe;
    hanse_rc rc;

    if (link == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for a link");
    /* OpenSSL writes without MSG_NOSIGNAL: a peer that hung up must be an error here, not the end of the process. */
    if (sigaction(SIGPIPE, NULL, &pipe) == 0 && pipe.sa_handler == SIG_DFL)
        (void)signal(SIGPIPE, SIG_IGN);
    link->fd = -1;
    link->failed = true; /* until it is open: close() then sends nothing */
    link->queue_max = config->queue_max != 0 ? config->queue_max : QUEUE_MAX;
    link->ping_ms = config->ping_ms != 0 ? config->ping_ms : PING_MS;
    link->dead_ms = config->dead_ms != 0 ? config->dead_ms : DEAD_MS;
    if (link->dead_ms <= link->ping_ms)
        link->dead_ms = link->ping_ms + 1000;
    hanse_pace_init(&link->in_pace, config->rate, hanse_clock_mono_us());
    hanse_pace_init(&link->out_pace, config->rate, hanse_clock_mono_us());
    hanse_inbox_init(&link->inbox, config->ops, config->user, HANSE_FROM_COORDINATOR);
    rc = hanse_link_connect(link, config, err);
    if (rc != HANSE_OK) {
        hanse_link_close(link, 0);
        return rc;
    }
    link->rx_mono_us = hanse_clock_mono_us();
    link->failed = false;
    *out = link;
    return HANSE_OK;
}

hanse_rc hanse_link_ca_pem(const hanse_link *link, hanse_buf *pem, hanse_err *err)
{
    BIO *bio;
    char *text = NULL;
    long len;
    hanse_rc rc;

    if (link->ca == NULL)
        return HANSE_FAIL(err, HANSE_E_NOTFOUND, "this link was not opened by the CA's fingerprint");
    bio = BIO_new(BIO_s_mem());
    if (bio == NULL || PEM_write_bio_X509(bio, link->ca) != 1)
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for the CA certificate");
    else
        rc = (len = BIO_get_mem_data(bio, &text)) > 0 ? hanse_buf_append(pem, text, (size_t)len, err) : HANSE_E_NOMEM;
    BIO_free(bio);
    return rc;
}

void hanse_link_close(hanse_link *link, int linger_ms)
{
    static const uint8_t normal[2] = {1000 >> 8, 1000 & 0xff};
    uint64_t end;

    if (link == NULL)
        return;
    if (!link->failed && !link->close_sent && put_control(link, HANSE_WS_CLOSE, (hanse_bytes){normal, 2}, NULL) == HANSE_OK) {
        end = hanse_clock_mono_us() + (uint64_t)(linger_ms > 0 ? linger_ms : 0) * 1000;
        while (flush(link, NULL) == HANSE_OK && hanse_link_queued(link) > 0 && hanse_clock_mono_us() < end) {
            const uint64_t now = hanse_clock_mono_us(), paced_us = hanse_pace_wait_us(&link->out_pace, now);
            struct pollfd fd = {.fd = link->fd, .events = paced_us == 0 ? POLLOUT : 0};

            (void)poll(&fd, 1, (int)(least(now < end ? end - now : 0, paced_us == 0 ? UINT64_MAX : paced_us) / 1000 + 1));
        }
        if (hanse_link_queued(link) == 0)
            (void)SSL_shutdown(link->ssl);
        ERR_clear_error();
        /* Closing a socket that holds unread bytes resets it, and a reset can overtake our last message. */
        (void)shutdown(link->fd, SHUT_WR);
        while (hanse_clock_mono_us() < end) {
            struct pollfd fd = {.fd = link->fd, .events = POLLIN};
            int wait_ms = (int)((end - hanse_clock_mono_us()) / 1000 + 1);

            if (poll(&fd, 1, wait_ms) > 0 && recv(link->fd, link->in, sizeof link->in, MSG_DONTWAIT) <= 0)
                break;
        }
    }
    SSL_free(link->ssl);
    SSL_CTX_free(link->ctx);
    X509_free(link->ca);
    if (link->fd >= 0)
        close(link->fd);
    hanse_inbox_clear(&link->inbox);
    hanse_buf_clear(&link->queue);
    hanse_buf_clear(&link->early);
    hanse_free(link);
}
