#include "bars.h"

#include "crypto/secagg_facts.h"
#include "crypto/secagg_round.h"
#include "hanse/ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#define MUST_WORK(call)                                                     \
    do {                                                               \
        if ((call) != HANSE_OK)                                        \
            fail_msg("line %d: %s: %s", __LINE__, #call, w->err.text); \
    } while (0)

static void must_hold(void **state)
{
    const bar *b = *state;

    assert_true(b->holds());
}

static void must_fail(void **state)
{
    const bar *b = *state;

    assert_false(b->holds());
}

int bars_main(int argc, char **argv, const bar *bars, size_t count)
{
    bool control = argc > 1 && strcmp(argv[1], "--control") == 0;
    int failed = 0;

    for (size_t k = 0; k < count; k++) {
        struct CMUnitTest one[] = {{bars[k].name, control ? must_fail : must_hold, NULL, NULL, (void *)(uintptr_t)&bars[k]}};

        failed += cmocka_run_group_tests_name(bars[k].name, one, NULL, NULL);
    }
    return failed != 0;
}

static double chi_square(const uint64_t *counts, size_t values, uint64_t samples)
{
    double expected = (double)samples / (double)values, sum = 0;

    for (size_t v = 0; v < values; v++)
        sum += ((double)counts[v] - expected) * ((double)counts[v] - expected) / expected;
    return sum;
}

bool bars_look_random(hanse_bytes bytes)
{
    uint64_t by_byte[256] = {0}, *by_word = hanse_calloc(65536, sizeof *by_word);
    double byte, word;

    assert_non_null(by_word);
    assert_true(bytes.len >= (size_t)1 << 21);
    for (size_t k = 0; k < bytes.len; k++)
        by_byte[bytes.data[k]]++;
    for (size_t k = 0; k + 1 < bytes.len; k += 2)
        by_word[bytes.data[k] | bytes.data[k + 1] << 8]++;
    byte = chi_square(by_byte, 256, bytes.len);
    word = chi_square(by_word, 65536, bytes.len / 2);
    hanse_free(by_word);
    print_message("chi^2 of bytes %.1f, of words %.1f\n", byte, word);
    return byte >= 159 && byte <= 381 && word >= 63779 && word <= 67321;
}

static void up_to_answers(world *w, uint64_t slot, uint32_t gone, uint32_t answers)
{
    w->keep_values = true;
    world_round_new(w, slot, NULL);
    for (uint32_t i = 0; i < w->n; i++)
        MUST_WORK(world_leave(w, i, slot));
    MUST_WORK(hanse_secagg_round_open(w->round, w->now_ms, &w->err));
    for (uint32_t i = 0; i < w->n; i++) {
        MUST_WORK(world_spec(w, i, true));
        if (i == gone)
            continue;
        MUST_WORK(world_mask(w, i, slot));
        MUST_WORK(world_header(w, i));
        MUST_WORK(world_complete(w, i));
    }
    MUST_WORK(hanse_secagg_round_cut(w->round, &w->err));
    for (uint32_t i = 0; i < w->n; i++)
        MUST_WORK(world_sign_cut(w, i));
    for (uint32_t i = 0; i < answers; i++)
        MUST_WORK(world_answer(w, i));
}

void bars_round_unopened(world *w, uint64_t slot, uint32_t gone)
{
    uint32_t blamed[64];

    assert_true(w->n <= sizeof blamed / sizeof blamed[0]);
    up_to_answers(w, slot, gone, w->params.t - 1);
    assert_int_not_equal(hanse_secagg_round_reconstruct(w->round, blamed, &w->err), HANSE_OK);
}

void bars_round(world *w, uint64_t slot, uint32_t gone)
{
    uint32_t blamed[64];

    assert_true(w->n <= sizeof blamed / sizeof blamed[0]);
    up_to_answers(w, slot, gone, w->n);
    MUST_WORK(hanse_secagg_round_reconstruct(w->round, blamed, &w->err));
    world_random(w, w->model_root, 32); /* the next round has another model */
}

void bars_residual(const world *w, uint64_t slot, uint32_t i, uint32_t corrupt, bool opened, uint32_t *words)
{
    const hanse_secagg_round *round = w->round;
    const hanse_secagg_spec *spec = &round->view.spec;
    uint64_t count = w->segments[0].count;
    size_t offset = 0;
    secagg_streams streams = {.masks = NULL};
    secagg_secrets secrets;
    size_t known = 0;

    assert_int_equal(secagg_secrets_from(&secrets, facts_find(w->sites[corrupt].site, slot)->seed, NULL), HANSE_OK);
    for (uint32_t j = 0; j < w->n; j++)
        known += j == corrupt || (opened && !round->cut.in[j]);
    assert_int_equal(secagg_streams_reserve(&streams, opened + known, NULL), HANSE_OK);
    if (opened)
        assert_int_equal(secagg_self_mask(&streams.masks[0], &round->view, i, round->members[i].secret, true, NULL), HANSE_OK);
    known = opened;
    for (uint32_t j = 0; j < w->n; j++) /* j's side of the pair is the opposite of what i put in */
        if (j == corrupt || (opened && !round->cut.in[j]))
            assert_int_equal(secagg_pair_mask(&streams.masks[known++], &round->view, j, j == corrupt ? secrets.sk : round->members[j].secret, i, NULL),
                             HANSE_OK);
    for (uint64_t c = 0;; c++) {
        hanse_secagg_chunk chunk = hanse_secagg_chunk_at(spec, c);
        uint32_t part[64] = {0};

        if (chunk.segment != 0)
            break;
        assert_true(chunk.words <= 64);
        assert_int_equal(hanse_ring_unpack_add_u32(part, (hanse_bytes){w->sites[i].y.data + offset, chunk.len}, chunk.words, w->segments[0].bits, NULL), HANSE_OK);
        assert_int_equal(secagg_streams_apply(&streams, spec, chunk, part, NULL), HANSE_OK);
        for (uint32_t k = 0; k < chunk.words && chunk.word + k < count; k++)
            words[chunk.word + k] = part[k] & UINT32_MAX >> (32 - w->segments[0].bits);
        offset += chunk.len;
    }
    secagg_streams_clear(&streams);
}
