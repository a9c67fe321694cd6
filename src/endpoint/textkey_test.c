#include "base/test.h"
#include "crypto/sign.h"
#include "endpoint/textkey.h"
#include <string.h>

/* The key of spec/03, 1.1. */
#define HEX    "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
#define BASE32 "aoqqpp7tzyil4hlq3umoos6atft6jvrqtosq2xy53sdgiesvgg4a"
#define Z32    "yqooxx9u3aemh8mo5wcqq16yufu6jitouq1o4za751dger1igghy"

static int parse(const char *text, struct kith_id *out)
{
    return kith__id_parse(text, strlen(text), out);
}

KITH_TEST(id_has_the_texts_of_the_specification)
{
    struct kith_secret secret;
    struct kith_id id;
    char text[KITH__HEX_KEY_SIZE];

    for (uint8_t i = 0; i < KITH_SECRET_SIZE; i++)
        secret.bytes[i] = i;
    id = kith__secret_id(&secret);
    KITH_CHECK_STR(kith__id_format(&id, text), HEX);
    KITH_CHECK_STR(kith__id_format_base32(&id, text), BASE32);
    KITH_CHECK_STR(kith__id_format_z32(&id, text), Z32);
    KITH_CHECK_STR(kith__id_format_short(&id, text), "03a107bff3");
    secret = (struct kith_secret) { { 0 } };
    id = kith__secret_id(&secret);
    KITH_CHECK_STR(kith__id_format(&id, text), "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29");
    KITH_CHECK_EQ(kith__id_parse_z32("dgjpkxyn3zyrk3zfads5duwdgbqpkwbjxfj4yt7rezidr3fijccy", 52, &id), 0);
    KITH_CHECK_STR(kith__id_format(&id, text), "1992d53c02cdc04566e5c0edb1ce83305cd550297953a047a445ea3264b54b18");
}

KITH_TEST(id_is_parsed_as_peers_parse_it)
{
    static const char *const good[] = { HEX, BASE32, "AOQQPP7TZYIL4HLQ3UMOOS6ATFT6JVRQTOSQ2XY53SDGIESVGG4A",
                                        "AOQQpp7tzyil4hlq3umoos6atft6jvrqtosq2xy53sdgiesvgg4a" };
    static const char *const bad[] = {
        "",
        "03A107BFF3CE10BE1D70DD18E74BC09967E4D6309BA50D5F1DDC8664125531B8",
        "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b",
        "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8 ",
        "0x03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8",
        "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531bg",
        "aoqqpp7tzyil4hlq3umoos6atft6jvrqtosq2xy53sdgiesvgg4a====",
        "aoqqpp7tzyil4hlq3umoos6atft6jvrqtosq2xy53sdgiesvgg4b",
        " aoqqpp7tzyil4hlq3umoos6atft6jvrqtosq2xy53sdgiesvgg4a",
        Z32,
    };
    struct kith_id id;
    char text[KITH__HEX_KEY_SIZE];

    for (size_t i = 0; i < KITH_COUNT(good); i++) {
        KITH_CHECK_EQ(parse(good[i], &id), 0);
        KITH_CHECK_STR(kith__id_format(&id, text), HEX);
    }
    memset(&id, 7, sizeof id);
    for (size_t i = 0; i < KITH_COUNT(bad); i++)
        KITH_CHECK_EQ(parse(bad[i], &id), KITH_ERR_PARSE);
    KITH_CHECK_EQ(parse("0200000000000000000000000000000000000000000000000000000000000000", &id), KITH_ERR_CRYPTO);
    KITH_CHECK_EQ(id.bytes[0], 7);
}

KITH_TEST(z32_is_its_own_parser)
{
    struct kith_id id, other;

    KITH_CHECK_EQ(kith__id_parse_z32(Z32, 52, &id), 0);
    KITH_CHECK_EQ(parse(HEX, &other), 0);
    KITH_CHECK_BYTES(&id, &other, sizeof id);
    KITH_CHECK_EQ(kith__id_parse_z32("Yqooxx9u3aemh8mo5wcqq16yufu6jitouq1o4za751dger1igghy", 52, &id), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__id_parse_z32(BASE32, 52, &id), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__id_parse_z32(Z32, 51, &id), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__id_parse_z32("", 0, &id), KITH_ERR_PARSE);
}

KITH_TEST(secret_may_be_any_bytes)
{
    struct kith_secret secret;
    char text[KITH__HEX_KEY_SIZE];
    static const char any[] = "0200000000000000000000000000000000000000000000000000000000000000";

    KITH_CHECK_EQ(kith__secret_parse(any, strlen(any), &secret), 0);
    KITH_CHECK_STR(kith__secret_format(&secret, text), any);
    KITH_CHECK_EQ(kith__secret_parse(any, 63, &secret), KITH_ERR_PARSE);
}

KITH_TEST(signature_is_128_digits)
{
    uint8_t signature[KITH_SIGNATURE_SIZE];
    char text[KITH__SIGNATURE_TEXT_SIZE];

    KITH_CHECK_EQ(kith__signature_parse(HEX HEX, 128, signature), 0);
    KITH_CHECK_STR(kith__signature_format(signature, text), HEX HEX);
    KITH_CHECK_EQ(kith__signature_parse(HEX HEX, 126, signature), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__signature_parse(HEX "G" HEX, 128, signature), KITH_ERR_PARSE);
}

KITH_TEST(hash_and_format_is_marked_by_a_letter)
{
    struct kith_hash hash;
    char text[KITH__HASH_FORMAT_TEXT_SIZE];
    bool is_hash_seq = true;

    KITH_CHECK_EQ(kith__hash_and_format_parse(HEX, 64, &hash, &is_hash_seq), 0);
    KITH_CHECK(!is_hash_seq);
    KITH_CHECK_STR(kith__hash_and_format_format(&hash, false, text), HEX);
    KITH_CHECK_EQ(kith__hash_and_format_parse("S" HEX, 65, &hash, &is_hash_seq), 0);
    KITH_CHECK(is_hash_seq);
    KITH_CHECK_STR(kith__hash_and_format_format(&hash, true, text), "s" HEX);
    KITH_CHECK_EQ(kith__hash_and_format_parse("r" HEX, 65, &hash, &is_hash_seq), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__hash_and_format_parse("s" HEX, 64, &hash, &is_hash_seq), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__hash_and_format_parse("", 0, &hash, &is_hash_seq), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__hash_parse(BASE32, 52, &hash), 0);
    KITH_CHECK_STR(kith__hash_format(&hash, text), HEX);
}
