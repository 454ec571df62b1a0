/* faults.h - the k-th call of a kind fails: memory, a write, a flush, a name in a directory, a read.
 *
 * Programs whose name ends in _faults are linked so that Hanse's own calls come here first (tests/CMakeLists.txt, --wrap); what
 * SQLite does goes through a file system layer and an allocator that count along. Other libraries' calls are not counted. One
 * operation is walked through with k = 0, 1, 2, ... until no call is left to fail. */
#ifndef HANSE_TESTS_FAULTS_H
#define HANSE_TESTS_FAULTS_H

#include "hanse/error.h"

#include <stdint.h>

typedef enum fault_kind {
    FAULT_MEMORY, /* malloc, calloc, realloc; SQLite's allocations */
    FAULT_WRITE,  /* write, pwrite, writev, ftruncate: ENOSPC, and half of the bytes of a write are written before */
    FAULT_SYNC,   /* fsync, fdatasync: EIO */
    FAULT_NAME,   /* open of a new file, mkostemp, rename, link: EACCES */
    FAULT_READ,   /* read, pread: EIO */
    FAULT_KINDS
} fault_kind;

/* Before the first use of SQLite in the process. */
void faults_init(void);

typedef struct fault_walk {
    const char *name;               /* of the operation, for messages */
    const char *dir;                /* all files of the operation; temporary files aside, none may change when it fails */
    const char *where[4];           /* the text of an error contains one of these (not asked of errors that only say "no memory") */
    hanse_rc (*operate)(void *user, hanse_err *err);
    void (*reopen)(void *user);     /* forget what is in memory, as if the process had died (after every second fault); NULL: nothing */
    void (*check_done)(void *user); /* the operation has its effect; NULL: the files tell nothing more */
    void (*undo)(void *user);       /* back to before, for the next kind of fault */
    const char *whole;              /* a file that may be there after a failure, but only whole: its name came, flushing the folder failed */
    bool grows;                     /* a failure may leave the start of the operation's own files: the retry goes on with them */
    void *user;
} fault_walk;

/* All kinds of faults, each once and lasting. For every k: the operation fails with the code of that kind (or succeeds, when it can
 * do without the call), its text says where, the files and databases of `dir` are as before, and a retry succeeds. Asserts. Returns how many
 * faults were met. */
unsigned long faults_walk(const fault_walk *walk);
/* The same for one kind. */
unsigned long faults_walk_kind(const fault_walk *walk, fault_kind kind);

/* What `dir` holds: names, bytes, and of databases their rows. SHA-256. Temporary files ("NAME.XXXXXX") count only when `temporary`. */
void faults_snapshot(uint8_t out[32], const char *dir, bool temporary);

/* By hand: the k-th call (from 0) of a kind fails, with `lasting` all from there on. */
void faults_arm(fault_kind kind, long k, bool lasting);
/* How many calls failed. */
unsigned long faults_disarm(void);
/* Only files whose path contains `text` are struck; NULL: all. Memory has no path. */
void faults_only(const char *text);

#endif
