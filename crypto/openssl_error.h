/* openssl_error.h - the library's error queue as a hanse_err. Inside crypto/ only. */
#ifndef HANSE_CRYPTO_OPENSSL_ERROR_H
#define HANSE_CRYPTO_OPENSSL_ERROR_H

#include "hanse/error.h"

/* "<what>: <oldest reason in the thread's queue>"; empties the queue, so that no later TLS call trips over it.
 * An allocation failure becomes NOMEM whatever `rc` says. */
#define HANSE_FAIL_OPENSSL(err, rc, what) hanse_openssl_fail((err), (rc), __FILE__, __LINE__, (what))
hanse_rc hanse_openssl_fail(hanse_err *err, hanse_rc rc, const char *file, int line, const char *what);

#endif
