/*
 * Clients that come: they wait until the program asks for them, each in a place of its own until it has proven who it is; or
 * the program decides about each before anything is done for it.
 */
#include "api/objects.h"

#include "base/mem.h"

/* ---- Their queue ---- */

/* Accepts one client; its handshake goes on. */
static int accept_quic(struct kith_endpoint *endpoint, struct kith_quic_incoming *incoming, struct kith_conn **out)
{
    struct kith_quic_conn *quic;
    struct kith_conn *conn;
    int err = kith_quic_incoming_accept(incoming, NULL, kith__context_now(endpoint->context), &quic);

    if (err != 0)
        return err;
    if ((conn = kith__api_conn_new(endpoint, quic)) == NULL)
        return KITH_ERR_NOMEM;
    kith__api_endpoint_touch(endpoint);
    *out = conn;
    return 0;
}

void kith__api_incoming_free(struct kith_incoming *incoming)
{
    struct kith_endpoint *endpoint = incoming->endpoint;

    kith__list_remove(&incoming->node);
    kith__free(endpoint->context->mem, incoming);
    kith__api_endpoint_release_if_done(endpoint);
}

void kith__api_incoming_refuse(struct kith_incoming *incoming)
{
    if (incoming->quic != NULL)
        kith_quic_incoming_refuse(incoming->quic, kith__context_now(incoming->endpoint->context));
    kith__api_endpoint_touch(incoming->endpoint);
    kith__api_incoming_free(incoming);
}

void kith__api_endpoint_on_claimed(struct kith_conn *conn)
{
    conn->endpoint->accepting_count -= conn->is_unclaimed;
    conn->is_unclaimed = false;
}

/* All places are taken: the oldest client that has not proven who it is goes, now or when it had its time. */
static bool make_room(struct kith_endpoint *endpoint)
{
    struct kith_list *node = kith__list_first(&endpoint->handshaking);
    uint64_t now_ns = kith__context_now(endpoint->context);
    struct kith_conn *conn;

    if (node == NULL)
        return false; /* all are connected, and wait for the program */
    conn = KITH_CONTAINER(node, struct kith_conn, accepted_node);
    if (now_ns - conn->accepted_ns < KITH_ACCEPTING_SURE_NS) {
        kith__rt_timer_set(&endpoint->room_timer, conn->accepted_ns + KITH_ACCEPTING_SURE_NS);
        return false;
    }
    kith__log(&endpoint->context->log, KITH_LOG_INFO, "endpoint",
              "a client did not get through: it had not proven who it is, and others wait for its place");
    /* Here and now, so that its end, which comes as an event, is nobody's turn to accept once more. */
    conn->is_accepting = false;
    kith__list_remove(&conn->accepted_node);
    kith__api_endpoint_on_claimed(conn);
    kith_quic_conn_close(conn->quic, 0, (struct kith_slice) { NULL, 0 }, now_ns);
    kith__api_endpoint_touch(endpoint);
    return true;
}

void kith__api_endpoint_on_room(void *ctx, uint64_t now_ns)
{
    (void)now_ns;
    kith__api_endpoint_pump_incoming(ctx);
}

void kith__api_endpoint_pump_incoming(struct kith_endpoint *endpoint)
{
    struct kith_list *node;
    struct kith_op *op;

    while ((node = kith__list_first(&endpoint->incoming)) != NULL) {
        struct kith_incoming *incoming = KITH_CONTAINER(node, struct kith_incoming, node);
        struct kith_conn *conn;

        int err;

        if ((op = kith__op_first(&endpoint->incoming_ops)) != NULL) {
            kith__list_remove(node);
            kith__list_push_back(&endpoint->handed, node);
            op->incoming = incoming;
            kith__op_done(op, 0);
        } else if (!kith__list_is_empty(&endpoint->accept_ops) &&
                   (endpoint->accepting_count < KITH_ACCEPTING_MAX || make_room(endpoint))) {
            if ((err = accept_quic(endpoint, incoming->quic, &conn)) == 0) {
                conn->is_accepting = conn->is_unclaimed = true;
                conn->accepted_ns = kith__context_now(endpoint->context);
                kith__list_push_back(&endpoint->handshaking, &conn->accepted_node);
                endpoint->accepting_count++;
            } else {
                kith__log(&endpoint->context->log, KITH_LOG_WARN, "endpoint", "a client could not be accepted: %s",
                          kith_strerror(err));
            }
            kith__api_incoming_free(incoming);
        } else {
            return;
        }
    }
}

void kith__api_endpoint_offer_accepted(struct kith_conn *conn)
{
    struct kith_endpoint *endpoint = conn->endpoint;
    struct kith_op *op = kith__op_first(&endpoint->accept_ops);

    if (op == NULL) {
        if (!kith__list_is_linked(&conn->accepted_node))
            kith__list_push_back(&endpoint->accepted, &conn->accepted_node);
        return;
    }
    kith__list_remove(&conn->accepted_node);
    kith__api_endpoint_on_claimed(conn);
    conn->is_held = true;
    op->conn = conn;
    kith__op_done(op, 0);
}

void kith__api_endpoint_on_incoming(struct kith_endpoint *endpoint, struct kith_quic_incoming *quic)
{
    struct kith_incoming *incoming;

    if (endpoint->is_closing || (incoming = kith__alloc_zero(endpoint->context->mem, sizeof *incoming)) == NULL) {
        kith_quic_incoming_refuse(quic, kith__context_now(endpoint->context));
        return;
    }
    incoming->endpoint = endpoint;
    incoming->quic = quic;
    kith__list_push_back(&endpoint->incoming, &incoming->node);
    kith__api_endpoint_pump_incoming(endpoint);
}

/* ---- Accepting ---- */

static int endpoint_op_start(struct kith_endpoint *endpoint, enum kith_op_kind kind, struct kith_op **out)
{
    struct kith_list *list = kind == KITH_OP_ACCEPT ? &endpoint->accept_ops : &endpoint->incoming_ops;
    struct kith_list *ready;

    if (endpoint->is_closing)
        return kith__fail(KITH_ERR_CLOSED, 0, "the endpoint is closing");
    if ((*out = kith__op_new(endpoint->context, kind, list)) == NULL)
        return kith__fail_because(KITH_ERR_NOMEM, "clients cannot be waited for");
    if (kind == KITH_OP_ACCEPT && (ready = kith__list_first(&endpoint->accepted)) != NULL)
        kith__api_endpoint_offer_accepted(KITH_CONTAINER(ready, struct kith_conn, accepted_node));
    kith__api_endpoint_pump_incoming(endpoint);
    return 0;
}

int kith_accept_start(struct kith_endpoint *endpoint, struct kith_op **out)
{
    int err;

    kith__context_enter(endpoint->context);
    err = endpoint_op_start(endpoint, KITH_OP_ACCEPT, out);
    kith__context_leave(endpoint->context);
    return err;
}

int kith_incoming_next_start(struct kith_endpoint *endpoint, struct kith_op **out)
{
    int err;

    kith__context_enter(endpoint->context);
    err = endpoint_op_start(endpoint, KITH_OP_INCOMING, out);
    kith__context_leave(endpoint->context);
    return err;
}

int kith_accept(struct kith_endpoint *endpoint, uint64_t limit_ns, struct kith_conn **out)
{
    struct kith_op *op;
    int err;

    if ((err = kith_accept_start(endpoint, &op)) != 0)
        return err;
    err = kith_op_wait(op, limit_ns);
    if (err == 0)
        *out = kith_op_take_conn(op);
    kith_op_free(op);
    return err;
}

int kith_incoming_next(struct kith_endpoint *endpoint, uint64_t limit_ns, struct kith_incoming **out)
{
    struct kith_op *op;
    int err;

    if ((err = kith_incoming_next_start(endpoint, &op)) != 0)
        return err;
    err = kith_op_wait(op, limit_ns);
    if (err == 0)
        *out = kith_op_take_incoming(op);
    kith_op_free(op);
    return err;
}

struct kith_sockaddr kith_incoming_remote(const struct kith_incoming *incoming)
{
    struct kith_sockaddr remote = { 0 };

    kith__context_enter(incoming->endpoint->context);
    if (incoming->quic != NULL)
        remote = kith_quic_incoming_remote(incoming->quic);
    kith__context_leave(incoming->endpoint->context);
    return remote;
}

bool kith_incoming_is_validated(const struct kith_incoming *incoming)
{
    bool is_validated;

    kith__context_enter(incoming->endpoint->context);
    is_validated = incoming->quic != NULL && kith_quic_incoming_is_validated(incoming->quic);
    kith__context_leave(incoming->endpoint->context);
    return is_validated;
}

int kith_incoming_accept_start(struct kith_incoming *incoming, struct kith_op **out)
{
    struct kith_endpoint *endpoint = incoming->endpoint;
    struct kith_context *context = endpoint->context;
    struct kith_conn *conn;
    int err = KITH_ERR_CLOSED;

    kith__context_enter(context);
    if (incoming->quic != NULL)
        err = accept_quic(endpoint, incoming->quic, &conn);
    kith__api_incoming_free(incoming);
    if (err != 0) {
        kith__fail_because(err, "the client could not be accepted");
    } else if ((*out = kith__op_new(endpoint->context, KITH_OP_CONNECT, &conn->handshake_ops)) == NULL) {
        kith__api_conn_destroy(conn);
        err = kith__fail_because(KITH_ERR_NOMEM, "the client cannot be accepted");
    } else {
        (*out)->on_conn = conn;
        (*out)->cancel = kith__api_conn_cancel_connect;
    }
    kith__context_leave(context);
    return err;
}

int kith_incoming_accept(struct kith_incoming *incoming, uint64_t limit_ns, struct kith_conn **out)
{
    struct kith_op *op;
    int err;

    if ((err = kith_incoming_accept_start(incoming, &op)) != 0)
        return err;
    err = kith_op_wait(op, limit_ns);
    if (err == 0)
        *out = kith_op_take_conn(op);
    kith_op_free(op);
    return err;
}

void kith_incoming_refuse(struct kith_incoming *incoming)
{
    struct kith_context *context = incoming->endpoint->context;

    kith__context_enter(context);
    kith__api_incoming_refuse(incoming);
    kith__context_leave(context);
}

void kith_incoming_ignore(struct kith_incoming *incoming)
{
    struct kith_context *context = incoming->endpoint->context;

    kith__context_enter(context);
    if (incoming->quic != NULL)
        kith_quic_incoming_ignore(incoming->quic);
    kith__api_incoming_free(incoming);
    kith__context_leave(context);
}

int kith_incoming_retry(struct kith_incoming *incoming)
{
    struct kith_context *context = incoming->endpoint->context;
    int err;

    kith__context_enter(context);
    if (incoming->quic == NULL) {
        err = kith__fail(KITH_ERR_CLOSED, 0, "the endpoint was closed");
        kith__api_incoming_free(incoming);
    } else if ((err = kith_quic_incoming_retry(incoming->quic, kith__context_now(context))) != 0) {
        kith__fail(err, 0, "the client has proved its address already; it was refused");
        kith__api_incoming_refuse(incoming);
    } else {
        kith__api_endpoint_touch(incoming->endpoint);
        kith__api_incoming_free(incoming);
    }
    kith__context_leave(context);
    return err;
}
