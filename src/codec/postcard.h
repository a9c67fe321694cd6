/**
 * postcard 1.x, the serialisation inside tickets and protocol messages: parts stand back to back, numbers are LEB128
 * varints, an enum is its variant's index, an Option is 00, or 01 and the value, a string or byte string is a length and
 * the bytes, a sequence is a count and the items. Fixed arrays and single bytes have no framing: use kith__read_bytes
 * and kith__read_u8. Source: spec/03, section 0.
 *
 * Readers take untrusted bytes. All return 0 and move the reader, or leave it where it was:
 *   KITH_ERR_TRUNCATED  the bytes end inside the value
 *   KITH_ERR_PARSE      a value that the type cannot have
 * Writers append to a buffer; KITH_ERR_NOMEM leaves it as it was.
 */
#ifndef KITH_CODEC_POSTCARD_H
#define KITH_CODEC_POSTCARD_H

#include "base/buf.h"
#include "codec/cursor.h"

enum { KITH_POSTCARD_VARINT_SIZE_MAX = 10 };

/** u16, u32, u64 (and usize): at most 3, 5, 10 bytes; longer than necessary is accepted, beyond the type is PARSE. */
int kith__postcard_read_u16(struct kith_reader *r, uint16_t *out);
int kith__postcard_read_u32(struct kith_reader *r, uint32_t *out);
int kith__postcard_read_u64(struct kith_reader *r, uint64_t *out);
/** Zigzag of a u64. */
int kith__postcard_read_i64(struct kith_reader *r, int64_t *out);
/** One byte, 00 or 01. Also the tag of an Option: true if a value follows. */
int kith__postcard_read_bool(struct kith_reader *r, bool *out);
/** The index of a variant below `count`; PARSE for others. */
int kith__postcard_read_variant(struct kith_reader *r, uint32_t count, uint32_t *out);
/** A byte string, borrowed from the reader's bytes. */
int kith__postcard_read_slice(struct kith_reader *r, struct kith_slice *out);
/** The same, and PARSE unless it is UTF-8. */
int kith__postcard_read_string(struct kith_reader *r, struct kith_slice *out);
/**
 * The count of a sequence whose items have at least item_size_min > 0 bytes each. A count that the remaining bytes
 * cannot hold is TRUNCATED at once, so that it is safe to make room for that many items.
 */
int kith__postcard_read_count(struct kith_reader *r, size_t item_size_min, size_t *out);

/** Writes the varint of value to out. Returns its size, 1 to 10. */
size_t kith__postcard_encode(uint64_t value, uint8_t out[KITH_POSTCARD_VARINT_SIZE_MAX]);
/** u16, u32, u64, usize, variants and counts: all have the same form. */
int kith__postcard_write_uint(struct kith_buf *buf, uint64_t value);
int kith__postcard_write_i64(struct kith_buf *buf, int64_t value);
/** 00 or 01: a bool, or the tag of an Option. */
int kith__postcard_write_bool(struct kith_buf *buf, bool value);
/** A length and the bytes: a byte string or a string. */
int kith__postcard_write_slice(struct kith_buf *buf, struct kith_slice slice);

/** True if the bytes are UTF-8 without surrogates and overlong forms (RFC 3629). */
bool kith__utf8_is_valid(const uint8_t *bytes, size_t size);

#endif
