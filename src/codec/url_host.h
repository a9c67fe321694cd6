/** The host of a relay URL: names, internationalised names, IPv4 in all its old spellings, IPv6. WHATWG URL, "host parsing". */
#ifndef KITH_CODEC_URL_HOST_H
#define KITH_CODEC_URL_HOST_H

#include "codec/cursor.h"

/**
 * Writes the normalised form of a host (untrusted, may be empty, IPv6 with its brackets). KITH_ERR_PARSE if it is not a
 * host; KITH_ERR_UNSUPPORTED for a name that IDNA 2008 does not allow; KITH_ERR_TOO_LARGE, KITH_ERR_NOMEM.
 */
int kith__url_host_normalise(const char *text, size_t size, struct kith_writer *w);

#endif
