/* From what the user of kith/relay.h gives to what the parts of a relay take. */
#include "server/relay_setup.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/sockaddr.h"
#include "codec/url.h"
#include "tls/stream.h"
#include <math.h>
#include <stdio.h>
#include <strings.h>

enum { UNAUTHENTICATED_MAX = 65536, UNAUTHENTICATED_PER_IP_MAX = 1024 };

/* ---- Options ---- */

static int check_pass_on(const struct kith_relay_pass_on *pass_on, struct kith_server_why *why)
{
    if (pass_on == NULL)
        return 0;
    if (pass_on->path_count == 0 || pass_on->path_count > KITH_RELAY_PASS_PATHS_MAX || pass_on->paths == NULL)
        return kith__server_why(why, KITH_ERR_INVALID, "passing requests on needs 1 to %d paths",
                                KITH_RELAY_PASS_PATHS_MAX);
    if ((pass_on->to.family != KITH_FAMILY_V4 && pass_on->to.family != KITH_FAMILY_V6) || pass_on->to.port == 0 ||
        !kith__ip_is_loopback(&pass_on->to))
        return kith__server_why(why, KITH_ERR_INVALID, "passing requests on needs an address of loopback with a port");
    for (size_t i = 0; i < pass_on->path_count; i++) {
        size_t size = pass_on->paths[i] != NULL ? strlen(pass_on->paths[i]) : 0;

        if (size < 2 || size > KITH_RELAY_PASS_PATH_SIZE_MAX || pass_on->paths[i][0] != '/' ||
            pass_on->paths[i][size - 1] == '/')
            return kith__server_why(
                why, KITH_ERR_INVALID,
                "a path that is passed on begins with a slash, ends without one, and has at most %d bytes",
                KITH_RELAY_PASS_PATH_SIZE_MAX);
    }
    return 0;
}

int kith__relay_options_check(const struct kith_relay_options *options, struct kith_server_why *why)
{
    bool has_tls = options->tls != NULL && options->tls->source != KITH_CERTIFICATE_NONE;
    int err;

    if ((err = kith__server_check_binds(options->http, options->http_count, "http", why)) != 0 ||
        (err = kith__server_check_binds(options->https, options->https_count, "https", why)) != 0 ||
        (err = kith__server_check_binds(options->metrics, options->metrics_count, "metrics", why)) != 0 ||
        (err = kith__server_check_binds(options->discovery, options->discovery_count, "address discovery", why)) != 0 ||
        (err = check_pass_on(options->pass_on, why)) != 0 || (err = kith__server_check_tls(options->tls, why)) != 0)
        return err;
    if (options->https_count != 0 && !has_tls)
        return kith__server_why(why, KITH_ERR_INVALID, "https needs a certificate");
    if (options->discovery_count != 0 && !has_tls)
        return kith__server_why(why, KITH_ERR_INVALID, "address discovery needs a certificate");
    if (options->http_count + options->https_count + options->discovery_count == 0)
        return kith__server_why(why, KITH_ERR_INVALID,
                                "there is nothing to serve: no address for http, https or discovery");
    if (options->worker_count > KITH_RELAY_THREADS_MAX)
        return kith__server_why(why, KITH_ERR_INVALID, "more than %d workers", KITH_RELAY_THREADS_MAX);
    return 0;
}

int kith__relay_quota_limits(const struct kith_relay_quota *quota, struct kith_relay_admission_limits *admission,
                             struct kith_relay_server_limits *server, struct kith_server_why *why)
{
    static const struct kith_relay_quota defaults;

    if (quota == NULL)
        quota = &defaults;
    if (!isfinite(quota->accept_rate) || quota->accept_rate < 0 || !isfinite(quota->discovery_rate) ||
        quota->discovery_rate < 0 || !isfinite(quota->discovery_per_ip_rate) || quota->discovery_per_ip_rate < 0)
        return kith__server_why(why, KITH_ERR_INVALID, "a rate is negative or no number");
    if (quota->rx_burst != 0 && quota->rx_bytes_per_s == 0)
        return kith__server_why(why, KITH_ERR_INVALID, "a burst of received bytes makes no sense without their rate");
    if (quota->queues_max != 0 && quota->queues_max < KITH_RELAY_QUEUES_MIN)
        return kith__server_why(why, KITH_ERR_INVALID, "the limit of all queues must be %d bytes or more",
                                KITH_RELAY_QUEUES_MIN);
    if (quota->accept_burst != 0 && quota->accept_rate == 0)
        return kith__server_why(why, KITH_ERR_INVALID, "a burst of connections makes no sense without their rate");
    *admission = (struct kith_relay_admission_limits) {
        .accept_rate = quota->accept_rate,
        .accept_burst = quota->accept_burst,
        .connections_max = quota->connections_max,
        .connections_per_ip_max = quota->connections_per_ip_max,
        .unauthenticated_max = quota->unauthenticated_max != 0 ? quota->unauthenticated_max : UNAUTHENTICATED_MAX,
        .unauthenticated_per_ip_max = quota->unauthenticated_per_ip_max != 0 ? quota->unauthenticated_per_ip_max
                                                                             : UNAUTHENTICATED_PER_IP_MAX,
    };
    *server = (struct kith_relay_server_limits) { .handshake_ns = quota->handshake_ns,
                                                  .queue_size_max = quota->client_queue_max,
                                                  .memory_max = quota->queues_max,
                                                  .rx_bytes_per_s = quota->rx_bytes_per_s,
                                                  .rx_burst = quota->rx_burst };
    return 0;
}

/* ---- Access ---- */

static int make_list(const struct kith_mem *mem, const struct kith_relay_access_rules *rules,
                     struct kith_relay_order *order, struct kith_server_why *why)
{
    struct kith_relay_access_options options = { .mode = rules->admit == KITH_RELAY_ADMIT_LISTED
                                                             ? KITH_RELAY_ACCESS_ALLOW
                                                             : KITH_RELAY_ACCESS_DENY,
                                                 .ids = rules->ids,
                                                 .id_count = rules->id_count };
    int err;

    if (rules->id_count > KITH_RELAY_IDS_MAX || (rules->ids == NULL && rules->id_count != 0))
        return kith__server_why(why, KITH_ERR_INVALID, "more than %d ids in the list of access", KITH_RELAY_IDS_MAX);
    if ((err = kith__relay_access_new(mem, &options, &order->access)) != 0)
        return kith__server_why(why, err, "the list of access cannot be made: %s", kith_strerror(err));
    return 0;
}

static int make_tokens(const struct kith_mem *mem, const struct kith_relay_access_rules *rules,
                       struct kith_relay_order *order, struct kith_server_why *why)
{
    struct kith_slice tokens[KITH_RELAY_TOKENS_MAX];
    struct kith_relay_access_options options = { .mode = KITH_RELAY_ACCESS_TOKEN,
                                                 .tokens = tokens,
                                                 .token_count = rules->token_count };
    int err;

    if (rules->token_count == 0 || rules->token_count > KITH_RELAY_TOKENS_MAX || rules->tokens == NULL)
        return kith__server_why(why, KITH_ERR_INVALID, "access by token needs 1 to %d tokens", KITH_RELAY_TOKENS_MAX);
    for (size_t i = 0; i < rules->token_count; i++) {
        tokens[i] = kith__http_text(rules->tokens[i]);
        if (tokens[i].size == 0 || tokens[i].size > KITH_RELAY_TOKEN_SIZE_MAX)
            return kith__server_why(why, KITH_ERR_INVALID, "a token for access is empty, or longer than %d bytes",
                                    KITH_RELAY_TOKEN_SIZE_MAX);
    }
    if ((err = kith__relay_access_new(mem, &options, &order->access)) != 0)
        return kith__server_why(why, err, "the tokens for access cannot be kept: %s", kith_strerror(err));
    return 0;
}

static int make_callback(struct kith_rt *rt, const struct kith_mem *mem, const struct kith_relay_access_rules *rules,
                         struct kith_relay_order *order, struct kith_server_why *why)
{
    struct kith_relay_access_options options = { .mode = KITH_RELAY_ACCESS_ASK };
    struct kith_tls_stream_context *tls = NULL;
    bool is_https;
    int err;

    if (rules->url == NULL)
        return kith__server_why(why, KITH_ERR_INVALID, "access by HTTP needs a URL");
    is_https = strncasecmp(rules->url, "https:", 6) == 0 || rules->ca_file != NULL;
    if (is_https && (err = kith__server_client_trust(rt, mem, rules->ca_file, &tls, why)) != 0)
        return err;
    err = kith__relay_ask_rules_new(mem, rules->url, rules->bearer, tls, &order->ask);
    kith__tls_stream_context_release(tls);
    if (err != 0)
        return kith__server_why(why, err, "the URL for access cannot be used: %.200s: %s", rules->url,
                                kith_strerror(err));
    if ((err = kith__relay_access_new(mem, &options, &order->access)) != 0)
        return kith__server_why(why, err, "no memory for rules of access");
    return 0;
}

static int fill(struct kith_rt *rt, const struct kith_mem *mem, const struct kith_relay_access_rules *rules,
                struct kith_relay_order *order, const char **text, struct kith_server_why *why)
{
    struct kith_relay_access_options ask = { .mode = KITH_RELAY_ACCESS_ASK };

    switch (rules->admit) {
    case KITH_RELAY_ADMIT_EVERYONE:
        *text = "everyone";
        return 0;
    case KITH_RELAY_ADMIT_LISTED:
        *text = "those on a list";
        return make_list(mem, rules, order, why);
    case KITH_RELAY_ADMIT_UNLISTED:
        *text = "everyone but those on a list";
        return make_list(mem, rules, order, why);
    case KITH_RELAY_ADMIT_TOKEN:
        *text = "those with a token";
        return make_tokens(mem, rules, order, why);
    case KITH_RELAY_ADMIT_HTTP:
        *text = "those whom its operator allows";
        return make_callback(rt, mem, rules, order, why);
    case KITH_RELAY_ADMIT_ASK:
        *text = "those whom its operator allows";
        if (kith__relay_access_new(mem, &ask, &order->access) != 0)
            return kith__server_why(why, KITH_ERR_NOMEM, "no memory for rules of access");
        return 0;
    default:
        return kith__server_why(why, KITH_ERR_INVALID, "there is no kind of access %d", rules->admit);
    }
}

int kith__relay_access_order(struct kith_rt *rt, const struct kith_mem *mem,
                             const struct kith_relay_access_rules *rules, struct kith_relay_order **out,
                             const char **text, struct kith_server_why *why)
{
    static const struct kith_relay_access_rules everyone;
    struct kith_relay_order *order = kith__relay_order_new(mem, KITH_RELAY_ORDER_ACCESS);
    int err;

    if (order == NULL)
        return kith__server_why(why, KITH_ERR_NOMEM, "no memory for rules of access");
    if ((err = fill(rt, mem, rules != NULL ? rules : &everyone, order, text, why)) != 0) {
        kith__relay_order_free(mem, order);
        return err;
    }
    *out = order;
    return 0;
}
