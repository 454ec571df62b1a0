#include "hanse/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
    hanse_rc rc;
    const char *name;
    hanse_blame blame;
    int exit_code;
} codes[] = {
    {HANSE_OK, "ok", HANSE_BLAME_NONE, 0},
    {HANSE_E_USAGE, "usage", HANSE_BLAME_BUG, 5},
    {HANSE_E_NOMEM, "nomem", HANSE_BLAME_RETRY, 7},
    {HANSE_E_IO, "io", HANSE_BLAME_LOCAL, 7},
    {HANSE_E_CORRUPT, "corrupt", HANSE_BLAME_LOCAL, 7},
    {HANSE_E_INVALID, "invalid", HANSE_BLAME_LOCAL, 4},
    {HANSE_E_NOTFOUND, "notfound", HANSE_BLAME_LOCAL, 4},
    {HANSE_E_LOCKED, "locked", HANSE_BLAME_LOCAL, 4},
    {HANSE_E_LINK, "link", HANSE_BLAME_RETRY, 2},
    {HANSE_E_IDENTITY, "identity", HANSE_BLAME_PEER, 2},
    {HANSE_E_VERSION, "version", HANSE_BLAME_PEER, 2},
    {HANSE_E_PROTOCOL, "protocol", HANSE_BLAME_PEER, 1},
    {HANSE_E_AUTH, "auth", HANSE_BLAME_PEER, 1},
    {HANSE_E_SHAPE, "shape", HANSE_BLAME_PEER, 1},
    {HANSE_E_NONFINITE, "nonfinite", HANSE_BLAME_PEER, 1},
    {HANSE_E_WEIGHT, "weight", HANSE_BLAME_PEER, 1},
    {HANSE_E_DUPLICATE, "duplicate", HANSE_BLAME_PEER, 1},
    {HANSE_E_LATE, "late", HANSE_BLAME_PEER, 3},
    {HANSE_E_QUORUM, "quorum", HANSE_BLAME_RETRY, 3},
    {HANSE_E_POLICY, "policy", HANSE_BLAME_LOCAL, 6},
    {HANSE_E_FAILED, "failed", HANSE_BLAME_LOCAL, 1},
    {HANSE_E_AGAIN, "again", HANSE_BLAME_NONE, 1},
    {HANSE_E_FULL, "full", HANSE_BLAME_LOCAL, 7},
};

#define CODES_COUNT (sizeof codes / sizeof codes[0])

const char *hanse_rc_name(hanse_rc rc)
{
    for (size_t i = 0; i < CODES_COUNT; i++)
        if (codes[i].rc == rc)
            return codes[i].name;
    return "unknown";
}

hanse_rc hanse_rc_from_name(const char *name)
{
    for (size_t i = 0; i < CODES_COUNT; i++)
        if (strcmp(codes[i].name, name) == 0)
            return codes[i].rc;
    return HANSE_E_PROTOCOL;
}

hanse_blame hanse_rc_blame(hanse_rc rc)
{
    for (size_t i = 0; i < CODES_COUNT; i++)
        if (codes[i].rc == rc)
            return codes[i].blame;
    return HANSE_BLAME_BUG;
}

int hanse_rc_exit_code(hanse_rc rc)
{
    for (size_t i = 0; i < CODES_COUNT; i++)
        if (codes[i].rc == rc)
            return codes[i].exit_code;
    return 5;
}

static void make_printable(char *text)
{
    for (unsigned char *c = (unsigned char *)text; *c != '\0'; c++)
        if (*c < 0x20 || *c == 0x7f)
            *c = '?';
}

hanse_rc hanse_err_set(hanse_err *err, hanse_rc rc, const char *file, int line, const char *fmt, ...)
{
    va_list args;

    if (err == NULL)
        return rc;
    err->rc = rc;
    err->file = file;
    err->line = line;
    va_start(args, fmt);
    (void)vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    make_printable(err->text);
    return rc;
}

hanse_rc hanse_err_set_errno(hanse_err *err, const char *file, int line, const char *fmt, ...)
{
    int saved = errno;
    hanse_rc rc = HANSE_E_IO;
    char what[HANSE_ERR_TEXT_MAX - 128];
    va_list args;

    if (saved == ENOSPC || saved == EDQUOT)
        rc = HANSE_E_FULL;
    else if (saved == ENOMEM)
        rc = HANSE_E_NOMEM;
    va_start(args, fmt);
    (void)vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    (void)hanse_err_set(err, rc, file, line, "%s: %s", what, strerror(saved));
    errno = saved;
    return rc;
}

void hanse_err_wrap(hanse_err *err, const char *fmt, ...)
{
    char before[HANSE_ERR_TEXT_MAX];
    char context[HANSE_ERR_TEXT_MAX / 2];
    va_list args;

    if (err == NULL)
        return;
    va_start(args, fmt);
    (void)vsnprintf(context, sizeof context, fmt, args);
    va_end(args);
    memcpy(before, err->text, sizeof before);
    (void)snprintf(err->text, sizeof err->text, "%s: %.*s", context,
                   (int)(sizeof err->text - strlen(context) - 3), before);
    make_printable(err->text);
}
