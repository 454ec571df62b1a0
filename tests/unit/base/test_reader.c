#include "hanse/reader.h"

#include <setjmp.h>

#include <cmocka.h>

static const uint8_t golden[] = {0x07, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 9, 'r', 'a', 'w', 0, 0, 0, 2, 'b', 'b', 0, 0, 0, 3, 's', 't', 'r'};

static void what_is_written_is_these_bytes(void **state)
{
    hanse_buf buf = HANSE_BUF_EMPTY;
    hanse_writer w = hanse_writer_to(&buf);

    (void)state;
    hanse_write_u8(&w, 7);
    hanse_write_u32(&w, 0x102);
    hanse_write_u64(&w, 9);
    hanse_write_raw(&w, "raw", 3);
    hanse_write_bytes(&w, hanse_bytes_str("bb"));
    hanse_write_str(&w, "str");
    assert_int_equal(hanse_writer_done(&w, NULL), HANSE_OK);
    assert_int_equal(buf.len, sizeof golden);
    assert_memory_equal(buf.data, golden, sizeof golden);
    hanse_buf_clear(&buf);
    hanse_alloc_fail_at(0);
    w = hanse_writer_to(&buf);
    hanse_write_u8(&w, 1);
    hanse_alloc_fail_at(-1);
    hanse_write_u8(&w, 2); /* sticky */
    assert_int_equal(hanse_writer_done(&w, NULL), HANSE_E_NOMEM);
    assert_int_equal(buf.len, 0);
    hanse_buf_clear(&buf);
}

static hanse_rc read_all(hanse_bytes bytes, hanse_err *err)
{
    hanse_reader r = hanse_reader_of(bytes);
    char raw[3], text[4];
    hanse_bytes view;

    bool same = hanse_read_u8(&r) == 7;
    same = hanse_read_u32(&r) == 0x102 && same;
    same = hanse_read_u64(&r) == 9 && same;
    hanse_read_raw(&r, raw, 3);
    view = hanse_read_bytes(&r, 2);
    hanse_read_str(&r, text, sizeof text);
    if (hanse_reader_done(&r, "thing", err) != HANSE_OK)
        return HANSE_E_PROTOCOL;
    assert_true(same);
    assert_memory_equal(raw, "raw", 3);
    assert_int_equal(view.len, 2);
    assert_string_equal(text, "str");
    return HANSE_OK;
}

static void every_cut_and_every_rest_is_refused(void **state)
{
    uint8_t longer[sizeof golden + 1] = {0};
    hanse_err err;

    (void)state;
    assert_int_equal(read_all((hanse_bytes){golden, sizeof golden}, &err), HANSE_OK);
    for (size_t len = 0; len < sizeof golden; len++)
        assert_int_equal(read_all((hanse_bytes){golden, len}, &err), HANSE_E_PROTOCOL);
    assert_string_equal(err.text, "thing: ends too early at byte 26");
    memcpy(longer, golden, sizeof golden);
    assert_int_equal(read_all((hanse_bytes){longer, sizeof longer}, &err), HANSE_E_PROTOCOL);
    assert_string_equal(err.text, "thing: 1 bytes left over at byte 29");
    longer[28] = '\n';
    assert_int_equal(read_all((hanse_bytes){longer, sizeof golden}, &err), HANSE_E_PROTOCOL);
    longer[25] = 0xff; /* a text longer than its room */
    assert_int_equal(read_all((hanse_bytes){longer, sizeof golden}, &err), HANSE_E_PROTOCOL);
    assert_non_null(strstr(err.text, "field too long"));
}

static void the_first_failure_is_kept_and_reads_give_zeros(void **state)
{
    hanse_reader r = hanse_reader_of((hanse_bytes){golden, 3});
    uint8_t raw[2] = {1, 1};
    hanse_err err;

    (void)state;
    assert_int_equal(hanse_read_u32(&r), 0);
    assert_int_equal(hanse_read_u8(&r), 0);
    hanse_read_raw(&r, raw, 2);
    assert_int_equal(raw[0] + raw[1], 0);
    hanse_reader_fail(&r, "another");
    assert_int_equal(hanse_reader_done(&r, "x", &err), HANSE_E_PROTOCOL);
    assert_string_equal(err.text, "x: ends too early at byte 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_these_bytes),
        cmocka_unit_test(every_cut_and_every_rest_is_refused),
        cmocka_unit_test(the_first_failure_is_kept_and_reads_give_zeros),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
