/* error.h - return codes, their classes and exit codes, and the error that carries the words.
 *
 * A fallible function returns hanse_rc and fills a caller-owned hanse_err. The deepest layer says the
 * fact once, with numbers; each caller adds only what it alone knows (hanse_err_wrap). Only the edges log. */
#ifndef HANSE_ERROR_H
#define HANSE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#define HANSE_MUST_CHECK __attribute__((warn_unused_result))
#define HANSE_PRINTF(fmt_idx, args_idx) __attribute__((format(printf, fmt_idx, args_idx)))

/* What went wrong. The comment names the exit code of the command line contract (docs/operate.md). */
typedef enum hanse_rc {
    HANSE_OK = 0,
    HANSE_E_USAGE = -1,     /* 5: a caller inside Hanse broke a contract: a bug */
    HANSE_E_NOMEM = -2,     /* 7: out of memory */
    HANSE_E_IO = -3,        /* 7: disk, permission or another system call */
    HANSE_E_CORRUPT = -4,   /* 7: a file or database that Hanse wrote itself no longer reads back */
    HANSE_E_INVALID = -5,   /* 4: configuration, plan, data or argument of the user's is invalid */
    HANSE_E_NOTFOUND = -6,  /* 4: the named thing does not exist */
    HANSE_E_LOCKED = -7,    /* 4: another process works on this directory */
    HANSE_E_LINK = -8,      /* 2: cannot connect, or the connection broke */
    HANSE_E_IDENTITY = -9,  /* 2: a certificate, token or name was refused */
    HANSE_E_VERSION = -10,  /* 2: the peer speaks another protocol version */
    HANSE_E_PROTOCOL = -11, /* 1: the peer sent something malformed or out of turn */
    HANSE_E_AUTH = -12,     /* 1: a signature, tag or digest does not verify */
    HANSE_E_SHAPE = -13,    /* 1: wrong length or wrong tensors */
    HANSE_E_NONFINITE = -14, /* 1: NaN or infinity where a number must be */
    HANSE_E_WEIGHT = -15,   /* 1: weight of zero, or more than the plan allows */
    HANSE_E_DUPLICATE = -16, /* 1: already counted */
    HANSE_E_LATE = -17,     /* 3: after the deadline or the cut */
    HANSE_E_QUORUM = -18,   /* 3: too few sites */
    HANSE_E_POLICY = -19,   /* 6: refused by the site's own policy */
    HANSE_E_FAILED = -20,   /* 1: the round or run failed */
    HANSE_E_AGAIN = -21,    /* 1: not an error: more input or another call is needed */
    HANSE_E_FULL = -22,     /* 7: a limit of this process (queue, quota, disk) is reached */
} hanse_rc;

/* Whose fault, and so what to do about it. */
typedef enum hanse_blame {
    HANSE_BLAME_NONE,
    HANSE_BLAME_PEER,  /* drop the message or the connection, keep the round */
    HANSE_BLAME_RETRY, /* try again later, with back-off */
    HANSE_BLAME_LOCAL, /* fail the operation loudly: the operator must act */
    HANSE_BLAME_BUG,   /* ours */
} hanse_blame;

#define HANSE_ERR_TEXT_MAX 512

typedef struct hanse_err {
    hanse_rc rc;
    char text[HANSE_ERR_TEXT_MAX]; /* one line, no newline, printable */
    const char *file;              /* where in the source, for the debug log */
    int line;
} hanse_err;

/* Stable lower-case name of a code ("invalid", "policy", ...), for logs, `show` and the wire. Never NULL. */
const char *hanse_rc_name(hanse_rc rc);
/* The code with that name; HANSE_E_PROTOCOL when the name is unknown. */
hanse_rc hanse_rc_from_name(const char *name);
hanse_blame hanse_rc_blame(hanse_rc rc);
/* Exit code of the command line contract, 0..7. */
int hanse_rc_exit_code(hanse_rc rc);

/* Fill `err` (NULL allowed) and return rc, so that `return HANSE_FAIL(...)` reads as one thought.
 * Control characters in the formatted text become '?': what a peer or file wrote cannot drive a terminal. */
#define HANSE_FAIL(err, rc, ...) hanse_err_set((err), (rc), __FILE__, __LINE__, __VA_ARGS__)
hanse_rc hanse_err_set(hanse_err *err, hanse_rc rc, const char *file, int line, const char *fmt, ...)
    HANSE_PRINTF(5, 6);

/* For a call whose failure changes nothing here: says so where (void) would not compile. */
static inline void hanse_ignore(hanse_rc rc)
{
    (void)rc;
}

/* Put "<context>: " before the text. Cuts the tail when it grows past HANSE_ERR_TEXT_MAX. */
void hanse_err_wrap(hanse_err *err, const char *fmt, ...) HANSE_PRINTF(2, 3);

/* A system call failed: "<what>: <strerror(errno)>". ENOSPC/EDQUOT -> FULL, ENOMEM -> NOMEM, else IO. */
#define HANSE_FAIL_ERRNO(err, ...) hanse_err_set_errno((err), __FILE__, __LINE__, __VA_ARGS__)
hanse_rc hanse_err_set_errno(hanse_err *err, const char *file, int line, const char *fmt, ...)
    HANSE_PRINTF(4, 5);

#endif
