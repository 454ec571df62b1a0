/* IDX (http://yann.lecun.com/exdb/mnist/): big-endian header, then bytes; pictures and labels are read side by side. */
#include "node/data/input.h"
#include "node/data/rows.h"

#include <inttypes.h>

enum { MAGIC_PICTURES = 0x803, MAGIC_LABELS = 0x801 };

static uint32_t load_u32be(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* magic and dims[dims_count] */
static hanse_rc read_header(hanse_input *input, uint32_t magic, uint32_t *dims, size_t dims_count, hanse_err *err)
{
    uint8_t bytes[16];
    size_t len = 4 + 4 * dims_count, got = 0;
    hanse_rc rc = hanse_input_read(input, bytes, len, &got, err);

    if (rc != HANSE_OK)
        return rc;
    if (got < len)
        return HANSE_FAIL(err, HANSE_E_INVALID, "%s: %zu bytes, shorter than an IDX header", input->path, got);
    if (load_u32be(bytes) != magic)
        return HANSE_FAIL(err, HANSE_E_INVALID, "%s: magic number 0x%08" PRIx32 ", want 0x%08" PRIx32 " (%s)", input->path,
                          load_u32be(bytes), magic, magic == MAGIC_PICTURES ? "pictures of bytes" : "labels of bytes");
    for (size_t i = 0; i < dims_count; i++)
        dims[i] = load_u32be(bytes + 4 + 4 * i);
    return HANSE_OK;
}

static hanse_rc check_end(hanse_input *input, uint32_t count, hanse_err *err)
{
    uint8_t byte;
    size_t got = 0;
    hanse_rc rc = hanse_input_read(input, &byte, 1, &got, err);

    if (rc == HANSE_OK && got != 0)
        rc = HANSE_FAIL(err, HANSE_E_INVALID, "%s: bytes behind the last of %" PRIu32 " items", input->path, count);
    return rc;
}

static hanse_rc read_item(hanse_input *input, uint8_t *out, size_t len, uint64_t line, uint32_t count, hanse_err *err)
{
    size_t got = 0;
    hanse_rc rc = hanse_input_read(input, out, len, &got, err);

    if (rc == HANSE_OK && got < len)
        rc = HANSE_FAIL(err, HANSE_E_INVALID, "%s: ends in item %" PRIu64 " of %" PRIu32 "; copy it again", input->path,
                        line, count);
    return rc;
}

/* pixels: [pixels_count] and the label behind them, so that the seeded split hashes both. */
static hanse_rc read_pairs(hanse_loader *loader, hanse_input *pictures, hanse_input *labels, uint32_t count,
                           uint8_t *pixels, size_t pixels_count, hanse_err *err)
{
    float scale[256];
    hanse_part part;

    for (int i = 0; i < 256; i++)
        scale[i] = (float)i / 255.0f;
    for (uint64_t line = 1; line <= count; line++) {
        hanse_rc rc = read_item(pictures, pixels, pixels_count, line, count, err);

        if (rc == HANSE_OK && labels != NULL)
            rc = read_item(labels, pixels + pixels_count, 1, line, count, err);
        if (rc == HANSE_OK && pixels[pixels_count] >= loader->plan->data.classes_count)
            rc = HANSE_FAIL(err, HANSE_E_INVALID, "%s: label %" PRIu64 " is %u, the plan has classes 0..%zu", labels->path,
                            line, pixels[pixels_count], loader->plan->data.classes_count - 1);
        if (rc == HANSE_OK)
            rc = hanse_loader_part(loader, line, (hanse_bytes){pixels, pixels_count + 1}, &part, err);
        if (rc == HANSE_OK && part != HANSE_PART_SPLIT) {
            for (size_t i = 0; i < pixels_count; i++)
                loader->row[i] = scale[pixels[i]];
            rc = hanse_loader_push(loader, part, pixels[pixels_count], line, 0, err);
        }
        if (rc != HANSE_OK)
            return rc;
    }
    return HANSE_OK;
}

hanse_rc hanse_load_idx(hanse_loader *loader, hanse_input *pictures, hanse_input *labels, hanse_err *err)
{
    const hanse_plan *plan = loader->plan;
    size_t pixels_count = plan->data.rows * plan->data.cols;
    uint32_t dims[3], labels_count = 0;
    uint8_t *pixels = NULL;
    hanse_rc rc = read_header(pictures, MAGIC_PICTURES, dims, 3, err);

    if (rc == HANSE_OK && (dims[1] != plan->data.rows || dims[2] != plan->data.cols))
        rc = HANSE_FAIL(err, HANSE_E_INVALID, "%s: pictures of %" PRIu32 " x %" PRIu32 " pixels, the plan wants %zu x %zu",
                        pictures->path, dims[1], dims[2], plan->data.rows, plan->data.cols);
    if (rc == HANSE_OK && labels != NULL)
        rc = read_header(labels, MAGIC_LABELS, &labels_count, 1, err);
    if (rc == HANSE_OK && labels != NULL && labels_count != dims[0])
        rc = HANSE_FAIL(err, HANSE_E_INVALID, "%s: %" PRIu32 " labels for the %" PRIu32 " pictures of %s", labels->path,
                        labels_count, dims[0], pictures->path);
    if (rc != HANSE_OK)
        return rc;
    pixels = hanse_calloc(pixels_count + 1, 1);
    if (pixels == NULL)
        return HANSE_FAIL(err, HANSE_E_NOMEM, "%s: out of memory", pictures->path);
    rc = read_pairs(loader, pictures, labels, dims[0], pixels, pixels_count, err);
    if (rc == HANSE_OK)
        rc = check_end(pictures, dims[0], err);
    if (rc == HANSE_OK && labels != NULL)
        rc = check_end(labels, dims[0], err);
    hanse_wipe(pixels, pixels_count + 1);
    hanse_free(pixels);
    return rc;
}
