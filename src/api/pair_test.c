/* Two endpoints for the tests of this directory. */
#include "api/pair.h"

void pair_check(int result, int expected, const char *file, int line)
{
    if (result != expected)
        fprintf(stderr, "%s:%d: %s instead of %s: %s\n", file, line, kith_err_name(result), kith_err_name(expected),
                kith_error_last()->text);
    _assert_int_equal((uintmax_t)result, (uintmax_t)expected, file, line);
    /* Whatever fails says so in kith_error_last, with words. */
    if (expected < 0) {
        _assert_int_equal((uintmax_t)kith_error_last()->code, (uintmax_t)expected, file, line);
        _assert_true(kith_error_last()->text[0] != '\0', "error text", file, line);
    }
}

struct kith_endpoint *pair_endpoint(struct kith_context *context, const struct kith_secret *secret, const char *alpn,
                                    const struct kith_quic_transport *transport)
{
    struct kith_sockaddr loopback = { .ip = { 127, 0, 0, 1 }, .family = KITH_FAMILY_V4 };
    const char *alpns[] = { alpn, NULL };
    struct kith_endpoint_options options = { KITH_OPTIONS_INIT,     .context = context, .secret = secret,
                                             .alpns = alpns,        .binds = &loopback, .bind_count = 1,
                                             .transport = transport };
    struct kith_endpoint *endpoint;

    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), 0);
    return endpoint;
}

void pair_bind(struct pair *pair, enum kith_context_mode mode, const struct kith_quic_transport *transport)
{
    struct kith_context_options options = { KITH_CONTEXT_OPTIONS_INIT, .mode = (uint8_t)mode };

    memset(pair, 0, sizeof *pair);
    PAIR_CHECK(kith_context_new(&options, &pair->context), 0);
    pair->server = pair_endpoint(pair->context, NULL, PAIR_ALPN, transport);
    pair->client = pair_endpoint(pair->context, NULL, NULL, transport);
    kith_endpoint_addr(pair->server, &pair->addr);
    KITH_CHECK_EQ(pair->addr.ip_count, 1);
}

void pair_connect(struct pair *pair)
{
    struct kith_op *accepting;

    PAIR_CHECK(kith_accept_start(pair->server, &accepting), 0);
    PAIR_CHECK(kith_connect(pair->client, &pair->addr, PAIR_ALPN, PAIR_LIMIT, &pair->at_client), 0);
    PAIR_CHECK(kith_op_wait(accepting, PAIR_LIMIT), 0);
    pair->at_server = kith_op_take_conn(accepting);
    KITH_CHECK(pair->at_server != NULL && kith_op_take_conn(accepting) == NULL);
    kith_op_free(accepting);
}

void pair_disconnect(struct pair *pair)
{
    kith_conn_free(pair->at_client);
    kith_conn_free(pair->at_server);
    pair->at_client = pair->at_server = NULL;
}

void pair_free(struct pair *pair)
{
    pair_disconnect(pair);
    kith_context_free(pair->context);
}

void pair_open(struct pair *pair, enum kith_context_mode mode)
{
    pair_bind(pair, mode, NULL);
    pair_connect(pair);
}

void pair_stream(struct pair *pair, bool bidi, struct kith_stream **at_client, struct kith_stream **at_server)
{
    char byte;

    PAIR_CHECK(bidi ? kith_open_bi(pair->at_client, PAIR_LIMIT, at_client)
                    : kith_open_uni(pair->at_client, PAIR_LIMIT, at_client),
               0);
    PAIR_CHECK(kith_write_all(*at_client, "x", 1, 0, PAIR_LIMIT), 0);
    PAIR_CHECK(bidi ? kith_accept_bi(pair->at_server, PAIR_LIMIT, at_server)
                    : kith_accept_uni(pair->at_server, PAIR_LIMIT, at_server),
               0);
    PAIR_CHECK(kith_read_exact(*at_server, &byte, 1, PAIR_LIMIT), 0);
    KITH_CHECK_EQ(byte, 'x');
}

void pair_open_with_stream(struct pair *pair, enum kith_context_mode mode, bool bidi, struct kith_stream **at_client,
                           struct kith_stream **at_server)
{
    pair_open(pair, mode);
    pair_stream(pair, bidi, at_client, at_server);
}

void pair_free_with_stream(struct pair *pair, struct kith_stream *at_client, struct kith_stream *at_server)
{
    kith_stream_free(at_client);
    kith_stream_free(at_server);
    pair_free(pair);
}
