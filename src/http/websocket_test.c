#include "http/websocket.h"

#include "base/test.h"

#include <string.h>

static const char *const protocols[] = { "iroh-relay-v2", "iroh-relay-v1" };

static int parse(enum kith_http_kind kind, const char *text, struct kith_http_head *head)
{
    return kith__http_head_parse(kind, (const uint8_t *)text, strlen(text), head);
}

KITH_TEST(ws_accept_is_that_of_the_standard)
{
    char accept[KITH_WS_ACCEPT_SIZE + 1], key[KITH_WS_KEY_SIZE + 1];

    kith__ws_accept(kith__http_text("dGhlIHNhbXBsZSBub25jZQ=="), accept); /* RFC 6455, 1.3 */
    KITH_CHECK_STR(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    kith__ws_key((const uint8_t *)"the sample nonce", key);
    KITH_CHECK_STR(key, "dGhlIHNhbXBsZSBub25jZQ==");
}

#define FIRST "GET /relay HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
#define KEY   "Sec-WebSocket-Key: VOmccEbJU7s1HAm9ouc17g==\r\n"

KITH_TEST(ws_server_checks_requests_as_the_reference_does)
{
    static const struct {
        const char *text;
        enum kith_ws_problem problem;
        const char *protocol;
    } cases[] = {
        { FIRST "Upgrade: websocket\r\n" KEY "Sec-WebSocket-Version: 13\r\n"
                "sec-websocket-protocol: iroh-relay-v2, iroh-relay-v1\r\n\r\n",
          KITH_WS_FINE, "iroh-relay-v2" },
        { FIRST "Upgrade: websocket\r\n" KEY "Sec-WebSocket-Version: 13\r\n"
                "sec-websocket-protocol: other,iroh-relay-v1 ,iroh-relay-v2,x\r\n\r\n",
          KITH_WS_FINE, "iroh-relay-v2" },
        { FIRST "Upgrade: websocket\r\n" KEY "Sec-WebSocket-Version: 13\r\n"
                "sec-websocket-protocol: iroh-relay-v1\r\nsec-websocket-protocol: iroh-relay-v2\r\n\r\n",
          KITH_WS_FINE, "iroh-relay-v1" }, /* only the first line counts */
        { "GET /relay HTTP/1.1\r\nUpgrade: websocket\r\n" KEY "Sec-WebSocket-Version: 13\r\n"
          "sec-websocket-protocol: iroh-relay-v1\r\n\r\n",
          KITH_WS_FINE, "iroh-relay-v1" }, /* Connection is not looked at */
        { FIRST KEY "Sec-WebSocket-Version: 13\r\nsec-websocket-protocol: iroh-relay-v1\r\n\r\n", KITH_WS_NO_UPGRADE,
          NULL },
        { FIRST "Upgrade: WebSocket\r\n" KEY
                "Sec-WebSocket-Version: 13\r\nsec-websocket-protocol: iroh-relay-v1\r\n\r\n",
          KITH_WS_BAD_UPGRADE, NULL },
        { FIRST "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nsec-websocket-protocol: iroh-relay-v1\r\n\r\n",
          KITH_WS_NO_KEY, NULL },
        { FIRST "Upgrade: websocket\r\n" KEY "sec-websocket-protocol: iroh-relay-v1\r\n\r\n", KITH_WS_NO_VERSION,
          NULL },
        { FIRST "Upgrade: websocket\r\n" KEY
                "Sec-WebSocket-Version: 8\r\nsec-websocket-protocol: iroh-relay-v1\r\n\r\n",
          KITH_WS_BAD_VERSION, NULL },
        { FIRST "Upgrade: websocket\r\n" KEY "Sec-WebSocket-Version: 13\r\n\r\n", KITH_WS_NO_PROTOCOL, NULL },
        { FIRST "Upgrade: websocket\r\n" KEY "Sec-WebSocket-Version: 13\r\n"
                "sec-websocket-protocol: Iroh-relay-v1, iroh-relay-v3\r\n\r\n",
          KITH_WS_BAD_PROTOCOL, NULL },
        { FIRST "Upgrade: websocket\r\n" KEY "Sec-WebSocket-Version: 13\r\n"
                "sec-websocket-protocol: iroh-relay-v1, \xc3\xa9\r\n\r\n",
          KITH_WS_BAD_PROTOCOL, NULL },
    };
    struct kith_http_head head;

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_ws_offer offer = { { NULL, 0 }, NULL };

        KITH_CHECK_EQ(parse(KITH_HTTP_REQUEST, cases[i].text, &head), 0);
        KITH_CHECK_EQ(kith__ws_check_request(&head, protocols, KITH_COUNT(protocols), &offer), cases[i].problem);
        if (cases[i].protocol != NULL)
            KITH_CHECK_STR(offer.protocol, cases[i].protocol);
        else
            KITH_CHECK(kith__ws_problem_text(cases[i].problem)[0] != '\0');
    }
}

KITH_TEST(ws_upgrade_of_our_client_is_taken_by_our_server)
{
    uint8_t request[512], response[512];
    struct kith_writer w = kith__writer(request, sizeof request);
    struct kith_http_head head;
    struct kith_ws_offer offer;
    char key[KITH_WS_KEY_SIZE + 1];
    size_t chosen = 9;

    kith__ws_key((const uint8_t *)"0123456789abcdef", key);
    KITH_CHECK_EQ(kith__ws_write_request(&w, kith__http_text("/relay?x=1"), kith__http_text("[::1]:80"), key,
                                         "iroh-relay-v2, iroh-relay-v1"),
                  0);
    KITH_CHECK_EQ(kith__http_write_end(&w), 0);
    KITH_CHECK_EQ(kith__http_head_parse(KITH_HTTP_REQUEST, request, kith__writer_size(&w), &head), 0);
    KITH_CHECK(kith__http_is(head.query, "x=1"));
    KITH_CHECK(kith__http_is(kith__http_header(&head, "host")->value, "[::1]:80"));
    KITH_CHECK_EQ(kith__ws_check_request(&head, protocols, 2, &offer), KITH_WS_FINE);

    w = kith__writer(response, sizeof response);
    KITH_CHECK_EQ(kith__ws_write_response(&w, &offer), 0);
    KITH_CHECK_EQ(kith__http_write_end(&w), 0);
    KITH_CHECK_EQ(kith__http_head_parse(KITH_HTTP_RESPONSE, response, kith__writer_size(&w), &head), 0);
    KITH_CHECK(kith__http_is(kith__http_header(&head, "upgrade")->value, "websocket"));
    KITH_CHECK(kith__http_is(kith__http_header(&head, "connection")->value, "upgrade"));
    KITH_CHECK_EQ(kith__ws_check_response(&head, key, protocols, 2, &chosen), 0);
    KITH_CHECK_EQ(chosen, 0);
    key[0] ^= 1;
    KITH_CHECK_EQ(kith__ws_check_response(&head, key, protocols, 2, &chosen), KITH_ERR_CRYPTO);
}

KITH_TEST(ws_client_takes_what_the_reference_takes)
{
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
    static const struct {
        const char *text;
        int err;
    } cases[] = {
        { "HTTP/1.0 101\r\n" ACCEPT "SEC-websocket-PROTOCOL: iroh-relay-v1\r\nSec-WebSocket-Extensions: x\r\n\r\n", 0 },
        { "HTTP/1.1 101 x\r\n" ACCEPT "\r\n", KITH_ERR_VERSION },
        { "HTTP/1.1 101 x\r\n" ACCEPT "Sec-WebSocket-Protocol: iroh-relay-v3\r\n\r\n", KITH_ERR_VERSION },
        { "HTTP/1.1 101 x\r\n" ACCEPT "Sec-WebSocket-Protocol: iroh-relay-v2, iroh-relay-v1\r\n\r\n",
          KITH_ERR_VERSION },
        { "HTTP/1.1 101 x\r\nSec-WebSocket-Protocol: iroh-relay-v1\r\n\r\n", KITH_ERR_CRYPTO },
        { "HTTP/1.1 200 x\r\n" ACCEPT "Sec-WebSocket-Protocol: iroh-relay-v1\r\n\r\n", KITH_ERR_REFUSED },
        { "HTTP/1.1 302 x\r\nLocation: /\r\n\r\n", KITH_ERR_REFUSED },
    };
    struct kith_http_head head;

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        size_t chosen = 9;

        KITH_CHECK_EQ(parse(KITH_HTTP_RESPONSE, cases[i].text, &head), 0);
        KITH_CHECK_EQ(kith__ws_check_response(&head, "dGhlIHNhbXBsZSBub25jZQ==", protocols, 2, &chosen), cases[i].err);
        KITH_CHECK_EQ(chosen, cases[i].err == 0 ? 1 : 9);
    }
}

KITH_TEST(ws_frame_heads_have_the_shortest_form_and_are_read_back)
{
    static const uint64_t sizes[] = { 0, 1, 125, 126, 65535, 65536, 1 << 20, INT64_MAX };
    static const uint8_t mask[4] = { 1, 2, 3, 4 };

    for (size_t i = 0; i < KITH_COUNT(sizes); i++)
        for (int is_masked = 0; is_masked < 2; is_masked++) {
            uint8_t bytes[KITH_WS_FRAME_HEAD_MAX];
            size_t size = kith__ws_frame_write(bytes, KITH_WS_BINARY, is_masked ? mask : NULL, sizes[i]);
            struct kith_ws_frame frame;

            KITH_CHECK_EQ(size, kith__ws_frame_head_size(sizes[i], is_masked));
            KITH_CHECK_EQ(size, (sizes[i] < 126 ? 2 : sizes[i] < 65536 ? 4 : 10) + (is_masked ? 4 : 0));
            for (size_t cut = 0; cut < size; cut++)
                KITH_CHECK_EQ(kith__ws_frame_parse(bytes, cut, &frame), KITH_ERR_AGAIN);
            KITH_CHECK_EQ(kith__ws_frame_parse(bytes, size, &frame), 0);
            KITH_CHECK_EQ(frame.size, sizes[i]);
            KITH_CHECK_EQ(frame.head_size, size);
            KITH_CHECK(frame.is_final && frame.opcode == KITH_WS_BINARY && frame.reserved == 0);
            KITH_CHECK_EQ(frame.is_masked, is_masked);
        }
}

KITH_TEST(ws_mask_is_that_of_the_standard_at_every_size_and_place)
{
    static const uint8_t mask[4] = { 0x37, 0xfa, 0x21, 0x3d };
    uint8_t bytes[300], hello[5] = { 0x7f, 0x9f, 0x4d, 0x51, 0x58 };

    kith__ws_mask(hello, 5, mask, 0);
    KITH_CHECK_BYTES(hello, "Hello", 5); /* RFC 6455, 5.7 */
    for (size_t offset = 0; offset < 9; offset++)
        for (size_t size = 0; size < 200; size++) {
            memset(bytes, 0x55, sizeof bytes);
            kith__ws_mask(bytes + offset, size, mask, offset);
            for (size_t i = 0; i < sizeof bytes; i++)
                KITH_CHECK_EQ(bytes[i], i < offset || i >= offset + size ? 0x55 : 0x55 ^ mask[i & 3]);
        }
}

KITH_TEST(ws_control_frames_fit_their_limit)
{
    static const uint8_t mask[4] = { 9, 8, 7, 6 };
    char reason[200];
    uint8_t out[KITH_WS_CONTROL_SIZE_MAX];
    size_t size;

    memset(reason, 'r', sizeof reason);
    reason[199] = '\0';
    memcpy(reason + 122, "\xe2\x82\xac", 3); /* a character over the edge is left out whole */
    size = kith__ws_close_write(out, mask, KITH_WS_CLOSE_RESTART, reason);
    KITH_CHECK_EQ(size, 6 + 2 + 122);
    kith__ws_mask(out + 6, size - 6, mask, 0);
    KITH_CHECK_EQ(out[6] << 8 | out[7], 1012);
    KITH_CHECK_EQ(out[size - 1], 'r');
    KITH_CHECK_EQ(kith__ws_close_write(out, NULL, 1000, NULL), 4);
    KITH_CHECK_BYTES(out, "\x88\x02\x03\xe8", 4);
    KITH_CHECK_EQ(kith__ws_control_write(out, KITH_WS_PONG, NULL, (const uint8_t *)"abc", 3), 5);
    KITH_CHECK_BYTES(out,
                     "\x8a\x03"
                     "abc",
                     5);
}
