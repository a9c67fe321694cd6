/*
 * The header by which a client proves its id: any text; and a real one with any characters changed, which must never verify. The
 * same for an answer to a challenge.
 */
#include "relay/handshake.h"

#include "base/assert.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_changed_header(const struct kith_keypair *pair, const uint8_t *bytes, size_t size)
{
    uint8_t exported[KITH_RELAY_EXPORT_SIZE] = { 1, 2, 3 };
    char text[KITH_RELAY_AUTH_HEADER_SIZE + 1];
    struct kith_relay_auth_header header;
    bool is_changed = false;

    kith__relay_auth_header_make(pair, exported, text);
    for (size_t i = 0; i < size && i < KITH_RELAY_AUTH_HEADER_SIZE; i++) {
        text[i] = (char)(text[i] ^ bytes[i]);
        is_changed = is_changed || bytes[i] != 0;
    }
    if (kith__relay_auth_header_parse((struct kith_slice) { (const uint8_t *)text, KITH_RELAY_AUTH_HEADER_SIZE },
                                      &header) == 0)
        KITH_ASSERT((kith__relay_auth_header_verify(&header, exported) == 0) == !is_changed);
    else
        KITH_ASSERT(is_changed);
}

static void check_changed_answer(const struct kith_keypair *pair, const uint8_t *bytes, size_t size)
{
    uint8_t challenge[KITH_RELAY_CHALLENGE_SIZE] = { 4, 5, 6 }, frame[KITH_RELAY_CLIENT_AUTH_SIZE];
    struct kith_relay_rules rules = { KITH_RELAY_FROM_CLIENT, KITH_RELAY_IN_HANDSHAKE, KITH_RELAY_V2 };
    struct kith_relay_frame read;
    struct kith_id id;
    bool is_changed = false;

    kith__relay_client_auth_write(pair, challenge, frame);
    for (size_t i = 0; i < size && i + 1 < sizeof frame; i++) {
        frame[i + 1] ^= bytes[i];
        is_changed = is_changed || bytes[i] != 0;
    }
    if (kith__relay_frame_decode((struct kith_slice) { frame, sizeof frame }, rules, &read, NULL) != 0) {
        KITH_ASSERT(is_changed);
        return;
    }
    memcpy(id.bytes, read.auth.key, sizeof id.bytes);
    KITH_ASSERT((kith__relay_challenge_verify(&id, challenge, read.auth.signature) == 0) == !is_changed);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const struct kith_secret secret = { { 42 } };
    uint8_t exported[KITH_RELAY_EXPORT_SIZE] = { 9 };
    struct kith_relay_auth_header header;
    struct kith_keypair pair;

    kith__keypair_init(&pair, &secret);
    if (kith__relay_auth_header_parse((struct kith_slice) { bytes, size }, &header) == 0) {
        KITH_ASSERT(kith__id_is_point(header.id.bytes));
        KITH_ASSERT(kith__relay_auth_header_verify(&header, exported) != 0);
    }
    check_changed_header(&pair, bytes, size);
    check_changed_answer(&pair, bytes, size);
    return 0;
}
