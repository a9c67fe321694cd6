#include "lookup_fool.h"

#include "base/assert.h"
#include "codec/dns.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEMORY_MAX = 16 << 20, REQUEST_MAX = 4096, REPLY_MAX = 512 };

struct caller {
    struct kith_list node;
    struct kith_simfool *fool;
    struct kith_rt_stream *stream;
    size_t size;
    bool is_answered;
    char request[REQUEST_MAX + 1], reply[REPLY_MAX];
};

static void hang_up(struct caller *caller)
{
    kith__list_remove(&caller->node);
    kith__rt_stream_close(caller->stream);
    free(caller);
}

/* ---- HTTP ---- */

static size_t write_reply(const struct kith_simfool *fool, char *out)
{
    switch (fool->way) {
    case KITH_SIMFOOL_LIMITS:
        return (size_t)snprintf(out, REPLY_MAX, "HTTP/1.1 429 X\r\nRetry-After: %d\r\nContent-Length: 0\r\n\r\n",
                                KITH_SIMFOOL_SILENCE_S);
    case KITH_SIMFOOL_GARBAGE:
        return (size_t)snprintf(out, REPLY_MAX, "HTTP/1.1 200 X\r\nContent-Length: 200\r\n\r\n%0200d", 7);
    case KITH_SIMFOOL_NO_HTTP:
        return (size_t)snprintf(out, REPLY_MAX, "220 mail.example ESMTP\r\n\r\n");
    case KITH_SIMFOOL_LOOPS:
        return (size_t)snprintf(out, REPLY_MAX, "HTTP/1.1 307 X\r\nLocation: %s/x\r\nContent-Length: 0\r\n\r\n",
                                fool->url);
    case KITH_SIMFOOL_TAKES:
        return (size_t)snprintf(out, REPLY_MAX, "HTTP/1.1 204 X\r\n\r\n");
    default:
        return (size_t)snprintf(out, REPLY_MAX, "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n");
    }
}

static void on_data(void *ctx, uint8_t *bytes, size_t size)
{
    struct caller *caller = ctx;
    struct kith_simfool *fool = caller->fool;
    bool is_put;

    size = KITH_MIN(size, (size_t)REQUEST_MAX - caller->size);
    memcpy(caller->request + caller->size, bytes, size);
    caller->size += size;
    caller->request[caller->size] = '\0';
    if (caller->is_answered || strstr(caller->request, "\r\n\r\n") == NULL)
        return;
    is_put = strncmp(caller->request, "PUT", 3) == 0;
    caller->is_answered = true;
    fool->puts += is_put;
    fool->gets += !is_put;
    fool->taken += is_put && fool->way == KITH_SIMFOOL_TAKES;
    if (fool->way == KITH_SIMFOOL_HANGS_UP)
        hang_up(caller);
    else if (fool->way != KITH_SIMFOOL_SILENT)
        KITH_ASSERT(kith__rt_stream_write(caller->stream, (const uint8_t *)caller->reply,
                                          write_reply(fool, caller->reply)) == 0);
}

static void on_end(void *ctx, int err)
{
    (void)err;
    hang_up(ctx);
}

static void on_accept(void *ctx, struct kith_rt_stream *stream)
{
    struct kith_simfool *fool = ctx;
    struct caller *caller = calloc(1, sizeof *caller);
    struct kith_rt_stream_events events = { .on_data = on_data, .on_end = on_end, .ctx = caller };

    KITH_ASSERT(caller != NULL);
    caller->fool = fool;
    caller->stream = stream;
    kith__list_push_back(&fool->callers, &caller->node);
    kith__rt_stream_set_events(stream, &events);
    kith__rt_stream_read_start(stream);
}

/* ---- DNS ---- */

/* Turns a question into what it says to it; the size. */
static size_t write_answer(const struct kith_simfool *fool, uint8_t *message, size_t size)
{
    static const uint8_t rcodes[] = { [KITH_SIMFOOL_LIMITS] = 5, [KITH_SIMFOOL_HANGS_UP] = 3 };

    message[2] |= 0x80; /* a response */
    switch (fool->way) {
    case KITH_SIMFOOL_GARBAGE:
        memset(message + 4, 0xee, size - 4);
        return size;
    case KITH_SIMFOOL_NO_HTTP:
        message[KITH_DNS_HEADER_SIZE + 1] ^= 1;
        return size;
    case KITH_SIMFOOL_LOOPS:
        message[2] |= 2; /* cut */
        return size;
    case KITH_SIMFOOL_LIMITS:
    case KITH_SIMFOOL_HANGS_UP:
        message[3] = (uint8_t)((message[3] & 0xf0) | rcodes[fool->way]);
        return size;
    default:
        message[3] = (uint8_t)((message[3] & 0xf0) | 2); /* SERVFAIL */
        return size;
    }
}

static void on_receive(void *ctx, struct kith_quic_received *batch, size_t count, uint64_t now_ns)
{
    struct kith_simfool *fool = ctx;

    (void)now_ns;
    for (size_t i = 0; i < count; i++) {
        struct kith_quic_transmit transmit = { .remote = batch[i].remote, .local = batch[i].local };

        fool->questions++;
        if (fool->way == KITH_SIMFOOL_SILENT || batch[i].size < KITH_DNS_HEADER_SIZE + 2)
            continue;
        transmit.size = transmit.segment_size = write_answer(fool, batch[i].bytes, batch[i].size);
        KITH_ASSERT(kith__rt_udp_send(fool->udp, &transmit, batch[i].bytes) == 0);
    }
}

/* ---- Life ---- */

void kith__simfool_open(struct kith_simfool *fool, struct kith_trial *trial, enum kith_simfool_way way)
{
    struct kith_sim_host_options host = { .name = "fool",
                                          .mem = &fool->rt_mem.mem,
                                          .addrs[0] = kith__trial_address("10.0.7.1:0") };
    struct kith_rt_udp_options options = { .local = kith__trial_address("10.0.7.1:53"), .no_offload = true };
    struct kith_rt_udp_events events = { .on_receive = on_receive, .ctx = fool };
    struct kith_rt_stream_addr at = { .ip = kith__trial_address("10.0.7.1:80") };

    *fool = (struct kith_simfool) { .trial = trial, .way = (uint8_t)way, .dns = options.local };
    kith__list_init(&fool->callers);
    kith__simmem_init(&fool->rt_mem, MEMORY_MAX);
    kith__trial_add_mem(trial, &fool->rt_mem);
    snprintf(fool->url, sizeof fool->url, "http://10.0.7.1/pkarr");
    kith__trial_choose_link(trial, &host.up);
    kith__trial_choose_link(trial, &host.down);
    KITH_ASSERT(kith__sim_host_new(trial->sim, &host, &fool->host) == 0);
    KITH_ASSERT(kith__rt_udp_open(kith__sim_rt(fool->host), &options, &events, &fool->udp) == 0);
    KITH_ASSERT(kith__rt_listen(kith__sim_rt(fool->host), &at, on_accept, fool, &fool->listener) == 0);
}

void kith__simfool_close(struct kith_simfool *fool)
{
    struct kith_list *node;

    if (fool->trial == NULL)
        return;
    while ((node = kith__list_first(&fool->callers)) != NULL)
        hang_up(KITH_CONTAINER(node, struct caller, node));
    kith__rt_listener_close(fool->listener);
    kith__rt_udp_close(fool->udp);
    fool->trial->check.sent += kith__sim_host_sent(fool->host);
}
