#include "hanse/config.h"
#include "hanse/file.h"

#include <setjmp.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct peer {
    char name[64];
    char *path;
    uint64_t *ports;
    size_t ports_count;
} peer;

typedef struct settings {
    bool on, has_limit;
    uint32_t narrow;
    uint64_t wide, wait_ms, limit;
    double share;
    char label[8], name[16];
    char *text;
    int mode;
    struct {
        char user[16];
        uint64_t tries;
    } proxy;
    size_t sizes[3], sizes_count;
    peer *peers;
    size_t peers_count;
} settings;

static const char *const modes[] = {"slow", "fast", NULL};
static const hanse_config_field port_item = {.kind = HANSE_CONFIG_UINT, .size = sizeof(uint64_t), .min = 1, .max = 65535};
static const hanse_config_field size_item = {.kind = HANSE_CONFIG_SIZE, .size = sizeof(size_t)};
static const hanse_config_field peer_fields[] = {
    {.key = "path", .kind = HANSE_CONFIG_TEXT, .required = true, HANSE_CONFIG_AT(peer, path), .help = "where"},
    {.key = "ports", .kind = HANSE_CONFIG_LIST, HANSE_CONFIG_AT(peer, ports), .count = offsetof(peer, ports_count), .max = 4, .item = &port_item},
    {.key = NULL}};
static const hanse_config_field peer_item = {.kind = HANSE_CONFIG_MAP, .size = sizeof(peer), .fields = peer_fields};
static const hanse_config_field proxy_fields[] = {
    {.key = "user", .kind = HANSE_CONFIG_NAME, .required = true, HANSE_CONFIG_AT(settings, proxy.user)},
    {.key = "tries", .kind = HANSE_CONFIG_UINT, HANSE_CONFIG_AT(settings, proxy.tries), .max = 9, .value = "3"},
    {.key = NULL}};
static const hanse_config_field fields[] = {
    {.key = "on", .kind = HANSE_CONFIG_BOOL, HANSE_CONFIG_AT(settings, on), .value = "true", .help = "work"},
    {.key = "narrow", .kind = HANSE_CONFIG_UINT, HANSE_CONFIG_AT(settings, narrow)},
    {.key = "wide", .kind = HANSE_CONFIG_UINT, HANSE_CONFIG_AT(settings, wide)},
    {.key = "wait", .kind = HANSE_CONFIG_DURATION, HANSE_CONFIG_AT(settings, wait_ms), .min = 500, .max = 172800000, .value = "10m", .help = "patience"},
    {.key = "limit", .kind = HANSE_CONFIG_SIZE, HANSE_CONFIG_AT(settings, limit), .present = offsetof(settings, has_limit), .min = 1024, .max = 1 << 30},
    {.key = "share", .kind = HANSE_CONFIG_REAL, HANSE_CONFIG_AT(settings, share), .low = -1, .high = 1},
    {.key = "label", .kind = HANSE_CONFIG_STRING, HANSE_CONFIG_AT(settings, label)},
    {.key = "name", .kind = HANSE_CONFIG_NAME, .required = true, HANSE_CONFIG_AT(settings, name), .unit = "(short)", .help = "who"},
    {.key = "text", .kind = HANSE_CONFIG_TEXT, HANSE_CONFIG_AT(settings, text), .value = "default"},
    {.key = "mode", .kind = HANSE_CONFIG_ENUM, HANSE_CONFIG_AT(settings, mode), .names = modes, .value = "fast"},
    {.key = "proxy", .kind = HANSE_CONFIG_MAP, .fields = proxy_fields},
    {.key = "sizes", .kind = HANSE_CONFIG_ARRAY, HANSE_CONFIG_AT(settings, sizes), .count = offsetof(settings, sizes_count), .min = 1, .max = 3, .item = &size_item},
    {.key = "peers", .kind = HANSE_CONFIG_TABLE, HANSE_CONFIG_AT(settings, peers), .count = offsetof(settings, peers_count), .max = 3, .item = &peer_item},
    {.key = NULL}};

static const char full[] = "on: false\nnarrow: 4294967295\nwide: 18446744073709551615\nwait: 36h\nlimit: 1MiB\nshare: -5e-1\n"
                           "label: \"\xc3\xa4 \xe2\x82\xac\"\nname: \"n 1\"\ntext: 'it''s'\nmode: slow\nproxy:\n  user: me\n"
                           "sizes: [512, 64KiB]\npeers:\n  one: {path: /a, ports: [1, 65535]}\n  two: {path: \"/b\"}\n";

static hanse_rc parse(settings *out, const char *text, hanse_err *err)
{
    return hanse_config_parse(fields, out, sizeof *out, hanse_bytes_str(text), "f.yaml", NULL, err);
}

static void every_kind_reads(void **state)
{
    settings s;
    hanse_err err = {.rc = HANSE_OK};

    (void)state;
    if (parse(&s, full, &err) != HANSE_OK)
        fail_msg("%s", err.text);
    assert_false(s.on);
    assert_true(s.narrow == UINT32_MAX && s.wide == UINT64_MAX);
    assert_int_equal(s.wait_ms, 129600000);
    assert_int_equal(s.limit, 1 << 20);
    assert_true(s.has_limit);
    assert_true(s.share == -0.5);
    assert_string_equal(s.name, "n 1");
    assert_string_equal(s.text, "it's");
    assert_int_equal(s.mode, 0);
    assert_string_equal(s.proxy.user, "me");
    assert_int_equal(s.proxy.tries, 3);
    assert_int_equal(s.sizes_count, 2);
    assert_int_equal(s.sizes[1], 65536);
    assert_int_equal(s.peers_count, 2);
    assert_string_equal(s.peers[0].name, "one");
    assert_int_equal(s.peers[0].ports[1], 65535);
    assert_string_equal(s.peers[1].path, "/b");
    assert_int_equal(s.peers[1].ports_count, 0);
    hanse_config_clear(fields, &s);
    assert_null(s.text);
    assert_null(s.peers);
}

static void what_is_left_out_gets_its_default(void **state)
{
    settings s;

    (void)state;
    assert_int_equal(parse(&s, "name: x\n", NULL), HANSE_OK); /* user is required only inside a given proxy */
    assert_true(s.on);
    assert_false(s.has_limit);
    assert_int_equal(s.wait_ms, 600000);
    assert_string_equal(s.text, "default");
    assert_int_equal(s.mode, 1);
    assert_int_equal(s.proxy.tries, 3);
    assert_int_equal(s.peers_count, 0);
    hanse_config_clear(fields, &s);
}

static void wrong_text_is_refused_and_leaves_zeros(void **state)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"", "f.yaml:1: the text must be a map"},
        {"# only a comment\n", "the text must be a map"},
        {"name: b: c\n", "f.yaml:1: not YAML in UTF-8: "},
        {"\tname: x\n", "not YAML in UTF-8"},
        {"on: true\n", "f.yaml:1: name: missing; allowed: 1 .. 15 printable ASCII characters"},
        {"name: x\non: yes\n", "f.yaml:2: on: \"yes\" is neither true nor false; allowed: true or false"},
        {"name: x\nnarrow: 4294967296\n", "f.yaml:2: narrow: \"4294967296\" is out of range; allowed: whole number"},
        {"name: x\nwide: 18446744073709551616\n", "is no whole number"},
        {"name: x\nwide: 0x10\n", "is no whole number"},
        {"name: x\nwide: 1.0\n", "is no whole number"},
        {"name: x\nwait: 1h30m\n", "is no duration"},
        {"name: x\nwait: 30\n", "is no duration; allowed: duration (ms, s, m, h, d) 500ms .. 2d"},
        {"name: x\nwait: 99999999999999999d\n", "is no duration"},
        {"name: x\nlimit: 1MB\n", "is no size; allowed: size (KiB, MiB, GiB, TiB) 1KiB .. 1GiB"},
        {"name: x\nlimit: 100\n", "is out of range"},
        {"name: x\nshare: .inf\n", "is no finite number; allowed: number -1 .. 1"},
        {"name: x\nshare: nan\n", "is no finite number"},
        {"name: x\nshare: 1.5\n", "is out of range"},
        {"name: x\nlabel: 12345678\n", "is too long; allowed: text of 0 .. 7 bytes"},
        {"name: x\nlabel: \"\\u0085\"\n", "holds a control character"},
        {"name: x\nlabel: \"a\\0b\"\n", "holds a zero byte"},
        {"name: \"\"\n", "f.yaml:1: name: \"\" is too short"},
        {"name: ~\n", "has no value"},
        {"name: x\nmode: medium\n", "\"medium\" is unknown; allowed: one of slow, fast"},
        {"name: x\nproxy: {}\n", "f.yaml:2: proxy.user: missing"},
        {"name: x\nproxy: {user: u, tries: 10}\n", "proxy.tries: \"10\" is out of range; allowed: whole number 0 .. 9"},
        {"name: x\nproxy: [u]\n", "proxy: is a list; allowed: map"},
        {"name: x\nsizes: []\n", "sizes: 0 items are too few; allowed: list of 1 .. 3"},
        {"name: x\nsizes: [1, 2, 3, 4]\n", "sizes: too many items"},
        {"name: x\nsizes:\n  - 1\n  - x\n", "f.yaml:4: sizes[1]: \"x\" is no size"},
        {"name: x\npeers:\n  one: {path: a}\n  one: {path: b}\n", "f.yaml:4: peers: one is said twice"},
        {"name: x\npeers:\n  one: {}\n", "f.yaml:3: peers.one.path: missing"},
        {"name: x\npeers: {a: {path: p}, b: {path: p}, c: {path: p}, d: {path: p}}\n", "peers: too many items"},
        {"name: x\npeers: {a: {path: p, ports: [0]}}\n", "peers.a.ports[0]: \"0\" is out of range"},
        {"name: x\n? [a]\n: b\n", "f.yaml:2: a key must be a single word"},
        {"name: x\n\"on\\0\": true\n", "unknown key"},
        {"name: x\nname: y\n", "f.yaml:2: name: said twice"},
        {"name: x\n...\n---\nname: y\n", "one document only"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static const settings zeros;
        settings s;
        hanse_err err = {.rc = HANSE_OK};

        memset(&s, 0xa5, sizeof s);
        if (parse(&s, rows[i].text, &err) != HANSE_E_INVALID || strstr(err.text, rows[i].message) == NULL)
            fail_msg("row %zu: got \"%s\", want \"%s\"", i, err.text, rows[i].message);
        assert_memory_equal(&s, &zeros, sizeof s);
    }
}

static void failing_allocations_leave_nothing_behind(void **state)
{
    settings s;
    hanse_rc rc = HANSE_E_NOMEM;
    long k = 0;

    (void)state;
    for (; rc != HANSE_OK && k < 1000; k++) {
        hanse_alloc_fail_at(k);
        rc = parse(&s, full, NULL);
        hanse_alloc_fail_at(-1);
        assert_true(rc == HANSE_OK || rc == HANSE_E_NOMEM);
    }
    assert_int_equal(rc, HANSE_OK);
    assert_true(k > 20);
    hanse_config_clear(fields, &s);
}

static void lines_serve_checks_across_fields(void **state)
{
    settings s;
    hanse_config_where *where = NULL;
    hanse_err err;

    (void)state;
    assert_int_equal(hanse_config_parse(fields, &s, sizeof s, hanse_bytes_str(full), "f.yaml", &where, &err), HANSE_OK);
    assert_true(hanse_config_given(where, "peers.two.path"));
    assert_false(hanse_config_given(where, "peers.two.ports"));
    assert_int_equal(HANSE_CONFIG_FAIL(where, &err, "peers.two.ports", "wants %d", 1), HANSE_E_INVALID);
    assert_string_equal(err.text, "f.yaml:16: peers.two.ports: wants 1");
    (void)HANSE_CONFIG_FAIL(where, &err, "sizes[1]", "odd");
    assert_string_equal(err.text, "f.yaml:13: sizes[1]: odd");
    hanse_config_where_free(where);
    hanse_config_where_free(NULL);
    hanse_config_clear(fields, &s);
}

static void files_and_size_limits(void **state)
{
    char path[] = "/tmp/hanse-test-config-XXXXXX";
    int fd = mkstemp(path);
    settings s;
    hanse_buf large = HANSE_BUF_EMPTY;
    hanse_err err;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(hanse_file_write(path, hanse_bytes_str("name: x\nmode: z\n"), 0600, &err), HANSE_OK);
    assert_int_equal(hanse_config_load(fields, &s, sizeof s, path, &err), HANSE_E_INVALID);
    assert_memory_equal(err.text, path, strlen(path));
    close(fd);
    unlink(path);
    assert_int_equal(hanse_config_load(fields, &s, sizeof s, path, &err), HANSE_E_NOTFOUND);
    assert_int_equal(hanse_buf_reserve(&large, HANSE_CONFIG_TEXT_MAX + 1, &err), HANSE_OK);
    memset(large.data, '\n', HANSE_CONFIG_TEXT_MAX + 1);
    large.len = HANSE_CONFIG_TEXT_MAX + 1;
    assert_int_equal(hanse_config_parse(fields, &s, sizeof s, hanse_buf_bytes(&large), "f.yaml", NULL, &err), HANSE_E_INVALID);
    assert_non_null(strstr(err.text, "at most 1048576"));
    hanse_buf_clear(&large);
}

static void tables_describe_themselves(void **state)
{
    hanse_buf out = HANSE_BUF_EMPTY;

    (void)state;
    assert_int_equal(hanse_config_describe(fields, &out, NULL), HANSE_OK);
    assert_non_null(strstr((const char *)out.data, "| `wait` | duration (ms, s, m, h, d) 500ms .. 2d | `10m` | patience |\n"));
    assert_non_null(strstr((const char *)out.data, "| `name` | 1 .. 15 printable ASCII characters (short) | required | who |\n"));
    assert_non_null(strstr((const char *)out.data, "| `peers.NAME.path` |"));
    hanse_buf_clear(&out);
}

static void arguments_use_the_same_forms(void **state)
{
    uint64_t value = 7;
    double number;
    hanse_err err;

    (void)state;
    assert_int_equal(hanse_parse_duration("2h", &value, "--wait", &err), HANSE_OK);
    assert_int_equal(value, 7200000);
    assert_int_equal(hanse_parse_duration("", &value, "--wait", &err), HANSE_E_INVALID);
    assert_memory_equal(err.text, "--wait: \"\" is no duration", 25);
    assert_int_equal(hanse_parse_size("2GiB", &value, "--cap", &err), HANSE_OK);
    assert_true(value == (uint64_t)2 << 30);
    assert_int_equal(hanse_parse_uint("11", 1, 10, &value, "--round", &err), HANSE_E_INVALID);
    assert_int_equal(hanse_parse_uint("-1", 0, 10, &value, "--round", &err), HANSE_E_INVALID);
    assert_true(value == (uint64_t)2 << 30); /* untouched */
    assert_int_equal(hanse_parse_real("1e-3", &number, "--x", &err), HANSE_OK);
    assert_true(number == 0.001);
    assert_int_equal(hanse_parse_real("1e", &number, "--x", &err), HANSE_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_reads),
        cmocka_unit_test(what_is_left_out_gets_its_default),
        cmocka_unit_test(wrong_text_is_refused_and_leaves_zeros),
        cmocka_unit_test(failing_allocations_leave_nothing_behind),
        cmocka_unit_test(lines_serve_checks_across_fields),
        cmocka_unit_test(files_and_size_limits),
        cmocka_unit_test(tables_describe_themselves),
        cmocka_unit_test(arguments_use_the_same_forms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
