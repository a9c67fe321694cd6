/** Two handshakes joined in memory, for tests and benchmarks only: what one side queues is what the other takes in. */
#ifndef KITH_TLS_DUO_H
#define KITH_TLS_DUO_H

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"
#include "crypto/sign.h"
#include "tls/tls.h"

enum { DUO_CRYPTO_SIZE = 32768 };

/** One side and all that came out of it so far. */
struct duo_side {
    struct kith_tls *tls;
    uint8_t crypto[KITH_TLS_LEVELS][DUO_CRYPTO_SIZE]; /* waits for the other side */
    size_t crypto_size[KITH_TLS_LEVELS];
    uint8_t secrets[KITH_TLS_LEVELS][2][KITH_TLS_SECRET_SIZE_MAX]; /* [level][is_write] */
    size_t secret_size[KITH_TLS_LEVELS][2];
    unsigned secret_count[KITH_TLS_LEVELS][2];
    uint16_t cipher;
    uint8_t params[KITH_TLS_PARAMS_SIZE_MAX];
    size_t params_size;
    char alpn[KITH_QUIC_ALPN_SIZE_MAX + 1];
    uint8_t session[KITH_TLS_BLOB_SIZE_MAX];
    size_t session_size;
    unsigned session_count, done_count, failed_count, key_log_count;
    char key_log[2048]; /* all lines, each with a newline */
    bool retry;
    struct kith_tls_output done, failed;
    int err; /* of the last receive */
};

/** Both sides, and the identities that they use. Zero it, then duo_init. */
struct duo {
    const struct kith_mem *mem;
    struct kith_prng prng;
    struct kith_tls_context *client_ctx, *server_ctx;
    struct kith_id client_id, server_id;
    struct duo_side client, server;
    const char *server_name; /* of clients with X.509; NULL with raw public keys */
    size_t piece;            /* CRYPTO bytes go over in pieces of this size; 0: all at once */
};

static inline struct kith_slice duo_slice(const char *text)
{
    return (struct kith_slice) { (const uint8_t *)text, strlen(text) };
}

static inline int duo_context(struct duo *duo, uint8_t seed, struct kith_tls_context **ctx, struct kith_id *id)
{
    struct kith_secret secret;

    memset(secret.bytes, seed, sizeof secret.bytes);
    *id = kith__secret_id(&secret);
    return kith__tls_context_new(&(struct kith_tls_context_options) { .mem = duo->mem,
                                                                      .random = kith__prng_source(&duo->prng),
                                                                      .secret = &secret },
                                 ctx);
}

static inline int duo_init(struct duo *duo, const struct kith_mem *mem)
{
    int err;

    duo->mem = mem;
    kith__prng_init(&duo->prng, 1);
    if ((err = duo_context(duo, 1, &duo->client_ctx, &duo->client_id)) != 0)
        return err;
    return duo_context(duo, 2, &duo->server_ctx, &duo->server_id);
}

static inline void duo_side_clear(struct duo_side *side)
{
    kith__tls_free(side->tls);
    memset(side, 0, sizeof *side);
}

static inline void duo_dispose(struct duo *duo)
{
    duo_side_clear(&duo->client);
    duo_side_clear(&duo->server);
    kith__tls_context_free(duo->client_ctx);
    kith__tls_context_free(duo->server_ctx);
    duo->client_ctx = duo->server_ctx = NULL;
}

static inline int duo_client(struct duo *duo, const char *const *alpns, size_t count, struct kith_slice session,
                             bool early_data)
{
    struct kith_slice names[KITH_QUIC_ALPN_COUNT_MAX];

    for (size_t i = 0; i < count; i++)
        names[i] = duo_slice(alpns[i]);
    duo_side_clear(&duo->client);
    return kith__tls_new_client(duo->client_ctx,
                                &(struct kith_tls_client_options) { .expected = duo->server_id,
                                                                    .server_name = duo->server_name,
                                                                    .alpns = names,
                                                                    .alpn_count = count,
                                                                    .params = duo_slice("client parameters"),
                                                                    .session = session,
                                                                    .early_data = early_data,
                                                                    .key_log = true },
                                &duo->client.tls);
}

static inline int duo_server(struct duo *duo, const char *const *alpns, size_t count, uint64_t early_tag)
{
    struct kith_slice names[KITH_QUIC_ALPN_COUNT_MAX];
    int err;

    for (size_t i = 0; i < count; i++)
        names[i] = duo_slice(alpns[i]);
    duo_side_clear(&duo->server);
    err = kith__tls_new_server(duo->server_ctx,
                               &(struct kith_tls_server_options) {
                                   .alpns = names, .alpn_count = count, .early_data = true, .early_tag = early_tag },
                               &duo->server.tls);
    return err != 0 ? err : kith__tls_set_params(duo->server.tls, duo_slice("server parameters"));
}

static inline void duo_take_secret(struct duo_side *side, const struct kith_tls_output *out)
{
    memcpy(side->secrets[out->level][out->is_write], out->bytes.ptr, out->bytes.size);
    side->secret_size[out->level][out->is_write] = out->bytes.size;
    side->secret_count[out->level][out->is_write]++;
    side->cipher = out->cipher;
}

static inline void duo_take(struct duo_side *side, const struct kith_tls_output *out)
{
    switch (out->kind) {
    case KITH_TLS_CRYPTO:
        KITH_ASSERT(side->crypto_size[out->level] + out->bytes.size <= DUO_CRYPTO_SIZE);
        memcpy(side->crypto[out->level] + side->crypto_size[out->level], out->bytes.ptr, out->bytes.size);
        side->crypto_size[out->level] += out->bytes.size;
        break;
    case KITH_TLS_SECRET:
        duo_take_secret(side, out);
        break;
    case KITH_TLS_PARAMS:
        memcpy(side->params, out->bytes.ptr, out->bytes.size);
        side->params_size = out->bytes.size;
        break;
    case KITH_TLS_ALPN:
        memcpy(side->alpn, out->bytes.ptr, out->bytes.size);
        break;
    case KITH_TLS_DONE:
        side->done = *out;
        side->done_count++;
        break;
    case KITH_TLS_SESSION:
        memcpy(side->session, out->bytes.ptr, out->bytes.size);
        side->session_size = out->bytes.size;
        side->session_count++;
        break;
    case KITH_TLS_KEY_LOG:
        KITH_ASSERT(strlen(side->key_log) + out->bytes.size + 2 <= sizeof side->key_log);
        strncat(side->key_log, (const char *)out->bytes.ptr, out->bytes.size);
        strcat(side->key_log, "\n");
        side->key_log_count++;
        break;
    case KITH_TLS_RETRY:
        side->retry = true;
        break;
    default:
        side->failed = *out;
        side->failed_count++;
    }
}

static inline void duo_pull(struct duo_side *side)
{
    struct kith_tls_output out;

    while (side->tls != NULL && kith__tls_next(side->tls, &out))
        duo_take(side, &out);
}

/** Gives all waiting CRYPTO bytes of `from` to `to`, as far as it takes them. True if there were some. */
static inline bool duo_carry(struct duo *duo, struct duo_side *from, struct duo_side *to)
{
    bool moved = false;

    for (int level = 0; level < KITH_TLS_LEVELS; level++) {
        size_t size = from->crypto_size[level], step;

        for (size_t at = 0; at < size && to->err == 0; at += step) {
            step = duo->piece != 0 ? KITH_MIN(duo->piece, size - at) : size - at;
            to->err = kith__tls_receive(to->tls, (enum kith_tls_level)level, from->crypto[level] + at, step);
            duo_pull(to);
            moved = true;
        }
        from->crypto_size[level] = 0;
    }
    return moved;
}

/** Carries until nothing moves. */
static inline void duo_run(struct duo *duo)
{
    bool moved = true;

    duo_pull(&duo->client);
    duo_pull(&duo->server);
    while (moved) {
        moved = duo_carry(duo, &duo->client, &duo->server);
        moved |= duo_carry(duo, &duo->server, &duo->client);
    }
}

#endif
