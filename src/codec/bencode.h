/**
 * Bencoding, the notation of BitTorrent's messages: integers, byte strings, lists, dictionaries. Source: BEP 3.
 *
 * Reading is over borrowed bytes, without recursion and without memory of its own: a whole value is checked once, then its
 * parts are stepped through. Writers out there do not all sort the keys of dictionaries, and readers do not insist: keys in any
 * order are taken, and of equal keys the first counts. What we write is sorted, which the writer asserts.
 */
#ifndef KITH_CODEC_BENCODE_H
#define KITH_CODEC_BENCODE_H

#include "codec/cursor.h"

enum { KITH_BENCODE_DEPTH_MAX = 16 }; /* containers inside each other; messages of the DHT have three */

enum kith_bencode_kind { KITH_BENCODE_INTEGER, KITH_BENCODE_BYTES, KITH_BENCODE_LIST, KITH_BENCODE_DICT };

/** One value. Everything is borrowed from what was read. */
struct kith_bencode {
    enum kith_bencode_kind kind;
    int64_t integer;         /* INTEGER */
    struct kith_slice bytes; /* BYTES: the string; LIST, DICT: all that is between `l` or `d` and the `e` */
    struct kith_slice whole; /* the value as it is encoded */
};

/**
 * Reads the next value, containers with everything inside. Errors: TRUNCATED; PARSE: another notation, an integer that is not in
 * its one form ("i-0e", "i03e") or beyond 64 bits, a length with leading zeros, a key that is no string, or a key without a
 * value; LIMIT: deeper than KITH_BENCODE_DEPTH_MAX. r moves on success only.
 */
KITH_MUST_USE int kith__bencode_read(struct kith_reader *r, struct kith_bencode *out);

/** The next item of a list that was read: `inside` is a reader over its `bytes`. False at the end. */
bool kith__bencode_next(struct kith_reader *inside, struct kith_bencode *item);
/** The next pair of a dictionary that was read, in the order in which they lie. False at the end. */
bool kith__bencode_next_pair(struct kith_reader *inside, struct kith_slice *key, struct kith_bencode *value);
/** The value of a key, of equal ones the first. False: dict is no dictionary, or has no such key. */
bool kith__bencode_find(const struct kith_bencode *dict, const char *key, struct kith_bencode *out);
/** The same where only a string will do. */
bool kith__bencode_find_bytes(const struct kith_bencode *dict, const char *key, struct kith_slice *out);
/** The same where only an integer will do. */
bool kith__bencode_find_integer(const struct kith_bencode *dict, const char *key, int64_t *out);

/** Writes into a buffer of fixed size. What does not fit is remembered, so that only the end has to be checked. */
struct kith_bencode_writer {
    struct kith_writer out;
    int err; /* of the first call that had no room */
    unsigned depth;
    const char *last_key[KITH_BENCODE_DEPTH_MAX];
};

struct kith_bencode_writer kith__bencode_writer(uint8_t *out, size_t size);
void kith__bencode_put_integer(struct kith_bencode_writer *w, int64_t value);
void kith__bencode_put_bytes(struct kith_bencode_writer *w, struct kith_slice bytes);
/** A value that is encoded already. */
void kith__bencode_put_whole(struct kith_bencode_writer *w, struct kith_slice value);
void kith__bencode_begin_dict(struct kith_bencode_writer *w);
void kith__bencode_begin_list(struct kith_bencode_writer *w);
/** Ends the innermost container. */
void kith__bencode_end(struct kith_bencode_writer *w);
/** A key, which lives as long as the writer, greater than the one before it in this dictionary (asserted). */
void kith__bencode_key(struct kith_bencode_writer *w, const char *key);
/** Key and value. */
void kith__bencode_put_pair_integer(struct kith_bencode_writer *w, const char *key, int64_t value);
void kith__bencode_put_pair_bytes(struct kith_bencode_writer *w, const char *key, struct kith_slice bytes);
/** All containers are ended (asserted). 0 and the size, or TOO_LARGE. */
KITH_MUST_USE int kith__bencode_finish(const struct kith_bencode_writer *w, size_t *size);

#endif
