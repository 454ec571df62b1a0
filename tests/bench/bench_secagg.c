/* One whole masked round of the protocol's core without network or files: what the sites do, what the coordinator does.
 * Usage: bench_secagg [SITES [WORDS [LOST_PERCENT [online|cron|sparse]]]]; defaults 10 sites, 1e5 words, nobody lost, online. All tickets are left, then
 * LOST_PERCENT of the sites vanish after they have masked, which is the dearest moment. More lost than the floors allow is possible here only.
 *
 * Client: seconds of one thread for one site's round, mean over the sites. Server: seconds of a round, key agreement and masks on all
 * cores. Whole round: everything added up, on all cores. The limit counts only what cannot be left out, at speeds measured in the same run:
 * mask streams, X25519, one verification a ticket, header and cut signature, SHA-256 and adding of what is uploaded. */
#include "hanse/digest.h"
#include "hanse/hpke.h"
#include "hanse/ring.h"
#include "hanse/secagg_graph.h"
#include "tests/support/secagg_world.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define CHUNK ((uint32_t)1 << 18)
enum { BLOCK = 16384, THREADS_MAX = 64 };

typedef enum phase { TICKET, SPEC, SEEDS, MASK, SIGN, ANSWER, CLIENT_PHASES } phase;
static const char *const phases[CLIENT_PHASES] = {"ticket", "spec", "seeds", "mask", "sign cut", "answer"};

typedef struct bench {
    world w;
    uint32_t sites, lost, threads;
    uint64_t words;
    hanse_secagg_segment segments[1];
    double client[CLIENT_PHASES], server[6];
    uint32_t *sum, *want; /* [words + sanity] */
    void *room;           /* [CHUNK] */
    uint8_t *packed;
} bench;
static bool lifted;

static void must(bool ok, const char *what, const hanse_err *err)
{
    if (!ok) {
        fprintf(stderr, "bench_secagg: %s failed%s%s\n", what, err != NULL ? ": " : "", err != NULL ? err->text : "");
        exit(5);
    }
}

/* The build wraps the check of thresholds here, and only here: more sites can be lost than the floors allow. */
typedef hanse_rc check_roster(const hanse_secagg_params *params, const hanse_secagg_policy *policy, const hanse_secagg_roster *roster, hanse_err *err);
check_roster __real_hanse_secagg_params_check_roster, __wrap_hanse_secagg_params_check_roster;
hanse_rc __wrap_hanse_secagg_params_check_roster(const hanse_secagg_params *params, const hanse_secagg_policy *policy, const hanse_secagg_roster *roster,
                                                 hanse_err *err)
{
    return lifted ? HANSE_OK : __real_hanse_secagg_params_check_roster(params, policy, roster, err);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void add(double *to, double *since)
{
    double now = now_s();
    *to += now - *since;
    *since = now;
}

/* --- what the machine allows --- */

typedef struct limits {
    double stream, agree, verify, hash, sum; /* bytes/s, s, s, bytes/s, bytes/s */
} limits;

static double best_of(double (*once)(bench *b), bench *b)
{
    double best = 1e9;

    for (int i = 0; i < 5; i++) {
        double took = once(b);
        best = took < best ? took : best;
    }
    return best;
}

static double stream_s(bench *b) /* a MiB */
{
    static uint8_t zeros[BLOCK], out[BLOCK];
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    double start = now_s();
    int n;

    (void)b;
    must(ctx != NULL && EVP_EncryptInit_ex(ctx, EVP_aes_256_ctr(), NULL, zeros, zeros) == 1, "AES-CTR", NULL);
    for (int at = 0; at < 64; at++)
        must(EVP_EncryptUpdate(ctx, out, &n, zeros, BLOCK) == 1, "AES-CTR", NULL);
    EVP_CIPHER_CTX_free(ctx);
    return now_s() - start;
}

static double agree_s(bench *b) /* 100 times, with both keys at hand */
{
    uint8_t secret[32], pub[32], out[32];
    EVP_PKEY *mine, *theirs;
    double start;

    must(hanse_x25519_keygen(secret, pub, &b->w.err) == HANSE_OK, "X25519", &b->w.err);
    mine = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, secret, 32);
    theirs = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, pub, 32);
    start = now_s();
    for (int i = 0; i < 100; i++) {
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(mine, NULL);
        size_t len = 32;
        must(EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, theirs) == 1 && EVP_PKEY_derive(ctx, out, &len) == 1, "X25519", NULL);
        EVP_PKEY_CTX_free(ctx);
    }
    start = now_s() - start;
    EVP_PKEY_free(mine);
    EVP_PKEY_free(theirs);
    return start;
}

static double verify_s(bench *b) /* 100 times */
{
    uint8_t sig[HANSE_SIG_MAX];
    size_t len;
    hanse_bytes text = hanse_bytes_str("three hundred bytes or so, of which the length hardly matters to the time that this takes");
    double start;

    must(hanse_sign_object(b->w.sites[0].key, "bench", text, sig, &len, &b->w.err) == HANSE_OK, "sign", &b->w.err);
    start = now_s();
    for (int i = 0; i < 100; i++)
        must(hanse_verify_object(b->w.sites[0].key, "bench", text, (hanse_bytes){sig, len}, &b->w.err) == HANSE_OK, "verify", &b->w.err);
    return now_s() - start;
}

static double hash_s(bench *b) /* a MiB */
{
    uint8_t out[32];
    double start = now_s();

    must(hanse_sha256(out, (hanse_bytes){b->room, (size_t)CHUNK * 4}, &b->w.err) == HANSE_OK, "SHA-256", &b->w.err);
    return now_s() - start;
}

static double sum_s(bench *b) /* a MiB of 32-bit words */
{
    uint32_t *to = b->sum, *from = b->room;
    size_t count = b->words < CHUNK ? b->words : CHUNK;
    double start = now_s();

    for (size_t i = 0; i < count; i++)
        to[i] += from[i];
    return (now_s() - start) * CHUNK / (double)count;
}

static limits measure_limits(bench *b)
{
    const double mib = (double)((size_t)1 << 20);

    return (limits){mib / best_of(stream_s, b), best_of(agree_s, b) / 100, best_of(verify_s, b) / 100, mib / best_of(hash_s, b), mib / best_of(sum_s, b)};
}

/* --- the round --- */

static bench *the_bench; /* world_round_new() has no user pointer */

static void tweak_spec(hanse_secagg_spec *spec)
{
    spec->segments = the_bench->segments;
    spec->segments_count = 1;
    spec->chunk_words = CHUNK;
}

static hanse_secagg_spec shape(bench *b)
{
    return (hanse_secagg_spec){.chunk_words = CHUNK, .segments_count = 1, .segments = b->segments};
}

static bool is_lost(const bench *b, uint32_t i)
{
    return i < b->lost;
}

/* Mask, pack and hash as a site does; the coordinator hashes and adds what survives. */
static void upload(bench *b, uint32_t i, double *since)
{
    hanse_secagg_spec spec = shape(b);
    uint64_t chunks = hanse_secagg_chunks(&spec);
    uint8_t (*leaves)[32] = hanse_calloc((size_t)chunks, sizeof *leaves), root[32];
    hanse_secagg_event event = {.kind = HANSE_SECAGG_EV_UPLOAD, .slot = 1};
    hanse_secagg_masker *masker;
    uint32_t bits = b->segments[0].bits, *words = b->room;

    must(hanse_secagg_masker_new(&masker, b->w.sites[i].site, &b->w.err) == HANSE_OK, "masker", &b->w.err);
    add(&b->client[SEEDS], since);
    for (uint64_t c = 0; c < chunks; c++) {
        hanse_secagg_chunk chunk = hanse_secagg_chunk_at(&spec, c);

        for (uint32_t k = 0; k < chunk.words; k++)
            words[k] = (uint32_t)((chunk.word + k) * 2654435761u % 1000 + i);
        if (!is_lost(b, i))
            for (uint32_t k = 0; k < chunk.words; k++)
                b->want[chunk.word + k] += words[k];
        *since = now_s();
        must(hanse_secagg_masker_apply(masker, chunk, words, &b->w.err) == HANSE_OK, "mask", &b->w.err);
        hanse_ring_pack_u32(b->packed, words, chunk.words, bits);
        must(hanse_secagg_leaf(leaves[c], (hanse_bytes){b->packed, chunk.len}, &b->w.err) == HANSE_OK, "leaf", &b->w.err);
        add(&b->client[MASK], since);
        if (is_lost(b, i))
            continue;
        must(hanse_secagg_leaf(leaves[c], (hanse_bytes){b->packed, chunk.len}, &b->w.err) == HANSE_OK, "leaf", &b->w.err);
        must(hanse_ring_unpack_add_u32(b->sum + chunk.word, (hanse_bytes){b->packed, chunk.len}, chunk.words, bits, &b->w.err) == HANSE_OK, "add", &b->w.err);
        add(&b->server[1], since);
    }
    must(hanse_secagg_merkle(root, leaves, (size_t)chunks, &b->w.err) == HANSE_OK, "root", &b->w.err);
    memcpy(event.root, root, 32);
    memcpy(b->w.sites[i].root, root, 32);
    must(world_step(&b->w, i, &event) == HANSE_OK, "upload", &b->w.err);
    hanse_secagg_masker_free(masker);
    hanse_free(leaves);
    add(&b->client[MASK], since);
    if (!is_lost(b, i)) {
        must(world_header(&b->w, i) == HANSE_OK && world_complete(&b->w, i) == HANSE_OK, "header", &b->w.err);
        add(&b->server[1], since);
    }
}

typedef struct slice {
    bench *b;
    hanse_secagg_unmasker *unmasker;
    pthread_barrier_t *barrier;
    uint32_t number;
    double agreed, ended;
} slice;

/* One worker: its part of the key agreement, then every threads-th chunk. */
static void *unmask(void *user)
{
    slice *s = user;
    bench *b = s->b;
    size_t count = hanse_secagg_unmasker_streams(s->unmasker);
    size_t from = count * s->number / b->threads, to = count * (s->number + 1) / b->threads;
    hanse_err err;

    must(hanse_secagg_unmasker_derive(s->unmasker, from, to - from, &err) == HANSE_OK, "key agreement", &err);
    (void)pthread_barrier_wait(s->barrier);
    s->agreed = now_s();
    for (uint64_t word = 0; word < b->words + HANSE_SECAGG_SANITY_WORDS; word += CHUNK) {
        uint64_t left = b->words + HANSE_SECAGG_SANITY_WORDS - word, len = left < CHUNK ? left : CHUNK;
        uint64_t first = len * s->number / b->threads / 64 * 64, last = s->number + 1 == b->threads ? len : len * (s->number + 1) / b->threads / 64 * 64;
        hanse_secagg_chunk part = {.segment = 0, .word = word + first, .words = (uint32_t)(last - first)};

        must(hanse_secagg_unmasker_apply(s->unmasker, part, b->sum + part.word, &err) == HANSE_OK, "unmask", &err);
    }
    s->ended = now_s();
    return NULL;
}

static void finish(bench *b)
{
    uint32_t *blamed = hanse_calloc(b->sites, sizeof *blamed);
    hanse_secagg_unmasker *unmasker;
    slice slices[THREADS_MAX];
    pthread_t threads[THREADS_MAX];
    pthread_barrier_t barrier;
    double since = now_s(), agreed = 0, ended = 0;

    must(hanse_secagg_round_reconstruct(b->w.round, blamed, &b->w.err) == HANSE_OK, "reconstruct", &b->w.err);
    add(&b->server[3], &since);
    must(hanse_secagg_unmasker_new(&unmasker, b->w.round, &b->w.err) == HANSE_OK, "unmasker", &b->w.err);
    must(pthread_barrier_init(&barrier, NULL, b->threads) == 0, "barrier", NULL);
    for (uint32_t i = 0; i < b->threads; i++) {
        slices[i] = (slice){.b = b, .unmasker = unmasker, .barrier = &barrier, .number = i};
        must(pthread_create(&threads[i], NULL, unmask, &slices[i]) == 0, "thread", NULL);
    }
    for (uint32_t i = 0; i < b->threads; i++) {
        must(pthread_join(threads[i], NULL) == 0, "thread", NULL);
        agreed = slices[i].agreed > agreed ? slices[i].agreed : agreed;
        ended = slices[i].ended > ended ? slices[i].ended : ended;
    }
    b->server[4] = agreed - since;
    b->server[5] = ended - agreed;
    for (uint64_t k = 0; k < b->words; k++)
        must(((b->sum[k] ^ b->want[k]) & (UINT32_MAX >> (32 - b->segments[0].bits))) == 0, "the sum", NULL);
    hanse_secagg_unmasker_free(unmasker);
    (void)pthread_barrier_destroy(&barrier);
    hanse_free(blamed);
}

static void round_of(bench *b)
{
    double since;

    the_bench = b;
    world_round_new(&b->w, 1, tweak_spec);
    for (uint32_t i = 0; i < b->sites; i++) {
        world_site *site = &b->w.sites[i];

        since = now_s();
        must(world_ticket(&b->w, i, 1) == HANSE_OK, "ticket", &b->w.err);
        add(&b->client[TICKET], &since);
        must(hanse_secagg_round_add_ticket(b->w.round, (hanse_signed){hanse_buf_bytes(&site->ticket), hanse_buf_bytes(&site->ticket_sig)},
                                           hanse_buf_bytes(&site->cts), b->w.now_ms, &b->w.err) == HANSE_OK, "ticket", &b->w.err);
        add(&b->server[0], &since);
    }
    since = now_s();
    must(hanse_secagg_round_open(b->w.round, b->w.now_ms, &b->w.err) == HANSE_OK, "open", &b->w.err);
    add(&b->server[0], &since);
    for (uint32_t i = 0; i < b->sites; i++) {
        since = now_s();
        must(world_spec(&b->w, i, true) == HANSE_OK, "spec", &b->w.err);
        add(&b->client[SPEC], &since);
        upload(b, i, &since);
    }
    since = now_s();
    must(hanse_secagg_round_cut(b->w.round, &b->w.err) == HANSE_OK, "cut", &b->w.err);
    add(&b->server[2], &since);
    for (uint32_t i = b->lost; b->w.params.profile == HANSE_SECAGG_ONLINE && i < b->sites; i++) {
        since = now_s();
        must(world_cut_of(&b->w, i, b->w.round, false) == HANSE_OK, "sign", &b->w.err);
        add(&b->client[SIGN], &since);
        must(hanse_secagg_round_add_cutsig(b->w.round, (hanse_signed){hanse_buf_bytes(&b->w.sites[i].value), hanse_buf_bytes(&b->w.sites[i].sig)},
                                           &b->w.err) == HANSE_OK, "cut signature", &b->w.err);
        add(&b->server[2], &since);
    }
    /* t answers are enough, but in a sparse graph they must be the neighbours' */
    for (uint32_t i = b->lost; i < b->sites && (b->w.params.degree > 0 || hanse_secagg_round_answers(b->w.round) < b->w.params.t); i++) {
        since = now_s();
        must(world_cut_of(&b->w, i, b->w.round, true) == HANSE_OK, "answer", &b->w.err);
        add(&b->client[ANSWER], &since);
        must(hanse_secagg_round_add_answer(b->w.round, i, hanse_buf_bytes(&b->w.sites[i].extra), &b->w.err) == HANSE_OK, "answer", &b->w.err);
        add(&b->server[3], &since);
    }
    finish(b);
}

/* --- figures --- */

static void report(bench *b, limits l)
{
    const double n = b->sites, live = b->sites - b->lost, t = b->w.params.t, d = 4.0 * (double)b->words, cores = b->threads;
    const bool online = b->w.params.profile == HANSE_SECAGG_ONLINE;
    const double k = b->w.params.degree > 0 ? b->w.params.degree : n; /* with how many a site shares masks */
    const double shares[CLIENT_PHASES] = {n, n, n, n, live, hanse_secagg_round_answers(b->w.round)};
    hanse_secagg_spec spec = shape(b);
    double up = (double)hanse_secagg_upload_len(&spec), client = 0, all = 0, server = 0;
    /* a site: n tickets, |S| headers, t cut signatures; k streams; with each neighbour a pair key, a share sealed and one opened */
    double client_limit = l.verify * (n + live + (online ? t : 0)) + l.agree * 3 * k + d * k / l.stream + up / l.hash;
    double pairs = b->lost * live * k / n; /* of a lost and a live site */
    double opening = pairs * l.agree + (live + pairs) * d / l.stream;
    double ingest = live * (up / l.hash + d / l.sum);
    double server_limit = (opening + ingest) / cores + l.verify * (n + live + (online ? live : 0) + t);

    printf("%u sites, %.0e words of %u bits, %u lost, t = %u, %s, %.0f neighbours, %u threads for the server\n", b->sites, (double)b->words,
           b->segments[0].bits, b->lost, b->w.params.t, online ? "ONLINE" : "CRON", b->w.params.degree > 0 ? k : n - 1, b->threads);
    printf("  limits measured: AES-256-CTR %.2f GB/s, X25519 %.0f us, Ed25519 verification %.0f us, SHA-256 %.2f GB/s, adding %.1f GB/s\n",
           l.stream / 1e9, 1e6 * l.agree, 1e6 * l.verify, l.hash / 1e9, l.sum / 1e9);
    printf("  a site, ms:");
    for (int i = 0; i < CLIENT_PHASES; i++) {
        all += b->client[i];
        client += b->client[i] / shares[i];
        printf(" %s %.2f", phases[i], 1e3 * b->client[i] / shares[i]);
    }
    printf("; together %.2f, limit %.2f, ratio %.2f\n", 1e3 * client, 1e3 * client_limit, client / client_limit);
    for (int i = 0; i < 6; i++)
        server += b->server[i] / (i == 1 ? cores : 1); /* uploads are checked and added by workers */
    printf("  server, ms: tickets %.2f uploads %.2f cut %.2f answers %.2f keys %.2f masks %.2f; together %.2f, limit %.2f, ratio %.2f\n", 1e3 * b->server[0],
           1e3 * b->server[1] / cores, 1e3 * b->server[2], 1e3 * b->server[3], 1e3 * b->server[4], 1e3 * b->server[5], 1e3 * server, 1e3 * server_limit,
           server / server_limit);
    printf("  whole round of all on %.0f cores: %.1f ms; %.3f bytes a parameter up (r/8 = %.3f)\n", cores, 1e3 * (all / cores + server),
           up / (double)b->words, b->segments[0].bits / 8.0);
}

static size_t argument(int argc, char **argv, int idx, size_t default_value)
{
    char *end = NULL;
    unsigned long long value = idx < argc ? strtoull(argv[idx], &end, 10) : default_value;

    if (end != NULL && *end != '\0') {
        fprintf(stderr, "bench_secagg: '%s' is no count\n", argv[idx]);
        exit(4);
    }
    return (size_t)value;
}

int main(int argc, char **argv)
{
    bench b = {.sites = (uint32_t)argument(argc, argv, 1, 10), .words = argument(argc, argv, 2, 100000)};
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    hanse_secagg_profile profile = argc > 4 && strcmp(argv[4], "cron") == 0 ? HANSE_SECAGG_CRON : HANSE_SECAGG_ONLINE;
    hanse_secagg_policy policy = {.survivors_min = 0};
    hanse_secagg_params params;
    uint64_t quanta = hanse_ring_quanta(b.sites, 3e-6);
    const double one = 1;

    b.lost = (uint32_t)(b.sites * argument(argc, argv, 3, 0) / 100);
    b.threads = (uint32_t)(cores < 1 ? 1 : cores > THREADS_MAX ? THREADS_MAX : cores);
    must(b.words > 0 && hanse_secagg_params_default(&params, b.sites, profile, &policy, &b.w.err) == HANSE_OK, "parameters", &b.w.err);
    if (argc > 4 && strcmp(argv[4], "sparse") == 0)
        must(hanse_secagg_params_sparse(&params, &b.w.err) == HANSE_OK, "sparse graph", &b.w.err);
    if (b.lost > params.d_max) {
        lifted = true;
        params.d_max = b.lost;
        params.m = b.sites - b.lost;
        params.t = params.t < params.m ? params.t : params.m;
    }
    b.segments[0] = (hanse_secagg_segment){.count = b.words, .bits = hanse_ring_bits(quanta, b.sites), .bound = quanta, .scaled = 1};
    memcpy(&b.segments[0].clip, &one, sizeof one);
    b.sum = hanse_calloc(b.words + HANSE_SECAGG_SANITY_WORDS, sizeof *b.sum);
    b.want = hanse_calloc(b.words + HANSE_SECAGG_SANITY_WORDS, sizeof *b.want);
    b.room = hanse_calloc(CHUNK, 4);
    b.packed = hanse_calloc(CHUNK, 4);
    must(b.sum != NULL && b.want != NULL && b.room != NULL && b.packed != NULL, "memory", NULL);
    world_new_with(&b.w, &params, &policy, 1);
    limits l = measure_limits(&b);
    memset(b.sum, 0, (b.words + HANSE_SECAGG_SANITY_WORDS) * sizeof *b.sum);
    round_of(&b);
    report(&b, l);
    world_free(&b.w);
    hanse_free(b.sum);
    hanse_free(b.want);
    hanse_free(b.room);
    hanse_free(b.packed);
    return 0;
}
