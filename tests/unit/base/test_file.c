#include "hanse/clock.h"
#include "hanse/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/hanse-test-file-XXXXXX");
    return mkdtemp(dir) == NULL;
}

static int tear_down(void **state)
{
    hanse_path path;
    const char *const names[] = {"a", "p", "lock", "x/y/z", "x/y", "x", "."};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (hanse_path_join(path, dir, names[i], NULL) == HANSE_OK && unlink(path) != 0)
            (void)rmdir(i + 1 == sizeof names / sizeof names[0] ? dir : path);
    return 0;
}

static const char *in_dir(const char *name)
{
    static hanse_path path;

    assert_int_equal(hanse_path_join(path, dir, name, NULL), HANSE_OK);
    return path;
}

static size_t entries(void)
{
    DIR *open_dir = opendir(dir);
    size_t count = 0;

    assert_non_null(open_dir);
    while (readdir(open_dir) != NULL)
        count++;
    closedir(open_dir);
    return count - 2;
}

static void files_are_written_whole_with_their_mode(void **state)
{
    hanse_buf content = HANSE_BUF_EMPTY;
    struct stat info;
    hanse_err err;
    mode_t old = umask(0);

    (void)state;
    assert_int_equal(hanse_file_write(in_dir("a"), hanse_bytes_str("one"), HANSE_MODE_SECRET, &err), HANSE_OK);
    assert_int_equal(stat(in_dir("a"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(hanse_file_write(in_dir("a"), hanse_bytes_str("second"), HANSE_MODE_PUBLIC, &err), HANSE_OK);
    assert_int_equal(stat(in_dir("a"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0644);
    umask(old);
    assert_int_equal(hanse_file_read(&content, in_dir("a"), 6, &err), HANSE_OK);
    assert_string_equal((const char *)content.data, "second");
    assert_int_equal(hanse_file_read(&content, in_dir("a"), 5, &err), HANSE_E_INVALID);
    assert_int_equal(hanse_file_read(&content, in_dir("b"), 5, &err), HANSE_E_NOTFOUND);
    assert_int_equal(hanse_file_read(&content, dir, 5, &err), HANSE_E_INVALID);
    assert_int_equal(mkfifo(in_dir("p"), 0600), 0);
    assert_int_equal(hanse_file_read(&content, in_dir("p"), 5, &err), HANSE_E_INVALID); /* and returns at once */
    hanse_alloc_fail_at(0);
    assert_int_equal(hanse_file_read(&content, in_dir("a"), 6, &err), HANSE_E_NOMEM);
    hanse_alloc_fail_at(-1);
    assert_string_equal((const char *)content.data, "second"); /* untouched by all of them */
    hanse_buf_clear(&content);
    assert_int_equal(hanse_file_write(in_dir("none/a"), hanse_bytes_str("x"), 0600, &err), HANSE_E_IO);
    assert_int_equal(entries(), 2); /* no temporary file stays */
}

static void a_piecewise_file_appears_at_its_commit(void **state)
{
    hanse_path temp;
    hanse_err err;
    char data[4];
    int fd;

    (void)state;
    assert_int_equal(hanse_file_create(&fd, temp, in_dir("a"), 0600, &err), HANSE_OK);
    assert_int_equal(hanse_fd_write_at(fd, "cd", 2, 2, "a", &err), HANSE_OK);
    assert_int_equal(hanse_fd_write_at(fd, "ab", 2, 0, "a", &err), HANSE_OK);
    assert_int_equal(hanse_fd_read_at(fd, data, 4, 0, "a", &err), HANSE_OK);
    assert_memory_equal(data, "abcd", 4);
    assert_int_equal(hanse_fd_read_at(fd, data, 4, 1, "a", &err), HANSE_E_CORRUPT);
    assert_int_equal(hanse_fd_read_at(fd, data, 4, UINT64_MAX, "a", &err), HANSE_E_CORRUPT);
    assert_false(hanse_file_exists(in_dir("a")));
    assert_int_equal(hanse_file_commit(&fd, temp, in_dir("a"), &err), HANSE_OK);
    assert_int_equal(fd, -1);
    assert_true(hanse_file_exists(in_dir("a")));
    assert_int_equal(hanse_file_create(&fd, temp, in_dir("a"), 0600, &err), HANSE_OK);
    hanse_file_discard(&fd, temp);
    hanse_file_discard(&fd, temp);
    assert_int_equal(entries(), 1);
}

static void directories_and_paths(void **state)
{
    hanse_path path, longest;
    struct stat info;
    hanse_err err;

    (void)state;
    assert_int_equal(hanse_dir_make(in_dir("x/y/z"), 0700, &err), HANSE_OK);
    assert_int_equal(hanse_dir_make(in_dir("x/y/z"), 0700, &err), HANSE_OK);
    assert_int_equal(stat(in_dir("x/y"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    assert_int_equal(hanse_file_write(in_dir("a"), HANSE_BYTES_EMPTY, 0600, &err), HANSE_OK);
    assert_int_equal(hanse_dir_make(in_dir("a/b"), 0700, &err), HANSE_E_IO);
    assert_int_equal(hanse_dir_make("", 0700, &err), HANSE_E_INVALID);
    assert_int_equal(hanse_path_join(path, "d/", "n", &err), HANSE_OK);
    assert_string_equal(path, "d/n");
    assert_int_equal(hanse_path_join(path, "d", "/n", &err), HANSE_OK);
    assert_string_equal(path, "/n");
    assert_int_equal(hanse_path_join(path, "", "n", &err), HANSE_OK);
    assert_string_equal(path, "n");
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(hanse_path_join(path, "d", longest, &err), HANSE_E_INVALID);
}

static void one_lock_a_directory_and_it_dies_with_its_process(void **state)
{
    int fd = -1, second = -1, status;
    hanse_err err;
    pid_t child;

    (void)state;
    assert_int_equal(hanse_lock_try(&fd, dir, &err), HANSE_OK);
    assert_int_equal(hanse_lock_try(&second, dir, &err), HANSE_E_LOCKED);
    hanse_lock_release(&fd);
    assert_int_equal(fd, -1);
    child = fork();
    if (child == 0) /* ends without releasing */
        _exit(hanse_lock_try(&second, dir, &err) == HANSE_OK ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(hanse_lock_try(&fd, dir, &err), HANSE_OK);
    hanse_lock_release(&fd);
}

static void times(void **state)
{
    char text[HANSE_TIME_LEN];
    uint64_t before_us = hanse_clock_mono_us();

    (void)state;
    hanse_clock_format_ms(text, 0);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    hanse_clock_format_ms(text, 1795464006123);
    assert_string_equal(text, "2026-11-23T20:00:06.123Z");
    hanse_clock_format_ms(text, UINT64_MAX);
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
    assert_true(hanse_clock_mono_us() >= before_us);
    assert_true(hanse_clock_wall_ms() > 1700000000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_are_written_whole_with_their_mode, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_piecewise_file_appears_at_its_commit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(directories_and_paths, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_lock_a_directory_and_it_dies_with_its_process, set_up, tear_down),
        cmocka_unit_test(times),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
