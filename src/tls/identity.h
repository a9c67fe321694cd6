/** Our own raw public key in the TLS library, with signatures made by libsodium. */
#ifndef KITH_TLS_IDENTITY_H
#define KITH_TLS_IDENTITY_H

#include "tls/internal.h"

/**
 * Puts the raw public key of ctx->keypair, which must be filled in, into the context's credentials. The keypair is borrowed
 * by them: the credentials go first. A value of the library: 0, or < 0 on failure.
 */
int kith__tls_identity_set(struct kith_tls_context *ctx);

#endif
