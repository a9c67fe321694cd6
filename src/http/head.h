/**
 * Heads of HTTP/1.1 and 1.0 messages: parsed in place, and written. All bytes that are parsed are untrusted. Grammar by
 * libhttp-parser; on top of it small fixed limits, and no folded lines (RFC 9112, 5.2). Source: RFC 9110, RFC 9112.
 */
#ifndef KITH_HTTP_HEAD_H
#define KITH_HTTP_HEAD_H

#include "base/buf.h"
#include "codec/cursor.h"
#include <http_parser.h>
#include <kith/types.h>

enum {
    KITH_HTTP_HEAD_SIZE_MAX = 8192, /* from the first byte to the blank line; a longer one is KITH_ERR_TOO_LARGE */
    KITH_HTTP_HEADERS_MAX = 64,     /* lines; more are KITH_ERR_TOO_LARGE */
    KITH_HTTP_CREDENTIALS_MAX = 512 /* user and password, with the colon */
};

enum kith_http_kind { KITH_HTTP_REQUEST, KITH_HTTP_RESPONSE };

/** One line: the name as it came, the value without space around it. Borrowed from the parsed bytes. */
struct kith_http_header {
    struct kith_slice name, value;
};

/** A parsed head; about 2 KiB, made for the stack. All slices are borrowed from the parsed bytes. */
struct kith_http_head {
    uint8_t kind;                     /* enum kith_http_kind */
    uint8_t minor_version;            /* HTTP/1.this: 0 or 1 */
    bool keeps_alive;                 /* the connection may be used again after this message (RFC 9112, 9.3) */
    bool is_chunked;                  /* Transfer-Encoding: chunked */
    bool has_length;                  /* there is a Content-Length */
    uint64_t length;                  /* its value; 0 without one */
    struct kith_slice method, target; /* request: target is not empty, and as it came */
    struct kith_slice path, query;    /* request: of the target, also of an absolute one; query without '?' */
    uint16_t status;                  /* response: 100..999 */
    size_t size;                      /* bytes of the head with its blank line: the body begins there */
    size_t header_count;
    struct kith_http_header headers[KITH_HTTP_HEADERS_MAX];
    struct http_parser parser; /* stands before the body: kith__http_body_init copies it */
};

/**
 * Parses a head that begins at bytes[0] (empty lines before it are skipped). Looks only at the first
 * KITH_HTTP_HEAD_SIZE_MAX bytes. Errors, with *out undefined:
 *   AGAIN      not complete yet: call again with more bytes from the start (kith_http_intake does it without waste)
 *   PARSE      not HTTP, or ambiguous: two lengths, a length beside chunked, a folded line; a transfer coding other
 *              than chunked
 *   TOO_LARGE  more bytes or lines than the limits
 *   VERSION    HTTP, but neither 1.0 nor 1.1
 */
KITH_MUST_USE int kith__http_head_parse(enum kith_http_kind kind, const uint8_t *bytes, size_t size,
                                        struct kith_http_head *out);

/** The first header of that name (ASCII case ignored), or NULL. */
const struct kith_http_header *kith__http_header(const struct kith_http_head *head, const char *name);
/** The next one of that name after `before`, which is one of this head; NULL: the first. NULL: none is left. */
const struct kith_http_header *kith__http_header_next(const struct kith_http_head *head, const char *name,
                                                      const struct kith_http_header *before);
/** True if one of the comma-separated lists under that name has the element `token` (both without case; RFC 9110, 5.6.1). */
bool kith__http_has_token(const struct kith_http_head *head, const char *name, const char *token);
/**
 * Takes the next element off a comma-separated list (one header's value), without space around it; empty elements are
 * skipped. False: none is left.
 */
bool kith__http_list_next(struct kith_slice *list, struct kith_slice *out);
/** True if the slice is that text, byte for byte; the second without ASCII case. */
bool kith__http_is(struct kith_slice slice, const char *text);
bool kith__http_is_nocase(struct kith_slice slice, const char *text);
/** A text as a slice. */
struct kith_slice kith__http_text(const char *text);

/**
 * The first parameter `name` of a query (text without '?'), decoded as a form: '+' is a space, %41 is A, anything else
 * stays as it is (WHATWG URL, application/x-www-form-urlencoded). Writes *size bytes to out. Errors: NOT_FOUND;
 * TOO_LARGE: more than cap.
 */
KITH_MUST_USE int kith__http_query_get(struct kith_slice query, const char *name, uint8_t *out, size_t cap,
                                       size_t *size);

/** Decodes %41 to A, as above; a '+' stays one unless is_form. Writes *size bytes to out. TOO_LARGE: more than cap. */
KITH_MUST_USE int kith__http_percent_decode(struct kith_slice text, bool is_form, uint8_t *out, size_t cap,
                                            size_t *size);

/* ---- A head that comes in pieces ---- */

/**
 * Collects a head that arrives in pieces of any size, with work and memory linear in its size. A head that comes whole
 * is parsed where it lies. By value in its owner; a zeroed one with bytes.mem set is ready. Nothing is allocated before
 * the first incomplete piece.
 */
struct kith_http_intake {
    struct kith_buf bytes; /* what came, if it did not come whole */
    size_t scanned;        /* of it: holds no end of a head */
    size_t parse_at;       /* parse again at this size even without an end, so that garbage is refused early */
    uint8_t kind;          /* enum kith_http_kind */
};

void kith__http_intake_init(struct kith_http_intake *intake, const struct kith_mem *mem, enum kith_http_kind kind);
/** Frees; may be used again for the next head. */
void kith__http_intake_dispose(struct kith_http_intake *intake);
/**
 * Takes bytes. 0: *out is a head, whose slices are valid until dispose and as long as `bytes` are; *used of these bytes
 * belong to it, the rest is what follows. Dispose before the next head. Errors as kith__http_head_parse; with AGAIN all
 * bytes were taken; NOMEM.
 */
KITH_MUST_USE int kith__http_intake_receive(struct kith_http_intake *intake, const uint8_t *bytes, size_t size,
                                            struct kith_http_head *out, size_t *used);

/* ---- Writing ---- */

/* Each writes whole lines or nothing. Errors: TOO_LARGE: no room; INVALID: a byte that would end or forge a line. */

/** "METHOD target HTTP/1.1". */
KITH_MUST_USE int kith__http_write_request(struct kith_writer *w, const char *method, struct kith_slice target);
/** "HTTP/1.1 204 No Content"; the phrase is that of the status. */
KITH_MUST_USE int kith__http_write_status(struct kith_writer *w, uint16_t status);
KITH_MUST_USE int kith__http_write_header(struct kith_writer *w, const char *name, struct kith_slice value);
/** The same with a name that need not end in 0. */
KITH_MUST_USE int kith__http_write_header_slices(struct kith_writer *w, struct kith_slice name,
                                                 struct kith_slice value);
KITH_MUST_USE int kith__http_write_header_text(struct kith_writer *w, const char *name, const char *value);
KITH_MUST_USE int kith__http_write_header_number(struct kith_writer *w, const char *name, uint64_t value);
/** "name: Basic ..." with the standard base64 of "user:password" (RFC 7617), at most KITH_HTTP_CREDENTIALS_MAX bytes. */
KITH_MUST_USE int kith__http_write_basic(struct kith_writer *w, const char *name, struct kith_slice credentials);
/** The blank line. */
KITH_MUST_USE int kith__http_write_end(struct kith_writer *w);
/** The usual phrase of a status; "Unknown" for others. Static. */
const char *kith__http_phrase(uint16_t status);

#endif
