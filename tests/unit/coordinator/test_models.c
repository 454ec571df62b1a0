/* Which models of a run stay on disk, and that nothing goes while a backup holds the folder. */
#include "coordinator/store/models.h"

#include "tests/unit/coordinator/fixture.h"

#include <fcntl.h>
#include <inttypes.h>

static const uint8_t run_id[16] = {0xab, 0xcd};

static void make(const char *dir, const char *name)
{
    hanse_path path;
    int fd;

    (void)snprintf(path, sizeof path, "%s/models/abcd0000000000000000000000000000", dir);
    assert_int_equal(hanse_dir_make(path, HANSE_MODE_DIR, NULL), HANSE_OK);
    (void)snprintf(path, sizeof path, "%s/models/abcd0000000000000000000000000000/%s", dir, name);
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static bool is_there(const char *dir, const char *name)
{
    hanse_path path;

    (void)snprintf(path, sizeof path, "%s/models/abcd0000000000000000000000000000/%s", dir, name);
    return hanse_file_exists(path);
}

static void make_models(const char *dir, uint64_t count)
{
    char name[64];

    for (uint64_t round = 0; round < count; round++) {
        (void)snprintf(name, sizeof name, "%" PRIu64 ".safetensors", round);
        make(dir, name);
    }
}

static void test_kept(void **state)
{
    static const char *const others[] = {"01.safetensors", "+1.safetensors", "1.safetensors.aB3xY9", "notes"};
    char name[64];

    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        make(*state, others[i]);
    make_models(*state, 17); /* of rounds 0 to 16, of which the last is not published yet */
    hanse_models_drop(*state, run_id, 15, 3);
    for (uint64_t round = 0; round < 17; round++) {
        (void)snprintf(name, sizeof name, "%" PRIu64 ".safetensors", round);
        assert_int_equal(is_there(*state, name), round == 0 || round == 3 || round >= 6);
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_true(is_there(*state, others[i]));
    hanse_models_drop(*state, run_id, 15, 9); /* the best one was not the best after all */
    assert_false(is_there(*state, "3.safetensors"));
}

static void test_held(void **state)
{
    int first, second;

    assert_int_equal(hanse_models_hold(&first, *state, NULL), HANSE_OK);
    assert_int_equal(first, -1); /* no folder yet */
    make_models(*state, 12);
    assert_int_equal(hanse_models_hold(&first, *state, NULL), HANSE_OK);
    assert_int_equal(hanse_models_hold(&second, *state, NULL), HANSE_OK);
    close(first);
    hanse_models_drop(*state, run_id, 11, 11);
    assert_true(is_there(*state, "1.safetensors"));
    close(second);
    hanse_models_drop(*state, run_id, 11, 11);
    assert_false(is_there(*state, "1.safetensors"));
    assert_true(is_there(*state, "2.safetensors"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_kept, dir_setup, dir_teardown),
                                       cmocka_unit_test_setup_teardown(test_held, dir_setup, dir_teardown)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
