/* One connection to a relay. */
#include "endpoint/relay_line.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"
#include "codec/url.h"
#include "http/websocket.h"
#include "tls/stream.h"

#include <stdio.h>

enum {
    OUTPUT_SIZE = 64 << 10, /* messages are gathered up to here: one write, few TLS records */
    WHY_SIZE = 512,
    HOST_SIZE = KITH_DIAL_HOST_SIZE_MAX + 16,
    TARGET_SIZE = KITH_URL_SIZE_MAX + 8
};

/** What we offer, the best first. */
static const char *const protocols[] = { "iroh-relay-v2", "iroh-relay-v1" };
#define PROTOCOLS_OFFERED "iroh-relay-v2, iroh-relay-v1"

enum line_state {
    LINE_DIALLING,
    LINE_UPGRADING, /* the request was written */
    LINE_OPEN,      /* WebSocket messages: the client's state says the rest */
    LINE_OVER       /* on_end was called */
};

struct kith_relay_line {
    const struct kith_mem *mem;
    struct kith_rt *rt;
    struct kith_relay_client *client;
    struct kith_relay_line_events events;
    struct kith_link *link;
    struct kith_rt_timer timer;
    uint8_t state;     /* enum line_state */
    bool was_doubtful; /* what on_doubt told last */
    bool was_stalled;  /* of this write: the client was asked to check */
    bool has_pong;     /* a WebSocket pong waits to be sent (of the newest ping) */
    bool is_in_data;   /* inside on_data: what is to be sent waits for its end */
    uint64_t connect_until_ns;
    uint64_t writing_since_ns;
    struct kith_buf output; /* lent to the link while it writes */
    struct kith_http_intake intake;
    struct kith_ws_reader reader;
    char key[KITH_WS_KEY_SIZE + 1];
    uint8_t pong[KITH_WS_CONTROL_PAYLOAD_MAX];
    size_t pong_size;
    struct kith_slice url; /* the owner's, as the token */
    const char *token;     /* NULL: none */
    struct kith_list leaving_node;
    struct kith_relay_leaving *leaving; /* NULL: it does not leave */
};

static void line_free(struct kith_relay_line *line)
{
    kith__link_close(line->link);
    kith__rt_timer_dispose(&line->timer);
    kith__http_intake_dispose(&line->intake);
    kith__ws_reader_dispose(&line->reader);
    kith__buf_dispose(&line->output);
    kith__list_remove(&line->leaving_node);
    kith__free(line->mem, line);
}

/** Over: the owner closes it inside or later. The last thing that a callback does. */
static void end(struct kith_relay_line *line, int err, const char *why)
{
    if (line->state == LINE_OVER)
        return;
    line->state = LINE_OVER;
    kith__rt_timer_set(&line->timer, KITH_NEVER);
    kith__relay_client_stop(line->client);
    line->events.on_end(line->events.ctx, err, why);
}

/* ---- Writing ---- */

/** Appends one WebSocket message, masked. */
static int append_message(struct kith_relay_line *line, enum kith_ws_opcode opcode, struct kith_slice payload)
{
    uint8_t head[KITH_WS_FRAME_HEAD_MAX], mask[4];
    size_t head_size;

    kith__random_fill(kith__rt_random(line->rt), mask, sizeof mask);
    head_size = kith__ws_frame_write(head, opcode, mask, payload.size);
    if (kith__buf_reserve(&line->output, head_size + payload.size) != 0)
        return KITH_ERR_NOMEM;
    (void)kith__buf_append(&line->output, head, head_size);
    if (payload.size == 0)
        return 0;
    (void)kith__buf_append(&line->output, payload.ptr, payload.size);
    kith__ws_mask(line->output.ptr + line->output.size - payload.size, payload.size, mask, 0);
    return 0;
}

static void gather(struct kith_relay_line *line)
{
    uint64_t now_ns = kith__rt_now(line->rt);
    struct kith_slice message;

    if (line->has_pong && append_message(line, KITH_WS_PONG, (struct kith_slice) { line->pong, line->pong_size }) == 0)
        line->has_pong = false;
    while (line->output.size < OUTPUT_SIZE && kith__relay_client_next(line->client, now_ns, &message)) {
        if (append_message(line, KITH_WS_BINARY, message) != 0)
            return; /* without memory: the next one is tried later */
        kith__relay_client_sent(line->client);
    }
}

/** When the line wants to be asked, without the client. */
static uint64_t own_deadline(const struct kith_relay_line *line)
{
    bool is_ready = line->state == LINE_OPEN && line->client->state == KITH_RELAY_CLIENT_READY;
    uint64_t at = is_ready ? KITH_NEVER : line->connect_until_ns, stall;

    if (line->state != LINE_OPEN || !kith__link_is_writing(line->link))
        return at;
    stall = line->writing_since_ns + (line->was_stalled ? KITH_RELAY_WRITE_LIMIT_NS : KITH_RELAY_STALL_NS);
    return stall < at ? stall : at;
}

static void arm(struct kith_relay_line *line)
{
    uint64_t at = own_deadline(line), client = kith__relay_client_deadline(line->client);

    kith__rt_timer_set(&line->timer, client < at ? client : at);
}

static int write_output(struct kith_relay_line *line)
{
    line->writing_since_ns = kith__rt_now(line->rt);
    line->was_stalled = false;
    return kith__link_write(line->link, line->output.ptr, line->output.size);
}

void kith__relay_line_flush(struct kith_relay_line *line)
{
    if (line->state == LINE_OVER || line->is_in_data)
        return;
    if (line->state == LINE_OPEN && !kith__link_is_writing(line->link)) {
        gather(line);
        /* A link that does not take it is broken, and says so in an event of its own. */
        if (line->output.size != 0 && write_output(line) != 0)
            line->output.size = 0;
    }
    arm(line);
}

static void on_writable(void *ctx, int err)
{
    struct kith_relay_line *line = ctx;

    line->output.size = 0;
    if (line->state == LINE_OVER)
        return;
    if (err != 0) {
        end(line, err, "the connection to the relay broke while something was sent");
        return;
    }
    kith__relay_line_flush(line);
    if (!kith__link_is_writing(line->link))
        kith__buf_dispose(&line->output); /* idle: the buffer is made again when it is needed */
}

/* ---- The upgrade ---- */

/** The proof of our id in the request, where TLS lets us: it saves a round trip. Not having it is no error. */
static int write_proof(struct kith_relay_line *line, struct kith_writer *w)
{
    const struct kith_keypair *pair = line->client->pair;
    uint8_t exported[KITH_RELAY_EXPORT_SIZE];
    char value[KITH_RELAY_AUTH_HEADER_SIZE + 1];

    if (!kith__link_is_tls(line->link) ||
        kith__link_export(line->link, kith__http_text(KITH_RELAY_EXPORT_LABEL),
                          (struct kith_slice) { pair->id.bytes, sizeof pair->id.bytes }, exported,
                          sizeof exported) != 0)
        return 0;
    kith__relay_auth_header_make(pair, exported, value);
    kith__wipe(exported, sizeof exported);
    return kith__http_write_header_text(w, KITH_RELAY_AUTH_HEADER, value);
}

/** "host", "[v6]:port": what the Host header says. */
static void format_host(const struct kith_url *url, char out[HOST_SIZE])
{
    size_t size;

    snprintf(out, HOST_SIZE, url->is_ip_v6 ? "[%.*s]" : "%.*s", (int)url->host.size, (const char *)url->host.ptr);
    size = strlen(out);
    if (url->port != (url->is_https ? 443 : 80))
        snprintf(out + size, HOST_SIZE - size, ":%u", url->port);
}

/** The path of a relay is always the same; a query of the URL is kept, it may hold a token (spec/02, 1.1). */
static void format_target(const struct kith_url *url, char out[TARGET_SIZE])
{
    const uint8_t *query = memchr(url->path.ptr, '?', url->path.size);
    size_t size = query != NULL ? (size_t)(url->path.ptr + url->path.size - query) : 0;

    snprintf(out, TARGET_SIZE, "/relay%.*s", (int)size, query != NULL ? (const char *)query : "");
}

static int write_token(const struct kith_relay_line *line, struct kith_writer *w)
{
    char bearer[KITH_RELAY_TOKEN_SIZE_MAX + 8];
    int err;

    if (line->token == NULL)
        return 0;
    snprintf(bearer, sizeof bearer, "Bearer %s", line->token);
    err = kith__http_write_header_text(w, "authorization", bearer);
    kith__wipe(bearer, sizeof bearer);
    return err;
}

/** The request: it fills the output. */
static int write_request(struct kith_relay_line *line)
{
    uint8_t nonce[KITH_WS_NONCE_SIZE], bytes[KITH_HTTP_HEAD_SIZE_MAX];
    struct kith_writer w = kith__writer(bytes, sizeof bytes);
    char host[HOST_SIZE], target[TARGET_SIZE];
    struct kith_url url;
    int err = kith__url_split(line->url, &url);

    if (err != 0)
        return err;
    format_host(&url, host);
    format_target(&url, target);
    kith__random_fill(kith__rt_random(line->rt), nonce, sizeof nonce);
    kith__ws_key(nonce, line->key);
    if ((err = kith__ws_write_request(&w, kith__http_text(target), kith__http_text(host), line->key,
                                      PROTOCOLS_OFFERED)) != 0 ||
        (err = write_token(line, &w)) != 0 || (err = write_proof(line, &w)) != 0 ||
        (err = kith__http_write_end(&w)) != 0)
        return err;
    err = kith__buf_append(&line->output, bytes, (size_t)(w.at - bytes));
    kith__wipe(bytes, sizeof bytes);
    return err;
}

static void on_open(void *ctx, int err, const char *why)
{
    struct kith_relay_line *line = ctx;

    if (err == 0) {
        line->state = LINE_UPGRADING;
        if ((err = write_request(line)) != 0)
            why = err == KITH_ERR_NOMEM ? "out of memory"
                                        : "the request to the relay cannot be written: its URL or the token has "
                                          "characters that are not allowed there";
        else if ((err = write_output(line)) != 0)
            why = "the connection broke before anything was sent";
    }
    if (err != 0)
        end(line, err, why);
    else
        arm(line);
}

/** What a status that is no upgrade means. */
static int refusal(uint16_t status, char *why)
{
    if (status == 401 || status == 403) {
        snprintf(why, WHY_SIZE, "the relay does not let us in (status %u): it wants another token, or none of us",
                 status);
        return KITH_ERR_PERMISSION;
    }
    snprintf(why, WHY_SIZE, "there is no relay at that address: its server answered with status %u (%s)", status,
             kith__http_phrase(status));
    return KITH_ERR_REFUSED;
}

/** Takes the answer to the request from the bytes. 0: upgraded, *used of them are taken; AGAIN. */
static int take_answer(struct kith_relay_line *line, const uint8_t *bytes, size_t size, size_t *used, char *why)
{
    struct kith_http_head head;
    size_t chosen;
    int err = kith__http_intake_receive(&line->intake, bytes, size, &head, used);

    if (err == KITH_ERR_AGAIN)
        return err;
    snprintf(why, WHY_SIZE, "there is no relay at that address: what answers there does not speak HTTP");
    if (err != 0)
        return err;
    err = kith__ws_check_response(&head, line->key, protocols, KITH_COUNT(protocols), &chosen);
    if (err == KITH_ERR_REFUSED)
        return refusal(head.status, why);
    snprintf(why, WHY_SIZE, "%s",
             err == KITH_ERR_VERSION ? "the relay speaks none of the protocol versions that we do"
                                     : "what answers at the relay's address does not speak WebSocket as it should");
    if (err == 0) {
        line->state = LINE_OPEN;
        kith__relay_client_start(line->client, chosen == 0 ? KITH_RELAY_V2 : KITH_RELAY_V1, kith__rt_now(line->rt));
    }
    kith__http_intake_dispose(&line->intake);
    return err;
}

/* ---- Messages ---- */

/** One binary message. Returns an error if the connection is over, with the sentence in why. */
static int take_message(struct kith_relay_line *line, const struct kith_ws_event *message, char *why)
{
    uint64_t now_ns = kith__rt_now(line->rt);
    struct kith_relay_client_event event;
    int err = kith__relay_client_receive(line->client, message->bytes, message->size, now_ns, &event);

    if (err != 0) {
        snprintf(why, WHY_SIZE, "the relay broke the protocol: %s", kith__relay_client_reason(line->client));
        return err;
    }
    if (event.kind == KITH_RELAY_EVENT_DENIED) {
        snprintf(why, WHY_SIZE, "the relay does not let us in: %.*s",
                 (int)KITH_MIN(event.text.size, (size_t)KITH_RELAY_REASON_SIZE), (const char *)event.text.ptr);
        return KITH_ERR_PERMISSION;
    }
    if (event.kind != KITH_RELAY_EVENT_NOTHING)
        line->events.on_event(line->events.ctx, &event, now_ns);
    return 0;
}

static int take_ws_event(struct kith_relay_line *line, const struct kith_ws_event *event, char *why)
{
    switch (event->kind) {
    case KITH_WS_BINARY:
        return take_message(line, event, why);
    case KITH_WS_PING:
        line->pong_size = KITH_MIN(event->size, sizeof line->pong);
        memcpy(line->pong, event->bytes, line->pong_size);
        line->has_pong = true;
        return 0;
    case KITH_WS_CLOSE:
        snprintf(why, WHY_SIZE, "the relay ended the connection (code %u)", event->code);
        return KITH_ERR_CLOSED_BY_PEER;
    default: /* TEXT says nothing to us, PONG answers nothing */
        return 0;
    }
}

static int take_messages(struct kith_relay_line *line, uint8_t *bytes, size_t size, char *why)
{
    uint8_t *at = bytes, *const stop = bytes + size;
    struct kith_ws_event event;
    int err;

    while ((err = kith__ws_reader_next(&line->reader, &at, stop, &event)) == 0)
        if ((err = take_ws_event(line, &event, why)) != 0)
            return err;
    if (err == KITH_ERR_AGAIN)
        return 0;
    snprintf(why, WHY_SIZE, "the relay broke the WebSocket protocol: %s", kith_strerror(err));
    return err;
}

static void tell_doubt(struct kith_relay_line *line)
{
    if (line->was_doubtful == line->client->is_doubtful)
        return;
    line->was_doubtful = line->client->is_doubtful;
    line->events.on_doubt(line->events.ctx);
}

static void on_data(void *ctx, uint8_t *bytes, size_t size)
{
    struct kith_relay_line *line = ctx;
    char why[WHY_SIZE];
    size_t used = 0;
    int err = 0;

    if (line->state == LINE_OVER)
        return;
    line->is_in_data = true;
    if (line->state == LINE_UPGRADING)
        err = take_answer(line, bytes, size, &used, why);
    if (err == 0)
        err = take_messages(line, bytes + used, size - used, why);
    line->is_in_data = false;
    if (err != 0 && err != KITH_ERR_AGAIN) {
        end(line, err, why);
        return;
    }
    tell_doubt(line);
    kith__relay_line_flush(line);
    line->events.on_batch_end(line->events.ctx);
}

static void on_end(void *ctx, int err)
{
    struct kith_relay_line *line = ctx;

    end(line, err != 0 ? err : KITH_ERR_CLOSED_BY_PEER,
        line->state == LINE_OPEN ? "the connection to the relay was lost"
                                 : "the relay's server ended the connection before it was ready");
}

static void on_closed(void *ctx)
{
    struct kith_relay_line *line = ctx;
    struct kith_relay_leaving *leaving = line->leaving;

    line->link = NULL; /* it is gone */
    line_free(line);
    if (leaving != NULL && kith__list_is_empty(&leaving->lines) && leaving->on_empty != NULL)
        leaving->on_empty(leaving->ctx);
}

/* ---- Time ---- */

static void on_timer(void *ctx, uint64_t now_ns)
{
    struct kith_relay_line *line = ctx;
    bool is_writing = line->state == LINE_OPEN && kith__link_is_writing(line->link);
    int err = 0;

    if (line->client->state != KITH_RELAY_CLIENT_READY && now_ns >= line->connect_until_ns) {
        end(line, KITH_ERR_TIMEOUT, "the relay did not let us in within 10 seconds");
        return;
    }
    if (is_writing && now_ns - line->writing_since_ns >= KITH_RELAY_WRITE_LIMIT_NS) {
        end(line, KITH_ERR_TIMEOUT, "the relay takes nothing any more");
        return;
    }
    if (is_writing && !line->was_stalled && now_ns - line->writing_since_ns >= KITH_RELAY_STALL_NS) {
        line->was_stalled = true;
        kith__relay_client_check(line->client, false, now_ns);
    }
    if ((err = kith__relay_client_on_deadline(line->client, now_ns)) != 0) {
        end(line, err, kith__relay_client_reason(line->client));
        return;
    }
    tell_doubt(line);
    kith__relay_line_flush(line);
}

/* ---- Opening and closing ---- */

static int dial(struct kith_relay_line *line, const struct kith_relay_line_options *options)
{
    struct kith_link_events events = { on_open, on_data, on_end, on_writable, on_closed, line };
    struct kith_dial_options dial = { .rt = options->rt,
                                      .proxy = options->proxy,
                                      .proxy_tls = options->tls,
                                      .prefers_v6 = options->prefers_v6,
                                      .limit_ns = KITH_RELAY_CONNECT_LIMIT_NS };
    char host[KITH_DIAL_HOST_SIZE_MAX + 1];
    struct kith_url url;
    int err = kith__url_split(options->url, &url);

    if (err != 0)
        return err;
    if (url.host.size > KITH_DIAL_HOST_SIZE_MAX || (url.is_https && options->tls == NULL))
        return KITH_ERR_INVALID;
    snprintf(host, sizeof host, "%.*s", (int)url.host.size, (const char *)url.host.ptr);
    dial.host = host;
    dial.port = url.port;
    dial.tls = url.is_https ? options->tls : NULL;
    return kith__link_dial(&dial, &events, &line->link);
}

int kith__relay_line_open(const struct kith_relay_line_options *options, const struct kith_relay_line_events *events,
                          struct kith_relay_line **out)
{
    struct kith_ws_reader_options reader = { options->rt->mem, false, KITH_WS_MESSAGE_SIZE_MAX };
    struct kith_relay_line *line;
    int err;

    if (options->token != NULL && strlen(options->token) > KITH_RELAY_TOKEN_SIZE_MAX)
        return KITH_ERR_INVALID;
    if ((line = kith__alloc_zero(options->rt->mem, sizeof *line)) == NULL)
        return KITH_ERR_NOMEM;
    line->mem = options->rt->mem;
    line->rt = options->rt;
    line->client = options->client;
    line->events = *events;
    line->url = options->url;
    line->token = options->token;
    kith__list_init(&line->leaving_node);
    line->connect_until_ns = kith__rt_now(options->rt) + KITH_RELAY_CONNECT_LIMIT_NS;
    kith__buf_init(&line->output, line->mem);
    kith__http_intake_init(&line->intake, line->mem, KITH_HTTP_RESPONSE);
    kith__ws_reader_init(&line->reader, &reader);
    if ((err = kith__rt_timer_init(options->rt, &line->timer, on_timer, line)) != 0 ||
        (err = dial(line, options)) != 0) {
        line_free(line);
        return err;
    }
    arm(line);
    *out = line;
    return 0;
}

struct kith_sockaddr kith__relay_line_local(const struct kith_relay_line *line)
{
    return line->link != NULL ? kith__link_local(line->link) : (struct kith_sockaddr) { 0 };
}

void kith__relay_line_close(struct kith_relay_line *line)
{
    if (line == NULL)
        return;
    kith__relay_client_stop(line->client);
    line_free(line);
}

/** Behind what is being written there is no room for it; the end of TCP says the same. */
static void say_goodbye(struct kith_relay_line *line)
{
    uint8_t mask[4];

    if (kith__link_is_writing(line->link) || kith__buf_reserve(&line->output, KITH_WS_CONTROL_SIZE_MAX) != 0)
        return;
    kith__random_fill(kith__rt_random(line->rt), mask, sizeof mask);
    line->output.size = kith__ws_close_write(line->output.ptr, mask, KITH_WS_CLOSE_NORMAL, NULL);
    if (kith__link_write(line->link, line->output.ptr, line->output.size) != 0)
        line->output.size = 0;
}

void kith__relay_line_leave(struct kith_relay_line *line, struct kith_relay_leaving *leaving)
{
    if (line->state != LINE_OPEN) {
        kith__relay_line_close(line);
        return;
    }
    kith__relay_line_flush(line); /* what waits still goes, if the link takes it */
    kith__relay_client_stop(line->client);
    line->client = NULL;
    line->state = LINE_OVER;
    kith__rt_timer_set(&line->timer, KITH_NEVER);
    line->leaving = leaving;
    kith__list_push_back(&leaving->lines, &line->leaving_node);
    say_goodbye(line);
    kith__link_finish(line->link, KITH_RELAY_CLOSE_LIMIT_NS);
}

void kith__relay_line_close_leaving(struct kith_relay_leaving *leaving)
{
    struct kith_list *node;

    while ((node = kith__list_first(&leaving->lines)) != NULL)
        line_free(KITH_CONTAINER(node, struct kith_relay_line, leaving_node));
}
