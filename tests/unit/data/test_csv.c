#include "tests/unit/data/fixture.h"

#include "node/data/csv.h"

/* All records as text: fields joined by '|', records by '/'. */
static hanse_rc flatten(hanse_bytes bytes, char delimiter, char *out, size_t room, hanse_err *err)
{
    hanse_input input = hanse_input_of("x.csv", bytes);
    hanse_csv csv = {0};
    hanse_rc rc = hanse_csv_init(&csv, &input, delimiter, err);
    bool end = false;
    size_t at = 0;

    out[0] = 0;
    while (rc == HANSE_OK) {
        rc = hanse_csv_next(&csv, &end, err);
        if (rc != HANSE_OK || end)
            break;
        for (size_t i = 0; i < csv.fields_count; i++) {
            hanse_bytes f = hanse_csv_field(&csv, i);
            hanse_bytes again = hanse_csv_field(&csv, i);

            assert_int_equal(f.len, again.len);
            assert_int_equal(strlen((const char *)f.data), f.len);
            at += (size_t)snprintf(out + at, room - at, "%s%s", i > 0 ? "|" : "", (const char *)f.data);
        }
        at += (size_t)snprintf(out + at, room - at, "@%d/", (int)csv.line);
    }
    hanse_csv_clear(&csv);
    return rc;
}

static void reads(void **state)
{
    static const struct {
        const char *name, *text;
        char delimiter;
        const char *want;
    } rows[] = {
        {"plain", "a,b\n1,2\n", ',', "a|b@1/1|2@2/"},
        {"no last newline", "a,b\n1,2", ',', "a|b@1/1|2@2/"},
        {"crlf", "a,b\r\n1,2\r\n", ',', "a|b@1/1|2@2/"},
        {"byte order mark", "\xef\xbb\xbf" "a,b\n", ',', "a|b@1/"},
        {"semicolon", "a;b,c\n", ';', "a|b,c@1/"},
        {"tab", "a\tb\n", '\t', "a|b@1/"},
        {"quoted delimiter", "\"a,b\",c\n", ',', "a,b|c@1/"},
        {"quoted quote", "\"say \"\"so\"\"\",c\n", ',', "say \"so\"|c@1/"},
        {"quoted newline", "\"a\nb\",c\nd,e\n", ',', "a\nb|c@1/d|e@3/"},
        {"quoted crlf is kept", "\"a\r\nb\"\r\nd\r\n", ',', "a\r\nb@1/d@3/"},
        {"quote at the very end", "\"a\"", ',', "a@1/"},
        {"empty fields", ",,\n", ',', "||@1/"},
        {"last field empty at the end", "a,", ',', "a|@1/"},
        {"empty lines", "\n\na\n\r\n\nb\n\n", ',', "a@3/b@6/"},
        {"empty quoted is a record", "\"\"\nb\n", ',', "@1/b@2/"},
        {"blanks around", " a ,\tb\t\n", ',', "a|b@1/"},
        {"only blanks", "   , \n", ',', "|@1/"},
        {"nothing", "", ',', ""},
        {"only the mark", "\xef\xbb\xbf", ',', ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char out[256];
        hanse_err err = {0};
        hanse_rc rc = flatten(hanse_bytes_str(rows[i].text), rows[i].delimiter, out, sizeof out, &err);

        if (rc != HANSE_OK || strcmp(out, rows[i].want) != 0)
            fail_msg("%s: '%s' %s", rows[i].name, out, err.text);
    }
}

static void refuses(void **state)
{
    static const struct {
        const char *name, *text;
        size_t len;
        const char *where, *what;
    } rows[] = {
        {"nul", "a,b\nc,\0d\n", 9, "x.csv:2: column 2", "NUL"},
        {"nul in quotes", "\"\0\"", 3, "x.csv:1: column 1", "NUL"},
        {"quote inside", "a\nb,c\"d\n", 8, "x.csv:2: column 2", "quote inside"},
        {"text behind quote", "\"a\"b\n", 5, "x.csv:1: column 1", "behind the closing quote"},
        {"blank behind quote", "\"a\" ,b\n", 7, "x.csv:1: column 1", "behind the closing quote"},
        {"never closes", "a\n\"b\nc\nd", 8, "x.csv:2: column 1", "never closes"},
        {"lone cr", "a,b\rc\n", 6, "x.csv:1: column 2", "carriage return"},
        {"cr at the end", "a\r", 2, "x.csv:1: column 1", "carriage return"},
        {"utf-16", "a\0,\0b\0", 6, "x.csv:1: column 1", "UTF-8"},
    };
    hanse_err err;
    char out[256];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hanse_bytes bytes = {(const uint8_t *)rows[i].text, rows[i].len};

        err = (hanse_err){0};
        if (flatten(bytes, ',', out, sizeof out, &err) != HANSE_E_INVALID)
            fail_msg("%s: not refused (%s)", rows[i].name, out);
        assert_says(rows[i].name, &err, rows[i].where);
        assert_says(rows[i].name, &err, rows[i].what);
    }
    assert_int_equal(flatten(HANSE_BYTES_EMPTY, '"', out, sizeof out, &err), HANSE_E_INVALID);
    assert_int_equal(flatten(HANSE_BYTES_EMPTY, '\n', out, sizeof out, &err), HANSE_E_INVALID);
}

static void limits(void **state)
{
    size_t len = 3u << 20;
    char *text = malloc(len), out[8];
    hanse_err err = {0};

    (void)state;
    assert_non_null(text);
    memset(text, 'x', len);
    assert_int_equal(flatten((hanse_bytes){(uint8_t *)text, len}, ',', out, sizeof out, &err), HANSE_E_INVALID);
    assert_says("field", &err, "x.csv:1: column 1: the field is longer than 65536");
    for (size_t i = 0; i < len; i += 1000)
        text[i] = ',';
    assert_int_equal(flatten((hanse_bytes){(uint8_t *)text, len}, ',', out, sizeof out, &err), HANSE_E_INVALID);
    assert_says("record", &err, "the line is longer than 1048576");
    memset(text, ',', len);
    assert_int_equal(flatten((hanse_bytes){(uint8_t *)text, len}, ',', out, sizeof out, &err), HANSE_E_INVALID);
    assert_says("fields", &err, "x.csv:1: more than 16384 fields");
    free(text);
}

static void utf8(void **state)
{
    static const struct {
        const char *text;
        bool valid;
    } rows[] = {
        {"", true}, {"abc", true}, {"\xc3\xa9", true}, {"\xe2\x82\xac", true}, {"\xf0\x9f\x98\x80", true},
        {"\xc3", false}, {"\x80", false}, {"\xc0\x80", false}, {"\xe0\x80\x80", false}, {"\xed\xa0\x80", false},
        {"\xf4\x90\x80\x80", false}, {"\xff", false}, {"\xe9t\xe9", false}, {"\xf0\x80\x80\x80", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (hanse_utf8_is_valid(hanse_bytes_str(rows[i].text)) != rows[i].valid)
            fail_msg("row %zu", i);
}

static void allocations(void **state)
{
    const char *text = "a,b,c\n\"d\",e,f\n";
    hanse_rc rc = HANSE_E_NOMEM;
    long k = 0;

    (void)state;
    for (; rc != HANSE_OK && k < 100; k++) {
        char out[64];
        hanse_err err = {0};

        hanse_alloc_fail_at(k);
        rc = flatten(hanse_bytes_str(text), ',', out, sizeof out, &err);
        hanse_alloc_fail_at(-1);
        assert_true(rc == HANSE_OK || rc == HANSE_E_NOMEM);
    }
    assert_in_range(k, 2, 99);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads), cmocka_unit_test(refuses), cmocka_unit_test(limits),
        cmocka_unit_test(utf8),  cmocka_unit_test(allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
