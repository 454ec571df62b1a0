/* From a host name to an open websocket: TCP, CONNECT proxy, TLS 1.3, upgrade; all with one deadline. */
#include "link_internal.h"

#include "hanse/clock.h"
#include "link_tls.h"
#include "ws_http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_MS 10000
#define HOST_MAX 253 /* characters of a DNS name */

typedef struct attempt {
    uint64_t deadline_mono_us;
    int wake_fd;
    int receive_buffer; /* bytes; 0: the system's */
} attempt;

/* Wait for `events`. Errors: LINK (deadline), AGAIN (wake_fd). */
static hanse_rc wait_for(int fd, short events, uint64_t deadline_mono_us, int wake_fd, hanse_err *err)
{
    for (;;) {
        struct pollfd fds[2] = {{.fd = fd, .events = events}, {.fd = wake_fd, .events = POLLIN}};
        uint64_t now = hanse_clock_mono_us();
        int ready = now >= deadline_mono_us ? 0 : poll(fds, 2, (int)((deadline_mono_us - now) / 1000 + 1));

        if (ready == 0)
            return HANSE_FAIL(err, HANSE_E_LINK, "no answer in time");
        if (ready < 0 && errno != EINTR)
            return HANSE_FAIL_ERRNO(err, "poll");
        if (ready > 0 && fds[1].revents != 0)
            return HANSE_FAIL(err, HANSE_E_AGAIN, "interrupted");
        if (ready > 0)
            return HANSE_OK;
    }
}

static hanse_rc connect_one(int *out, const struct addrinfo *address, const attempt *try, uint64_t deadline_mono_us, hanse_err *err)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int problem = 0, on = 1;
    socklen_t len = sizeof problem;
    hanse_rc rc = HANSE_OK;

    if (fd < 0)
        return HANSE_FAIL_ERRNO(err, "socket");
    if (try->receive_buffer > 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &try->receive_buffer, sizeof try->receive_buffer);
    if (connect(fd, address->ai_addr, address->ai_addrlen) != 0) {
        if (errno != EINPROGRESS)
            problem = errno;
        else
            rc = wait_for(fd, POLLOUT, deadline_mono_us, try->wake_fd, err);
        if (rc == HANSE_OK && problem == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &len) != 0)
            problem = errno;
    }
    if (rc == HANSE_OK && problem != 0)
        rc = HANSE_FAIL(err, HANSE_E_LINK, "%s", strerror(problem));
    if (rc != HANSE_OK) {
        close(fd);
        return rc;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *out = fd;
    return HANSE_OK;
}

static hanse_rc connect_host(int *out, const char *host, const char *port, const attempt *try, hanse_err *err)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;
    unsigned left = 0;
    int problem = getaddrinfo(host, port, &hints, &list);
    hanse_rc rc = HANSE_E_LINK;

    if (problem != 0)
        return HANSE_FAIL(err, HANSE_E_LINK, "cannot resolve %s: %s", host, gai_strerror(problem));
    for (const struct addrinfo *a = list; a != NULL; a = a->ai_next)
        left++;
    /* One dead address must not use up the time of the others. */
    for (const struct addrinfo *a = list; a != NULL && rc != HANSE_OK && rc != HANSE_E_AGAIN; a = a->ai_next, left--) {
        uint64_t now = hanse_clock_mono_us();
        uint64_t share = now < try->deadline_mono_us ? (try->deadline_mono_us - now) / left : 0;

        rc = connect_one(out, a, try, now + share, err);
    }
    freeaddrinfo(list);
    if (rc != HANSE_OK)
        hanse_err_wrap(err, "cannot connect to %s:%s", host, port);
    return rc;
}

/* Is `host` named by NO_PROXY ("*", names, domains with or without a leading dot)? */
static bool is_direct(const char *host)
{
    const char *list = getenv("no_proxy") != NULL ? getenv("no_proxy") : getenv("NO_PROXY");
    size_t host_len = strlen(host);

    while (list != NULL && *list != '\0') {
        size_t len = strcspn(list, ", ");
        const char *name = list;

        list += len + (list[len] != '\0');
        if (len == 1 && name[0] == '*')
            return true;
        if (len > 0 && name[0] == '.') {
            name++;
            len--;
        }
        if (len > 0 && len <= host_len && strncasecmp(host + host_len - len, name, len) == 0
            && (len == host_len || host[host_len - len - 1] == '.'))
            return true;
    }
    return false;
}

/* "http://proxy:3128/" into host and port; `*found` false when none is configured. */
static hanse_rc find_proxy(const hanse_link_config *config, char host[HOST_MAX + 1], char port[6], bool *found, hanse_err *err)
{
    const char *text = config->proxy;
    size_t len, digits;

    *found = false;
    if (text == NULL && !is_direct(config->host))
        text = getenv("https_proxy") != NULL ? getenv("https_proxy") : getenv("HTTPS_PROXY");
    if (text == NULL || text[0] == '\0')
        return HANSE_OK;
    if (strncasecmp(text, "http://", 7) == 0)
        text += 7;
    len = text[0] == '[' ? strcspn(text, "]") + 1 : strcspn(text, ":");
    digits = len < strlen(text) && text[len] == ':' ? strspn(text + len + 1, "0123456789") : 0;
    if (strstr(text, "://") != NULL || strchr(text, '@') != NULL || len == 0 || len > HOST_MAX || digits == 0 || digits > 5
        || (text[len + 1 + digits] != '\0' && text[len + 1 + digits] != '/'))
        return HANSE_FAIL(err, HANSE_E_INVALID, "proxy: must be host:port or http://host:port, without a password");
    if (text[0] == '[')
        snprintf(host, HOST_MAX + 1, "%.*s", (int)len - 2, text + 1);
    else
        snprintf(host, HOST_MAX + 1, "%.*s", (int)len, text);
    snprintf(port, 6, "%.*s", (int)digits, text + len + 1);
    *found = true;
    return HANSE_OK;
}

/* Ask the proxy for a tunnel. It speaks only once, so what follows its head would be nonsense. */
static hanse_rc open_tunnel(int fd, const char *authority, const attempt *try, hanse_err *err)
{
    hanse_buf request = HANSE_BUF_EMPTY;
    uint8_t answer[2048];
    size_t sent = 0, got = 0;
    hanse_bytes head;
    hanse_rc rc = hanse_buf_printf(&request, err, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", authority, authority);

    while (rc == HANSE_OK && hanse_http_head_len((hanse_bytes){answer, got}) == 0) {
        bool sending = sent < request.len;
        ssize_t moved = sending ? send(fd, request.data + sent, request.len - sent, MSG_NOSIGNAL)
                                : recv(fd, answer + got, sizeof answer - got, 0);

        if (moved < 0 && (errno == EAGAIN || errno == EINTR))
            rc = wait_for(fd, sending ? POLLOUT : POLLIN, try->deadline_mono_us, try->wake_fd, err);
        else if (moved <= 0)
            rc = HANSE_FAIL(err, HANSE_E_LINK, "the proxy broke off");
        else if (sending)
            sent += (size_t)moved;
        else
            got += (size_t)moved;
    }
    head = (hanse_bytes){answer, got};
    if (rc == HANSE_OK && (hanse_http_status(head) / 100 != 2 || hanse_http_head_len(head) != got))
        rc = HANSE_FAIL(err, HANSE_E_LINK, "the proxy refuses a connection to %s (HTTP status %d)", authority,
                        hanse_http_status(head));
    hanse_buf_clear(&request);
    return rc;
}

/* Run one SSL call until it is through: `call` returns what SSL functions return. */
static hanse_rc run_ssl(hanse_link *link, const attempt *try, int (*call)(hanse_link *, void *), void *arg, hanse_err *err)
{
    for (;;) {
        short events = 0;
        int ret;
        hanse_rc rc;

        ERR_clear_error(); /* what another call left behind would be taken for this one's */
        errno = 0;
        ret = call(link, arg);
        if (ret > 0)
            return HANSE_OK;
        rc = hanse_link_ssl_problem(link, ret, &events, err);
        if (rc == HANSE_OK)
            rc = wait_for(link->fd, events, try->deadline_mono_us, try->wake_fd, err);
        if (rc != HANSE_OK)
            return rc;
    }
}

static int call_handshake(hanse_link *link, void *arg)
{
    (void)arg;
    return SSL_connect(link->ssl);
}

static int call_write(hanse_link *link, void *arg)
{
    hanse_buf *request = arg;

    return SSL_write(link->ssl, request->data, (int)request->len);
}

/* Reads once; how much arrived is in *arg. */
static int call_read(hanse_link *link, void *arg)
{
    return *(int *)arg = SSL_read(link->ssl, link->in, sizeof link->in);
}

static hanse_rc upgrade(hanse_link *link, const char *authority, const attempt *try, hanse_err *err)
{
    hanse_buf request = HANSE_BUF_EMPTY, answer = HANSE_BUF_EMPTY;
    uint8_t nonce[16];
    char key[HANSE_WS_KEY_LEN];
    size_t head_len = 0;
    int got = 0;
    hanse_rc rc;

    if (RAND_bytes(nonce, sizeof nonce) != 1)
        return HANSE_FAIL(err, HANSE_E_IO, "no random bytes");
    EVP_EncodeBlock((unsigned char *)key, nonce, sizeof nonce);
    rc = hanse_ws_request(&request, authority, key, err);
    if (rc == HANSE_OK)
        rc = run_ssl(link, try, call_write, &request, err);
    /* A server that refused our certificate has hung up by now; its alert still waits to be read. */
    if (rc == HANSE_E_LINK && SSL_read(link->ssl, link->in, sizeof link->in) <= 0) {
        hanse_err alert;
        short events;

        if (hanse_link_ssl_problem(link, -1, &events, &alert) == HANSE_E_IDENTITY)
            rc = HANSE_FAIL(err, HANSE_E_IDENTITY, "%s", alert.text);
    }
    while (rc == HANSE_OK && head_len == 0) {
        rc = run_ssl(link, try, call_read, &got, err);
        if (rc == HANSE_OK)
            rc = hanse_buf_append(&answer, link->in, (size_t)got, err);
        head_len = hanse_http_head_len(hanse_buf_bytes(&answer));
        if (rc == HANSE_OK && head_len == 0 && answer.len > HANSE_HTTP_HEAD_MAX)
            rc = HANSE_FAIL(err, HANSE_E_LINK, "no websocket there: its HTTP head has no end");
    }
    if (rc == HANSE_OK)
        rc = hanse_ws_check_answer((hanse_bytes){answer.data, head_len}, key, err);
    if (rc == HANSE_OK && answer.len > head_len)
        rc = hanse_buf_append(&link->early, answer.data + head_len, answer.len - head_len, err);
    hanse_buf_clear(&request);
    hanse_buf_clear(&answer);
    return rc;
}

/* Under a cap the system's megabytes would be filled at once, and whatever comes behind them, pings included, would wait for long:
 * half a second's worth keeps the rate up to round trips of as much. */
static int receive_buffer(uint64_t rate)
{
    const uint64_t half = rate / 2;

    if (rate == 0 || half > (4 << 20))
        return 0;
    return half < (32 << 10) ? 32 << 10 : (int)half;
}

hanse_rc hanse_link_connect(hanse_link *link, const hanse_link_config *config, hanse_err *err)
{
    uint32_t timeout_ms = config->connect_timeout_ms != 0 ? config->connect_timeout_ms : CONNECT_TIMEOUT_MS;
    const attempt try = {hanse_clock_mono_us() + (uint64_t)timeout_ms * 1000, config->wake_fd, receive_buffer(config->rate)};
    char proxy_host[HOST_MAX + 1], proxy_port[6], port[6], authority[HOST_MAX + 10];
    bool use_proxy = false;
    hanse_rc rc;

    if (config->host == NULL || config->host[0] == '\0' || strlen(config->host) > HOST_MAX || config->port == 0)
        return HANSE_FAIL(err, HANSE_E_USAGE, "a link needs a host and a port");
    snprintf(port, sizeof port, "%u", (unsigned)config->port);
    snprintf(authority, sizeof authority, strchr(config->host, ':') != NULL ? "[%s]:%s" : "%s:%s", config->host, port);
    rc = hanse_link_tls_init(link, config, err);
    if (rc == HANSE_OK)
        rc = find_proxy(config, proxy_host, proxy_port, &use_proxy, err);
    if (rc == HANSE_OK)
        rc = use_proxy ? connect_host(&link->fd, proxy_host, proxy_port, &try, err)
                       : connect_host(&link->fd, config->host, port, &try, err);
    if (rc == HANSE_OK && use_proxy)
        rc = open_tunnel(link->fd, authority, &try, err);
    if (rc == HANSE_OK)
        rc = hanse_link_tls_attach(link, config, err);
    if (rc == HANSE_OK)
        rc = run_ssl(link, &try, call_handshake, NULL, err);
    if (rc == HANSE_OK)
        rc = hanse_link_tls_check(link, config, err);
    if (rc == HANSE_OK)
        rc = upgrade(link, authority, &try, err);
    if (rc != HANSE_OK && link->fd >= 0)
        hanse_err_wrap(err, "coordinator %s", authority);
    return rc;
}
