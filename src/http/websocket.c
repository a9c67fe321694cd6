/* The upgrade to WebSocket, both sides. Frames are in websocket_frame.c, the reader in websocket_reader.c. */
#include "http/websocket.h"

#include "base/assert.h"

#include <nettle/base64.h>
#include <nettle/sha1.h>
#include <string.h>

static const char accept_guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455, 1.3 */

_Static_assert(KITH_WS_KEY_SIZE == BASE64_ENCODE_RAW_LENGTH(KITH_WS_NONCE_SIZE), "the key is base64 of the nonce");
_Static_assert(KITH_WS_ACCEPT_SIZE == BASE64_ENCODE_RAW_LENGTH(SHA1_DIGEST_SIZE), "the answer is base64 of a digest");

void kith__ws_key(const uint8_t nonce[KITH_WS_NONCE_SIZE], char *key)
{
    base64_encode_raw(key, KITH_WS_NONCE_SIZE, nonce);
    key[KITH_WS_KEY_SIZE] = '\0';
}

void kith__ws_accept(struct kith_slice key, char *accept)
{
    uint8_t digest[SHA1_DIGEST_SIZE];
    struct sha1_ctx sha1;

    sha1_init(&sha1);
    sha1_update(&sha1, key.size, key.ptr);
    sha1_update(&sha1, sizeof accept_guid - 1, (const uint8_t *)accept_guid);
    sha1_digest(&sha1, sizeof digest, digest);
    base64_encode_raw(accept, sizeof digest, digest);
    accept[KITH_WS_ACCEPT_SIZE] = '\0';
}

static bool is_ascii(struct kith_slice text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.ptr[i] >= 128)
            return false;
    return true;
}

static bool list_has(struct kith_slice list, const char *name)
{
    struct kith_slice element;

    while (kith__http_list_next(&list, &element))
        if (kith__http_is(element, name))
            return true;
    return false;
}

enum kith_ws_problem kith__ws_check_request(const struct kith_http_head *head, const char *const *protocols,
                                            size_t protocol_count, struct kith_ws_offer *out)
{
    const struct kith_http_header *upgrade = kith__http_header(head, "Upgrade");
    const struct kith_http_header *key = kith__http_header(head, "Sec-WebSocket-Key");
    const struct kith_http_header *version = kith__http_header(head, "Sec-WebSocket-Version");
    const struct kith_http_header *protocol = kith__http_header(head, "Sec-WebSocket-Protocol");

    if (upgrade == NULL)
        return KITH_WS_NO_UPGRADE;
    if (!kith__http_is(upgrade->value, "websocket"))
        return KITH_WS_BAD_UPGRADE;
    if (key == NULL)
        return KITH_WS_NO_KEY;
    if (version == NULL)
        return KITH_WS_NO_VERSION;
    if (!kith__http_is(version->value, "13"))
        return KITH_WS_BAD_VERSION;
    if (protocol == NULL)
        return KITH_WS_NO_PROTOCOL;
    for (size_t i = 0; is_ascii(protocol->value) && i < protocol_count; i++)
        if (list_has(protocol->value, protocols[i])) {
            *out = (struct kith_ws_offer) { key->value, protocols[i] };
            return KITH_WS_FINE;
        }
    return KITH_WS_BAD_PROTOCOL;
}

const char *kith__ws_problem_text(enum kith_ws_problem problem)
{
    static const char *const texts[] = {
        [KITH_WS_FINE] = "",
        [KITH_WS_NO_UPGRADE] = "the header Upgrade is missing",
        [KITH_WS_BAD_UPGRADE] = "the header Upgrade is not \"websocket\"",
        [KITH_WS_NO_KEY] = "the header Sec-WebSocket-Key is missing",
        [KITH_WS_NO_VERSION] = "the header Sec-WebSocket-Version is missing",
        [KITH_WS_BAD_VERSION] = "the header Sec-WebSocket-Version is not 13",
        [KITH_WS_NO_PROTOCOL] = "the header Sec-WebSocket-Protocol is missing",
        [KITH_WS_BAD_PROTOCOL] = "the header Sec-WebSocket-Protocol names no protocol that this server has",
    };

    return texts[problem];
}

int kith__ws_write_response(struct kith_writer *w, const struct kith_ws_offer *offer)
{
    char accept[KITH_WS_ACCEPT_SIZE + 1];
    int err;

    kith__ws_accept(offer->key, accept);
    if ((err = kith__http_write_status(w, 101)) != 0 ||
        (err = kith__http_write_header_text(w, "upgrade", "websocket")) != 0 ||
        (err = kith__http_write_header_text(w, "connection", "upgrade")) != 0 ||
        (err = kith__http_write_header_text(w, "sec-websocket-accept", accept)) != 0)
        return err;
    return kith__http_write_header_text(w, "sec-websocket-protocol", offer->protocol);
}

int kith__ws_write_request(struct kith_writer *w, struct kith_slice target, struct kith_slice host, const char *key,
                           const char *protocols)
{
    int err;

    if ((err = kith__http_write_request(w, "GET", target)) != 0 ||
        (err = kith__http_write_header(w, "Host", host)) != 0 ||
        (err = kith__http_write_header_text(w, "Upgrade", "websocket")) != 0 ||
        (err = kith__http_write_header_text(w, "Connection", "Upgrade")) != 0 ||
        (err = kith__http_write_header_text(w, "Sec-WebSocket-Key", key)) != 0 ||
        (err = kith__http_write_header_text(w, "Sec-WebSocket-Version", "13")) != 0)
        return err;
    return kith__http_write_header_text(w, "Sec-WebSocket-Protocol", protocols);
}

int kith__ws_check_response(const struct kith_http_head *head, const char *key, const char *const *protocols,
                            size_t protocol_count, size_t *chosen)
{
    const struct kith_http_header *accept = kith__http_header(head, "Sec-WebSocket-Accept");
    const struct kith_http_header *protocol = kith__http_header(head, "Sec-WebSocket-Protocol");
    char wanted[KITH_WS_ACCEPT_SIZE + 1];

    if (head->status != 101)
        return KITH_ERR_REFUSED;
    kith__ws_accept(kith__http_text(key), wanted);
    if (accept == NULL || !kith__http_is(accept->value, wanted))
        return KITH_ERR_CRYPTO;
    for (size_t i = 0; protocol != NULL && i < protocol_count; i++)
        if (kith__http_is(protocol->value, protocols[i])) {
            *chosen = i;
            return 0;
        }
    return KITH_ERR_VERSION;
}
