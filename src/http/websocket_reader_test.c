#include "http/websocket.h"

#include "base/mem.h"
#include "base/test.h"

#include <stdio.h>
#include <string.h>

static const uint8_t mask[4] = { 0x11, 0x22, 0x33, 0x44 };

/** A list of frames as a client or server sends them. */
struct wire {
    uint8_t bytes[4096];
    size_t size;
    bool is_client;
};

/** first: FIN, reserved bits and opcode, as they stand in the first byte. */
static void put(struct wire *wire, uint8_t first, const void *payload, size_t size)
{
    uint8_t head[KITH_WS_FRAME_HEAD_MAX];
    size_t head_size = kith__ws_frame_write(head, KITH_WS_BINARY, wire->is_client ? mask : NULL, size);

    head[0] = first;
    memcpy(wire->bytes + wire->size, head, head_size);
    memcpy(wire->bytes + wire->size + head_size, payload, size);
    if (wire->is_client)
        kith__ws_mask(wire->bytes + wire->size + head_size, size, mask, 0);
    wire->size += head_size + size;
}

/** What a reader said, as text: "B5:hello|P0:|..." and its last error. */
struct story {
    char text[8192];
    size_t size;
    int err;
    bool was_in_place; /* of the last event */
};

static void tell(struct story *story, const struct kith_ws_event *event, const uint8_t *from, const uint8_t *to)
{
    static const char kinds[] = {
        [KITH_WS_TEXT] = 'T', [KITH_WS_BINARY] = 'B', [KITH_WS_CLOSE] = 'C', [KITH_WS_PING] = 'p', [KITH_WS_PONG] = 'q'
    };

    story->size += (size_t)sprintf(story->text + story->size, "%c%zu:", kinds[event->kind], event->size);
    if (event->size > 0)
        memcpy(story->text + story->size, event->bytes, event->size);
    story->size += event->size;
    if (event->kind == KITH_WS_CLOSE)
        story->size += (size_t)sprintf(story->text + story->size, "=%u", event->code);
    story->text[story->size++] = '|';
    story->text[story->size] = '\0';
    story->was_in_place = event->bytes >= from && event->bytes <= to;
}

/** Feeds bytes in pieces, each in memory of exactly its size, so that a sanitizer sees what is read beyond. */
static void feed(struct kith_ws_reader *reader, const struct wire *wire, size_t step, struct story *story)
{
    *story = (struct story) { .err = KITH_ERR_AGAIN };
    for (size_t at = 0; at < wire->size && story->err == KITH_ERR_AGAIN; at += step) {
        size_t part = KITH_MIN(step, wire->size - at);
        uint8_t *piece = kith__alloc(kith_mem_default(), part), *from = piece;
        struct kith_ws_event event;

        memcpy(piece, wire->bytes + at, part);
        while ((story->err = kith__ws_reader_next(reader, &from, piece + part, &event)) == 0)
            tell(story, &event, piece, piece + part);
        if (story->err == KITH_ERR_AGAIN)
            KITH_CHECK(from == piece + part);
        kith__free(kith_mem_default(), piece);
    }
}

static void check_story(const struct wire *wire, const char *text, int err, uint16_t close_code)
{
    struct kith_test_mem mem;

    kith__test_mem_init(&mem, 0);
    for (size_t step = 1; step <= wire->size; step++) {
        struct kith_ws_reader reader;
        struct story story;

        kith__ws_reader_init(&reader, &(struct kith_ws_reader_options) { &mem.mem, wire->is_client, 600 });
        feed(&reader, wire, step, &story);
        if (strcmp(story.text, text) != 0 || story.err != err)
            printf("step %zu: %s %s\n", step, story.text, kith_err_name(story.err));
        KITH_CHECK_STR(story.text, text);
        KITH_CHECK_EQ(story.err, err);
        KITH_CHECK_EQ(reader.close_code, close_code);
        if (err == KITH_ERR_AGAIN)
            KITH_CHECK_EQ(mem.live, 0); /* idle: nothing is kept */
        kith__ws_reader_dispose(&reader);
        KITH_CHECK_EQ(mem.live, 0);
    }
}

KITH_TEST(ws_reader_hands_out_the_same_for_pieces_of_any_size)
{
    static char long_text[300], wanted[1024];

    memset(long_text, 'x', sizeof long_text);
    sprintf(wanted, "B5:hello|B0:|T2:no|p3:abc|B300:%.300s|B9:onetwosix|q0:|B3:end|", long_text);
    for (int is_client = 0; is_client < 2; is_client++) {
        struct wire wire = { .is_client = is_client };

        put(&wire, 0x82, "hello", 5);
        put(&wire, 0x82, "", 0);
        put(&wire, 0x81, "no", 2);
        put(&wire, 0x89, "abc", 3);
        put(&wire, 0x82, long_text, 300);
        put(&wire, 0x02, "one", 3); /* a message of four fragments, one of them empty */
        put(&wire, 0x00, "two", 3);
        put(&wire, 0x00, "", 0);
        put(&wire, 0x80, "six", 3);
        put(&wire, 0x8a, "", 0);
        put(&wire, 0x82, "end", 3);
        check_story(&wire, wanted, KITH_ERR_AGAIN, 0);
    }
}

KITH_TEST(ws_control_frames_may_come_inside_a_message)
{
    struct wire wire = { .is_client = true };

    put(&wire, 0x01, "frag", 4);
    put(&wire, 0x89, "ping!", 5);
    put(&wire, 0x00, "ment", 4);
    put(&wire, 0x8a, "", 0);
    put(&wire, 0x80, "ed", 2);
    put(&wire, 0x88, "\x03\xe8why", 5);
    put(&wire, 0x82, "never seen", 10);
    check_story(&wire, "p5:ping!|q0:|T10:fragmented|C3:why=1000|", KITH_ERR_END, 1000);
}

KITH_TEST(ws_close_frames_tell_their_code_and_ours)
{
    static const struct {
        const char *payload;
        size_t size;
        const char *told;
        uint16_t answer;
    } cases[] = {
        { "", 0, "C0:=1005|", 1000 },         { "\x03\xe9", 2, "C0:=1001|", 1001 },
        { "\x0f\xa0", 2, "C0:=4000|", 4000 }, { "\x03\xed", 2, "C0:=1005|", 1002 },
        { "\x00\x00", 2, "C0:=0|", 1002 },    { "\x03\xf7", 2, "C0:=1015|", 1002 },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct wire wire = { .is_client = false };

        put(&wire, 0x88, cases[i].payload, cases[i].size);
        check_story(&wire, cases[i].told, KITH_ERR_END, cases[i].answer);
    }
}

KITH_TEST(ws_reader_refuses_what_breaks_the_rules)
{
    static const struct {
        uint8_t first[2]; /* 0: no second frame */
        size_t size;
        int err;
        uint16_t code;
    } cases[] = {
        { { 0xc2 }, 1, KITH_ERR_TRANSPORT, 1002 }, /* reserved bits: no extension was agreed on */
        { { 0xa2 }, 1, KITH_ERR_TRANSPORT, 1002 },
        { { 0x92 }, 1, KITH_ERR_TRANSPORT, 1002 },
        { { 0x83 }, 1, KITH_ERR_TRANSPORT, 1002 }, /* reserved kinds */
        { { 0x8b }, 1, KITH_ERR_TRANSPORT, 1002 },
        { { 0x80 }, 1, KITH_ERR_TRANSPORT, 1002 },       /* nothing to continue */
        { { 0x02, 0x82 }, 1, KITH_ERR_TRANSPORT, 1002 }, /* a message inside a message */
        { { 0x09 }, 1, KITH_ERR_TRANSPORT, 1002 },       /* a fragmented ping */
        { { 0x89 }, 126, KITH_ERR_TRANSPORT, 1002 },     /* a long ping */
        { { 0x88 }, 1, KITH_ERR_TRANSPORT, 1002 },       /* half a code */
        { { 0x82 }, 601, KITH_ERR_TOO_LARGE, 1009 },
        { { 0x02, 0x80 }, 301, KITH_ERR_TOO_LARGE, 1009 }, /* 301 + 301 */
    };
    static uint8_t payload[1024];

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct wire wire = { .is_client = true };

        put(&wire, cases[i].first[0], payload, cases[i].size);
        if (cases[i].first[1] != 0)
            put(&wire, cases[i].first[1], payload, cases[i].size);
        check_story(&wire, "", cases[i].err, cases[i].code);
    }
}

KITH_TEST(ws_frames_are_masked_by_clients_only)
{
    struct wire client = { .is_client = true }, server = { .is_client = false };
    struct kith_ws_reader reader;
    struct story story;

    put(&client, 0x82, "a", 1);
    put(&server, 0x82, "a", 1);
    kith__ws_reader_init(&reader, &(struct kith_ws_reader_options) { kith_mem_default(), true, 600 });
    feed(&reader, &server, 100, &story);
    KITH_CHECK_EQ(story.err, KITH_ERR_TRANSPORT);
    feed(&reader, &client, 100, &story); /* it stays broken */
    KITH_CHECK_EQ(story.err, KITH_ERR_TRANSPORT);
    kith__ws_reader_dispose(&reader);
    kith__ws_reader_init(&reader, &(struct kith_ws_reader_options) { kith_mem_default(), false, 600 });
    feed(&reader, &client, 100, &story);
    KITH_CHECK_EQ(story.err, KITH_ERR_TRANSPORT);
    kith__ws_reader_dispose(&reader);
}

KITH_TEST(ws_whole_messages_are_handed_out_in_place)
{
    struct wire wire = { .is_client = true };
    struct kith_ws_reader reader;
    struct kith_test_mem mem;
    struct story story;

    kith__test_mem_init(&mem, 0);
    put(&wire, 0x82, "one", 3);
    put(&wire, 0x82, "two", 3);
    kith__ws_reader_init(&reader, &(struct kith_ws_reader_options) { &mem.mem, true, 600 });
    feed(&reader, &wire, wire.size, &story);
    KITH_CHECK_STR(story.text, "B3:one|B3:two|");
    KITH_CHECK(story.was_in_place);
    KITH_CHECK_EQ(mem.calls, 0);
    kith__ws_reader_dispose(&reader);
}

KITH_TEST(ws_memory_grows_with_what_came_and_not_with_what_was_announced)
{
    uint8_t head[KITH_WS_FRAME_HEAD_MAX + 10] = { 0 }, *at = head;
    size_t size = kith__ws_frame_write(head, KITH_WS_BINARY, NULL, KITH_WS_MESSAGE_SIZE_MAX);
    struct kith_ws_reader reader;
    struct kith_ws_event event;

    kith__ws_reader_init(&reader,
                         &(struct kith_ws_reader_options) { kith_mem_default(), false, KITH_WS_MESSAGE_SIZE_MAX });
    KITH_CHECK_EQ(kith__ws_reader_next(&reader, &at, head + size + 10, &event), KITH_ERR_AGAIN);
    KITH_CHECK_EQ(reader.held.size, 10);
    KITH_CHECK(reader.held.cap < 10000);
    kith__ws_reader_dispose(&reader);
}

KITH_TEST(ws_reader_survives_every_failed_allocation)
{
    struct wire wire = { .is_client = true };
    struct kith_test_mem mem;
    struct story story = { .err = KITH_ERR_NOMEM };

    put(&wire, 0x02, "frag", 4);
    put(&wire, 0x89, "ping", 4);
    put(&wire, 0x80, "ment", 4);
    put(&wire, 0x82, "another one", 11);
    for (uint64_t fail_at = 1; story.err != KITH_ERR_AGAIN; fail_at++) {
        struct kith_ws_reader reader;

        kith__test_mem_init(&mem, fail_at);
        kith__ws_reader_init(&reader, &(struct kith_ws_reader_options) { &mem.mem, true, 600 });
        feed(&reader, &wire, 7, &story);
        KITH_CHECK(story.err == KITH_ERR_AGAIN || (story.err == KITH_ERR_NOMEM && reader.close_code == 1011));
        KITH_CHECK_EQ(story.err == KITH_ERR_AGAIN, mem.calls < fail_at);
        kith__ws_reader_dispose(&reader);
        KITH_CHECK_EQ(mem.live, 0);
    }
}
