/* A model on its way here: only the one that was signed gets its name, whatever the coordinator sends in its place. */
#include "node/fetch.h"
#include "tests/unit/coordinator/fixture.h"

#include "hanse/model_root.h"

enum { REST = 1000, CHUNKS = 3 };
#define SIZE ((CHUNKS - 1) * HANSE_MODEL_CHUNK + REST)
#define PIECE ((size_t)100000)

static uint8_t *model; /* [SIZE] */
static uint8_t digests[CHUNKS][32], root[32];
static hanse_path path; /* the name that only the whole, right model gets */
static hanse_err err;

#define GOOD(call)                                                    \
    do {                                                              \
        if ((call) != HANSE_OK)                                       \
            fail_msg("line %d: %s: %s", __LINE__, #call, err.text);   \
    } while (0)

static hanse_bytes chunk_of(const uint8_t *bytes, size_t i)
{
    return (hanse_bytes){bytes + i * HANSE_MODEL_CHUNK, i + 1 < CHUNKS ? HANSE_MODEL_CHUNK : REST};
}

static int setup(void **state)
{
    model = hanse_malloc(1, SIZE);
    if (model == NULL || dir_setup(state) != 0 || chdir(*state) != 0 || mkdir("work", 0700) != 0)
        return -1;
    for (size_t i = 0; i < SIZE; i++)
        model[i] = (uint8_t)(i * i >> 7);
    for (size_t i = 0; i < CHUNKS; i++)
        GOOD(hanse_sha256(digests[i], chunk_of(model, i), &err));
    GOOD(hanse_model_root_of_digests(root, SIZE, digests[0], &err));
    return 0;
}

static int teardown(void **state)
{
    hanse_free(model);
    return dir_teardown(state);
}

/* FETCH is sent: what is there already is `held` chunks. */
static hanse_node_fetch begin(const char *dir, size_t held)
{
    hanse_node_fetch fetch = {.fd = -1};
    bool whole = true;

    GOOD(hanse_node_fetch_begin(&fetch, dir, root, SIZE, &whole, &err));
    assert_false(whole);
    assert_int_equal(fetch.next, held);
    memcpy(path, fetch.path, sizeof path);
    return fetch;
}

static void announce(hanse_node_fetch *fetch)
{
    GOOD(hanse_node_fetch_announced(fetch, &(hanse_msg_model){.transfer = 1, .size = SIZE, .chunks = CHUNKS}, &err));
}

/* One chunk as it comes: head, pieces, end. */
static hanse_rc feed(hanse_node_fetch *fetch, size_t i, hanse_bytes payload, const uint8_t digest[32], bool *whole)
{
    const hanse_msg_chunk chunk = {.transfer = 1, .index = i, .digest = {digest, 32}, .payload = payload};

    GOOD(hanse_node_fetch_head(fetch, &chunk, &err));
    for (size_t at = 0; at < payload.len; at += PIECE)
        GOOD(hanse_node_fetch_data(fetch, at, (hanse_bytes){payload.data + at, payload.len - at < PIECE ? payload.len - at : PIECE}, &err));
    return hanse_node_fetch_end(fetch, &chunk, whole, &err);
}

static void take(hanse_node_fetch *fetch, size_t from, size_t to)
{
    bool whole = false;

    for (size_t i = from; i < to; i++)
        GOOD(feed(fetch, i, chunk_of(model, i), digests[i], &whole));
    assert_int_equal(whole, to == CHUNKS);
    assert_int_equal(hanse_file_exists(path), to == CHUNKS);
}

/* After a break in any chunk: what came whole is not sent again, but for the last of it. */
static void test_gone_on_with(void **state)
{
    hanse_node_fetch fetch = begin(*state, 0);
    bool whole = false;

    announce(&fetch);
    take(&fetch, 0, 2);
    hanse_node_fetch_stop(&fetch);
    fetch = begin(*state, 1);
    announce(&fetch);
    take(&fetch, 1, CHUNKS);
    assert_false(fetch.active);
    GOOD(hanse_node_fetch_begin(&fetch, *state, root, SIZE, &whole, &err));
    assert_true(whole);
    GOOD(hanse_model_root_check(root, path, &err));
    assert_int_equal(unlink(path), 0);
    hanse_node_fetch_stop(&fetch);
}

/* A byte that changed on its way: seen with the chunk's last byte, and the chunk comes again. */
static void test_chunk_without_its_digest(void **state)
{
    for (size_t i = 0; i < CHUNKS; i++) {
        hanse_node_fetch fetch = begin(*state, 0);
        hanse_bytes right = chunk_of(model, i);
        uint8_t *wrong = hanse_malloc(1, right.len);
        bool whole = true;

        assert_non_null(wrong);
        memcpy(wrong, right.data, right.len);
        wrong[right.len - 1] ^= 1;
        announce(&fetch);
        take(&fetch, 0, i);
        assert_int_equal(feed(&fetch, i, (hanse_bytes){wrong, right.len}, digests[i], &whole), HANSE_E_AUTH);
        assert_non_null(strstr(err.text, "does not have its digest"));
        assert_false(whole);
        assert_false(hanse_file_exists(path));
        hanse_free(wrong);
        hanse_node_fetch_stop(&fetch); /* as the end of the connection does */
        fetch = begin(*state, i + 1 < CHUNKS ? i : i - 1);
        announce(&fetch);
        take(&fetch, (size_t)fetch.next, CHUNKS);
        assert_int_equal(unlink(path), 0);
        hanse_node_fetch_stop(&fetch);
    }
}

/* Every chunk has its digest, and it is another model: nothing of it is kept. */
static void test_another_model(void **state)
{
    uint8_t *other = hanse_malloc(1, SIZE), digest[32];
    hanse_node_fetch fetch = begin(*state, 0);
    bool whole = true;

    assert_non_null(other);
    memcpy(other, model, SIZE);
    other[7] ^= 0x80;
    announce(&fetch);
    for (size_t i = 0; i < CHUNKS; i++) {
        GOOD(hanse_sha256(digest, chunk_of(other, i), &err));
        if (i + 1 < CHUNKS)
            GOOD(feed(&fetch, i, chunk_of(other, i), digest, &whole));
        else
            assert_int_equal(feed(&fetch, i, chunk_of(other, i), digest, &whole), HANSE_E_AUTH);
    }
    assert_string_equal(err.text, "the model that came is not the one that was signed");
    assert_false(whole);
    hanse_free(other);
    fetch = begin(*state, 0);
    assert_false(hanse_file_exists(path));
    hanse_node_fetch_stop(&fetch);
}

/* Sizes and places that were not asked for. */
static void test_out_of_turn(void **state)
{
    static const hanse_msg_model models[] = {
        {.transfer = 1, .size = 0, .chunks = 0},
        {.transfer = 1, .size = SIZE + 1, .chunks = CHUNKS},
        {.transfer = 1, .size = SIZE, .chunks = CHUNKS + 1},
        {.transfer = 1, .size = SIZE, .chunks = CHUNKS - 1},
        {.transfer = 1, .size = UINT64_MAX, .chunks = CHUNKS},
    };
    const struct { uint32_t transfer; uint64_t index; size_t len, digest_len; } chunks[] = {
        {2, 0, HANSE_MODEL_CHUNK, 32},     {1, 1, HANSE_MODEL_CHUNK, 32}, {1, UINT64_MAX, HANSE_MODEL_CHUNK, 32},
        {1, 0, HANSE_MODEL_CHUNK - 1, 32}, {1, 0, REST, 32},              {1, 0, HANSE_MODEL_CHUNK, 0},
    };
    hanse_node_fetch fetch = begin(*state, 0);

    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        assert_int_equal(hanse_node_fetch_announced(&fetch, &models[i], &err), HANSE_E_PROTOCOL);
    assert_int_equal(hanse_node_fetch_head(&fetch, &(hanse_msg_chunk){.transfer = 1, .digest = {digests[0], 32}, .payload = chunk_of(model, 0)}, &err),
                     HANSE_E_PROTOCOL); /* before MODEL */
    announce(&fetch);
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        const hanse_msg_chunk chunk = {.transfer = chunks[i].transfer, .index = chunks[i].index, .digest = {digests[0], chunks[i].digest_len},
                                       .payload = {model, chunks[i].len}};

        assert_int_equal(hanse_node_fetch_head(&fetch, &chunk, &err), HANSE_E_PROTOCOL);
    }
    take(&fetch, 0, CHUNKS); /* nothing of it did harm */
    assert_int_equal(unlink(path), 0);
    hanse_node_fetch_stop(&fetch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gone_on_with),
        cmocka_unit_test(test_chunk_without_its_digest),
        cmocka_unit_test(test_another_model),
        cmocka_unit_test(test_out_of_turn),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
