/**
 * For tests only: a server of signed packets in the simulated world, which says what it is told to say. Left alone it does what
 * the real one does: it keeps the newest packet of one key, says 204 to every PUT, and 200 or 404 to a GET.
 */
#ifndef KITH_LOOKUP_PKARR_FAKE_H
#define KITH_LOOKUP_PKARR_FAKE_H

#include "base/list.h"
#include "link/world.h"
#include "lookup/attrs.h"
#include "lookup/pkarr_http.h"

#include <stdio.h>
#include <stdlib.h>

enum { FAKE_PORT = 8080, FAKE_REQUESTS_MAX = 512, FAKE_PATH_SIZE = 128 };

/** What came. */
struct fake_request {
    bool is_put, is_packet; /* is_packet: a good one of the key, in `packet` */
    char path[FAKE_PATH_SIZE];
    uint64_t at_ns;
    struct kith_pkarr packet;
};

/** What is said. */
struct fake_reply {
    bool is_silent; /* nothing, for ever */
    uint16_t status;
    char headers[256]; /* whole lines */
    struct kith_slice body;
};

struct fake {
    struct world world;
    struct kith_rt_listener *listener;
    struct kith_list conns;
    struct kith_id id;
    struct kith_pkarr stored;
    bool has_stored;
    /** Changes the usual reply. index: of the request. NULL is fine. */
    void (*on_request)(struct fake *fake, size_t index, struct fake_reply *reply);
    struct fake_request requests[FAKE_REQUESTS_MAX];
    size_t count, put_count, get_count;
};

struct fake_conn {
    struct kith_list node;
    struct fake *fake;
    struct kith_link *link;
    struct kith_buf in, out;
};

static inline void fake_conn_free(struct fake_conn *conn)
{
    kith__list_remove(&conn->node);
    kith__link_close(conn->link);
    kith__buf_dispose(&conn->in);
    kith__buf_dispose(&conn->out);
    free(conn);
}

/** What the real server would say. */
static inline void fake_usual_reply(struct fake *fake, const struct fake_request *request, struct fake_reply *reply)
{
    if (request->is_put && !request->is_packet) {
        reply->status = 400;
    } else if (request->is_put) {
        if (!fake->has_stored || kith__pkarr_is_newer(&request->packet, &fake->stored))
            fake->stored = request->packet;
        fake->has_stored = true;
        reply->status = 204;
    } else if (fake->has_stored) {
        reply->status = 200;
        reply->body = kith__pkarr_payload(&fake->stored);
    } else {
        reply->status = 404;
    }
}

static inline void fake_answer(struct fake_conn *conn, const struct kith_http_head *head, struct kith_slice body)
{
    struct fake *fake = conn->fake;
    struct fake_request *request = &fake->requests[fake->count];
    struct fake_reply reply = { .status = 0 };
    bool had_stored = fake->has_stored;
    struct kith_pkarr stored = fake->stored;
    char text[512];
    int size;

    KITH_CHECK(fake->count < FAKE_REQUESTS_MAX && head->target.size < FAKE_PATH_SIZE);
    *request = (struct fake_request) { .is_put = kith__http_is(head->method, "PUT") };
    request->at_ns = kith__rt_now(fake->world.server);
    memcpy(request->path, head->target.ptr, head->target.size);
    request->is_packet = request->is_put && kith__pkarr_read(&fake->id, body, &request->packet) == 0;
    *(request->is_put ? &fake->put_count : &fake->get_count) += 1;
    fake_usual_reply(fake, request, &reply);
    fake->count++;
    if (fake->on_request != NULL)
        fake->on_request(fake, fake->count - 1, &reply);
    if (request->is_put && reply.status / 100 != 2) { /* it did not take it */
        fake->has_stored = had_stored;
        fake->stored = stored;
    }
    if (reply.is_silent)
        return;
    size = snprintf(text, sizeof text, "HTTP/1.1 %u X\r\n%s%s", reply.status, reply.headers,
                    reply.status == 204 ? "" : "Content-Length: ");
    if (reply.status != 204)
        size += snprintf(text + size, sizeof text - (size_t)size, "%zu\r\n", reply.body.size);
    size += snprintf(text + size, sizeof text - (size_t)size, "\r\n");
    KITH_CHECK_EQ(kith__buf_append(&conn->out, text, (size_t)size), 0);
    KITH_CHECK_EQ(kith__buf_append(&conn->out, reply.body.ptr, reply.body.size), 0);
    if (kith__link_write(conn->link, conn->out.ptr, conn->out.size) != 0)
        conn->out.size = 0;
}

static inline void fake_data(void *ctx, uint8_t *bytes, size_t size)
{
    struct fake_conn *conn = ctx;
    struct kith_http_head head;

    KITH_CHECK_EQ(kith__buf_append(&conn->in, bytes, size), 0);
    if (kith__http_head_parse(KITH_HTTP_REQUEST, conn->in.ptr, conn->in.size, &head) == 0 &&
        conn->in.size == head.size + head.length)
        fake_answer(conn, &head, (struct kith_slice) { conn->in.ptr + head.size, (size_t)head.length });
}

static inline void fake_end(void *ctx, int err)
{
    (void)err;
    fake_conn_free(ctx);
}

static inline void fake_open_told(void *ctx, int err, const char *why)
{
    (void)why;
    if (err != 0)
        fake_conn_free(ctx);
}

static inline void fake_writable(void *ctx, int err)
{
    struct fake_conn *conn = ctx;

    if (err == 0 && conn->out.size > 0) {
        kith__link_finish(conn->link, 0);
    } else {
        fake_conn_free(conn);
    }
}

static inline void fake_closed(void *ctx)
{
    struct fake_conn *conn = ctx;

    conn->link = NULL;
    fake_conn_free(conn);
}

static inline void fake_accept(void *ctx, struct kith_rt_stream *stream)
{
    struct fake *fake = ctx;
    struct fake_conn *conn = calloc(1, sizeof *conn);
    const struct kith_link_events events = { fake_open_told, fake_data, fake_end, fake_writable, fake_closed, conn };

    KITH_CHECK(conn != NULL);
    conn->fake = fake;
    kith__buf_init(&conn->in, kith_mem_default());
    kith__buf_init(&conn->out, kith_mem_default());
    kith__list_push_back(&fake->conns, &conn->node);
    if (kith__link_accept(fake->world.server, stream, fake->world.server_tls, &events, &conn->link) != 0) {
        conn->link = NULL; /* no memory: the client sees it closed */
        fake_conn_free(conn);
    }
}

static inline void fake_listen(struct fake *fake)
{
    struct kith_rt_stream_addr at = { .ip = fake->world.at };

    at.ip.port = FAKE_PORT;
    KITH_CHECK_EQ(kith__rt_listen(fake->world.server, &at, fake_accept, fake, &fake->listener), 0);
}

/** The server goes away: nobody listens, connections are reset. */
static inline void fake_stop(struct fake *fake)
{
    struct kith_list *node;

    kith__rt_listener_close(fake->listener);
    fake->listener = NULL;
    while ((node = kith__list_first(&fake->conns)) != NULL)
        fake_conn_free(KITH_CONTAINER(node, struct fake_conn, node));
}

/** kind, mem, now_s: of the world. The server listens. */
static inline void fake_open(struct fake *fake, int kind, const struct kith_mem *mem, uint64_t now_s,
                             const struct kith_id *id)
{
    memset(fake, 0, sizeof *fake);
    kith__list_init(&fake->conns);
    world_open(&fake->world, kind, mem, now_s);
    fake->id = *id;
    fake_listen(fake);
}

static inline void fake_close(struct fake *fake)
{
    world_pass(&fake->world, 5 * KITH_NS_PER_S);
    fake_stop(fake);
    world_close(&fake->world);
}

static inline void fake_pass(struct fake *fake, uint64_t ns)
{
    world_pass(&fake->world, ns);
}

static inline const struct fake_request *fake_last(const struct fake *fake)
{
    KITH_CHECK(fake->count > 0);
    return &fake->requests[fake->count - 1];
}

/** The index-th PUT. */
static inline const struct fake_request *fake_put(const struct fake *fake, size_t index)
{
    for (size_t i = 0; i < fake->count; i++)
        if (fake->requests[i].is_put && index-- == 0)
            return &fake->requests[i];
    KITH_CHECK(!"there were fewer");
    return NULL;
}

/** The secret of the examples. */
static inline struct kith_secret fake_secret(void)
{
    struct kith_secret secret;

    for (size_t i = 0; i < sizeof secret.bytes; i++)
        secret.bytes[i] = (uint8_t)i;
    return secret;
}

#endif
