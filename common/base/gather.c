#include "hanse/gather.h"

#include "hanse/file.h"

hanse_rc hanse_gather_flush(hanse_gather *gather, int fd, const char *what, hanse_err *err)
{
    hanse_rc rc = gather->len > 0 ? hanse_fd_write_at(fd, gather->room, gather->len, gather->at, what, err) : HANSE_OK;

    gather->len = 0;
    return rc;
}

hanse_rc hanse_gather_put(hanse_gather *gather, int fd, uint64_t at, hanse_bytes piece, const char *what, hanse_err *err)
{
    hanse_rc rc = HANSE_OK;

    if (gather->cap == 0)
        gather->cap = HANSE_GATHER_LEN;
    if (gather->room == NULL && (gather->room = hanse_malloc(1, gather->cap)) == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory to write %s", what);
    if (gather->at + gather->len != at)
        rc = hanse_gather_flush(gather, fd, what, err);
    for (size_t len; rc == HANSE_OK && piece.len > 0; at += len, piece.data += len, piece.len -= len) {
        if (gather->len == 0)
            gather->at = at;
        len = piece.len < gather->cap - gather->len ? piece.len : gather->cap - gather->len;
        memcpy(gather->room + gather->len, piece.data, len);
        gather->len += len;
        if (gather->len == gather->cap)
            rc = hanse_gather_flush(gather, fd, what, err);
    }
    return rc;
}

void hanse_gather_clear(hanse_gather *gather)
{
    hanse_free(gather->room);
    *gather = (hanse_gather){0};
}
