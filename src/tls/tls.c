/*
 * One handshake: its life, the messages that come in, the outputs that go out. Incoming bytes are cut into messages
 * here and checked before the library sees them: it gets whole messages of the right level only, and what it does not
 * check itself (certificate types, KeyUpdate, parts of QUIC) is checked before. What the library is told is in
 * library.c.
 */
#include "tls/tls.h"
#include "base/mem.h"
#include "codec/cursor.h"
#include "crypto/secure.h"
#include "tls/hello.h"
#include "tls/internal.h"
#include "tls/x509.h"

int kith__tls_fail(struct kith_tls *tls, enum kith_tls_code code, const char *text)
{
    if (tls->state != KITH_TLS_OVER) {
        tls->state = KITH_TLS_OVER;
        tls->failure = (struct kith_tls_output) { .kind = KITH_TLS_FAILED, .code = (uint16_t)code, .text = text };
        tls->failure.no_alpn = code == KITH_TLS_CODE_NO_ALPN;
    }
    return KITH_ERR_TLS;
}

int kith__tls_fail_with(struct kith_tls *tls, int rv)
{
    if (rv == GNUTLS_E_MEMORY_ERROR) {
        tls->state = KITH_TLS_OVER;
        tls->failure.kind = 0;
        return KITH_ERR_NOMEM;
    }
    return kith__tls_fail(tls, (enum kith_tls_code)(KITH_TLS_CODE_ALERT + gnutls_error_to_alert(rv, NULL)),
                          gnutls_strerror(rv));
}

static int api_error(int rv)
{
    return rv == GNUTLS_E_MEMORY_ERROR ? KITH_ERR_NOMEM : KITH_ERR_TLS;
}

/* ---- Life ---- */

static struct kith_tls *allocate(struct kith_tls_context *ctx, bool is_server)
{
    struct kith_tls *tls = kith__alloc_zero(ctx->mem, sizeof *tls);

    if (tls == NULL)
        return NULL;
    tls->ctx = ctx;
    ctx->users++;
    tls->is_server = is_server;
    tls->outbox.mem = ctx->mem;
    kith__buf_init(&tls->partial, ctx->mem);
    kith__buf_init(&tls->own_params, ctx->mem);
    kith__buf_init(&tls->peer_params, ctx->mem);
    kith__buf_init(&tls->alpns, ctx->mem);
    kith__buf_init(&tls->server_name, ctx->mem);
    kith__buf_init(&tls->session_bytes, ctx->mem);
    return tls;
}

static int copy_alpns(struct kith_tls *tls, const struct kith_slice *alpns, size_t count)
{
    size_t size = 0;
    int err;

    if (count == 0 || count > KITH_QUIC_ALPN_COUNT_MAX)
        return KITH_ERR_INVALID;
    for (size_t i = 0; i < count; i++) {
        if (alpns[i].size == 0 || alpns[i].size > KITH_QUIC_ALPN_SIZE_MAX)
            return KITH_ERR_INVALID;
        size += 1 + alpns[i].size;
    }
    if ((err = kith__buf_reserve(&tls->alpns, size)) != 0)
        return err;
    for (size_t i = 0; i < count && err == 0; i++)
        if ((err = kith__buf_append_byte(&tls->alpns, (uint8_t)alpns[i].size)) == 0)
            err = kith__buf_append(&tls->alpns, alpns[i].ptr, alpns[i].size);
    return err;
}

static int copy_params(struct kith_tls *tls, struct kith_slice params)
{
    struct kith_buf copy;

    if (params.size == 0 || params.size > KITH_TLS_PARAMS_SIZE_MAX)
        return KITH_ERR_INVALID;
    kith__buf_init(&copy, tls->ctx->mem);
    if (kith__buf_append(&copy, params.ptr, params.size) != 0)
        return KITH_ERR_NOMEM;
    kith__buf_dispose(&tls->own_params);
    tls->own_params = copy;
    return 0;
}

static void drop_session_bytes(struct kith_tls *tls)
{
    if (tls->session_bytes.ptr != NULL)
        kith__wipe(tls->session_bytes.ptr, tls->session_bytes.size);
    kith__buf_dispose(&tls->session_bytes);
    tls->offered = (struct kith_blob) { .allows_early = false };
}

static int copy_session(struct kith_tls *tls, struct kith_slice session)
{
    int err;

    if (session.size == 0)
        return 0;
    if (session.size > KITH_TLS_BLOB_SIZE_MAX)
        return KITH_ERR_PARSE;
    if ((err = kith__buf_append(&tls->session_bytes, session.ptr, session.size)) != 0)
        return err;
    if ((err = kith__blob_read(tls->ctx->blob_key, kith__buf_slice(&tls->session_bytes), &tls->offered)) != 0)
        return err;
    return memcmp(&tls->offered.peer, &tls->expected, sizeof tls->expected) == 0 ? 0 : KITH_ERR_PARSE;
}

/* True if the session's 0-RTT can be used: its protocol must be one that we still offer (RFC 8446, 4.2.10). */
static bool session_allows_early(const struct kith_tls *tls)
{
    uint8_t name[1 + KITH_QUIC_ALPN_SIZE_MAX] = { (uint8_t)tls->offered.alpn.size };

    if (!tls->offered.allows_early)
        return false;
    memcpy(name + 1, tls->offered.alpn.ptr, tls->offered.alpn.size);
    return kith__alpn_choose((struct kith_slice) { name, 1 + tls->offered.alpn.size }, kith__buf_slice(&tls->alpns))
               .size != 0;
}

static int start_client(struct kith_tls *tls)
{
    int rv = kith__tls_open(tls);

    if (rv < 0)
        return api_error(rv);
    return tls->session_is_stale ? 0 : kith__tls_drive(tls);
}

/* A session that grew too old is no error: begin again without it. What the library made of it is of no use: it fails
 * over a ticket that it found too old, or promises 0-RTT without one. */
static int start_client_anew(struct kith_tls *tls)
{
    gnutls_deinit(tls->session);
    tls->session = NULL;
    kith__outbox_dispose(&tls->outbox);
    drop_session_bytes(tls);
    tls->takes_early = tls->session_is_stale = tls->early_offered = false;
    tls->state = KITH_TLS_SHAKING;
    tls->failure = (struct kith_tls_output) { .kind = 0 };
    return start_client(tls);
}

int kith__tls_new_client(struct kith_tls_context *ctx, const struct kith_tls_client_options *options,
                         struct kith_tls **out)
{
    struct kith_tls *tls = allocate(ctx, false);
    int err;

    if (tls == NULL)
        return KITH_ERR_NOMEM;
    tls->expected = options->expected;
    tls->key_log = options->key_log;
    if (ctx->is_x509 && (err = kith__x509_set_name(tls, options->server_name)) != 0)
        goto fail;
    if ((err = copy_alpns(tls, options->alpns, options->alpn_count)) != 0 ||
        (err = copy_params(tls, options->params)) != 0 || (err = copy_session(tls, options->session)) != 0)
        goto fail;
    tls->takes_early = options->early_data && session_allows_early(tls);
    err = start_client(tls);
    if ((err == KITH_ERR_TLS || tls->session_is_stale) && tls->session_bytes.size != 0)
        err = start_client_anew(tls);
    if (err != 0)
        goto fail;
    *out = tls;
    return 0;
fail:
    kith__tls_free(tls);
    return err;
}

int kith__tls_new_server(struct kith_tls_context *ctx, const struct kith_tls_server_options *options,
                         struct kith_tls **out)
{
    struct kith_tls *tls = allocate(ctx, true);
    int err, rv;

    if (tls == NULL)
        return KITH_ERR_NOMEM;
    tls->key_log = options->key_log;
    tls->takes_early = options->early_data;
    tls->early_tag = options->early_tag;
    if (ctx->is_x509 && !ctx->has_certificate) {
        err = KITH_ERR_STATE;
        goto fail;
    }
    if ((err = copy_alpns(tls, options->alpns, options->alpn_count)) != 0)
        goto fail;
    if ((rv = kith__tls_open(tls)) < 0) {
        err = api_error(rv);
        goto fail;
    }
    *out = tls;
    return 0;
fail:
    kith__tls_free(tls);
    return err;
}

int kith__tls_set_params(struct kith_tls *tls, struct kith_slice params)
{
    if (!tls->is_server || tls->state != KITH_TLS_SHAKING || tls->params_published || tls->partial.size != 0)
        return KITH_ERR_STATE;
    return copy_params(tls, params);
}

static uint32_t body_size(const uint8_t *header)
{
    return (uint32_t)header[1] << 16 | (uint32_t)header[2] << 8 | header[3];
}

static void free_library_part(struct kith_tls *tls)
{
    if (tls->session != NULL)
        gnutls_deinit(tls->session);
    tls->session = NULL;
    kith__buf_dispose(&tls->peer_params);
    kith__buf_dispose(&tls->server_name);
    kith__buf_dispose(&tls->alpns);
    tls->alpn = tls->alpns_sent = (struct kith_slice) { NULL, 0 };
}

/** A message that is not whole yet is passed over, like later ones; its first three bytes say nothing of it yet. */
static void skip_rest(struct kith_tls *tls)
{
    if (tls->partial.size < KITH_HANDSHAKE_HEADER_SIZE)
        return;
    tls->tickets_ignored++;
    tls->skip_size = (uint32_t)(KITH_HANDSHAKE_HEADER_SIZE + body_size(tls->partial.ptr) - tls->partial.size);
    kith__buf_dispose(&tls->partial);
}

void kith__tls_shed(struct kith_tls *tls)
{
    if (tls->state != KITH_TLS_READY || tls->session == NULL)
        return;
    skip_rest(tls);
    free_library_part(tls);
}

void kith__tls_free(struct kith_tls *tls)
{
    struct kith_tls_context *ctx;

    if (tls == NULL)
        return;
    ctx = tls->ctx;
    free_library_part(tls);
    drop_session_bytes(tls);
    kith__outbox_dispose(&tls->outbox);
    kith__buf_dispose(&tls->partial);
    kith__buf_dispose(&tls->own_params);
    kith__wipe(tls, sizeof *tls);
    kith__free(ctx->mem, tls);
    kith__tls_context_free(ctx);
}

/* ---- Messages ---- */

static int publish(struct kith_tls *tls, enum kith_tls_output_kind kind, struct kith_slice bytes)
{
    if (kith__outbox_push(&tls->outbox, &(struct kith_tls_output) { .kind = (uint8_t)kind, .bytes = bytes }) != 0)
        return kith__tls_fail_with(tls, GNUTLS_E_MEMORY_ERROR);
    return 0;
}

static int publish_negotiated(struct kith_tls *tls, struct kith_slice params)
{
    int err;

    if (params.size == 0 || params.size > KITH_TLS_PARAMS_SIZE_MAX)
        return kith__tls_fail(tls, KITH_TLS_CODE_PARAMS, "transport parameters are empty or too long");
    if (tls->params_published) /* a second ClientHello, after a HelloRetryRequest */
        return 0;
    tls->params_published = true;
    if (!tls->is_server && kith__buf_append(&tls->peer_params, params.ptr, params.size) != 0)
        return kith__tls_fail_with(tls, GNUTLS_E_MEMORY_ERROR);
    if ((err = publish(tls, KITH_TLS_PARAMS, params)) != 0)
        return err;
    return publish(tls, KITH_TLS_ALPN, tls->alpn);
}

static int choose_alpn(struct kith_tls *tls, struct kith_slice offered)
{
    struct kith_slice chosen = kith__alpn_choose(kith__buf_slice(&tls->alpns), offered);
    uint8_t text[8 + KITH_QUIC_ALPN_SIZE_MAX], digest[KITH_DIGEST_SIZE_MAX];
    struct kith_writer w = kith__writer(text, sizeof text);
    int rv;

    if (chosen.size == 0)
        return kith__tls_fail(tls, KITH_TLS_CODE_NO_ALPN, "no application protocol in common");
    if (tls->alpn.size != 0) /* a second ClientHello must not change its mind */
        return chosen.ptr == tls->alpn.ptr
                   ? 0
                   : kith__tls_fail(tls, KITH_TLS_CODE_ILLEGAL_PARAMETER, "the second ClientHello has other protocols");
    tls->alpn = chosen;
    if ((rv = kith__write_u64(&w, tls->early_tag)) != 0 || (rv = kith__write_bytes(&w, chosen.ptr, chosen.size)) != 0)
        return kith__tls_fail(tls, KITH_TLS_CODE_INTERNAL, "protocol name too long");
    kith__digest(KITH_DIGEST_SHA256, (struct kith_slice) { text, kith__writer_size(&w) }, digest);
    memcpy(tls->binding, digest, sizeof tls->binding);
    rv = kith__tls_offer_alpns(tls, (struct kith_slice) { chosen.ptr - 1, chosen.size + 1 });
    return rv < 0 ? kith__tls_fail_with(tls, rv) : 0;
}

/* What the library does not check in a ClientHello. A broken one is left to it: it knows the alerts. */
static int on_client_hello(struct kith_tls *tls, struct kith_slice message)
{
    struct kith_client_hello hello;
    int err;

    if (kith__client_hello_parse(message, &hello) != 0)
        return 0;
    if (hello.has_session_id)
        return kith__tls_fail(tls, KITH_TLS_CODE_PROTOCOL_VIOLATION, "the legacy session id is not empty");
    if (!tls->ctx->is_x509 && (!hello.has_client_type || !hello.has_server_type))
        return kith__tls_fail(tls, KITH_TLS_CODE_HANDSHAKE_FAILURE, "a certificate type extension is missing");
    if ((err = choose_alpn(tls, hello.alpns)) != 0)
        return err;
    if (!hello.has_params)
        return kith__tls_fail(tls, KITH_TLS_CODE_MISSING_EXTENSION, "transport parameters are missing");
    tls->has_usable_share = hello.has_usable_share;
    tls->early_offered = hello.has_early_data && hello.first_ticket.size != 0;
    tls->first_ticket = hello.first_ticket;
    return publish_negotiated(tls, hello.params);
}

static int on_encrypted_extensions(struct kith_tls *tls, struct kith_slice message)
{
    struct kith_encrypted_extensions found;

    if (kith__encrypted_extensions_parse(message, &found) != 0)
        return 0;
    if (found.alpns.size == 0)
        return kith__tls_fail(tls, KITH_TLS_CODE_NO_ALPN, "the server chose no application protocol");
    if (found.alpns.size != 1u + found.alpns.ptr[0])
        return kith__tls_fail(tls, KITH_TLS_CODE_ILLEGAL_PARAMETER, "the server chose several protocols");
    tls->alpn = kith__alpn_choose(kith__buf_slice(&tls->alpns), found.alpns);
    if (tls->alpn.size == 0)
        return kith__tls_fail(tls, KITH_TLS_CODE_ILLEGAL_PARAMETER, "the server chose a protocol that was not offered");
    if (!found.has_params)
        return kith__tls_fail(tls, KITH_TLS_CODE_MISSING_EXTENSION, "transport parameters are missing");
    if (found.has_early_data && tls->early_offered &&
        (tls->alpn.size != tls->offered.alpn.size || memcmp(tls->alpn.ptr, tls->offered.alpn.ptr, tls->alpn.size) != 0))
        return kith__tls_fail(tls, KITH_TLS_CODE_ILLEGAL_PARAMETER, "0-RTT was accepted for another protocol");
    return publish_negotiated(tls, found.params);
}

static int check_message(struct kith_tls *tls, struct kith_slice message)
{
    if (tls->is_server && message.ptr[0] == KITH_HANDSHAKE_CLIENT_HELLO && tls->read_level == KITH_TLS_INITIAL)
        return on_client_hello(tls, message);
    if (tls->is_server)
        return 0;
    if (message.ptr[0] == KITH_HANDSHAKE_ENCRYPTED_EXTENSIONS && tls->read_level == KITH_TLS_HANDSHAKE)
        return on_encrypted_extensions(tls, message);
    if (tls->early_offered && kith__server_hello_is_retry(message)) {
        tls->state = KITH_TLS_OVER;
        tls->failure = (struct kith_tls_output) { .kind = KITH_TLS_RETRY };
        return KITH_ERR_TLS;
    }
    return 0;
}

static void finish(struct kith_tls *tls)
{
    kith__buf_dispose(&tls->own_params);
    if (!tls->is_server)
        return;
    kith__buf_dispose(&tls->alpns); /* ALPN was queued as a copy */
    tls->alpn = tls->alpns_sent = (struct kith_slice) { NULL, 0 };
}

static int on_handshake_message(struct kith_tls *tls, struct kith_slice message)
{
    int rv, err = check_message(tls, message);

    if (err != 0)
        return err;
    rv = gnutls_handshake_write(tls->session, (gnutls_record_encryption_level_t)tls->read_level, message.ptr,
                                message.size);
    err = rv < 0 ? kith__tls_fail_with(tls, rv) : kith__tls_drive(tls);
    tls->first_ticket = (struct kith_slice) { NULL, 0 };
    if (err == 0 && tls->state == KITH_TLS_READY)
        finish(tls);
    return err;
}

static int on_ticket(struct kith_tls *tls, struct kith_slice message)
{
    struct kith_ticket ticket = { .lifetime_s = 0 };
    int rv;

    /* A broken one goes to the library, which knows the alert. */
    if (kith__ticket_parse(message, &ticket) == 0) {
        if (ticket.has_early_data && ticket.early_data_size != UINT32_MAX)
            return kith__tls_fail(tls, KITH_TLS_CODE_PROTOCOL_VIOLATION, "a ticket limits 0-RTT by size");
        if (ticket.lifetime_s == 0 || ticket.ticket.size == 0 || tls->tickets >= KITH_TLS_TICKETS_READ_MAX) {
            tls->tickets_ignored++;
            return 0;
        }
    }
    tls->tickets++;
    rv = gnutls_handshake_write(tls->session, GNUTLS_ENCRYPTION_LEVEL_APPLICATION, message.ptr, message.size);
    return rv < 0 ? kith__tls_fail_with(tls, rv) : kith__tls_publish_session(tls, ticket.has_early_data);
}

/* After the handshake only NewSessionTicket may come, and only to a client. A KeyUpdate in particular is forbidden in
 * QUIC (RFC 9001, 6), and the library would take it (spec/08, L4). */
static int check_type(struct kith_tls *tls, uint8_t type)
{
    if (tls->state == KITH_TLS_SHAKING || (type == KITH_HANDSHAKE_NEW_SESSION_TICKET && !tls->is_server))
        return 0;
    return kith__tls_fail(tls, KITH_TLS_CODE_UNEXPECTED_MESSAGE,
                          type == KITH_HANDSHAKE_KEY_UPDATE ? "KeyUpdate is not allowed in QUIC"
                                                            : "unexpected message after the handshake");
}

static int check_header(struct kith_tls *tls, const uint8_t *header)
{
    uint32_t size = body_size(header);
    bool is_large = size > KITH_TLS_MESSAGE_SIZE_MAX - KITH_HANDSHAKE_HEADER_SIZE;

    if (tls->state == KITH_TLS_SHAKING)
        return is_large ? kith__tls_fail(tls, KITH_TLS_CODE_HANDSHAKE_FAILURE, "a handshake message is too long") : 0;
    if (is_large || tls->session == NULL) {
        tls->tickets_ignored++;
        tls->skip_size = size;
        tls->partial.size = 0;
    }
    return 0;
}

static int append(struct kith_tls *tls, struct kith_reader *r, size_t size)
{
    size_t part = KITH_MIN(size, kith__reader_left(r));

    if (kith__buf_append(&tls->partial, r->at, part) != 0)
        return kith__tls_fail_with(tls, GNUTLS_E_MEMORY_ERROR);
    return kith__read_skip(r, part);
}

static int on_message(struct kith_tls *tls, struct kith_slice message)
{
    return tls->state == KITH_TLS_SHAKING ? on_handshake_message(tls, message) : on_ticket(tls, message);
}

/* Takes bytes up to the end of one message at most; hands the message on when it is whole. */
static int take(struct kith_tls *tls, struct kith_reader *r)
{
    size_t skipped = KITH_MIN(tls->skip_size, kith__reader_left(r)), whole;
    int err;

    if (skipped != 0) {
        tls->skip_size -= (uint32_t)skipped;
        return kith__read_skip(r, skipped);
    }
    if (tls->partial.size == 0 && (err = check_type(tls, *r->at)) != 0)
        return err;
    if (tls->partial.size < KITH_HANDSHAKE_HEADER_SIZE) {
        if ((err = append(tls, r, KITH_HANDSHAKE_HEADER_SIZE - tls->partial.size)) != 0 ||
            tls->partial.size < KITH_HANDSHAKE_HEADER_SIZE || (err = check_header(tls, tls->partial.ptr)) != 0 ||
            tls->partial.size == 0)
            return err;
    }
    whole = KITH_HANDSHAKE_HEADER_SIZE + body_size(tls->partial.ptr);
    if ((err = append(tls, r, whole - tls->partial.size)) != 0 || tls->partial.size < whole)
        return err;
    err = on_message(tls, kith__buf_slice(&tls->partial));
    tls->partial.size = 0;
    return err;
}

static int check_level(struct kith_tls *tls, enum kith_tls_level level)
{
    if (level == tls->read_level)
        return 0;
    if (level > tls->read_level || level == KITH_TLS_EARLY)
        return KITH_ERR_STATE;
    return kith__tls_fail(tls, KITH_TLS_CODE_PROTOCOL_VIOLATION, "CRYPTO data at a level that is over");
}

int kith__tls_receive(struct kith_tls *tls, enum kith_tls_level level, const uint8_t *bytes, size_t size)
{
    struct kith_reader r = kith__reader(bytes, size);
    int err = 0;

    if (tls->state == KITH_TLS_OVER || (tls->is_server && tls->own_params.size == 0 && tls->state == KITH_TLS_SHAKING))
        return KITH_ERR_STATE;
    while (err == 0 && kith__reader_left(&r) != 0)
        if ((err = check_level(tls, level)) == 0)
            err = take(tls, &r);
    if (tls->partial.size == 0)
        kith__buf_dispose(&tls->partial);
    return err;
}

int kith__tls_send_tickets(struct kith_tls *tls, unsigned count)
{
    int rv;

    if (!tls->is_server || tls->state != KITH_TLS_READY || tls->session == NULL)
        return KITH_ERR_STATE;
    if (count > KITH_TLS_TICKETS_SENT_MAX - tls->tickets)
        return KITH_ERR_LIMIT;
    tls->tickets += count;
    rv = count != 0 ? gnutls_session_ticket_send(tls->session, count, 0) : 0;
    if (tls->out_of_memory)
        rv = GNUTLS_E_MEMORY_ERROR;
    return rv < 0 ? kith__tls_fail_with(tls, rv) : 0;
}

/* ---- Outputs and getters ---- */

bool kith__tls_next(struct kith_tls *tls, struct kith_tls_output *out)
{
    if (kith__outbox_next(&tls->outbox, out)) {
        if (out->kind != KITH_TLS_DONE)
            return true;
        out->peer = tls->ctx->is_x509 ? (struct kith_id) { { 0 } } : tls->peer;
        out->resumed = tls->resumed;
        out->early = tls->early;
        out->bytes = (struct kith_slice) { NULL, 0 };
        drop_session_bytes(tls);
        return true;
    }
    if (tls->failure.kind == 0)
        return false;
    *out = tls->failure;
    tls->failure.kind = 0;
    drop_session_bytes(tls);
    return true;
}

enum kith_tls_level kith__tls_read_level(const struct kith_tls *tls)
{
    return (enum kith_tls_level)tls->read_level;
}

struct kith_slice kith__tls_early_params(const struct kith_tls *tls, struct kith_slice *alpn)
{
    bool is_offered = !tls->is_server && tls->early_offered && tls->session_bytes.size != 0;

    if (alpn != NULL)
        *alpn = is_offered ? tls->offered.alpn : (struct kith_slice) { NULL, 0 };
    return is_offered ? tls->offered.params : (struct kith_slice) { NULL, 0 };
}

int kith__tls_export(const struct kith_tls *tls, struct kith_slice label, struct kith_slice context, uint8_t *out,
                     size_t size)
{
    enum kith_digest digest = (enum kith_digest)tls->exporter_digest;
    uint8_t empty_hash[KITH_DIGEST_SIZE_MAX], context_hash[KITH_DIGEST_SIZE_MAX], secret[KITH_DIGEST_SIZE_MAX];
    char name[KITH_HKDF_LABEL_SIZE_MAX + 1];
    size_t hash_size;

    if (tls->state != KITH_TLS_READY)
        return KITH_ERR_STATE;
    if (label.size == 0 || label.size > KITH_HKDF_LABEL_SIZE_MAX || memchr(label.ptr, 0, label.size) != NULL ||
        size == 0 || size > KITH_TLS_EXPORT_SIZE_MAX)
        return KITH_ERR_INVALID;
    memcpy(name, label.ptr, label.size);
    name[label.size] = '\0';
    hash_size = kith__digest_size(digest);
    kith__digest(digest, (struct kith_slice) { NULL, 0 }, empty_hash);
    kith__digest(digest, context, context_hash);
    kith__hkdf_expand_label(digest, tls->exporter, name, (struct kith_slice) { empty_hash, hash_size }, secret,
                            hash_size);
    kith__hkdf_expand_label(digest, secret, "exporter", (struct kith_slice) { context_hash, hash_size }, out, size);
    kith__wipe(secret, sizeof secret);
    return 0;
}

uint64_t kith__tls_tickets_ignored(const struct kith_tls *tls)
{
    return tls->tickets_ignored;
}
