#include "hanse/log.h"

#include "hanse/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static atomic_int level_now = HANSE_LOG_INFO;

void hanse_log_level_set(hanse_level level)
{
    atomic_store(&level_now, (int)level);
}

bool hanse_log_level_parse(const char *name, hanse_level *out)
{
    for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++)
        if (strcmp(name, level_names[i]) == 0) {
            *out = (hanse_level)i;
            return true;
        }
    return false;
}

typedef struct line_buf {
    char text[HANSE_LOG_LINE_MAX];
    size_t len; /* at most sizeof text - 1: the newline always fits */
} line_buf;

static void put(line_buf *line, const char *text, size_t len)
{
    size_t room = sizeof line->text - 1 - line->len;

    if (len > room)
        len = room;
    memcpy(line->text + line->len, text, len);
    line->len += len;
}

static bool is_plain(unsigned char c)
{
    return c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '=';
}

/* Quoted unless every character is plain. */
static void put_value(line_buf *line, const char *value)
{
    bool plain = value[0] != '\0';

    for (const char *p = value; *p != '\0'; p++)
        plain = plain && is_plain((unsigned char)*p);
    if (plain) {
        put(line, value, strlen(value));
        return;
    }
    put(line, "\"", 1);
    for (const char *p = value; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        char hex[5];

        if (c < ' ' || c >= 0x7f) {
            (void)snprintf(hex, sizeof hex, "\\x%02x", c);
            put(line, hex, 4);
            continue;
        }
        if (c == '"' || c == '\\')
            put(line, "\\", 1);
        put(line, p, 1);
    }
    put(line, "\"", 1);
}

/* The argument of one conversion at `*spec` (behind its '%'), which moves behind it. The caller's format was checked
 * by the compiler; what this subset lacks prints as '?', and the rest of the line is dropped as its arguments are out of step. */
static bool put_argument(line_buf *line, const char **spec, va_list *args)
{
    char text[64];
    int precision = -1;
    char wide = 0;
    const char *p = *spec;

    if (*p == '.') {
        precision = 0;
        for (p++; *p >= '0' && *p <= '9'; p++)
            precision = precision * 10 + (*p - '0');
    }
    for (; *p == 'h' || *p == 'l' || *p == 'z' || *p == 'j' || *p == 't'; p++)
        wide = *p == 'h' ? 0 : *p; /* promoted to int anyway */
    *spec = p + 1;
    switch (*p) {
    case 's': {
        const char *value = va_arg(*args, const char *);

        if (value == NULL)
            put(line, "-", 1);
        else
            put_value(line, value);
        return true;
    }
    case 'c':
        (void)snprintf(text, sizeof text, "%c", va_arg(*args, int));
        put_value(line, text);
        return true;
    case 'd':
    case 'i':
        (void)snprintf(text, sizeof text, "%" PRIdMAX, wide ? (intmax_t)va_arg(*args, long) : (intmax_t)va_arg(*args, int));
        break;
    case 'u':
        (void)snprintf(text, sizeof text, "%" PRIuMAX,
                       wide ? (uintmax_t)va_arg(*args, unsigned long) : (uintmax_t)va_arg(*args, unsigned));
        break;
    case 'x':
        (void)snprintf(text, sizeof text, "%" PRIxMAX,
                       wide ? (uintmax_t)va_arg(*args, unsigned long) : (uintmax_t)va_arg(*args, unsigned));
        break;
    case 'f':
        (void)snprintf(text, sizeof text, "%.*f", precision < 0 ? 6 : precision, va_arg(*args, double));
        break;
    case 'g':
        (void)snprintf(text, sizeof text, "%.*g", precision < 0 ? 6 : precision, va_arg(*args, double));
        break;
    case 'e':
        (void)snprintf(text, sizeof text, "%.*e", precision < 0 ? 6 : precision, va_arg(*args, double));
        break;
    default:
        put(line, "?", 1);
        return false;
    }
    put(line, text, strlen(text));
    return true;
}

_Static_assert(sizeof(long) == sizeof(long long) && sizeof(long) == sizeof(size_t) && sizeof(long) == sizeof(intmax_t),
               "put_argument reads every wide integer as a long");

void hanse_log(hanse_level level, const char *fmt, ...)
{
    line_buf line = {.len = 0};
    char time[HANSE_TIME_LEN];
    va_list args;
    bool good = true;
    size_t sent = 0;

    if ((int)level > atomic_load(&level_now))
        return;
    hanse_clock_format_ms(time, hanse_clock_wall_ms());
    put(&line, time, strlen(time));
    put(&line, " ", 1);
    put(&line, level_names[level], strlen(level_names[level]));
    put(&line, " ", 1);
    va_start(args, fmt);
    while (*fmt != '\0' && good) {
        if (*fmt == '%' && fmt[1] != '\0') {
            fmt++;
            good = put_argument(&line, &fmt, &args);
        } else {
            put(&line, fmt++, 1);
        }
    }
    va_end(args);
    line.text[line.len++] = '\n';
    while (sent < line.len) {
        ssize_t put_len = write(STDERR_FILENO, line.text + sent, line.len - sent);

        if (put_len < 0 && errno != EINTR)
            return; /* nobody reads the log: nothing better to do */
        if (put_len > 0)
            sent += (size_t)put_len;
    }
}
