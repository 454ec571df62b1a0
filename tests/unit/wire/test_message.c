/* Every kind there and back, against msgpack-c's own reader, and a table of what must be refused. */
#include "hanse/cursor.h"
#include "hanse/message.h"

#include <msgpack.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static uint8_t blob[1100000];

static hanse_bytes bin(size_t len)
{
    return (hanse_bytes){blob, len};
}

/* A message of each kind with all its fields set. */
static hanse_message sample(hanse_kind kind)
{
    hanse_message m = {.kind = kind};
    hanse_bytes text = hanse_bytes_str("h\xc3\xb6rt"), code = hanse_bytes_str("policy");

    switch (kind) {
    case HANSE_HELLO: m.hello = (hanse_msg_hello){1, text, 1u << 31}; break;
    case HANSE_WELCOME: m.welcome = (hanse_msg_welcome){1, text, UINT64_MAX, text, bin(900)}; break;
    case HANSE_ENROL: m.enrol = (hanse_msg_enrol){1, {7}, bin(300), bin(70)}; break;
    case HANSE_ENROLLED: m.enrolled = (hanse_msg_enrolled){bin(1), bin(8192), bin(300)}; break;
    case HANSE_OFFER: m.offer = (hanse_msg_offer){bin(180), bin(64), bin(2000), bin(70000), bin(72)}; break;
    case HANSE_ANSWER: m.answer = (hanse_msg_answer){{1, 2}, true, code, text}; break;
    case HANSE_SPEC: m.spec = (hanse_msg_spec){bin(200), bin(70), bin(0)}; break;
    case HANSE_FETCH: m.fetch = (hanse_msg_fetch){{3}, {4}, 200}; break;
    case HANSE_MODEL: m.model = (hanse_msg_model){9, 1ull << 33, 1 << 13}; break;
    case HANSE_CHUNK: m.chunk = (hanse_msg_chunk){UINT32_MAX, UINT64_MAX, bin(32), bin(HANSE_PAYLOAD_MAX)}; break;
    case HANSE_UPLOAD: m.upload = (hanse_msg_signed){bin(250), bin(71)}; break;
    case HANSE_RESUME: m.resume = (hanse_msg_resume){1, 2}; break;
    case HANSE_RECEIPT: m.receipt = (hanse_msg_signed){bin(104), bin(70)}; break;
    case HANSE_REJECT: m.reject = (hanse_msg_refusal){{5}, 6, 7, code, text}; break;
    case HANSE_DECLINE: m.decline = (hanse_msg_refusal){{5}, 128, 65536, code, HANSE_BYTES_EMPTY}; break;
    case HANSE_RESULT: m.result = (hanse_msg_signed){bin(400), bin(70)}; break;
    case HANSE_ERROR: m.error = (hanse_msg_error){code, text}; break;
    case HANSE_BYE: m.bye = (hanse_msg_bye){text}; break;
    case HANSE_EPOCH: m.epoch = (hanse_msg_signed){bin(84), bin(64)}; break;
    case HANSE_PEERS: m.peers = (hanse_msg_peers){{5}, 6, bin(700)}; break;
    case HANSE_TICKET: m.ticket = (hanse_msg_ticket){bin(320), bin(64), bin(320)}; break;
    case HANSE_MASKS: m.masks = (hanse_msg_masks){bin(700), bin(70), bin(1600), bin(320)}; break;
    case HANSE_MASKED_UPLOAD: m.masked_upload = (hanse_msg_signed){bin(160), bin(64)}; break;
    case HANSE_CUT: m.cut = (hanse_msg_cut){bin(93), bin(64), bin(900), bin(4)}; break;
    case HANSE_CUTSIG: m.cutsig = (hanse_msg_cutsig){{5}, 6, bin(96), bin(64)}; break;
    case HANSE_SHARES: m.shares = (hanse_msg_shares){{5}, 6, bin(400)}; break;
    case HANSE_ASK_DEAD: m.ask_dead = (hanse_msg_ask_dead){{5}, 6}; break;
    case HANSE_DEAD: m.dead = (hanse_msg_signed){bin(56), bin(64)}; break;
    case HANSE_ABORT: m.abort = (hanse_msg_abort){{5}, 6, bin(500)}; break;
    case HANSE_RENEW: m.renew = (hanse_msg_renew){bin(300), bin(70)}; break;
    case HANSE_RENEWED: m.renewed = (hanse_msg_renewed){bin(0), bin(0), bin(300), text}; break;
    case HANSE_KINDS_END: break;
    }
    return m;
}

static hanse_way sender(hanse_kind kind)
{
    return hanse_kind_way(kind) == HANSE_FROM_COORDINATOR ? HANSE_FROM_COORDINATOR : HANSE_FROM_NODE;
}

static void test_round_trip(void **state)
{
    (void)state;
    for (int kind = HANSE_HELLO; kind < HANSE_KINDS_END; kind++) {
        hanse_message in = sample((hanse_kind)kind), out = {0};
        hanse_buf once = HANSE_BUF_EMPTY, twice = HANSE_BUF_EMPTY;
        hanse_err err = {0};
        msgpack_unpacked other;
        size_t at = 0;
        uint8_t *exact;

        print_message("%s\n", hanse_kind_name((hanse_kind)kind));
        assert_int_equal(hanse_message_encode(&once, &in, &err), HANSE_OK);
        assert_true(once.len <= hanse_kind_len_max((hanse_kind)kind));
        assert_true(hanse_kind_len_max((hanse_kind)kind) <= HANSE_MESSAGE_MAX);
        exact = malloc(once.len);
        assert_non_null(exact);
        memcpy(exact, once.data, once.len);
        if (hanse_message_decode(&out, (hanse_bytes){exact, once.len}, sender((hanse_kind)kind), &err) != HANSE_OK)
            fail_msg("%s", err.text);
        assert_int_equal(out.kind, kind);
        assert_int_equal(hanse_message_encode(&twice, &out, &err), HANSE_OK);
        assert_true(hanse_bytes_equal(hanse_buf_bytes(&once), hanse_buf_bytes(&twice)));
        /* The other implementation sees one array of the same kind and nothing behind it. */
        msgpack_unpacked_init(&other);
        assert_int_equal(msgpack_unpack_next(&other, (const char *)exact, once.len, &at), MSGPACK_UNPACK_SUCCESS);
        assert_int_equal(at, once.len);
        assert_int_equal(other.data.type, MSGPACK_OBJECT_ARRAY);
        assert_int_equal(other.data.via.array.ptr[0].via.u64, kind);
        msgpack_unpacked_destroy(&other);
        /* Cut anywhere it is no message, and one byte more is none either. */
        for (size_t len = 0; len < once.len; len += len < 600 ? 1 : 9973)
            assert_int_equal(hanse_message_decode(&out, (hanse_bytes){exact, len}, sender((hanse_kind)kind), NULL), HANSE_E_PROTOCOL);
        assert_int_equal(hanse_buf_append(&once, "", 1, NULL), HANSE_OK);
        assert_int_equal(hanse_message_decode(&out, hanse_buf_bytes(&once), sender((hanse_kind)kind), NULL), HANSE_E_PROTOCOL);
        if (hanse_kind_way((hanse_kind)kind) != HANSE_BOTH_WAYS)
            assert_int_equal(hanse_message_decode(&out, (hanse_bytes){exact, once.len - 1},
                                                  HANSE_BOTH_WAYS - sender((hanse_kind)kind), NULL), HANSE_E_PROTOCOL);
        free(exact);
        hanse_buf_clear(&once);
        hanse_buf_clear(&twice);
    }
}

static void test_values(void **state)
{
    hanse_message in = sample(HANSE_REJECT), out;
    hanse_buf buf = HANSE_BUF_EMPTY;
    (void)state;

    assert_int_equal(hanse_message_encode(&buf, &in, NULL), HANSE_OK);
    assert_int_equal(hanse_message_decode(&out, hanse_buf_bytes(&buf), HANSE_FROM_COORDINATOR, NULL), HANSE_OK);
    assert_memory_equal(out.reject.run, in.reject.run, 16);
    assert_int_equal(out.reject.round, 6);
    assert_int_equal(out.reject.attempt, 7);
    assert_true(hanse_bytes_equal(out.reject.code, hanse_bytes_str("policy")));
    assert_true(hanse_bytes_equal(out.reject.reason, in.reject.reason));
    hanse_buf_clear(&buf);
}

#define ROW(name, bytes) {name, bytes, sizeof bytes - 1}
#define ID16 "\xc4\x10" "0123456789abcdef"
#define H32 "\xc4\x20" "0123456789abcdef0123456789abcdef"

static void test_malformed(void **state)
{
    static const struct {
        const char *name, *bytes;
        size_t len;
    } rows[] = {
        ROW("nothing", ""),
        ROW("no array", "\x01"),
        ROW("empty array", "\x90"),
        ROW("array32 of 2^32-1", "\xdd\xff\xff\xff\xff"),
        ROW("array16 of 65535", "\xdc\xff\xff\x12"),
        ROW("map", "\x82\x12\xa0"),
        ROW("kind 0", "\x92\x00\xa0"),
        ROW("kind 19", "\x92\x13\xa0"),
        ROW("kind 2^64-1", "\x92\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa0"),
        ROW("negative kind", "\x92\xff\xa0"),
        ROW("kind as str", "\x92\xa1\x12\xa0"),
        ROW("kind as signed", "\x92\xd0\x12\xa0"),
        ROW("BYE without field", "\x91\x12"),
        ROW("BYE with two", "\x93\x12\xa0\xa0"),
        ROW("BYE with bin", "\x92\x12\xc4\x00"),
        ROW("BYE with nil", "\x92\x12\xc0"),
        ROW("BYE with ext", "\x92\x12\xd4\x01\x01"),
        ROW("BYE with never-used 0xc1", "\x92\x12\xc1"),
        ROW("BYE with float", "\x92\x12\xca\x00\x00\x00\x00"),
        ROW("BYE str cut", "\x92\x12\xa5hal"),
        ROW("BYE str8 without length", "\x92\x12\xd9"),
        ROW("BYE str16 cut length", "\x92\x12\xda\x00"),
        ROW("BYE str32 of 4 GiB", "\x92\x12\xdb\xff\xff\xff\xff" "abc"),
        ROW("BYE with newline", "\x92\x12\xa3" "a\nb"),
        ROW("BYE with zero", "\x92\x12\xa3" "a\0b"),
        ROW("BYE with escape", "\x92\x12\xa4" "\x1b[2J"),
        ROW("BYE with DEL", "\x92\x12\xa1\x7f"),
        ROW("BYE with C1 control", "\x92\x12\xa2\xc2\x9b"),
        ROW("BYE overlong UTF-8", "\x92\x12\xa2\xc0\xaf"),
        ROW("BYE overlong UTF-8 of three", "\x92\x12\xa3\xe0\x80\xaf"),
        ROW("BYE surrogate", "\x92\x12\xa3\xed\xa0\x80"),
        ROW("BYE above U+10FFFF", "\x92\x12\xa4\xf4\x90\x80\x80"),
        ROW("BYE lone continuation", "\x92\x12\xa1\x80"),
        ROW("BYE cut UTF-8", "\x92\x12\xa1\xc3"),
        ROW("BYE and another", "\x92\x12\xa0\x92\x12\xa0"),
        ROW("ERROR code of 17", "\x93\x11\xb1" "12345678901234567" "\xa0"),
        ROW("HELLO u64 protocol", "\x94\x01\xcf\x00\x00\x00\x01\x00\x00\x00\x00\xa0\x00"),
        ROW("HELLO negative time", "\x94\x01\x01\xa0\xd3\xff\xff\xff\xff\xff\xff\xff\xff"),
        ROW("HELLO bool protocol", "\x94\x01\xc3\xa0\x00"),
        ROW("FETCH run of 15", "\x94\x08\xc4\x0f" "123456789abcdef" H32 "\x00"),
        ROW("FETCH root of 16", "\x94\x08" ID16 ID16 "\x00"),
        ROW("ANSWER bool 1", "\x95\x06" ID16 "\x01\xa0\xa0"),
        ROW("UPLOAD empty header", "\x93\x0b\xc4\x00\xc4\x00"),
        ROW("CHUNK digest of 31", "\x95\x0a\x01\x00\xc4\x1f" "0123456789abcdef0123456789abcde" "\xc4\x01x"),
        ROW("CHUNK without payload", "\x95\x0a\x01\x00\xc4\x00\xc4\x00"),
        ROW("CHUNK payload 2^32-1", "\x95\x0a\x01\x00\xc4\x00\xc6\xff\xff\xff\xff"),
        ROW("nested arrays", "\x92\x12\x91\x91\x91\x91\x91\x91\x91\x91"),
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t *exact = malloc(rows[i].len + 1);
        hanse_message out = {.kind = HANSE_KINDS_END};
        hanse_err err = {0};

        assert_non_null(exact);
        memcpy(exact, rows[i].bytes, rows[i].len);
        print_message("%s\n", rows[i].name);
        for (int from = HANSE_FROM_NODE; from <= HANSE_FROM_COORDINATOR; from++)
            assert_int_equal(hanse_message_decode(&out, (hanse_bytes){exact, rows[i].len}, (hanse_way)from, &err), HANSE_E_PROTOCOL);
        assert_int_equal(out.kind, HANSE_KINDS_END);
        assert_true(strlen(err.text) > 0);
        free(exact);
    }
}

static void test_encode_refuses(void **state)
{
    hanse_buf out = HANSE_BUF_EMPTY;
    hanse_message m = sample(HANSE_UPLOAD);
    uint8_t long_reason[600];
    hanse_message back;
    (void)state;

    assert_int_equal(hanse_buf_append(&out, "x", 1, NULL), HANSE_OK);
    m.upload.sig.len = 63;
    assert_int_equal(hanse_message_encode(&out, &m, NULL), HANSE_E_USAGE);
    m = sample(HANSE_HELLO);
    m.hello.software = hanse_bytes_str("a\tb");
    assert_int_equal(hanse_message_encode(&out, &m, NULL), HANSE_E_USAGE);
    m.kind = (hanse_kind)77;
    assert_int_equal(hanse_message_encode(&out, &m, NULL), HANSE_E_USAGE);
    for (long k = 0; k < 2; k++) {
        hanse_buf fresh = HANSE_BUF_EMPTY;

        m = sample(HANSE_ENROLLED);
        hanse_alloc_fail_at(k);
        assert_int_equal(hanse_message_encode(&fresh, &m, NULL), HANSE_E_NOMEM);
        hanse_alloc_fail_at(-1);
        assert_int_equal(fresh.len, 0);
        hanse_buf_clear(&fresh);
    }
    assert_int_equal(out.len, 1);
    /* Any error text travels: cut at a character, controls replaced. */
    for (size_t i = 0; i < sizeof long_reason; i++)
        long_reason[i] = i % 2 == 0 ? 0xc3 : 0xa4;
    long_reason[0] = '\n';
    long_reason[1] = 'a';
    m = (hanse_message){.kind = HANSE_BYE, .bye.reason = {long_reason, sizeof long_reason}};
    out.len = 0;
    assert_int_equal(hanse_message_encode(&out, &m, NULL), HANSE_OK);
    assert_int_equal(hanse_message_decode(&back, hanse_buf_bytes(&out), HANSE_FROM_NODE, NULL), HANSE_OK);
    assert_int_equal(back.bye.reason.len, 256);
    assert_int_equal(back.bye.reason.data[0], '?');
    hanse_buf_clear(&out);
}

static void test_chunk_head(void **state)
{
    static const size_t lens[] = {1, 255, 256, 65535, 65536, HANSE_PAYLOAD_MAX};
    (void)state;

    for (size_t i = 0; i < 12; i++) {
        hanse_msg_chunk in = {.transfer = 5, .index = 1ull << (5 * i), .digest = bin(i % 2 ? 32 : 0), .payload = bin(lens[i / 2])}, out;
        hanse_message m = {.kind = HANSE_CHUNK, .chunk = in};
        uint8_t head[HANSE_CHUNK_HEAD_MAX];
        size_t len = 0, back = 0;
        hanse_buf whole = HANSE_BUF_EMPTY;

        assert_int_equal(hanse_chunk_head_encode(head, &len, &in, NULL), HANSE_OK);
        assert_int_equal(hanse_message_encode(&whole, &m, NULL), HANSE_OK);
        assert_int_equal(whole.len, len + in.payload.len);
        assert_memory_equal(whole.data, head, len);
        for (size_t cut = 0; cut < len; cut++)
            assert_int_equal(hanse_chunk_head_decode(&out, &back, (hanse_bytes){head, cut}, NULL), HANSE_E_AGAIN);
        assert_int_equal(hanse_chunk_head_decode(&out, &back, hanse_buf_bytes(&whole), NULL), HANSE_OK);
        assert_int_equal(back, len);
        assert_int_equal(out.index, in.index);
        assert_int_equal(out.digest.len, in.digest.len);
        assert_int_equal(out.payload.len, in.payload.len);
        hanse_buf_clear(&whole);
    }
}

static void test_text_copy(void **state)
{
    char out[4];
    (void)state;

    hanse_text_copy(out, sizeof out, hanse_bytes_str("abcdef"));
    assert_string_equal(out, "abc");
    hanse_text_copy(out, sizeof out, hanse_bytes_str("ab\xc3\xa4"));
    assert_string_equal(out, "ab");
    hanse_text_copy(out, sizeof out, HANSE_BYTES_EMPTY);
    assert_string_equal(out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_values),     cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_encode_refuses), cmocka_unit_test(test_chunk_head), cmocka_unit_test(test_text_copy),
    };

    for (size_t i = 0; i < sizeof blob; i++)
        blob[i] = (uint8_t)(i * 31 + 7);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
