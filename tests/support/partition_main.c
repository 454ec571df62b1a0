/* partition - cuts an IDX data set into the parts of N sites, for benchmarks.
 *
 *   partition iid|dirichlet|shards VALUE SITES SEED IMAGES LABELS OUT-PREFIX
 *
 * VALUE: dirichlet: alpha, each class shared out by Dirichlet(alpha); shards: K shards a site out of SITES*K, after a sort
 * by label; iid: ignored (also for a test set). Writes OUT-PREFIX-I-images.idx and -labels.idx for site I from 0. */
#include "hanse/bytes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

enum { CLASSES = 256, SITES_MAX = 1000 };

static uint64_t rng_state;

static uint64_t draw(void) /* splitmix64 */
{
    uint64_t z = rng_state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double uniform(void)
{
    return ((double)(draw() >> 11) + 0.5) * 0x1p-53;
}

static double draw_normal(void)
{
    return sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform());
}

/* Marsaglia and Tsang 2000; a < 1 by a boost of the uniform. */
static double draw_gamma(double a)
{
    double boost = 1, d, c;

    if (a < 1) {
        boost = pow(uniform(), 1 / a);
        a += 1;
    }
    d = a - 1.0 / 3;
    c = 1 / sqrt(9 * d);
    for (;;) {
        double x = draw_normal(), v = 1 + c * x;

        v = v * v * v;
        if (v > 0 && log(uniform()) < 0.5 * x * x + d - d * v + d * log(v))
            return boost * d * v;
    }
}

static void shuffle(uint32_t *items, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        size_t k = (size_t)(draw() % i);
        uint32_t item = items[i - 1];

        items[i - 1] = items[k];
        items[k] = item;
    }
}

static void die(const char *what, const char *which)
{
    fprintf(stderr, "partition: %s: %s\n", which, what);
    exit(4);
}

/* The whole IDX file; *count items of *item_len bytes behind a header of header_len. */
static uint8_t *slurp(const char *path, size_t header_len, uint8_t kind, uint32_t *count, size_t *item_len)
{
    gzFile gz = gzopen(path, "rb");
    uint8_t header[16], *items;
    uint32_t words[4] = {0};
    int want;

    if (gz == NULL || gzread(gz, header, (unsigned)header_len) != (int)header_len)
        die("cannot read", path);
    for (size_t i = 0; i < header_len; i++)
        words[i / 4] = words[i / 4] << 8 | header[i];
    if (words[0] != (0x800u | kind))
        die("wrong magic number", path);
    *count = words[1];
    *item_len = kind == 3 ? (size_t)words[2] * words[3] : 1;
    if (*item_len == 0 || *item_len > 1 << 20 || *count > (1u << 30) / *item_len)
        die("too large", path);
    want = (int)(*count * *item_len);
    items = hanse_calloc(*count, *item_len);
    if (items == NULL || gzread(gz, items, (unsigned)want) != want)
        die("cut off, or out of memory", path);
    gzclose(gz);
    return items;
}

/* order: sorted by label; site_of[row] by shares of each class. */
static void assign_dirichlet(uint32_t *site_of, const uint32_t *order, const uint8_t *labels, size_t count, size_t sites,
                             double alpha)
{
    double shares[SITES_MAX];

    for (size_t from = 0, to; from < count; from = to) {
        double sum = 0, until = 0;
        size_t at = from;

        for (to = from; to < count && labels[order[to]] == labels[order[from]]; to++)
            ;
        for (size_t s = 0; s < sites; s++)
            sum += shares[s] = draw_gamma(alpha);
        for (size_t s = 0; s < sites; s++) {
            until += shares[s] / sum * (double)(to - from);
            while (at < to && (s + 1 == sites || (double)(at - from) < until))
                site_of[order[at++]] = (uint32_t)s;
        }
    }
}

static void assign_shards(uint32_t *site_of, const uint32_t *order, size_t count, size_t sites, size_t shards)
{
    uint32_t *owners = hanse_calloc(sites * shards, sizeof *owners);

    if (owners == NULL)
        die("out of memory", "shards");
    for (size_t i = 0; i < sites * shards; i++)
        owners[i] = (uint32_t)(i / shards);
    shuffle(owners, sites * shards);
    for (size_t i = 0; i < count; i++)
        site_of[order[i]] = owners[i * sites * shards / count];
    hanse_free(owners);
}

static void write_site(const char *prefix, size_t site, const char *what, const uint32_t *order, const uint32_t *site_of,
                       size_t count, const uint8_t *items, size_t item_len, uint8_t kind, size_t side)
{
    char path[4096];
    uint32_t mine = 0, words[4];
    FILE *file;

    for (size_t i = 0; i < count; i++)
        mine += site_of[i] == site;
    snprintf(path, sizeof path, "%s-%zu-%s.idx", prefix, site, what);
    file = fopen(path, "wb");
    if (file == NULL)
        die("cannot create", path);
    words[0] = 0x800u | kind;
    words[1] = mine;
    words[2] = (uint32_t)side;
    words[3] = (uint32_t)(item_len / side);
    for (size_t i = 0; i < (kind == 3 ? 16u : 8u); i++)
        fputc((int)(words[i / 4] >> (24 - 8 * (i % 4)) & 0xff), file);
    for (size_t i = 0; i < count; i++)
        if (site_of[order[i]] == site)
            fwrite(items + order[i] * item_len, 1, item_len, file);
    if (ferror(file) || fclose(file) != 0)
        die("cannot write", path);
    if (kind == 1)
        printf("site %zu: %u rows\n", site, mine);
}

int main(int argc, char **argv)
{
    uint32_t count, labels_count, *order, *shuffled, *site_of;
    size_t pixels, one, sites, at = 0, side = 1;
    uint8_t *images, *labels;

    if (argc != 8) {
        fprintf(stderr, "usage: partition iid|dirichlet|shards VALUE SITES SEED IMAGES LABELS OUT-PREFIX\n");
        return 4;
    }
    sites = strtoul(argv[3], NULL, 10);
    if (sites < 1 || sites > SITES_MAX)
        die("want 1..1000", "SITES");
    rng_state = strtoull(argv[4], NULL, 10);
    images = slurp(argv[5], 16, 3, &count, &pixels);
    labels = slurp(argv[6], 8, 1, &labels_count, &one);
    if (count != labels_count || count == 0)
        die("another number of labels than of images, or none", argv[6]);
    while (side * side < pixels)
        side++;
    if (side * side != pixels)
        die("the pictures are not square", argv[5]);
    order = hanse_calloc(count, sizeof *order);
    shuffled = hanse_calloc(count, sizeof *shuffled);
    site_of = hanse_calloc(count, sizeof *site_of);
    if (order == NULL || shuffled == NULL || site_of == NULL)
        die("out of memory", argv[5]);
    for (uint32_t i = 0; i < count; i++)
        shuffled[i] = i;
    shuffle(shuffled, count);
    for (unsigned class = 0; class < CLASSES; class++) /* by label, shuffled within */
        for (size_t i = 0; i < count; i++)
            if (labels[shuffled[i]] == class)
                order[at++] = shuffled[i];
    if (strcmp(argv[1], "iid") == 0) {
        for (size_t i = 0; i < count; i++)
            site_of[shuffled[i]] = (uint32_t)(i * sites / count);
    } else if (strcmp(argv[1], "dirichlet") == 0 && strtod(argv[2], NULL) > 0) {
        assign_dirichlet(site_of, order, labels, count, sites, strtod(argv[2], NULL));
    } else if (strcmp(argv[1], "shards") == 0 && strtoul(argv[2], NULL, 10) - 1 < 1000) {
        assign_shards(site_of, order, count, sites, strtoul(argv[2], NULL, 10));
    } else {
        die("want iid, dirichlet ALPHA or shards K", argv[1]);
    }
    for (size_t s = 0; s < sites; s++) {
        write_site(argv[7], s, "images", shuffled, site_of, count, images, pixels, 3, side);
        write_site(argv[7], s, "labels", shuffled, site_of, count, labels, 1, 1, 1);
    }
    hanse_free(images);
    hanse_free(labels);
    hanse_free(order);
    hanse_free(shuffled);
    hanse_free(site_of);
    return 0;
}
