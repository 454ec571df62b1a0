#include "hanse/safetensors.h"

#include "hanse/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX 8 /* bytes of the header length */
#define FILL_FLOATS ((size_t)1 << 18)

struct hanse_model_writer {
    int fd;
    size_t data_offset;
    size_t parameters;
    bool sync;
    hanse_path temp;
    hanse_path path;
};

static atomic_long fail_countdown = -1;

void hanse_model_fail_at(long countdown)
{
    atomic_store(&fail_countdown, countdown);
}

static hanse_rc fault(const char *what, hanse_err *err)
{
    if (atomic_load_explicit(&fail_countdown, memory_order_relaxed) >= 0 && atomic_fetch_sub(&fail_countdown, 1) == 0)
        return HANSE_FAIL(err, HANSE_E_IO, "%s: failed by the test", what);
    return HANSE_OK;
}

/* Length, JSON and padding to 8 bytes: everything before the first float. */
static hanse_rc header_encode(hanse_buf *out, const hanse_layout *layout, const hanse_model_meta *meta, hanse_err *err)
{
    char run[2 * sizeof meta->run + 1], plan_hash[2 * sizeof meta->plan_hash + 1];
    uint8_t prefix[PREFIX] = {0};
    hanse_rc rc;

    hanse_hex_encode(run, meta->run, sizeof meta->run);
    hanse_hex_encode(plan_hash, meta->plan_hash, sizeof meta->plan_hash);
    rc = hanse_buf_append(out, prefix, sizeof prefix, err);
    if (rc == HANSE_OK)
        rc = hanse_buf_printf(out, err, "{\"__metadata__\":{\"run\":\"%s\",\"round\":\"%" PRIu64 "\",\"plan_hash\":\"%s\"}",
                              run, meta->round, plan_hash);
    for (size_t i = 0; i < layout->count && rc == HANSE_OK; i++) {
        const hanse_tensor *tensor = &layout->tensors[i];
        rc = hanse_buf_printf(out, err, ",\"%s\":{\"dtype\":\"F32\",\"shape\":", tensor->name);
        for (size_t d = 0; d < tensor->dims_count && rc == HANSE_OK; d++)
            rc = hanse_buf_printf(out, err, "%c%zu", d == 0 ? '[' : ',', tensor->dims[d]);
        if (rc == HANSE_OK)
            rc = hanse_buf_printf(out, err, "],\"data_offsets\":[%zu,%zu]}", 4 * tensor->offset, 4 * (tensor->offset + tensor->count));
    }
    if (rc == HANSE_OK)
        rc = hanse_buf_append(out, "}       ", 1 + (7 - out->len % 8), err);
    if (rc == HANSE_OK)
        hanse_store_u64le(out->data, out->len - PREFIX);
    return rc;
}

hanse_rc hanse_model_writer_new(hanse_model_writer **out, const char *path, const hanse_layout *layout,
                                const hanse_model_meta *meta, bool sync, hanse_err *err)
{
    hanse_buf header = HANSE_BUF_EMPTY;
    hanse_model_writer *writer;
    hanse_rc rc;

    if (layout->count == 0)
        return HANSE_FAIL(err, HANSE_E_SHAPE, "%s: a model without tensors", path);
    if (strlen(path) >= HANSE_PATH_MAX)
        return HANSE_FAIL(err, HANSE_E_INVALID, "%.64s...: path longer than %d bytes", path, HANSE_PATH_MAX - 1);
    writer = hanse_calloc(1, sizeof *writer);
    if (writer == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "%s: no memory for a model writer", path);
    writer->fd = -1;
    writer->parameters = layout->parameters;
    writer->sync = sync;
    memcpy(writer->path, path, strlen(path));

    rc = header_encode(&header, layout, meta, err);
    if (rc == HANSE_OK)
        rc = fault(path, err);
    if (rc == HANSE_OK)
        rc = hanse_file_create(&writer->fd, writer->temp, path, HANSE_MODE_PUBLIC, err);
    if (rc == HANSE_OK)
        rc = fault(path, err);
    if (rc == HANSE_OK)
        rc = hanse_fd_write_at(writer->fd, header.data, header.len, 0, writer->temp, err);
    if (rc == HANSE_OK) {
        writer->data_offset = header.len;
        *out = writer;
        writer = NULL;
    }
    hanse_buf_clear(&header);
    hanse_model_writer_free(writer);
    return rc;
}

hanse_rc hanse_model_writer_put(hanse_model_writer *writer, size_t first, const float *values, size_t count, hanse_err *err)
{
    if (first > writer->parameters || count > writer->parameters - first)
        return HANSE_FAIL(err, HANSE_E_USAGE, "%s: values %zu + %zu of %zu", writer->path, first, count, writer->parameters);
    hanse_rc rc = fault(writer->temp, err);
    if (rc != HANSE_OK)
        return rc;
    return hanse_fd_write_at(writer->fd, values, 4 * count, writer->data_offset + 4 * (uint64_t)first, writer->temp, err);
}

uint64_t hanse_model_writer_size(const hanse_model_writer *writer)
{
    return writer->data_offset + 4 * (uint64_t)writer->parameters;
}

size_t hanse_model_writer_data_offset(const hanse_model_writer *writer)
{
    return writer->data_offset;
}

hanse_rc hanse_model_writer_get(const hanse_model_writer *writer, uint64_t offset, uint8_t *bytes, size_t len, hanse_err *err)
{
    return hanse_fd_read_at(writer->fd, bytes, len, offset, writer->temp, err);
}

hanse_rc hanse_model_writer_commit(hanse_model_writer *writer, hanse_err *err)
{
    hanse_rc rc = fault(writer->path, err);
    if (rc != HANSE_OK)
        return rc;
    if (writer->sync)
        return hanse_file_commit(&writer->fd, writer->temp, writer->path, err);
    if (rename(writer->temp, writer->path) != 0)
        return HANSE_FAIL_ERRNO(err, "%s: cannot take its name", writer->path);
    (void)close(writer->fd); /* what close could report, a write without fsync does not promise */
    writer->fd = -1;
    return HANSE_OK;
}

void hanse_model_writer_free(hanse_model_writer *writer)
{
    if (writer == NULL)
        return;
    hanse_file_discard(&writer->fd, writer->temp);
    hanse_free(writer);
}

hanse_rc hanse_model_write(const char *path, const hanse_layout *layout, const hanse_model_meta *meta,
                           const float *values, bool sync, hanse_err *err)
{
    hanse_model_writer *writer = NULL;
    hanse_rc rc = hanse_model_writer_new(&writer, path, layout, meta, sync, err);

    if (rc == HANSE_OK)
        rc = hanse_model_writer_put(writer, 0, values, layout->parameters, err);
    if (rc == HANSE_OK)
        rc = hanse_model_writer_commit(writer, err);
    hanse_model_writer_free(writer);
    return rc;
}

hanse_rc hanse_model_write_initial(const char *path, const hanse_layout *layout, const hanse_model_meta *meta,
                                   uint64_t seed, bool sync, hanse_err *err)
{
    hanse_model_writer *writer = NULL;
    float *values = hanse_calloc(FILL_FLOATS, sizeof *values);
    hanse_rc rc;

    if (values == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "%s: no memory for a chunk of values", path);
    rc = hanse_model_writer_new(&writer, path, layout, meta, sync, err);
    for (size_t first = 0; first < layout->parameters && rc == HANSE_OK; first += FILL_FLOATS) {
        size_t left = layout->parameters - first, count = left < FILL_FLOATS ? left : FILL_FLOATS;
        hanse_layout_init_values(layout, seed, first, count, values);
        rc = hanse_model_writer_put(writer, first, values, count, err);
    }
    if (rc == HANSE_OK)
        rc = hanse_model_writer_commit(writer, err);
    hanse_model_writer_free(writer);
    hanse_free(values);
    return rc;
}

static hanse_rc read_header(hanse_model_file *file, hanse_buf *header, hanse_err *err)
{
    uint8_t prefix[PREFIX];
    uint64_t len;
    hanse_rc rc;

    if (file->size < PREFIX)
        return HANSE_FAIL(err, HANSE_E_INVALID, "%" PRIu64 " bytes: no safetensors file", file->size);
    rc = fault("header", err);
    if (rc == HANSE_OK)
        rc = hanse_fd_read_at(file->fd, prefix, PREFIX, 0, "header", err);
    if (rc != HANSE_OK)
        return rc;
    len = hanse_load_u64le(prefix);
    if (len < 2 || len > HANSE_MODEL_HEADER_MAX || len > file->size - PREFIX)
        return HANSE_FAIL(err, HANSE_E_INVALID, "header of %" PRIu64 " bytes in a file of %" PRIu64 " (at most %zu): no safetensors file",
                          len, file->size, HANSE_MODEL_HEADER_MAX);
    rc = hanse_buf_reserve(header, (size_t)len, err);
    if (rc == HANSE_OK)
        rc = hanse_fd_read_at(file->fd, header->data, (size_t)len, PREFIX, "header", err);
    if (rc == HANSE_OK) {
        header->len = (size_t)len;
        file->data_offset = PREFIX + (size_t)len;
    }
    return rc;
}

hanse_rc hanse_model_open(hanse_model_file *out, const char *path, hanse_err *err)
{
    hanse_model_file file = {.fd = -1};
    hanse_buf header = HANSE_BUF_EMPTY;
    struct stat info;
    hanse_rc rc = fault(path, err);

    if (rc != HANSE_OK)
        return rc;
    file.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* NONBLOCK: a pipe must not hang us; files do not care */
    if (file.fd < 0)
        return errno == ENOENT ? HANSE_FAIL(err, HANSE_E_NOTFOUND, "%s: no such model file", path) : HANSE_FAIL_ERRNO(err, "%s", path);
    if (fstat(file.fd, &info) != 0) {
        rc = HANSE_FAIL_ERRNO(err, "cannot stat");
        goto done;
    }
    if (!S_ISREG(info.st_mode)) {
        rc = HANSE_FAIL(err, HANSE_E_INVALID, "not a regular file");
        goto done;
    }
    file.size = (uint64_t)info.st_size;
    file.path = hanse_strndup(path, strlen(path));
    if (file.path == NULL) {
        rc = HANSE_FAIL(err, HANSE_E_NOMEM, "no memory");
        goto done;
    }
    rc = read_header(&file, &header, err);
    if (rc == HANSE_OK)
        rc = hanse_model_header_parse(hanse_buf_bytes(&header), file.size - file.data_offset, &file.layout, &file.meta, &file.has_meta, err);
    if (rc != HANSE_OK)
        goto done;
    *out = file;
    file = (hanse_model_file){.fd = -1};

done:
    if (rc != HANSE_OK)
        hanse_err_wrap(err, "%s", path);
    hanse_buf_clear(&header);
    hanse_model_close(&file);
    return rc;
}

hanse_rc hanse_model_read(const hanse_model_file *file, size_t first, float *values, size_t count, hanse_err *err)
{
    if (first > file->layout.parameters || count > file->layout.parameters - first)
        return HANSE_FAIL(err, HANSE_E_USAGE, "%s: values %zu + %zu of %zu", file->path, first, count, file->layout.parameters);
    hanse_rc rc = fault(file->path, err);
    if (rc != HANSE_OK)
        return rc;
    return hanse_fd_read_at(file->fd, values, 4 * count, file->data_offset + 4 * (uint64_t)first, file->path, err);
}

void hanse_model_close(hanse_model_file *file)
{
    if (file == NULL)
        return;
    if (file->fd >= 0)
        (void)close(file->fd);
    hanse_layout_clear(&file->layout);
    hanse_free(file->path);
    *file = (hanse_model_file){.fd = -1};
}
