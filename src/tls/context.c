/* What all handshakes of a host share. Recipe and reasons: spec/08, part 1. */
#include "base/mem.h"
#include "crypto/secure.h"
#include "crypto/sign.h"
#include "tls/identity.h"
#include "tls/x509.h"

/*
 * TLS 1.3 only; X25519 first, so that no HelloRetryRequest is needed against iroh; Ed25519 signatures and raw public
 * keys only, both ways; the server takes the first of its own ciphers that the client has: AES-128-GCM is the fastest.
 */
static const char profile[] = "NONE:+VERS-TLS1.3:+ECDHE-ECDSA:+AEAD:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:"
                              "+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:+SIGN-EDDSA-ED25519:"
                              "+CTYPE-SRV-RAWPK:+CTYPE-CLI-RAWPK:%SERVER_PRECEDENCE:%DISABLE_TLS13_COMPAT_MODE";

/* The window after which the library forgets its start time, in ms: as long as its type allows (spec/08, L1b). */
enum { ANTI_REPLAY_WINDOW_MS = 0x7fffffff };

static int on_early_data(void *ptr, time_t expires, const gnutls_datum_t *key, const gnutls_datum_t *data)
{
    struct kith_tls_context *ctx = ptr;

    (void)expires;
    (void)key;
    (void)data;
    return ctx->current != NULL && kith__tls_allows_early(ctx->current) ? 0 : GNUTLS_E_DB_ERROR;
}

/* The system-wide configuration can silently take algorithms out of the profile (spec/08, L7): say so at the start. */
static bool has_what_is_needed(gnutls_priority_t priority)
{
    const unsigned int *list;
    bool group = false, sign = false;
    int count = gnutls_priority_group_list(priority, &list);

    for (int i = 0; i < count; i++)
        group |= list[i] == GNUTLS_GROUP_X25519;
    count = gnutls_priority_sign_list(priority, &list);
    for (int i = 0; i < count; i++)
        sign |= list[i] == GNUTLS_SIGN_EDDSA_ED25519;
    return group && sign && gnutls_priority_cipher_list(priority, &list) > 0;
}

static int error_of(int rv)
{
    return rv == GNUTLS_E_MEMORY_ERROR ? KITH_ERR_NOMEM : KITH_ERR_TLS;
}

static int set_up(struct kith_tls_context *ctx, const struct kith_tls_context_options *options)
{
    int rv, err;

    if ((rv = gnutls_certificate_allocate_credentials(&ctx->credentials)) < 0)
        return error_of(rv);
    ctx->is_x509 = options->x509 != NULL;
    if (ctx->is_x509 && (err = kith__x509_set_up(ctx, options->x509)) != 0)
        return err;
    if (!ctx->is_x509) {
        kith__keypair_init(&ctx->keypair, options->secret);
        if ((rv = kith__tls_identity_set(ctx)) < 0)
            return error_of(rv);
    }
    gnutls_certificate_set_verify_function(ctx->credentials, kith__tls_verify);
    if ((rv = gnutls_priority_init(&ctx->priority, ctx->is_x509 ? kith__x509_profile : profile, NULL)) < 0)
        return error_of(rv);
    if (!has_what_is_needed(ctx->priority))
        return KITH_ERR_TLS;
    if ((rv = gnutls_anti_replay_init(&ctx->anti_replay)) < 0)
        return error_of(rv);
    gnutls_anti_replay_set_window(ctx->anti_replay, ANTI_REPLAY_WINDOW_MS);
    gnutls_anti_replay_set_add_function(ctx->anti_replay, on_early_data);
    gnutls_anti_replay_set_ptr(ctx->anti_replay, ctx);
    return 0;
}

int kith__tls_context_new(const struct kith_tls_context_options *options, struct kith_tls_context **out)
{
    struct kith_tls_context *ctx = kith__alloc_zero(options->mem, sizeof *ctx);
    int err;

    if (ctx == NULL)
        return KITH_ERR_NOMEM;
    ctx->mem = options->mem;
    ctx->users = 1;
    ctx->issued.mem = options->mem;
    options->random.fill(options->random.ctx, ctx->ticket_key, sizeof ctx->ticket_key);
    kith__blob_key(options->secret, ctx->blob_key);
    err = set_up(ctx, options);
    if (err != 0) {
        kith__tls_context_free(ctx);
        return err;
    }
    *out = ctx;
    return 0;
}

void kith__tls_context_free(struct kith_tls_context *ctx)
{
    const struct kith_mem *mem;

    if (ctx == NULL || --ctx->users != 0)
        return;
    mem = ctx->mem;
    if (ctx->anti_replay != NULL)
        gnutls_anti_replay_deinit(ctx->anti_replay);
    if (ctx->priority != NULL)
        gnutls_priority_deinit(ctx->priority);
    if (ctx->credentials != NULL)
        gnutls_certificate_free_credentials(ctx->credentials);
    kith__issued_dispose(&ctx->issued);
    kith__wipe(ctx, sizeof *ctx);
    kith__free(mem, ctx);
}
