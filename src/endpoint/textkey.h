/**
 * Text forms of keys, signatures and hashes. Parsers take untrusted text of a given size (it need not end in 0); nothing
 * is trimmed; out is written only on success. Source: spec/03, 1.1; hashes: spec/05, 4.1.
 */
#ifndef KITH_ENDPOINT_TEXTKEY_H
#define KITH_ENDPOINT_TEXTKEY_H

#include <kith/types.h>

enum {
    KITH__HEX_KEY_SIZE = 65,         /* 64 digits and an end: ids, secrets, hashes */
    KITH__SHORT_KEY_SIZE = 11,       /* 10 digits and an end */
    KITH__Z32_KEY_SIZE = 53,         /* 52 characters and an end */
    KITH__SIGNATURE_TEXT_SIZE = 129, /* 128 digits and an end */
    KITH__HASH_FORMAT_TEXT_SIZE = 66 /* "s", 64 digits and an end */
};

/**
 * 32 bytes: exactly 64 characters are lower-case hex, else it must be 52 characters of base32 in any case.
 * KITH_ERR_PARSE. This is the form of secrets and hashes, and of ids before their point is checked.
 */
int kith__key_parse(const char *text, size_t size, uint8_t out[32]);

/** An id. KITH_ERR_PARSE as above; KITH_ERR_CRYPTO if the bytes are not a point of the curve. */
int kith__id_parse(const char *text, size_t size, struct kith_id *out);
/** An id in z-base-32 (DNS labels, pkarr URLs): 52 lower-case characters. Errors as above. */
int kith__id_parse_z32(const char *text, size_t size, struct kith_id *out);
/** The canonical text: 64 lower-case digits. Returns text. */
const char *kith__id_format(const struct kith_id *id, char text[KITH__HEX_KEY_SIZE]);
/** The first five bytes in hex, for people. Returns text. */
const char *kith__id_format_short(const struct kith_id *id, char text[KITH__SHORT_KEY_SIZE]);
const char *kith__id_format_z32(const struct kith_id *id, char text[KITH__Z32_KEY_SIZE]);
/** Lower-case base32 (mDNS labels); the size is that of z-base-32. Returns text. */
const char *kith__id_format_base32(const struct kith_id *id, char text[KITH__Z32_KEY_SIZE]);

int kith__secret_parse(const char *text, size_t size, struct kith_secret *out);
const char *kith__secret_format(const struct kith_secret *secret, char text[KITH__HEX_KEY_SIZE]);

/** 128 lower-case hex digits. KITH_ERR_PARSE. Any 64 bytes are a signature until it is verified. */
int kith__signature_parse(const char *text, size_t size, uint8_t out[KITH_SIGNATURE_SIZE]);
const char *kith__signature_format(const uint8_t signature[KITH_SIGNATURE_SIZE], char text[KITH__SIGNATURE_TEXT_SIZE]);

int kith__hash_parse(const char *text, size_t size, struct kith_hash *out);
const char *kith__hash_format(const struct kith_hash *hash, char text[KITH__HEX_KEY_SIZE]);

/** A hash and whether it stands for a sequence of hashes: 64 hex digits, with "s" (or "S") before them for a sequence. */
int kith__hash_and_format_parse(const char *text, size_t size, struct kith_hash *out, bool *is_hash_seq);
const char *kith__hash_and_format_format(const struct kith_hash *hash, bool is_hash_seq,
                                         char text[KITH__HASH_FORMAT_TEXT_SIZE]);

#endif
