/* Connections proven by X.509: see x509.h. */
#include "quic/host/x509.h"
#include "quic/conn/conn.h"
#include "quic/host/host.h"

int kith__host_set_x509(struct kith_quic_host *host, const struct kith_tls_x509 *x509)
{
    struct kith_tls_context_options options = {
        .mem = host->mem, .random = host->random, .secret = &host->secret, .x509 = x509
    };
    struct kith_tls_context *made;
    int err;

    if ((err = kith__tls_context_new(&options, &made)) != 0)
        return err;
    kith__tls_context_free(host->tls_x509); /* handshakes under way keep it */
    host->tls_x509 = made;
    host->serves_x509 = x509->chain.size != 0;
    return 0;
}

int kith__host_connect_by_name(struct kith_quic_host *host, const char *server_name,
                               const struct kith_quic_connect_options *options, uint64_t now_ns,
                               struct kith_quic_conn **out)
{
    struct kith_conn_options made = { .transport = options->transport != NULL ? options->transport : &host->transport,
                                      .is_client = true,
                                      .connect = options,
                                      .server_name = server_name };

    if (host->tls_x509 == NULL)
        return KITH_ERR_STATE;
    if (server_name == NULL)
        return KITH_ERR_INVALID;
    if (options->remote_count == 0)
        return KITH_ERR_NO_ADDRESS;
    if (options->remote_count > KITH_CONN_REMOTES_MAX || options->token.size > KITH_CONN_TOKEN_SIZE_MAX)
        return KITH_ERR_INVALID;
    made.tuple = (struct kith_tuple) { options->local, options->remotes[0] };
    return kith__conn_new(host, &made, now_ns, out);
}
