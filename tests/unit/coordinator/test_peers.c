/* Connections and log lines an address. */
#include "coordinator/server/peers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

static hanse_peer_address of(const char *words)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } at = {0};
    char text[HANSE_PEER_TEXT_MAX];

    if (inet_pton(AF_INET, words, &at.v4.sin_addr) == 1)
        at.any.sa_family = AF_INET;
    else if (inet_pton(AF_INET6, words, &at.v6.sin6_addr) == 1)
        at.any.sa_family = AF_INET6;
    else
        at.any.sa_family = AF_UNIX;
    return hanse_peer_address_of(&at.any, text);
}

static bool same(const char *a, const char *b)
{
    hanse_peer_address left = of(a), right = of(b);

    return left.known == right.known && memcmp(left.bytes, right.bytes, 16) == 0;
}

static void test_addresses(void **state)
{
    (void)state;
    assert_true(same("10.0.0.1", "10.0.0.1"));
    assert_false(same("10.0.0.1", "10.0.0.2"));
    assert_true(same("10.0.0.1", "::ffff:10.0.0.1"));
    assert_true(same("2001:db8:0:1::1", "2001:db8:0:1:ffff::2"));
    assert_false(same("2001:db8:0:1::1", "2001:db8:0:2::1"));
    assert_false(same("unix", "0.0.0.0"));
    assert_false(same("unix", "::"));
}

static const hanse_peers_limits limits = {.connections = 4, .per_address = 2, .per_second = 10};

static void test_connections(void **state)
{
    hanse_peer_address a = of("10.0.0.1"), b = of("10.0.0.2"), c = of("2001:db8::1");
    hanse_peers *peers = NULL;

    (void)state;
    assert_int_equal(hanse_peers_new(&peers, &limits, 0, NULL), HANSE_OK);
    assert_true(hanse_peers_enter(peers, &a, 0));
    assert_true(hanse_peers_enter(peers, &a, 0));
    assert_false(hanse_peers_enter(peers, &a, 0)); /* this address is full */
    assert_true(hanse_peers_enter(peers, &b, 0));
    hanse_peers_leave(peers, &a);
    assert_true(hanse_peers_enter(peers, &a, 0));
    assert_true(hanse_peers_enter(peers, &c, 0));
    assert_false(hanse_peers_enter(peers, &b, 0)); /* all together are */
    assert_int_equal(hanse_peers_connections(peers), 4);
    hanse_peers_leave(peers, &c);
    assert_true(hanse_peers_enter(peers, &b, 0));
    hanse_peers_free(peers);
}

/* One that connects and leaves, again and again: two at once, and then ten a second. Another address is none the worse. */
static void test_arrivals(void **state)
{
    hanse_peer_address a = of("10.0.0.1"), b = of("10.0.0.2");
    hanse_peers *peers = NULL;
    unsigned taken = 0;

    (void)state;
    assert_int_equal(hanse_peers_new(&peers, &limits, 0, NULL), HANSE_OK);
    for (uint64_t ms = 0; ms < 10000; ms++)
        if (hanse_peers_admit(peers, &a, ms)) {
            assert_true(hanse_peers_enter(peers, &a, ms));
            hanse_peers_leave(peers, &a);
            taken++;
        }
    assert_int_equal(taken, 2 + 99); /* one more at .1 s, .2 s, ... 9.9 s */
    assert_true(hanse_peers_admit(peers, &b, 10000));
    hanse_peers_free(peers);
}

static void test_allowance(void **state)
{
    hanse_allowance bucket = {3, 1000};

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_true(hanse_allowance_take(&bucket, 3, 100, 1000));
    assert_false(hanse_allowance_take(&bucket, 3, 100, 1099));
    assert_true(hanse_allowance_take(&bucket, 3, 100, 1100));
    assert_false(hanse_allowance_take(&bucket, 3, 100, 1100));
    for (int i = 0; i < 3; i++) /* never more than the burst */
        assert_true(hanse_allowance_take(&bucket, 3, 100, 1000000));
    assert_false(hanse_allowance_take(&bucket, 3, 100, 1000000));
    assert_false(hanse_allowance_take(&bucket, 3, 100, 500)); /* a clock that is set back gives nothing, */
    assert_true(hanse_allowance_take(&bucket, 3, 100, 600));  /* and takes nothing for long */
}

/* What is logged and what is summed up is together what was refused. */
static void test_lines(void **state)
{
    hanse_peer_address a = of("10.0.0.1"), b = of("10.0.0.2");
    char text[HANSE_PEER_TEXT_MAX];
    uint64_t lines = 0, sum = 0, skipped = 0, count;
    hanse_peers *peers = NULL;

    (void)state;
    assert_int_equal(hanse_peers_new(&peers, &limits, 0, NULL), HANSE_OK);
    for (uint64_t ms = 0; ms < 60000; ms += 10)
        if (hanse_peers_may_log(peers, &a, ms, &skipped)) {
            lines++;
            sum += skipped;
        }
    assert_int_equal(lines, HANSE_PEER_LINES_BURST + 9); /* one more at 6 s, 12 s, .. 54 s */
    assert_true(hanse_peers_may_log(peers, &b, 60000, &skipped)); /* another address is not held back */
    assert_int_equal(skipped, 0);
    assert_false(hanse_peers_unlogged(peers, 60000, text, &count));
    assert_true(hanse_peers_unlogged(peers, 70000, text, &count));
    assert_string_equal(text, "10.0.0.1");
    assert_int_equal(lines + sum + count, 6000);
    assert_false(hanse_peers_unlogged(peers, 170000, text, &count));
    hanse_peers_free(peers);
}

/* Thousands of addresses: the table does not grow, all together are held back, and nothing is lost from the count. */
static void test_crowd(void **state)
{
    char words[64], text[HANSE_PEER_TEXT_MAX];
    uint64_t lines = 0, sum = 0, skipped, count;
    hanse_peers *peers = NULL;

    (void)state;
    assert_int_equal(hanse_peers_new(&peers, &limits, 0, NULL), HANSE_OK);
    for (unsigned i = 0; i < 5000; i++) {
        hanse_peer_address from;

        (void)snprintf(words, sizeof words, "10.1.%u.%u", i / 250, i % 250);
        from = of(words);
        if (hanse_peers_may_log(peers, &from, 1, &skipped)) {
            lines++;
            sum += skipped;
        }
    }
    assert_int_equal(lines, HANSE_PEERS_LINES_BURST);
    for (unsigned i = 0; i < 5; i++) { /* they keep nobody out */
        hanse_peer_address from;

        (void)snprintf(words, sizeof words, "10.3.0.%u", i);
        from = of(words);
        assert_int_equal(hanse_peers_admit(peers, &from, 2), i < 4);
        assert_int_equal(hanse_peers_enter(peers, &from, 2), i < 4);
    }
    for (unsigned i = 0; i < 4; i++) {
        hanse_peer_address from;

        (void)snprintf(words, sizeof words, "10.3.0.%u", i);
        from = of(words);
        hanse_peers_leave(peers, &from);
    }
    for (uint64_t ms = 0; ms < 10000000; ms += 1000)
        while (hanse_peers_unlogged(peers, ms, text, &count))
            sum += count;
    assert_int_equal(lines + sum, 5000);
    for (unsigned i = 0; i < 2000; i++) { /* quiet addresses make room for others */
        hanse_peer_address from;

        (void)snprintf(words, sizeof words, "10.2.%u.%u", i / 250, i % 250);
        from = of(words);
        assert_int_equal(hanse_peers_enter(peers, &from, 20000000 + i), i < 4);
    }
    hanse_peers_free(peers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_addresses), cmocka_unit_test(test_connections), cmocka_unit_test(test_arrivals),
                                       cmocka_unit_test(test_allowance), cmocka_unit_test(test_lines), cmocka_unit_test(test_crowd)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
