/* secagg_again.h - what comes of a decode, encoded: NAME_again() for each object of masked rounds. */
#ifndef HANSE_TESTS_SECAGG_AGAIN_H
#define HANSE_TESTS_SECAGG_AGAIN_H

#include "hanse/secagg_object.h"

typedef hanse_rc secagg_again(hanse_buf *out, hanse_bytes in, hanse_err *err);

#define AGAIN(name, clear)                                                               \
    static hanse_rc name##_again(hanse_buf *out, hanse_bytes in, hanse_err *err)         \
    {                                                                                    \
        hanse_secagg_##name object;                                                      \
        hanse_rc rc = hanse_secagg_##name##_decode(&object, in, err);                    \
        if (rc != HANSE_OK)                                                              \
            return rc;                                                                   \
        rc = hanse_secagg_##name##_encode(out, &object, err);                            \
        clear;                                                                           \
        return rc;                                                                       \
    }
AGAIN(epoch, (void)0)
AGAIN(ticket, (void)0)
AGAIN(spec, hanse_secagg_spec_clear(&object))
AGAIN(upload, (void)0)
AGAIN(cut, hanse_secagg_cut_clear(&object))
AGAIN(cutsig, (void)0)
AGAIN(answer, hanse_secagg_answer_clear(&object))
AGAIN(dead, (void)0)
#undef AGAIN

#endif
