/**
 * The body of an HTTP/1.1 message behind a parsed head: by length, chunked, or until the connection ends; always with a
 * bound. Sans-IO. All bytes are untrusted. Source: RFC 9112, 6 and 7.
 */
#ifndef KITH_HTTP_BODY_H
#define KITH_HTTP_BODY_H

#include "http/head.h"

/** By value in its owner; needs no dispose. */
struct kith_http_body {
    struct http_parser parser;
    uint64_t size, size_max; /* of the decoded body */
    bool is_done;            /* the message is complete; what follows is the next one */
};

/**
 * Starts behind a head. is_without: a response that has no body whatever its head says (to HEAD, to CONNECT).
 * TOO_LARGE: the head announces more than size_max.
 */
KITH_MUST_USE int kith__http_body_init(struct kith_http_body *body, const struct kith_http_head *head, bool is_without,
                                       uint64_t size_max);
/**
 * Decodes bytes, which come behind the head, and appends to out. *used < size only when the message is complete before
 * the end of the bytes. Errors: PARSE, TOO_LARGE, NOMEM; the connection is of no use then.
 */
KITH_MUST_USE int kith__http_body_receive(struct kith_http_body *body, const uint8_t *bytes, size_t size,
                                          struct kith_buf *out, size_t *used);
/** The connection ended. 0: that completes the body; TRUNCATED: it does not. */
KITH_MUST_USE int kith__http_body_end(struct kith_http_body *body);

#endif
