/**
 * Relay URLs. The normalised text is the identity of a relay and is compared byte for byte, so normalisation must agree
 * with what the reference's URL library does for http and https (the WHATWG URL rules). URLs of other schemes are kept
 * as they are, with the scheme in lower case; nothing can be reached through them. Source: spec/03, 2.3.
 */
#ifndef KITH_CODEC_URL_H
#define KITH_CODEC_URL_H

#include "base/buf.h"

enum { KITH_URL_SIZE_MAX = 2048 }; /* of the text given and of the normalised one; longer is KITH_ERR_TOO_LARGE */

/**
 * Appends the normalised text of a URL (untrusted, need not end in 0) to out; on an error out is as it was.
 * KITH_ERR_PARSE if it is not a URL, KITH_ERR_UNSUPPORTED for an internationalised host name that IDNA 2008 does not
 * allow, KITH_ERR_TOO_LARGE, KITH_ERR_NOMEM.
 */
int kith__url_normalise(const char *text, size_t size, struct kith_buf *out);

/** The parts of a normalised URL, borrowed from its text. */
struct kith_url {
    bool is_https;              /* else http */
    bool is_ip_v6;              /* host is an IPv6 address; its brackets are not part of `host` */
    uint16_t port;              /* 80 or 443 where the text names none */
    struct kith_slice userinfo; /* "user:password" as it stands, percent-encoded, without '@'; empty: none */
    struct kith_slice host;     /* ASCII, not empty; a trailing dot is kept */
    struct kith_slice path;     /* path and query, starts with '/'; without the fragment */
};

/**
 * Splits a normalised http or https URL. KITH_ERR_UNSUPPORTED for other schemes, KITH_ERR_PARSE if it is not normalised
 * enough to be split.
 */
int kith__url_split(struct kith_slice text, struct kith_url *out);

/**
 * Appends the normalised URL that `reference` (untrusted: a Location header) means in a document at `base`, which is normalised
 * http or https. Errors: those of kith__url_normalise and kith__url_split. Source: RFC 3986, 5.2.
 */
int kith__url_resolve(struct kith_slice base, struct kith_slice reference, struct kith_buf *out);

#endif
