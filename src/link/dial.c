/*
 * Dialling: the schedule of link/race.h on real streams and lookups, then a proxy if there is one, then the link itself (TLS
 * is its own business; only the time limit stays here). A dial lives until on_open is told, whichever way it goes.
 */
#include "link/dial.h"

#include "base/assert.h"
#include "base/mem.h"
#include "http/head.h"
#include "link/link_internal.h"
#include "link/race.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum dial_phase {
    DIAL_RACING, /* names and addresses */
    DIAL_PROXY,  /* TLS to the proxy */
    DIAL_TUNNEL, /* CONNECT was sent */
    DIAL_SHAKING /* TLS with the target: the link has its wire */
};

struct dial_attempt {
    struct kith_dial *dial;
    struct kith_rt_stream *stream;
};

struct kith_dial {
    struct kith_link *link;
    struct kith_rt *rt;
    char host[KITH_DIAL_HOST_SIZE_MAX + 1]; /* of the target, without brackets */
    char name[KITH_DIAL_HOST_SIZE_MAX + 1]; /* that its certificate must have */
    char target[KITH_DIAL_HOST_SIZE_MAX + 10], proxy_text[KITH_DIAL_HOST_SIZE_MAX + 10]; /* "host:port" */
    uint16_t port;
    struct kith_proxy proxy;
    struct kith_tls_stream_context *tls, *proxy_tls;
    uint64_t limit_ns, until_ns;
    struct kith_rt_timer timer;
    uint8_t phase; /* enum dial_phase */
    struct kith_race race;
    struct dial_attempt attempts[KITH_RACE_ADDRS_MAX];
    struct kith_rt_resolve *lookup_v4, *lookup_v6;
    struct kith_link *proxy_link;
    struct kith_http_intake intake; /* the proxy's answer */
    uint8_t request[2048];
};

static void drive(struct kith_dial *dial);

const char *kith__dial_target(const struct kith_dial *dial)
{
    return dial->target;
}

/** Whom the race is for. */
static const char *race_host(const struct kith_dial *dial)
{
    return dial->proxy.host[0] != '\0' ? dial->proxy.host : dial->host;
}

static const char *race_text(const struct kith_dial *dial)
{
    return dial->proxy.host[0] != '\0' ? dial->proxy_text : dial->target;
}

static void stop_race(struct kith_dial *dial)
{
    kith__rt_resolve_cancel(dial->lookup_v4);
    kith__rt_resolve_cancel(dial->lookup_v6);
    dial->lookup_v4 = dial->lookup_v6 = NULL;
    for (size_t i = 0; i < KITH_RACE_ADDRS_MAX; i++) {
        kith__rt_stream_close(dial->attempts[i].stream);
        dial->attempts[i].stream = NULL;
    }
}

void kith__dial_free(struct kith_dial *dial)
{
    if (dial == NULL)
        return;
    stop_race(dial);
    kith__link_close(dial->proxy_link);
    kith__http_intake_dispose(&dial->intake);
    kith__rt_timer_dispose(&dial->timer);
    kith__tls_stream_context_release(dial->tls);
    kith__tls_stream_context_release(dial->proxy_tls);
    kith__free(dial->rt->mem, dial);
}

/** The end, with a sentence. Neither dial nor link may be touched after it. */
__attribute__((format(printf, 3, 4))) static void fail(struct kith_dial *dial, int err, const char *format, ...)
{
    char why[KITH_LINK_WHY_SIZE];
    va_list args;

    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    kith__link_open_failed(dial->link, err, why);
}

static void fail_race(struct kith_dial *dial, int err)
{
    const char *what = dial->proxy.host[0] != '\0' ? "the proxy " : "";
    unsigned tried = dial->race.count;

    if (tried == 0 && err == KITH_ERR_NOT_FOUND)
        fail(dial, err,
             "no address is known for the name %s: is it spelt right, and does this machine have a name service?",
             race_host(dial));
    else if (tried == 0 && err == KITH_ERR_TIMEOUT)
        fail(dial, err, "the name service did not answer in time for %s: check the network and its name servers",
             race_host(dial));
    else if (tried == 0)
        fail(dial, err, "the name %s cannot be looked up: %s", race_host(dial), kith_strerror(err));
    else if (err == KITH_ERR_REFUSED)
        fail(dial, err, "%s%s refuses connections (addresses tried: %u): does something listen on that port?", what,
             race_text(dial), tried);
    else if (err == KITH_ERR_TIMEOUT)
        fail(dial, err, "%s%s does not answer (addresses tried: %u): it is down, or a firewall is in between", what,
             race_text(dial), tried);
    else if (err == KITH_ERR_UNREACHABLE)
        fail(dial, err, "there is no route to %s%s (addresses tried: %u): check the network", what, race_text(dial),
             tried);
    else
        fail(dial, err, "%s%s cannot be reached (addresses tried: %u): %s", what, race_text(dial), tried,
             kith_strerror(err));
}

static void fail_time(struct kith_dial *dial)
{
    static const char *const steps[] = {
        [DIAL_RACING] = "the connection",
        [DIAL_PROXY] = "TLS to the proxy",
        [DIAL_TUNNEL] = "the proxy's answer",
        [DIAL_SHAKING] = "the TLS handshake",
    };

    fail(dial, KITH_ERR_TIMEOUT, "connecting to %s took longer than %llu ms, which went by while waiting for %s",
         dial->target, (unsigned long long)(dial->limit_ns / KITH_NS_PER_MS), steps[dial->phase]);
}

/* ---- The tunnel of a proxy ---- */

static int write_connect(struct kith_dial *dial, size_t *size)
{
    struct kith_writer w = kith__writer(dial->request, sizeof dial->request);
    bool is_v6 = strchr(dial->host, ':') != NULL;
    char host[KITH_DIAL_HOST_SIZE_MAX + 3];
    int err;

    snprintf(host, sizeof host, is_v6 ? "[%s]" : "%s", dial->host);
    if ((err = kith__http_write_request(&w, "CONNECT", kith__http_text(dial->target))) != 0 ||
        (err = kith__http_write_header_text(&w, "Host", host)) != 0 ||
        (err = kith__http_write_header_text(&w, "Proxy-Connection", "Keep-Alive")) != 0)
        return err;
    if (dial->proxy.credentials[0] != '\0' &&
        (err = kith__http_write_basic(&w, "Proxy-Authorization", kith__http_text(dial->proxy.credentials))) != 0)
        return err;
    if ((err = kith__http_write_end(&w)) == 0)
        *size = kith__writer_size(&w);
    return err;
}

/** The proxy's link is open: asks for the tunnel. */
static void on_proxy_open(void *ctx, int err, const char *why)
{
    struct kith_dial *dial = ctx;
    size_t size = 0;

    if (err != 0) {
        fail(dial, err, "the proxy %s: %s", dial->proxy_text, why);
        return;
    }
    dial->phase = DIAL_TUNNEL;
    if ((err = write_connect(dial, &size)) == 0)
        err = kith__link_write(dial->proxy_link, dial->request, size);
    if (err != 0)
        fail(dial, err, "the proxy %s cannot be asked for %s: %s", dial->proxy_text, dial->target, kith_strerror(err));
}

static void fail_status(struct kith_dial *dial, uint16_t status)
{
    if (status == 407)
        fail(dial, KITH_ERR_PERMISSION, "the proxy %s %s: give them as http://user:password@host:port",
             dial->proxy_text,
             dial->proxy.credentials[0] != '\0' ? "does not accept the user name and password"
                                                : "wants a user name and password");
    else
        fail(dial, KITH_ERR_REFUSED, "the proxy %s does not connect to %s: it answers %u %s", dial->proxy_text,
             dial->target, status, kith__http_phrase(status));
}

/** The tunnel is there: the proxy's link becomes the wire. */
static void use_tunnel(struct kith_dial *dial, uint8_t *rest, size_t size)
{
    struct kith_link *link = dial->link, *below = dial->proxy_link;
    bool is_tls = dial->tls != NULL;
    int err;

    dial->proxy_link = NULL;
    dial->phase = DIAL_SHAKING;
    if ((err = kith__link_attach(link, NULL, below, dial->tls, dial->name)) != 0) {
        fail(dial, err, "TLS with %s cannot be begun: %s", dial->target, kith_strerror(err));
        return;
    }
    kith__link_enter(link);
    if (!is_tls)
        kith__link_opened(link);
    if (size > 0)
        kith__link_wire_data(link, rest, size);
    kith__link_leave(link);
}

static void on_proxy_data(void *ctx, uint8_t *bytes, size_t size)
{
    struct kith_dial *dial = ctx;
    struct kith_http_head head;
    size_t used = 0;
    int err = kith__http_intake_receive(&dial->intake, bytes, size, &head, &used);

    if (err == KITH_ERR_AGAIN)
        return;
    if (err == KITH_ERR_NOMEM)
        fail(dial, err, "there is no memory for the answer of the proxy %s", dial->proxy_text);
    else if (err != 0)
        fail(dial, KITH_ERR_PARSE, "what answers at %s is no HTTP proxy", dial->proxy_text);
    else if (head.status >= 200 && head.status <= 299)
        use_tunnel(dial, bytes + used, size - used);
    else
        fail_status(dial, head.status);
}

static void on_proxy_end(void *ctx, int err)
{
    struct kith_dial *dial = ctx;

    fail(dial, err != 0 ? err : KITH_ERR_CLOSED_BY_PEER, "the proxy %s closed the connection when asked for %s",
         dial->proxy_text, dial->target);
}

static void on_proxy_writable(void *ctx, int err)
{
    if (err != 0)
        on_proxy_end(ctx, err);
}

static int open_proxy(struct kith_dial *dial, struct kith_rt_stream *stream)
{
    struct kith_tls_stream_context *tls = dial->proxy.is_tls ? dial->proxy_tls : NULL;
    int err = kith__link_new(dial->rt,
                             &(struct kith_link_events) { .on_open = on_proxy_open,
                                                          .on_data = on_proxy_data,
                                                          .on_end = on_proxy_end,
                                                          .on_writable = on_proxy_writable,
                                                          .ctx = dial },
                             &dial->proxy_link);

    if (err != 0) {
        kith__rt_stream_close(stream);
        return err;
    }
    return kith__link_attach(dial->proxy_link, stream, NULL, tls, dial->proxy.host);
}

/* ---- The race ---- */

/** A stream is open: the race is won. */
static void win(struct kith_dial *dial, struct kith_rt_stream *stream)
{
    struct kith_link *link = dial->link, *proxy_link;
    bool is_tls = dial->tls != NULL;
    int err;

    stop_race(dial);
    kith__rt_timer_set(&dial->timer, dial->until_ns);
    if (dial->proxy.host[0] != '\0') {
        dial->phase = DIAL_PROXY;
        if ((err = open_proxy(dial, stream)) != 0) {
            fail(dial, err, "the proxy %s cannot be used: %s", dial->proxy_text, kith_strerror(err));
        } else if (!dial->proxy.is_tls) {
            proxy_link = dial->proxy_link;
            kith__link_enter(proxy_link);
            kith__link_opened(proxy_link);
            kith__link_leave(proxy_link);
        }
        return;
    }
    dial->phase = DIAL_SHAKING;
    if ((err = kith__link_attach(link, stream, NULL, dial->tls, dial->name)) != 0)
        fail(dial, err, "TLS with %s cannot be begun: %s", dial->target, kith_strerror(err));
    else if (!is_tls)
        kith__link_opened(link);
}

static void attempt_open(void *ctx, int err)
{
    struct dial_attempt *attempt = ctx;
    struct kith_dial *dial = attempt->dial;
    struct kith_rt_stream *stream = attempt->stream;
    struct kith_link *link = dial->link;

    attempt->stream = NULL;
    kith__link_enter(link);
    if (err == 0) {
        win(dial, stream);
    } else {
        kith__rt_stream_close(stream);
        kith__race_on_failed(&dial->race, (size_t)(attempt - dial->attempts), err, kith__rt_now(dial->rt));
        drive(dial);
    }
    kith__link_leave(link);
}

static void start_attempt(struct kith_dial *dial, size_t index)
{
    struct kith_rt_stream_addr to = { .ip = dial->race.attempts[index].addr };
    struct dial_attempt *attempt = &dial->attempts[index];
    int err;

    attempt->dial = dial;
    err = kith__rt_stream_connect(
        dial->rt, &to, &(struct kith_rt_stream_events) { .on_open = attempt_open, .ctx = attempt }, &attempt->stream);
    if (err != 0)
        kith__race_on_failed(&dial->race, index, err, kith__rt_now(dial->rt));
    else
        kith__rt_stream_set_timeout(attempt->stream, KITH_RT_TCP_TIMEOUT_NS); /* a half-dead server is no server */
}

/** Does what the schedule wants now. The dial may be gone when this returns. */
static void drive(struct kith_dial *dial)
{
    uint64_t now_ns = kith__rt_now(dial->rt);
    struct kith_race_step step;
    int err;

    while (kith__race_next(&dial->race, now_ns, &step)) {
        if (step.stop != KITH_RACE_NONE) {
            kith__rt_stream_close(dial->attempts[step.stop].stream);
            dial->attempts[step.stop].stream = NULL;
        }
        if (step.start != KITH_RACE_NONE)
            start_attempt(dial, step.start);
    }
    if ((err = kith__race_verdict(&dial->race)) != 0)
        fail_race(dial, err);
    else
        kith__rt_timer_set(&dial->timer, KITH_MIN(kith__race_deadline(&dial->race), dial->until_ns));
}

static void on_timer(void *ctx, uint64_t now_ns)
{
    struct kith_dial *dial = ctx;
    struct kith_link *link = dial->link;

    kith__link_enter(link);
    if (now_ns >= dial->until_ns)
        fail_time(dial);
    else if (dial->phase == DIAL_RACING)
        drive(dial);
    kith__link_leave(link);
}

static void on_answer(struct kith_dial *dial, uint8_t family, int err, const struct kith_sockaddr *addrs, size_t count)
{
    struct kith_link *link = dial->link;

    kith__link_enter(link);
    kith__race_on_answer(&dial->race, family, err, addrs, count, kith__rt_now(dial->rt));
    drive(dial);
    kith__link_leave(link);
}

static void on_answer_v4(void *ctx, int err, const struct kith_sockaddr *addrs, size_t count)
{
    struct kith_dial *dial = ctx;

    dial->lookup_v4 = NULL;
    on_answer(dial, KITH_FAMILY_V4, err, addrs, count);
}

static void on_answer_v6(void *ctx, int err, const struct kith_sockaddr *addrs, size_t count)
{
    struct kith_dial *dial = ctx;

    dial->lookup_v6 = NULL;
    on_answer(dial, KITH_FAMILY_V6, err, addrs, count);
}

/** Starts the lookups; an address needs none. What happens at once happens in the next turn. */
static int begin_race(struct kith_dial *dial)
{
    uint64_t now_ns = kith__rt_now(dial->rt);
    struct kith_sockaddr addr;
    int err;

    if (kith_sockaddr_parse(race_text(dial), &addr) == 0) {
        kith__race_on_answer(&dial->race, addr.family, 0, &addr, 1, now_ns);
        kith__race_on_answer(&dial->race, addr.family == KITH_FAMILY_V4 ? KITH_FAMILY_V6 : KITH_FAMILY_V4,
                             KITH_ERR_NOT_FOUND, NULL, 0, now_ns);
        kith__rt_timer_set(&dial->timer, now_ns);
        return 0;
    }
    if ((err = kith__rt_resolve_family(dial->rt, race_host(dial),
                                       dial->proxy.host[0] != '\0' ? dial->proxy.port : dial->port, KITH_FAMILY_V4,
                                       on_answer_v4, dial, &dial->lookup_v4)) != 0)
        return err;
    kith__rt_timer_set(&dial->timer, KITH_MIN(kith__race_deadline(&dial->race), dial->until_ns));
    return kith__rt_resolve_family(dial->rt, race_host(dial),
                                   dial->proxy.host[0] != '\0' ? dial->proxy.port : dial->port, KITH_FAMILY_V6,
                                   on_answer_v6, dial, &dial->lookup_v6);
}

/* ---- Starting ---- */

/** Copies a host without brackets. INVALID: empty or too long. */
static int take_host(const char *host, char *out)
{
    size_t size = strlen(host);

    if (size >= 2 && host[0] == '[' && host[size - 1] == ']') {
        host++;
        size -= 2;
    }
    if (size == 0 || size > KITH_DIAL_HOST_SIZE_MAX)
        return KITH_ERR_INVALID;
    memcpy(out, host, size);
    out[size] = '\0';
    return 0;
}

static void write_text(const char *host, uint16_t port, char *out, size_t cap)
{
    snprintf(out, cap, strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host, port);
}

static int take_options(struct kith_dial *dial, const struct kith_dial_options *options)
{
    int err = take_host(options->host, dial->host);

    if (err != 0 || options->port == 0)
        return KITH_ERR_INVALID;
    if ((err = take_host(options->server_name != NULL ? options->server_name : options->host, dial->name)) != 0)
        return err;
    if (strchr(dial->name, ':') != NULL)
        dial->name[strcspn(dial->name, "%")] = '\0'; /* a zone is ours alone: no certificate has it */
    dial->port = options->port;
    write_text(dial->host, dial->port, dial->target, sizeof dial->target);
    if (options->proxy != NULL && options->proxy->host[0] != '\0' &&
        kith__proxy_is_for(options->proxy, dial->host, dial->port)) {
        dial->proxy = *options->proxy;
        dial->proxy_tls = options->proxy_tls != NULL ? options->proxy_tls : options->tls;
        if (dial->proxy.port == 0 || (dial->proxy.is_tls && dial->proxy_tls == NULL))
            return KITH_ERR_INVALID;
        write_text(dial->proxy.host, dial->proxy.port, dial->proxy_text, sizeof dial->proxy_text);
    }
    dial->tls = options->tls;
    dial->limit_ns = options->limit_ns != 0 ? options->limit_ns : KITH_DIAL_LIMIT_NS;
    return 0;
}

static int dial_new(const struct kith_dial_options *options, struct kith_dial **out)
{
    struct kith_rt *rt = options->rt;
    struct kith_dial *dial = kith__alloc_zero(rt->mem, sizeof *dial);
    int err;

    if (dial == NULL)
        return KITH_ERR_NOMEM;
    dial->rt = rt;
    if ((err = take_options(dial, options)) != 0 ||
        (err = kith__rt_timer_init(rt, &dial->timer, on_timer, dial)) != 0) {
        kith__free(rt->mem, dial);
        return err;
    }
    if (dial->tls != NULL)
        kith__tls_stream_context_retain(dial->tls);
    if (dial->proxy_tls != NULL)
        kith__tls_stream_context_retain(dial->proxy_tls);
    kith__http_intake_init(&dial->intake, rt->mem, KITH_HTTP_RESPONSE);
    dial->until_ns = kith__rt_now(rt) + KITH_MIN(dial->limit_ns, KITH_NEVER - kith__rt_now(rt));
    kith__race_init(&dial->race, options->prefers_v6, kith__rt_now(rt));
    *out = dial;
    return 0;
}

int kith__link_dial(const struct kith_dial_options *options, const struct kith_link_events *events,
                    struct kith_link **out)
{
    struct kith_link *link;
    struct kith_dial *dial;
    int err = kith__link_new(options->rt, events, &link);

    if (err != 0)
        return err;
    if ((err = dial_new(options, &dial)) == 0) {
        link->dial = dial;
        dial->link = link;
        err = begin_race(dial);
    }
    if (err != 0) {
        kith__link_close(link); /* and the dial with it */
        return err;
    }
    *out = link;
    return 0;
}
