/* Fetching over a connection. */
#include "api/blobs_parts.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"
#include "blobs/target.h"
#include <inttypes.h>

/* A complete answer is waited for to end, so that the provider learns that all came; not for ever. */
enum { FIN_LIMIT_S = 1 };

struct get {
    struct kith_blobs_work work;
    struct kith_conn *conn; /* NULL once it ended: then conn_error says how */
    struct kith_error conn_error;
    struct kith_stream *stream;
    struct kith_stream_waiter waiter; /* always in the list of the connection: also tells of its end */
    struct kith_target target;
    struct kith_getter getter;
    struct kith_rt_timer fin_limit, stall_timer;
    struct kith_stall stall; /* of what comes: local work and waiting behind other gets do not count */
    size_t sent;             /* of the request */
    bool is_answered;        /* only the end of the stream is missing */
    char *names;             /* made on demand: all names, each with an end */
    const char **name_at;
};

static void drive(struct get *get);

static void drop_stream(struct get *get)
{
    kith__rt_timer_set(&get->fin_limit, KITH_NEVER);
    if (get->stream != NULL)
        kith__api_stream_give_back(get->stream);
    get->stream = NULL;
    get->is_answered = false;
}

/* ---- How it ends ---- */

static int describe(struct get *get, struct kith_error *error)
{
    const struct kith_getter *getter = &get->getter;
    const char *text = getter->problem != NULL ? getter->problem : get->target.why;
    int64_t cause = (int64_t)getter->reset_code;
    const char *name = getter->failed_name[0] != '\0' ? getter->failed_name : getter->progress.name;

    if (getter->has_failed_chunk)
        return kith__fail_into(error, getter->err, 0,
                               "the other side sent wrong bytes at chunk %" PRIu64 "%s%s; what was right is kept",
                               getter->failed_chunk, name[0] != '\0' ? " of " : "", name);
    if (getter->failed_name[0] != '\0')
        return kith__fail_into(error, getter->err, 0, "the name '%s' is refused: %s", name, text);
    if (text == NULL) /* nothing that the other side did */
        return kith__fail_into_because(error, getter->err, "%s",
                                       get->target.problem[0] != '\0' ? get->target.problem
                                       : name[0] != '\0'              ? name
                                                                      : get->target.path);
    if (get->target.problem[0] != '\0')
        return kith__fail_into(error, getter->err, cause, "%s: %s", get->target.problem, text);
    if (name[0] != '\0')
        return kith__fail_into(error, getter->err, cause, "%s (at %s)", text, name);
    return kith__fail_into(error, getter->err, cause, "%s", text);
}

static void finish(struct get *get)
{
    struct kith_error error;

    kith__job_cancel(&get->work.job);
    kith__list_remove(&get->waiter.node);
    kith__rt_timer_set(&get->stall_timer, KITH_NEVER);
    drop_stream(get);
    if (get->getter.step == KITH_GETTER_DONE) {
        kith__op_done(get->work.op, 0);
    } else if (get->conn == NULL && get->getter.err == get->conn_error.code) {
        kith__op_fail(get->work.op, &get->conn_error);
    } else {
        describe(get, &error);
        kith__op_fail(get->work.op, &error);
    }
}

/* ---- The stream ---- */

/* Writes the rest of the request. */
static void send_request(struct get *get)
{
    struct kith_slice request = kith__getter_request(&get->getter);
    size_t written;
    int err;

    request.ptr += get->sent;
    request.size -= get->sent;
    err = kith__api_stream_write(get->stream, request, true, &written);
    get->sent += written;
    if (err == KITH_ERR_STOPPED || (err == 0 && written == request.size)) /* stopped: its answer tells why */
        kith__getter_on_requested(&get->getter);
    else if (err != 0 && err != KITH_ERR_AGAIN)
        kith__getter_on_end(&get->getter, err, 0);
}

/* Takes what has arrived. */
static void receive(struct get *get)
{
    struct kith_slice bytes;
    uint64_t code = 0;
    int err;

    while ((err = kith__api_stream_peek(get->stream, &bytes, &code)) == 0) {
        size_t size = bytes.size;

        if (get->is_answered) { /* more than was asked for: nothing to us */
            err = KITH_ERR_END;
            break;
        }
        get->is_answered = kith__getter_receive(&get->getter, bytes) == KITH_ERR_END;
        kith__api_stream_consume(get->stream, size);
        if (get->getter.step == KITH_GETTER_FAILED)
            return;
        if (get->is_answered)
            kith__rt_timer_set(&get->fin_limit, kith__context_now(get->work.op->context) + FIN_LIMIT_S * KITH_NS_PER_S);
    }
    if (err == KITH_ERR_AGAIN)
        return;
    if (!get->is_answered)
        kith__getter_on_end(&get->getter, err, code);
    drop_stream(get);
}

/* Streams hear of it first, then those that wait for streams: the first of the two sees to everything. */
static void on_conn_end(struct get *get)
{
    if (get->conn == NULL)
        return;
    get->conn_error = get->conn->error;
    get->conn = NULL;
    kith__list_remove(&get->waiter.node);
    if (get->stream != NULL && !get->is_answered)
        kith__getter_on_end(&get->getter, get->conn_error.code, 0);
    drop_stream(get);
}

static void on_stream_event(void *ctx, const struct kith_quic_event *event)
{
    struct get *get = ctx;

    if (event == NULL) { /* the connection ended */
        on_conn_end(get);
    } else if (get->getter.step == KITH_GETTER_REQUEST && !get->is_answered) {
        if (event->kind == KITH_QUIC_STREAM_WRITABLE)
            send_request(get);
        else if (event->kind == KITH_QUIC_STREAM_STOPPED)
            kith__getter_on_requested(&get->getter); /* its answer tells why */
        if (get->getter.step == KITH_GETTER_RECEIVE)
            receive(get); /* what came while we were still asking */
    } else if (event->kind == KITH_QUIC_STREAM_READABLE) {
        receive(get);
    }
    drive(get);
}

static void on_fin_limit(void *ctx, uint64_t now_ns)
{
    (void)now_ns;
    drop_stream(ctx);
    drive(ctx);
}

/* Whether it is the other side's turn: it has our request, or will not let us ask although nobody else does. */
static bool is_other_sides_turn(const struct get *get)
{
    if (get->stream != NULL)
        return !get->is_answered;
    return get->getter.step == KITH_GETTER_REQUEST && get->conn != NULL && kith__list_is_empty(&get->conn->streams);
}

static void on_stall_timer(void *ctx, uint64_t now_ns)
{
    struct get *get = ctx;

    if (!is_other_sides_turn(get))
        get->stall.since_ns = now_ns;
    if (kith__stall_look(&get->stall, get->getter.verified_count, now_ns)) {
        kith__getter_fail(&get->getter, KITH_ERR_TIMEOUT,
                          "the other side has sent nothing for too long that can be verified; what was right is kept");
        drive(get);
        return;
    }
    kith__rt_timer_set(&get->stall_timer, kith__stall_next(&get->stall, now_ns));
}

/* Opens the stream for a request, or waits until the other side allows one. */
static void open_stream(struct get *get)
{
    int err;

    if (get->conn == NULL) {
        kith__getter_fail(&get->getter, get->conn_error.code, NULL);
        return;
    }
    err = kith__api_stream_open(get->conn, true, &get->stream);
    if (err == KITH_ERR_AGAIN)
        return; /* on_available goes on */
    if (err != 0) {
        kith__getter_fail(&get->getter, err, NULL);
        return;
    }
    get->stream->on_event = on_stream_event;
    get->stream->on_event_ctx = get;
    get->sent = 0;
    send_request(get);
}

static void on_available(void *ctx)
{
    struct get *get = ctx;

    if (get->conn->is_closed)
        on_conn_end(get);
    else
        kith__list_push_back(&get->conn->stream_waiters, &get->waiter.node);
    drive(get);
}

/* Does what can be done now. */
static void drive(struct get *get)
{
    if (get->work.op->is_done)
        return;
    /* An answered stream is seen to its end before anything else happens. */
    if (get->stream == NULL && get->getter.step == KITH_GETTER_REQUEST)
        open_stream(get);
    if (get->getter.step == KITH_GETTER_FAILED || get->getter.step == KITH_GETTER_DONE)
        finish(get);
    else if (get->stream == NULL && get->getter.step == KITH_GETTER_WORK)
        kith__context_schedule(get->work.op->context, &get->work.job);
}

static void run(void *ctx)
{
    struct get *get = ctx;

    if (get->getter.step == KITH_GETTER_WORK)
        kith__getter_work(&get->getter);
    drive(get);
}

/* ---- The operation ---- */

/* Stops all that goes on; the getter keeps what it has. */
static void get_cancel(struct kith_op *op)
{
    struct get *get = op->state;

    kith__job_cancel(&get->work.job);
    kith__list_remove(&get->waiter.node);
    kith__rt_timer_set(&get->stall_timer, KITH_NEVER);
    drop_stream(get);
    kith__getter_fail(&get->getter, KITH_ERR_CANCELLED, NULL);
}

void kith__blobs_get_dispose(struct kith_op *op)
{
    struct get *get = op->state;

    get_cancel(op);
    kith__rt_timer_dispose(&get->stall_timer);
    kith__getter_dispose(&get->getter);
    kith__target_dispose(&get->target);
    kith__rt_timer_dispose(&get->fin_limit);
    kith__free(op->context->mem, get->names);
    kith__free(op->context->mem, (void *)get->name_at);
    kith__free(op->context->mem, get);
}

static int init_parts(struct get *get, struct kith_conn *conn, const struct kith_blobs_get_options *options)
{
    struct kith_context *context = conn->endpoint->context;
    struct kith_target_options target = { options->target, options->partial_directory, options->replace };
    struct kith_getter_options getter = { options->hash, options->format, options->chunk_first, options->chunk_end,
                                          kith__random_u64(kith__rt_random(context->rt)) };
    struct kith_get_store store;
    int err;

    if ((err = kith__target_init(&get->target, context->mem, context->rt, &target, &getter)) != 0)
        return get->target.why != NULL ? kith__fail(err, 0, "%s: %s", get->target.problem, get->target.why)
                                       : kith__fail_because(err, "%s", get->target.problem);
    store = kith__target_store(&get->target);
    if ((err = kith__getter_init(&get->getter, context->mem, &getter, &store)) != 0) {
        kith__target_dispose(&get->target);
        return err == KITH_ERR_INVALID ? kith__fail(err, 0, "a range needs a single blob, and must not be empty")
                                       : kith__fail_because(err, "nothing can be fetched");
    }
    if ((err = kith__rt_timer_init(context->rt, &get->fin_limit, on_fin_limit, get)) == 0 &&
        (err = kith__rt_timer_init(context->rt, &get->stall_timer, on_stall_timer, get)) != 0)
        kith__rt_timer_dispose(&get->fin_limit);
    if (err != 0) {
        kith__getter_dispose(&get->getter);
        kith__target_dispose(&get->target);
        return kith__fail_because(err, "nothing can be fetched");
    }
    return 0;
}

static int get_start(struct kith_conn *conn, const struct kith_blobs_get_options *options, struct kith_op **out)
{
    struct kith_context *context = conn->endpoint->context;
    struct get *get;
    struct kith_op *op;
    int err;

    if (conn->is_closed || conn->quic == NULL)
        return kith__api_conn_failure(conn);
    if ((get = kith__alloc_zero(context->mem, sizeof *get)) == NULL)
        return kith__fail_because(KITH_ERR_NOMEM, "nothing can be fetched");
    if ((err = init_parts(get, conn, options)) != 0) {
        kith__free(context->mem, get);
        return err;
    }
    get->conn = conn;
    get->work.progress = &get->getter.progress;
    kith__job_init(&get->work.job, run, get);
    get->waiter = (struct kith_stream_waiter) { .on_available = on_available, .ctx = get };
    kith__list_init(&get->waiter.node);
    if ((op = kith__op_new(context, KITH_OP_DRIVER, NULL)) == NULL) {
        kith__rt_timer_dispose(&get->fin_limit);
        kith__rt_timer_dispose(&get->stall_timer);
        kith__getter_dispose(&get->getter);
        kith__target_dispose(&get->target);
        kith__free(context->mem, get);
        return kith__fail_because(KITH_ERR_NOMEM, "nothing can be fetched");
    }
    op->state = get;
    op->cancel = get_cancel;
    op->dispose = kith__blobs_get_dispose;
    get->work.op = op;
    kith__list_push_back(&conn->stream_waiters, &get->waiter.node);
    kith__stall_begin(&get->stall, options->stall_limit_ns, kith__context_now(context));
    kith__rt_timer_set(&get->stall_timer, kith__stall_next(&get->stall, kith__context_now(context)));
    drive(get);
    *out = op;
    return 0;
}

int kith_blobs_get_start(struct kith_conn *conn, const struct kith_blobs_get_options *options, struct kith_op **out)
{
    struct kith_blobs_get_options with_defaults = { 0 };
    int err;

    if (options == NULL || options->size > sizeof with_defaults || options->size < sizeof options->size)
        return kith__fail(KITH_ERR_INVALID, 0, "the options were not initialised with KITH_BLOBS_GET_OPTIONS_INIT");
    memcpy(&with_defaults, options, options->size);
    if (with_defaults.target == NULL)
        return kith__fail_null("the path to put it at");
    kith__context_enter(conn->endpoint->context);
    err = get_start(conn, &with_defaults, out);
    kith__context_leave(conn->endpoint->context);
    return err;
}

/* Copies the names, each with an end, so that they can be lent. */
static int make_names(struct get *get, const struct kith_mem *mem)
{
    const struct kith_collection *names = &get->getter.names;
    size_t size = 0, at = 0;

    for (size_t i = 0; i < names->count; i++)
        size += names->names[i].size + 1;
    if ((get->names = kith__alloc(mem, size)) == NULL)
        return KITH_ERR_NOMEM;
    if ((get->name_at = kith__alloc_array(mem, names->count, sizeof *get->name_at)) == NULL) {
        kith__free(mem, get->names);
        get->names = NULL;
        return KITH_ERR_NOMEM;
    }
    for (size_t i = 0; i < names->count; i++) {
        get->name_at[i] = get->names + at;
        memcpy(get->names + at, names->names[i].ptr, names->names[i].size);
        at += names->names[i].size;
        get->names[at++] = '\0';
    }
    return 0;
}

const char *kith_blobs_get_name(const struct kith_op *op, uint64_t index)
{
    const char *name = NULL;
    struct get *get;

    if (op->dispose != kith__blobs_get_dispose)
        return NULL;
    get = op->state;
    kith__context_enter(op->context);
    /* files: the names were checked. */
    if (get->getter.files != NULL && index < get->getter.names.count &&
        (get->names != NULL || make_names(get, op->context->mem) == 0))
        name = get->name_at[index];
    kith__context_leave(op->context);
    return name;
}
