/* The proof of a client's id: golden bytes of a real peer (spec/02, 2.2 and 2.3), and what must not pass. */
#include "base/test.h"
#include "relay/handshake.h"
#include <sodium/utils.h>
#include <string.h>

static const char header_text[] =
    "GX9rI-FshTLGq8g4-s1ep4m-DHaykgM0A5v6iz02jWFAwR3lvQVhW4tLDfihYvvXLHe8Y9mpIqOBfXyTWUNNGSaB2XVRVoQ497f169o-"
    "N1j8H6igvF-enXsJAZmg-iLbBD36n4ekbTMYHXUyiVFoWNU";

static void unhex(const char *hex, uint8_t *out, size_t size)
{
    size_t used = 0;

    KITH_CHECK_EQ(sodium_hex2bin(out, size, hex, strlen(hex), " ", &used, NULL), 0);
    KITH_CHECK_EQ(used, size);
}

static struct kith_keypair pair_of(uint8_t byte)
{
    struct kith_secret secret;
    struct kith_keypair pair;

    memset(secret.bytes, byte, sizeof secret.bytes);
    kith__keypair_init(&pair, &secret);
    return pair;
}

static struct kith_slice text_slice(const char *text)
{
    return (struct kith_slice) { (const uint8_t *)text, strlen(text) };
}

KITH_TEST(relay_challenge_is_answered_as_a_real_peer_answers)
{
    struct kith_keypair pair = pair_of(0x2a);
    uint8_t challenge[KITH_RELAY_CHALLENGE_SIZE], expected[KITH_RELAY_CLIENT_AUTH_SIZE],
        frame[KITH_RELAY_CLIENT_AUTH_SIZE];

    for (uint8_t i = 0; i < sizeof challenge; i++)
        challenge[i] = i;
    unhex("01 197f6b23e16c8532c6abc838facd5ea789be0c76b2920334039bfa8b3d368d61 40"
          "a28b5ebc6a930b5d80ad5aca2a8e48ad4a064e699c0866674c8b8e61a5f4ea94"
          "0ee8b9f06732930250ac0735555abe77e8df740165edc3163be432f0e4f3cf0f",
          expected, sizeof expected);
    kith__relay_client_auth_write(&pair, challenge, frame);
    KITH_CHECK_BYTES(frame, expected, sizeof expected);
    KITH_CHECK_EQ(kith__relay_challenge_verify(&pair.id, challenge, frame + 34), 0);
    challenge[3] ^= 1;
    KITH_CHECK_EQ(kith__relay_challenge_verify(&pair.id, challenge, frame + 34), KITH_ERR_CRYPTO);
    challenge[3] ^= 1;
    frame[97] ^= 0x10;
    KITH_CHECK_EQ(kith__relay_challenge_verify(&pair.id, challenge, frame + 34), KITH_ERR_CRYPTO);
}

KITH_TEST(relay_challenge_is_not_passed_with_a_key_of_small_order)
{
    uint8_t challenge[KITH_RELAY_CHALLENGE_SIZE] = { 0 }, signature[KITH_SIGNATURE_SIZE] = { 1 };
    struct kith_id id = { { 1 } }; /* the neutral element: R = neutral, S = 0 would verify for every message */

    KITH_CHECK_EQ(kith__relay_challenge_verify(&id, challenge, signature), KITH_ERR_CRYPTO);
}

static void exported_of_example(uint8_t exported[KITH_RELAY_EXPORT_SIZE])
{
    unhex("7c5b2d54394548209866fd5e4521be68 3dfa9f87a46d33181d753289516858d5", exported, KITH_RELAY_EXPORT_SIZE);
}

KITH_TEST(relay_auth_header_is_the_one_of_a_real_peer)
{
    struct kith_keypair pair = pair_of(0x2a);
    uint8_t exported[KITH_RELAY_EXPORT_SIZE];
    char text[KITH_RELAY_AUTH_HEADER_SIZE + 1];
    struct kith_relay_auth_header header;

    exported_of_example(exported);
    kith__relay_auth_header_make(&pair, exported, text);
    KITH_CHECK_STR(text, header_text);
    KITH_CHECK_EQ(kith__relay_auth_header_parse(text_slice(text), &header), 0);
    KITH_CHECK_BYTES(header.id.bytes, pair.id.bytes, KITH_ID_SIZE);
    KITH_CHECK_EQ(kith__relay_auth_header_verify(&header, exported), 0);
}

KITH_TEST(relay_auth_header_of_another_session_or_signer_does_not_verify)
{
    struct kith_keypair other = pair_of(7);
    uint8_t exported[KITH_RELAY_EXPORT_SIZE];
    char text[KITH_RELAY_AUTH_HEADER_SIZE + 1];
    struct kith_relay_auth_header header;

    exported_of_example(exported);
    KITH_CHECK_EQ(kith__relay_auth_header_parse(text_slice(header_text), &header), 0);
    exported[20] ^= 1;
    KITH_CHECK_EQ(kith__relay_auth_header_verify(&header, exported), KITH_ERR_NOT_FOUND);
    exported[20] ^= 1;
    exported[2] ^= 1;
    KITH_CHECK_EQ(kith__relay_auth_header_verify(&header, exported), KITH_ERR_CRYPTO);
    exported[2] ^= 1;
    kith__relay_auth_header_make(&other, exported, text);
    KITH_CHECK_EQ(kith__relay_auth_header_parse(text_slice(text), &header), 0);
    header.id = pair_of(0x2a).id; /* somebody else's id with one's own signature */
    KITH_CHECK_EQ(kith__relay_auth_header_verify(&header, exported), KITH_ERR_CRYPTO);
}

KITH_TEST(relay_auth_header_that_cannot_be_read_is_refused)
{
    struct kith_relay_auth_header header;
    char text[2048];

    KITH_CHECK_EQ(kith__relay_auth_header_parse(text_slice(""), &header), KITH_ERR_PARSE);
    for (size_t i = 0; i < sizeof header_text - 1; i++)
        for (unsigned byte = 0x80; byte < 0x100; byte++) { /* some of them mean a character to the library's decoder */
            memcpy(text, header_text, sizeof header_text);
            text[i] = (char)byte;
            KITH_CHECK_EQ(kith__relay_auth_header_parse(text_slice(text), &header), KITH_ERR_PARSE);
        }
    for (size_t i = 0; i < sizeof header_text - 1; i++) {
        memcpy(text, header_text, sizeof header_text);
        text[i] = '!';
        KITH_CHECK_EQ(kith__relay_auth_header_parse(text_slice(text), &header), KITH_ERR_PARSE);
        KITH_CHECK_EQ(kith__relay_auth_header_parse((struct kith_slice) { (const uint8_t *)header_text, i }, &header),
                      KITH_ERR_PARSE);
    }
    memcpy(text, header_text, sizeof header_text);
    text[43] = 'B'; /* the length of the signature becomes another one */
    KITH_CHECK_EQ(kith__relay_auth_header_parse(text_slice(text), &header), KITH_ERR_PARSE);
    memset(text, 'A', sizeof text - 1);
    text[sizeof text - 1] = 0;
    KITH_CHECK_EQ(kith__relay_auth_header_parse(text_slice(text), &header), KITH_ERR_PARSE);
    memcpy(text, header_text, sizeof header_text);
    memcpy(text, "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB", 43); /* y = 2 is no point of the curve */
    KITH_CHECK_EQ(kith__relay_auth_header_parse(text_slice(text), &header), KITH_ERR_PARSE);
}
