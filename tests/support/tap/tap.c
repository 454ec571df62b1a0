/* tap.c - preloaded into a real process (LD_PRELOAD), for the tests of tests/e2e: what passes through TLS in the clear, and a halt
 * at a chosen message.
 *
 *   HANSE_TAP       file that every piece is appended to: u8 'i' (came) or 'o' (went), u32le connection, u32le length, bytes
 *   HANSE_TAP_HALT  "o:23:2,i:24:1": the process stops itself (SIGSTOP) right before its second MASKED_UPLOAD leaves, and then right
 *                   before it is handed the first CUT after that; kinds are those of docs/wire.md, of whatever connection
 *
 * Besides, the process stays dumpable, so that a test that is not root can read its memory.
 * Websocket frames are followed just as far as needed to find where a message begins, and its kind. */
#include <dlfcn.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CONNECTIONS 256 /* open at a time */
#define HALTS 256
#define KINDS 128

/* One direction of one connection. */
typedef struct stream {
    unsigned newlines;    /* of the HTTP head's end "\r\n\r\n"; 4: frames */
    uint8_t head[14];     /* of the frame */
    size_t head_len;
    uint64_t left, at;    /* payload bytes to come, and seen */
    bool in_frame, begins; /* it is the first frame of a message */
    uint8_t kind[2];
} stream;

typedef struct connection {
    const SSL *ssl;
    uint32_t number;
    stream in, out;
} connection;

typedef struct halt {
    char way;
    unsigned kind, nth; /* counted from the halt before */
} halt;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static connection connections[CONNECTIONS];
static uint32_t connections_made;
static halt halts[HALTS];
static size_t halts_count, halts_met;
static unsigned passed; /* messages of the next halt's kind since the one before */
static int capture = -1;

static int (*real_read)(SSL *, void *, int);
static int (*real_write)(SSL *, const void *, int);
static void (*real_free)(SSL *);

static void find(void *function, const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);

    memcpy(function, &found, sizeof found);
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("HANSE_TAP"), *text = getenv("HANSE_TAP_HALT");
    char way;
    unsigned kind, nth;

    find(&real_read, "SSL_read");
    find(&real_write, "SSL_write");
    find(&real_free, "SSL_free");
    if (path != NULL)
        capture = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    while (text != NULL && halts_count < HALTS && sscanf(text, "%c:%u:%u", &way, &kind, &nth) == 3) {
        halts[halts_count++] = (halt){way, kind, nth};
        text = strchr(text, ',');
        text = text != NULL ? text + 1 : NULL;
    }
}

static connection *of(const SSL *ssl)
{
    connection *empty = NULL;

    for (size_t i = 0; i < CONNECTIONS; i++) {
        if (connections[i].ssl == ssl)
            return &connections[i];
        if (connections[i].ssl == NULL && empty == NULL)
            empty = &connections[i];
    }
    if (empty == NULL)
        abort();
    *empty = (connection){.ssl = ssl, .number = connections_made++};
    return empty;
}

static size_t head_need(const stream *s)
{
    size_t need = 2;

    if (s->head_len < 2)
        return 2;
    need += (s->head[1] & 127) == 126 ? 2 : (s->head[1] & 127) == 127 ? 8 : 0;
    return need + (s->head[1] & 128 ? 4 : 0);
}

static void frame_begins(stream *s)
{
    const unsigned small = s->head[1] & 127;
    const size_t extra = small == 126 ? 2 : small == 127 ? 8 : 0;

    s->left = extra > 0 ? 0 : small;
    for (size_t i = 0; i < extra; i++)
        s->left = s->left << 8 | s->head[2 + i];
    s->at = 0;
    s->begins = (s->head[0] & 15) == 2;
    s->in_frame = s->left > 0;
    s->head_len = s->in_frame ? s->head_len : 0;
}

/* Follow one byte. Returns the kind of the message that is known to begin with this byte's frame, else 0. */
static unsigned follow(stream *s, uint8_t byte)
{
    unsigned kind = 0;

    if (s->newlines < 4) {
        s->newlines = byte == (s->newlines % 2 == 0 ? '\r' : '\n') ? s->newlines + 1 : byte == '\r';
        return 0;
    }
    if (!s->in_frame) {
        s->head[s->head_len++] = byte;
        if (s->head_len >= 2 && s->head_len == head_need(s))
            frame_begins(s);
        return 0;
    }
    if (s->begins && s->at < 2) {
        s->kind[s->at] = s->head[1] & 128 ? byte ^ s->head[s->head_len - 4 + s->at] : byte;
        kind = s->at == 1 ? s->kind[1] % KINDS : 0;
    }
    s->at++;
    if (--s->left == 0) {
        s->in_frame = false;
        s->head_len = 0;
    }
    return kind;
}

/* Does a message of that kind bring the next halt? `so_far` is counted on. */
static bool is_halt(char way, unsigned kind, unsigned *so_far)
{
    const halt *h = &halts[halts_met];

    return kind > 0 && halts_met < halts_count && h->way == way && h->kind == kind && ++*so_far == h->nth;
}

static void halt_met(void)
{
    halts_met++;
    passed = 0;
}

static void put(char way, const connection *c, const void *data, int len)
{
    uint8_t head[9] = {(uint8_t)way};

    if (capture < 0)
        return;
    for (int i = 0; i < 4; i++) {
        head[1 + i] = (uint8_t)(c->number >> (8 * i));
        head[5 + i] = (uint8_t)((unsigned)len >> (8 * i));
    }
    if (write(capture, head, sizeof head) < 0 || write(capture, data, (size_t)len) < 0)
        abort();
}

int SSL_read(SSL *ssl, void *buf, int num)
{
    int got = real_read(ssl, buf, num);
    bool stop = false;
    connection *c;

    if (got <= 0)
        return got;
    pthread_mutex_lock(&lock);
    c = of(ssl);
    put('i', c, buf, got);
    for (int i = 0; i < got; i++)
        if (is_halt('i', follow(&c->in, ((const uint8_t *)buf)[i]), &passed)) {
            halt_met();
            stop = true;
        }
    pthread_mutex_unlock(&lock);
    if (stop)
        (void)raise(SIGSTOP);
    return got;
}

/* Bytes of `buf` before the message of the next halt, or all of them. `first`: the message it begins with is already let go. */
static int before_halt(const connection *c, const uint8_t *buf, int len, bool first)
{
    stream ahead = c->out;
    unsigned so_far = passed;
    int frame = 0;

    for (int i = 0; i < len; i++) {
        unsigned kind;

        if (!ahead.in_frame && ahead.head_len == 0)
            frame = i;
        kind = follow(&ahead, buf[i]);
        if (kind > 0 && first)
            first = false;
        else if (is_halt('o', kind, &so_far))
            return frame;
    }
    return len;
}

/* What stands before the message of a halt goes first: the caller takes a short write, and comes again with the rest. */
int SSL_write(SSL *ssl, const void *buf, int num)
{
    bool let_go = false;
    connection *c;
    int len, done;

    pthread_mutex_lock(&lock);
    c = of(ssl);
    len = before_halt(c, buf, num, false);
    if (len == 0 && num > 0) {
        halt_met();
        (void)raise(SIGSTOP);
        let_go = true;
        len = before_halt(c, buf, num, true);
    }
    done = real_write(ssl, buf, len);
    if (done > 0)
        put('o', c, buf, done);
    for (int i = 0; i < done; i++) {
        unsigned kind = follow(&c->out, ((const uint8_t *)buf)[i]);

        if (kind > 0 && let_go)
            let_go = false;
        else
            (void)is_halt('o', kind, &passed); /* never true: the write ends before it */
    }
    pthread_mutex_unlock(&lock);
    return done;
}

void SSL_free(SSL *ssl)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (connections[i].ssl == ssl)
            connections[i].ssl = NULL;
    pthread_mutex_unlock(&lock);
    real_free(ssl);
}

int prctl(int option, ...)
{
    unsigned long args[4];
    va_list list;

    va_start(list, option);
    for (size_t i = 0; i < 4; i++)
        args[i] = va_arg(list, unsigned long);
    va_end(list);
    return option == PR_SET_DUMPABLE ? 0 : (int)syscall(SYS_prctl, option, args[0], args[1], args[2], args[3]); /* called before begin(), too */
}
