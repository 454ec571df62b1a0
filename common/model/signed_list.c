/* Lists of signed objects, one bin each: tickets, upload headers, signatures of a cut. */
#include "hanse/masking.h"

#include "hanse/reader.h"

#define ENTRY_MAX ((size_t)1 << 10) /* bytes of one object; the longest is a ticket, 276 */
#define SIG_ROOM 256

hanse_rc hanse_signed_list_encode(hanse_buf *out, const hanse_signed *list, size_t count, hanse_err *err)
{
    size_t before = out->len;
    hanse_writer writer = hanse_writer_to(out);
    hanse_rc rc;

    hanse_write_u32(&writer, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        hanse_write_bytes(&writer, list[i].bytes);
        hanse_write_bytes(&writer, list[i].sig);
    }
    rc = hanse_writer_done(&writer, err);
    if (rc != HANSE_OK)
        out->len = before;
    return rc;
}

hanse_rc hanse_signed_list_decode(hanse_signed **out, size_t *count, hanse_bytes in, size_t count_max, hanse_err *err)
{
    hanse_reader reader = hanse_reader_of(in);
    uint32_t entries = hanse_read_u32(&reader);
    hanse_signed *list;
    hanse_rc rc;

    if (entries > count_max || entries > reader.left.len / 8)
        hanse_reader_fail(&reader, "impossible number of entries");
    if (reader.problem != NULL)
        return hanse_reader_done(&reader, "list", err);
    list = hanse_calloc((size_t)entries + 1, sizeof *list);
    if (list == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "no memory for a list of %u", entries);
    for (uint32_t i = 0; i < entries; i++) {
        list[i].bytes = hanse_read_bytes(&reader, ENTRY_MAX);
        list[i].sig = hanse_read_bytes(&reader, SIG_ROOM);
    }
    rc = hanse_reader_done(&reader, "list", err);
    if (rc != HANSE_OK) {
        hanse_free(list);
        return rc;
    }
    *out = list;
    *count = entries;
    return HANSE_OK;
}
