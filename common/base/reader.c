#include "hanse/reader.h"

static void put(hanse_writer *writer, const void *data, size_t len)
{
    if (writer->rc == HANSE_OK)
        writer->rc = hanse_buf_append(writer->out, data, len, NULL);
}

static void put_uint(hanse_writer *writer, uint64_t value, unsigned len)
{
    uint8_t bytes[8];

    for (unsigned i = 0; i < len; i++)
        bytes[i] = (uint8_t)(value >> (8 * (len - 1 - i)));
    put(writer, bytes, len);
}

void hanse_write_u8(hanse_writer *writer, uint8_t value)
{
    put_uint(writer, value, 1);
}

void hanse_write_u32(hanse_writer *writer, uint32_t value)
{
    put_uint(writer, value, 4);
}

void hanse_write_u64(hanse_writer *writer, uint64_t value)
{
    put_uint(writer, value, 8);
}

void hanse_write_raw(hanse_writer *writer, const void *data, size_t len)
{
    put(writer, data, len);
}

void hanse_write_bytes(hanse_writer *writer, hanse_bytes bytes)
{
    if (bytes.len > UINT32_MAX && writer->rc == HANSE_OK)
        writer->rc = HANSE_E_USAGE;
    put_uint(writer, bytes.len, 4);
    put(writer, bytes.data, bytes.len);
}

void hanse_write_str(hanse_writer *writer, const char *text)
{
    hanse_write_bytes(writer, hanse_bytes_str(text));
}

hanse_rc hanse_writer_done(const hanse_writer *writer, hanse_err *err)
{
    if (writer->rc == HANSE_OK)
        return HANSE_OK;
    if (writer->rc == HANSE_E_USAGE)
        return HANSE_FAIL(err, writer->rc, "a field is longer than 4 GiB");
    return HANSE_FAIL(err, writer->rc, "no memory for more than %zu bytes", writer->out->len);
}

void hanse_reader_fail(hanse_reader *reader, const char *problem)
{
    if (reader->problem == NULL)
        reader->problem = problem;
}

hanse_bytes hanse_read_view(hanse_reader *reader, size_t len)
{
    hanse_bytes view;

    if (reader->problem == NULL && len > reader->left.len)
        reader->problem = "ends too early";
    if (reader->problem != NULL || len == 0)
        return HANSE_BYTES_EMPTY;
    view = (hanse_bytes){reader->left.data, len};
    reader->left.data += len;
    reader->left.len -= len;
    reader->at += len;
    return view;
}

static uint64_t read_uint(hanse_reader *reader, size_t len)
{
    hanse_bytes view = hanse_read_view(reader, len);
    uint64_t value = 0;

    for (size_t i = 0; i < view.len; i++)
        value = value << 8 | view.data[i];
    return value;
}

uint8_t hanse_read_u8(hanse_reader *reader)
{
    return (uint8_t)read_uint(reader, 1);
}

uint32_t hanse_read_u32(hanse_reader *reader)
{
    return (uint32_t)read_uint(reader, 4);
}

uint64_t hanse_read_u64(hanse_reader *reader)
{
    return read_uint(reader, 8);
}

void hanse_read_raw(hanse_reader *reader, void *out, size_t len)
{
    hanse_bytes view = hanse_read_view(reader, len);

    if (view.len == len && len > 0)
        memcpy(out, view.data, len);
    else if (len > 0)
        memset(out, 0, len);
}

hanse_bytes hanse_read_bytes(hanse_reader *reader, size_t len_max)
{
    uint32_t len = hanse_read_u32(reader);

    if (len > len_max)
        hanse_reader_fail(reader, "field too long");
    return hanse_read_view(reader, len);
}

void hanse_read_str(hanse_reader *reader, char *out, size_t room)
{
    hanse_bytes text = hanse_read_bytes(reader, room - 1);

    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < 0x20 || text.data[i] == 0x7f)
            hanse_reader_fail(reader, "control character in text");
    if (reader->problem != NULL)
        text.len = 0;
    if (text.len > 0)
        memcpy(out, text.data, text.len);
    out[text.len] = '\0';
}

hanse_rc hanse_reader_done(const hanse_reader *reader, const char *what, hanse_err *err)
{
    if (reader->problem != NULL)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "%s: %s at byte %zu", what, reader->problem, reader->at);
    if (reader->left.len > 0)
        return HANSE_FAIL(err, HANSE_E_PROTOCOL, "%s: %zu bytes left over at byte %zu", what, reader->left.len, reader->at);
    return HANSE_OK;
}
