/* Providers: which connections and requests they serve. */
#include "api/blobs_parts.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"

/* A connection that is being served. */
struct served {
    struct kith_list node; /* in the provider */
    struct kith_blobs *blobs;
    struct kith_conn *conn; /* held */
    struct kith_conn_hook hook;
    struct kith_list requests;
    uint64_t number;
};

/* One stream of it. */
struct request {
    struct kith_list node; /* in the connection */
    struct served *served;
    struct kith_stream *stream; /* held */
    struct kith_provider provider;
    struct kith_job job;
    struct kith_rt_timer limit; /* until the request came whole: its limit; then: when to look for a stall */
    struct kith_stall stall;
    uint64_t number, total;
    bool is_announced, is_finished;
};

static void emit(struct request *request, enum kith_blobs_event_kind kind, int err)
{
    struct served *served = request->served;
    struct kith_blobs_event event = { .kind = (uint8_t)kind,
                                      .err = err,
                                      .peer = served->conn->remote_id,
                                      .connection = served->number,
                                      .request = request->number,
                                      .bytes_sent = kith__provider_payload(&request->provider),
                                      .bytes_total = request->total };

    if (request->provider.request.hash_count > 0)
        event.hash = request->provider.request.hashes[0];
    kith__blobs_emit(served->blobs, &event);
}

static void emit_conn(struct served *served, enum kith_blobs_event_kind kind, int err)
{
    const struct kith_quic_close_info *info = &served->conn->close_info;
    struct kith_blobs_event event = {
        .kind = (uint8_t)kind, .err = err, .peer = served->conn->remote_id, .connection = served->number
    };

    if (kind == KITH_BLOBS_DISCONNECTED && info->by_peer && info->is_application)
        event.close_code = info->code;

    kith__blobs_emit(served->blobs, &event);
}

/* ---- Requests ---- */

static void request_free(struct request *request)
{
    struct kith_blobs *blobs = request->served->blobs;

    kith__list_remove(&request->node);
    kith__job_cancel(&request->job);
    kith__rt_timer_dispose(&request->limit);
    kith__provider_dispose(&request->provider);
    kith__api_stream_give_back(request->stream);
    blobs->request_count--;
    kith__free(blobs->context->mem, request);
}

/* Ends it before its time. */
static void request_abort(struct request *request, uint64_t code, int err)
{
    if (!request->is_finished || err == KITH_ERR_TIMEOUT) /* written whole is not taken whole */
        kith__api_stream_reset(request->stream, code);
    emit(request, KITH_BLOBS_ABORTED, err);
    request_free(request);
}

/* All bytes are written: the end, in the way that the provider says. May free the request. */
static void request_end(struct request *request)
{
    struct kith_provider *provider = &request->provider;
    size_t written;
    int err;

    if (provider->end == KITH_PROVIDER_RESET) {
        request_abort(request, provider->code, provider->err);
        return;
    }
    err = kith__api_stream_write(request->stream, (struct kith_slice) { NULL, 0 }, true, &written);
    if (err != 0) {
        request_abort(request, KITH_BLOBS_ERR_INTERNAL, err);
        return;
    }
    request->is_finished = true;
    if (!request->stream->has_read_all)
        kith__api_stream_stop(request->stream, 0);
    if (provider->err != 0) /* not found, or not understood: nothing to wait for */
        request_abort(request, 0, provider->err);
}

static void announce(struct request *request)
{
    const struct kith_blobs *blobs = request->served->blobs;
    uint64_t now;

    if (request->is_announced || !request->provider.is_understood)
        return;
    request->is_announced = true;
    request->total = kith__provider_total(&request->provider);
    now = kith__context_now(blobs->context);
    kith__stall_begin(&request->stall, blobs->stall_limit_ns, now);
    kith__rt_timer_set(&request->limit, kith__stall_next(&request->stall, now));
    emit(request, KITH_BLOBS_REQUEST, 0);
}

/* A slice of the answer: as much as goes, at most KITH_BLOBS_SLICE_SIZE. May free the request. */
static void request_run(void *ctx)
{
    struct request *request = ctx;
    size_t done = 0, written;
    struct kith_slice bytes;
    int err;

    announce(request);
    while (done < KITH_BLOBS_SLICE_SIZE) {
        if ((err = kith__provider_peek(&request->provider, &bytes)) == KITH_ERR_AGAIN)
            return;
        if (err == KITH_ERR_END) {
            request_end(request);
            return;
        }
        err = kith__api_stream_write(request->stream, bytes, false, &written);
        kith__provider_take(&request->provider, written);
        done += written;
        if (err == KITH_ERR_AGAIN || (err == 0 && written < bytes.size))
            break; /* STREAM_WRITABLE goes on */
        if (err != 0) {
            request_abort(request, KITH_BLOBS_ERR_INTERNAL, err);
            return;
        }
    }
    if (done > 0)
        emit(request, KITH_BLOBS_PROGRESS, 0);
    if (done >= KITH_BLOBS_SLICE_SIZE)
        kith__context_schedule(request->served->blobs->context, &request->job);
}

/* Bytes of the request. May free it. */
static void request_read(struct request *request)
{
    struct kith_slice bytes;
    uint64_t code = 0;
    int err;

    while ((err = kith__api_stream_peek(request->stream, &bytes, &code)) == 0) {
        kith__provider_receive(&request->provider, bytes, false);
        kith__api_stream_consume(request->stream, bytes.size);
    }
    if (err == KITH_ERR_END)
        kith__provider_receive(&request->provider, (struct kith_slice) { NULL, 0 }, true);
    if (err == KITH_ERR_RESET) { /* the other side thought better of it */
        request_abort(request, KITH_BLOBS_ERR_INTERNAL, KITH_ERR_RESET);
        return;
    }
    if (!request->is_finished && !kith__list_is_linked(&request->job.node))
        request_run(request);
}

static void on_stream_event(void *ctx, const struct kith_quic_event *event)
{
    struct request *request = ctx;

    if (event == NULL) {
        /*
         * A receiver that has all closes the connection at once; its last acknowledgement comes with that, and then the
         * stream was SENT before this. Without it nobody knows how much arrived.
         */
        request_abort(request, 0, request->served->conn->error.code);
        return;
    }
    switch (event->kind) {
    case KITH_QUIC_STREAM_READABLE:
        request_read(request);
        break;
    case KITH_QUIC_STREAM_WRITABLE:
        if (!request->is_finished && !kith__list_is_linked(&request->job.node))
            request_run(request);
        break;
    case KITH_QUIC_STREAM_STOPPED:
        request_abort(request, KITH_BLOBS_ERR_INTERNAL, KITH_ERR_STOPPED);
        break;
    case KITH_QUIC_STREAM_SENT:
        if (request->is_finished) {
            emit(request, KITH_BLOBS_COMPLETED, 0);
            request_free(request);
        }
        break;
    default:
        break;
    }
}

/* How much of the answer has arrived. A receiver that reads nothing acknowledges no more than its windows hold. */
static uint64_t acknowledged(const struct request *request)
{
    return request->provider.bytes_out - kith__api_stream_unacked(request->stream);
}

static void on_request_limit(void *ctx, uint64_t now_ns)
{
    struct request *request = ctx;
    struct kith_blobs *blobs = request->served->blobs;

    if (request->is_announced && !kith__stall_look(&request->stall, acknowledged(request), now_ns)) {
        kith__rt_timer_set(&request->limit, kith__stall_next(&request->stall, now_ns));
        return;
    }
    if (request->is_announced)
        kith__log(&blobs->context->log, KITH_LOG_WARN, "blobs",
                  "a request is given up: its receiver takes nothing any more (%llu such so far)",
                  (unsigned long long)++blobs->stalled_count);
    request_abort(request, KITH_BLOBS_ERR_LIMIT, KITH_ERR_TIMEOUT);
}

static struct request *request_new(struct served *served, struct kith_stream *stream)
{
    struct kith_blobs *blobs = served->blobs;
    struct kith_blob_store store = kith__catalog_store(&blobs->catalog);
    struct request *request = kith__alloc_zero(blobs->context->mem, sizeof *request);

    if (request == NULL)
        return NULL;
    if (kith__rt_timer_init(blobs->context->rt, &request->limit, on_request_limit, request) != 0) {
        kith__free(blobs->context->mem, request);
        return NULL;
    }
    request->served = served;
    request->stream = stream;
    request->number = ++blobs->next_request;
    kith__job_init(&request->job, request_run, request);
    kith__provider_init(&request->provider, blobs->context->mem, &store);
    kith__list_push_back(&served->requests, &request->node);
    blobs->request_count++;
    stream->on_event = on_stream_event;
    stream->on_event_ctx = request;
    return request;
}

static void on_stream(void *ctx, struct kith_stream *stream)
{
    struct served *served = ctx;
    struct kith_blobs *blobs = served->blobs;
    struct request *request;

    if (!stream->bidi) { /* the protocol has none */
        kith__api_stream_give_back(stream);
        return;
    }
    if (blobs->request_count >= blobs->requests_max || (request = request_new(served, stream)) == NULL) {
        kith__log(&blobs->context->log, KITH_LOG_WARN, "blobs",
                  "a request is refused: %u are served already, or no memory", blobs->request_count);
        kith__api_stream_reset(stream, KITH_BLOBS_ERR_LIMIT);
        kith__api_stream_give_back(stream);
        return;
    }
    kith__rt_timer_set(&request->limit, kith__context_until(blobs->context, blobs->request_limit_ns));
    request_read(request);
}

/* ---- Connections ---- */

static void served_free(struct served *served)
{
    struct kith_list *node;
    struct kith_conn *conn = served->conn;

    while ((node = kith__list_first(&served->requests)) != NULL)
        request_abort(KITH_CONTAINER(node, struct request, node), KITH_BLOBS_ERR_INTERNAL, KITH_ERR_CANCELLED);
    kith__list_remove(&served->node);
    conn->hook = NULL;
    kith__free(served->blobs->context->mem, served);
    kith__api_conn_give_back(conn);
}

static void on_conn_closed(void *ctx)
{
    struct served *served = ctx;

    emit_conn(served, KITH_BLOBS_DISCONNECTED, served->conn->error.code);
    served_free(served);
}

static int serve(struct kith_blobs *blobs, struct kith_conn *conn)
{
    struct served *served;

    if (conn->endpoint->context != blobs->context)
        return kith__fail(KITH_ERR_INVALID, 0, "the connection belongs to another context than the provider");
    if (conn->hook != NULL)
        return kith__fail(KITH_ERR_INVALID, 0, "the connection is being served already");
    if ((served = kith__alloc_zero(blobs->context->mem, sizeof *served)) == NULL)
        return kith__fail_because(KITH_ERR_NOMEM, "the connection cannot be served");
    served->blobs = blobs;
    served->conn = conn;
    served->number = ++blobs->next_connection;
    served->hook = (struct kith_conn_hook) { on_stream, on_conn_closed, served };
    kith__list_init(&served->requests);
    kith__list_push_back(&blobs->conns, &served->node);
    emit_conn(served, KITH_BLOBS_CONNECTED, 0);
    kith__api_conn_set_hook(conn, &served->hook);
    if (conn->is_closed)
        on_conn_closed(served);
    return 0;
}

int kith_blobs_serve(struct kith_blobs *blobs, struct kith_conn *conn)
{
    int err;

    kith__context_enter(blobs->context);
    if ((err = serve(blobs, conn)) != 0 && conn->hook == NULL)
        kith__api_conn_give_back(conn);
    kith__context_leave(blobs->context);
    return err;
}

/* ---- Providers ---- */

int kith_blobs_new(struct kith_endpoint *endpoint, const struct kith_blobs_options *options, struct kith_blobs **out)
{
    struct kith_blobs_options with_defaults = { 0 };
    struct kith_context *context = endpoint->context;
    struct kith_blobs *blobs;
    int err;

    if (options == NULL || options->size > sizeof with_defaults || options->size < sizeof options->size)
        return kith__fail(KITH_ERR_INVALID, 0, "the options were not initialised with KITH_BLOBS_OPTIONS_INIT");
    memcpy(&with_defaults, options, options->size);
    if ((blobs = kith__alloc_zero(context->mem, sizeof *blobs)) == NULL)
        return kith__fail_because(KITH_ERR_NOMEM, "the provider cannot be made");
    blobs->context = context;
    blobs->endpoint = endpoint;
    blobs->requests_max = with_defaults.requests_max != 0 ? with_defaults.requests_max
                                                          : (uint32_t)KITH_BLOBS_REQUESTS_MAX;
    blobs->request_limit_ns = with_defaults.request_limit_ns != 0 ? with_defaults.request_limit_ns
                                                                  : KITH_BLOBS_REQUEST_LIMIT_S * KITH_NS_PER_S;
    blobs->stall_limit_ns = with_defaults.stall_limit_ns;
    kith__list_init(&blobs->conns);
    kith__list_init(&blobs->adds);
    kith__list_init(&blobs->events);
    kith__list_init(&blobs->event_ops);
    kith__context_enter(context);
    err = kith__catalog_init(&blobs->catalog, context->mem, context->rt, with_defaults.cache_directory,
                             kith__random_u64(kith__rt_random(context->rt)));
    kith__context_leave(context);
    if (err != 0) {
        kith__free(context->mem, blobs);
        return kith__fail_because(err, "the cache directory '%s' cannot be used", with_defaults.cache_directory);
    }
    *out = blobs;
    return 0;
}

void kith_blobs_free(struct kith_blobs *blobs)
{
    struct kith_context *context;
    struct kith_list *node;

    if (blobs == NULL)
        return;
    context = blobs->context;
    kith__context_enter(context);
    while ((node = kith__list_first(&blobs->adds)) != NULL)
        kith__blobs_add_abort(node);
    while ((node = kith__list_first(&blobs->conns)) != NULL)
        served_free(KITH_CONTAINER(node, struct served, node));
    kith__blobs_events_dispose(blobs);
    kith__catalog_dispose(&blobs->catalog);
    kith__context_leave(context);
    kith__free(context->mem, blobs);
}

int kith_blobs_add_bytes(struct kith_blobs *blobs, const void *bytes, size_t size, struct kith_hash *out)
{
    int err;

    if (bytes == NULL && size > 0)
        return kith__fail_null("bytes to add");
    kith__context_enter(blobs->context);
    err = kith__catalog_add_bytes(&blobs->catalog, bytes, size, out);
    kith__context_leave(blobs->context);
    return err == 0 ? 0 : kith__fail_because(err, "the bytes cannot be added");
}

int kith_blobs_progress(const struct kith_op *op, struct kith_blobs_progress *out)
{
    if (op->dispose != kith__blobs_add_dispose && op->dispose != kith__blobs_get_dispose)
        return kith__fail(KITH_ERR_STATE, 0, "the operation neither adds nor gets blobs");
    kith__context_enter(op->context);
    *out = *((const struct kith_blobs_work *)op->state)->progress;
    kith__context_leave(op->context);
    return 0;
}
