/* Credentials and trust of https streams: read once, never changed, shared by all threads. */
#include "base/assert.h"
#include "base/mem.h"
#include "tls/stream_internal.h"

#include <limits.h>

/*
 * Forward secrecy and AEAD only; signatures without SHA-1; RSA from 2048 bits on (PROFILE_MEDIUM). A server takes the first
 * of its own ciphers that the client has: AES-128-GCM is the fastest.
 */
static const char profile[] =
    "NONE:+VERS-TLS1.3:+VERS-TLS1.2:+ECDHE-ECDSA:+ECDHE-RSA:+AEAD:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:"
    "+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:"
    "+SIGN-EDDSA-ED25519:+SIGN-ECDSA-SECP256R1-SHA256:+SIGN-ECDSA-SECP384R1-SHA384:"
    "+SIGN-ECDSA-SHA256:+SIGN-ECDSA-SHA384:+SIGN-ECDSA-SHA512:"
    "+SIGN-RSA-PSS-RSAE-SHA256:+SIGN-RSA-PSS-RSAE-SHA384:+SIGN-RSA-PSS-RSAE-SHA512:"
    "+SIGN-RSA-SHA256:+SIGN-RSA-SHA384:+SIGN-RSA-SHA512:"
    "+CTYPE-SRV-X509:+CTYPE-CLI-X509:%SERVER_PRECEDENCE:%NO_TICKETS:%PROFILE_MEDIUM";

static int error_of(int rv, int otherwise)
{
    return rv == GNUTLS_E_MEMORY_ERROR ? KITH_ERR_NOMEM : otherwise;
}

static gnutls_datum_t datum(struct kith_slice slice)
{
    return (gnutls_datum_t) { (unsigned char *)slice.ptr, (unsigned)slice.size };
}

/* ---- Certificates ---- */

static bool key_fits(const struct kith_tls_stream_entry *entry)
{
    unsigned char of_key[64], of_leaf[64];
    size_t key_size = sizeof of_key, leaf_size = sizeof of_leaf;
    gnutls_pubkey_t public_key;
    bool fits;

    if (gnutls_pubkey_init(&public_key) < 0)
        return false;
    fits = gnutls_pubkey_import_privkey(public_key, entry->key, 0, 0) >= 0 &&
           gnutls_pubkey_get_key_id(public_key, GNUTLS_KEYID_USE_SHA256, of_key, &key_size) >= 0 &&
           gnutls_x509_crt_get_key_id(entry->leaf, GNUTLS_KEYID_USE_SHA256, of_leaf, &leaf_size) >= 0 &&
           key_size == leaf_size && memcmp(of_key, of_leaf, key_size) == 0;
    gnutls_pubkey_deinit(public_key);
    return fits;
}

static int entry_load(struct kith_tls_stream_entry *entry, const struct kith_tls_certificate *from)
{
    gnutls_datum_t chain = datum(from->chain), key = datum(from->key);
    unsigned count = KITH_TLS_STREAM_CHAIN_MAX;
    int rv;

    if (from->chain.size > INT_MAX || from->key.size > INT_MAX)
        return KITH_ERR_PARSE;
    if ((rv = gnutls_pcert_list_import_x509_raw(entry->chain, &count, &chain, GNUTLS_X509_FMT_PEM,
                                                GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED)) < 0)
        return error_of(rv, KITH_ERR_PARSE);
    entry->count = count;
    if (count == 0)
        return KITH_ERR_PARSE;
    if ((rv = gnutls_pcert_export_x509(&entry->chain[0], &entry->leaf)) < 0 ||
        (rv = gnutls_privkey_init(&entry->key)) < 0 ||
        (rv = gnutls_privkey_import_x509_raw(entry->key, &key, GNUTLS_X509_FMT_PEM, NULL, 0)) < 0)
        return error_of(rv, KITH_ERR_PARSE);
    return key_fits(entry) ? 0 : KITH_ERR_PARSE;
}

static void entry_dispose(struct kith_tls_stream_entry *entry)
{
    for (unsigned i = 0; i < entry->count; i++)
        gnutls_pcert_deinit(&entry->chain[i]);
    if (entry->key != NULL)
        gnutls_privkey_deinit(entry->key);
    if (entry->leaf != NULL)
        gnutls_x509_crt_deinit(entry->leaf);
}

const struct kith_tls_stream_entry *kith__tls_stream_choose(const struct kith_tls_stream_context *context,
                                                            const char *name, bool is_challenge)
{
    size_t first = is_challenge ? context->certificate_count : 0;
    size_t count = is_challenge ? context->challenge_count : context->certificate_count;

    for (size_t i = first; i < first + count; i++)
        if (gnutls_x509_crt_check_hostname2(context->entries[i].leaf, name, 0) != 0)
            return &context->entries[i];
    return NULL;
}

static int on_retrieve(gnutls_session_t session, const struct gnutls_cert_retr_st *info, gnutls_pcert_st **certs,
                       unsigned int *certs_length, gnutls_ocsp_data_st **ocsp, unsigned int *ocsp_length,
                       gnutls_privkey_t *key, unsigned int *flags)
{
    const struct kith_tls_stream *stream = gnutls_session_get_ptr(session);
    const struct kith_tls_stream_entry *entry = stream->handshake->chosen;

    (void)info;
    if (entry == NULL)
        return -1;
    *certs = (gnutls_pcert_st *)(uintptr_t)entry->chain; /* the library reads it only */
    *certs_length = entry->count;
    *ocsp = NULL;
    *ocsp_length = 0;
    *key = entry->key;
    *flags = 0;
    return 0;
}

static int load_entries(struct kith_tls_stream_context *context, const struct kith_tls_stream_context_options *options)
{
    size_t count = options->certificate_count + options->challenge_count;
    int err = 0;

    if ((context->entries = kith__alloc_array(context->mem, count, sizeof *context->entries)) == NULL)
        return KITH_ERR_NOMEM;
    context->certificate_count = options->certificate_count;
    context->challenge_count = options->challenge_count;
    for (size_t i = 0; i < count && err == 0; i++)
        err = entry_load(&context->entries[i], i < options->certificate_count
                                                   ? &options->certificates[i]
                                                   : &options->challenges[i - options->certificate_count]);
    gnutls_certificate_set_retrieve_function3(context->credentials, on_retrieve);
    return err;
}

/* ---- Trust ---- */

static int load_trust(struct kith_tls_stream_context *context, const struct kith_tls_stream_context_options *options)
{
    gnutls_datum_t anchors = datum(options->anchors);
    int count = 0;

    if (options->trust == KITH_TLS_TRUST_ANY)
        return 0;
    if (options->anchors.size > INT_MAX)
        return KITH_ERR_PARSE;
    if (anchors.size != 0 &&
        (count = gnutls_certificate_set_x509_trust_mem(context->credentials, &anchors, GNUTLS_X509_FMT_PEM)) <= 0)
        return error_of(count, KITH_ERR_PARSE);
    if (options->trust == KITH_TLS_TRUST_ONLY)
        return count > 0 ? 0 : KITH_ERR_PARSE;
    if ((count += KITH_MAX(gnutls_certificate_set_x509_system_trust(context->credentials), 0)) == 0)
        return KITH_ERR_NOT_FOUND;
    return 0;
}

/* ---- Life ---- */

static int copy_alpns(struct kith_tls_stream_context *context, const struct kith_tls_stream_context_options *options)
{
    int err = 0;

    for (size_t i = 0; i < options->alpn_count && err == 0; i++) {
        struct kith_slice name = options->alpns[i];

        if (name.size == 0 || name.size > KITH_TLS_STREAM_ALPN_SIZE_MAX)
            return KITH_ERR_INVALID;
        if ((err = kith__buf_append_byte(&context->alpns, (uint8_t)name.size)) == 0)
            err = kith__buf_append(&context->alpns, name.ptr, name.size);
    }
    return err;
}

/* The system-wide configuration of the library can take algorithms out of a profile without a word. */
static bool has_what_is_needed(gnutls_priority_t priority)
{
    const unsigned int *list;

    return gnutls_priority_group_list(priority, &list) > 0 && gnutls_priority_sign_list(priority, &list) > 0 &&
           gnutls_priority_cipher_list(priority, &list) > 0 && gnutls_priority_protocol_list(priority, &list) > 0;
}

static int set_up(struct kith_tls_stream_context *context, const struct kith_tls_stream_context_options *options)
{
    int rv, err;

    if ((err = copy_alpns(context, options)) != 0)
        return err;
    if ((rv = gnutls_certificate_allocate_credentials(&context->credentials)) < 0 ||
        (rv = gnutls_priority_init(&context->priority, profile, NULL)) < 0)
        return error_of(rv, KITH_ERR_TLS);
    if (!has_what_is_needed(context->priority))
        return KITH_ERR_TLS;
    return context->is_client ? load_trust(context, options) : load_entries(context, options);
}

static bool is_valid(const struct kith_tls_stream_context_options *options)
{
    if (options->certificate_count > KITH_TLS_STREAM_CERTIFICATES_MAX ||
        options->challenge_count > KITH_TLS_STREAM_CERTIFICATES_MAX || options->alpn_count > KITH_TLS_STREAM_ALPNS_MAX)
        return false;
    return options->is_client == (options->certificate_count + options->challenge_count == 0);
}

int kith__tls_stream_context_new(const struct kith_tls_stream_context_options *options,
                                 struct kith_tls_stream_context **out)
{
    struct kith_tls_stream_context *context;
    int err;

    if (!is_valid(options))
        return KITH_ERR_INVALID;
    if ((context = kith__alloc_zero(options->mem, sizeof *context)) == NULL)
        return KITH_ERR_NOMEM;
    context->mem = options->mem;
    atomic_init(&context->references, 1);
    kith__buf_init(&context->alpns, options->mem);
    context->is_client = options->is_client;
    context->accepts_any = options->is_client && options->trust == KITH_TLS_TRUST_ANY;
    context->refuses_unknown_names = options->refuses_unknown_names;
    if ((err = set_up(context, options)) != 0) {
        kith__tls_stream_context_release(context);
        return err;
    }
    *out = context;
    return 0;
}

struct kith_tls_stream_context *kith__tls_stream_context_retain(struct kith_tls_stream_context *context)
{
    atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
    return context;
}

void kith__tls_stream_context_release(struct kith_tls_stream_context *context)
{
    if (context == NULL)
        return;
    if (atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel) != 1)
        return;
    if (context->priority != NULL)
        gnutls_priority_deinit(context->priority);
    if (context->credentials != NULL)
        gnutls_certificate_free_credentials(context->credentials);
    for (size_t i = 0; context->entries != NULL && i < context->certificate_count + context->challenge_count; i++)
        entry_dispose(&context->entries[i]);
    kith__free(context->mem, context->entries);
    kith__buf_dispose(&context->alpns);
    kith__free(context->mem, context);
}
