/* Joins a stream to descriptors. */
#include "pump.h"

#include "cli.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS_MAX = 4 }; /* buffers moved before others get their turn */

static void send_step(struct pump *pump);
static void receive_step(struct pump *pump);

static bool is_same_end(const struct pump *pump)
{
    return pump->in.fd == pump->out.fd;
}

static void release(struct pump *pump, bool abort)
{
    loop_watch_stop(&pump->in_watch);
    loop_watch_stop(&pump->out_watch);
    loop_timer_stop(&pump->start);
    kith_op_free(pump->write_op);
    kith_op_free(pump->read_op);
    kith_op_free(pump->sent_op);
    pump->write_op = pump->read_op = pump->sent_op = NULL;
    if (is_same_end(pump))
        pump->in.fd = -1;
    pipe_end_close(&pump->in, abort);
    pipe_end_close(&pump->out, abort);
    free(pump->send_buffer);
    free(pump->receive_buffer);
    pump->send_buffer = pump->receive_buffer = NULL;
}

void pump_abort(struct pump *pump)
{
    if (pump->stream == NULL || pump->is_ended)
        return;
    pump->is_ended = true;
    /* What is over already says so with an error, which changes nothing. */
    if (pump->sending != PUMP_SENDING_DONE)
        (void)kith_reset(pump->stream, 0);
    if (pump->receiving != PUMP_RECEIVING_DONE)
        (void)kith_stop(pump->stream, 0);
    release(pump, true);
}

void pump_dispose(struct pump *pump)
{
    pump_abort(pump);
    memset(pump, 0, sizeof *pump);
}

static void fail(struct pump *pump, int err, const char *what, const char *why)
{
    if (pump->err != 0)
        return;
    pump->err = err;
    snprintf(pump->why, sizeof pump->why, "%.60s: %.190s", what, why); /* the precisions are for gcc: it must fit */
}

static void fail_op(struct pump *pump, const struct kith_op *op, const char *what)
{
    const struct kith_error *error = kith_op_error(op);

    fail(pump, kith_op_result(op), what, error->code != 0 ? error->text : kith_strerror(kith_op_result(op)));
}

/* The last thing that every entry from outside does: the pump may be gone afterwards. */
static void settle(struct pump *pump)
{
    if (pump->is_ended)
        return;
    if (pump->err != 0) {
        pump_abort(pump);
        pump->on_end(pump->user);
    } else if (pump->sending == PUMP_SENDING_DONE && pump->receiving == PUMP_RECEIVING_DONE) {
        pump->is_ended = true;
        release(pump, false);
        pump->on_end(pump->user);
    }
}

/* ---- From the descriptor to the stream ---- */

static bool closed_in_good_order(const struct pump *pump)
{
    struct kith_quic_close_info info;

    return kith_conn_close_info(kith_stream_conn(pump->stream), &info) == 0 && info.is_application && info.code == 0;
}

/* The other side may close as soon as it has everything: its acknowledgement can be lost behind that. */
static void on_sent(struct kith_op *op, void *user)
{
    struct pump *pump = user;
    int err = kith_op_result(op);

    pump->sending = PUMP_SENDING_DONE;
    if (err != 0 && err != KITH_ERR_STOPPED && !closed_in_good_order(pump))
        fail_op(pump, op, "the end could not be delivered");
    settle(pump);
}

static void finish_sending(struct pump *pump)
{
    int err;

    loop_watch_stop(&pump->in_watch);
    pump->sending = PUMP_SENDING_ACK;
    if ((err = kith_finish(pump->stream)) == 0)
        err = kith_sent_start(pump->stream, &pump->sent_op);
    if (err == 0)
        kith_op_on_done(pump->sent_op, on_sent, pump);
    else if (closed_in_good_order(pump))
        pump->sending = PUMP_SENDING_DONE;
    else
        fail(pump, err, "the end could not be sent", kith_error_last()->text);
}

static void on_written(struct kith_op *op, void *user)
{
    struct pump *pump = user;

    pump->write_op = NULL;
    if (kith_op_result(op) != 0) {
        fail_op(pump, op, "sending");
    } else {
        pump->bytes_sent += kith_op_size(op);
        pump->sending = PUMP_SENDING_READ;
    }
    kith_op_free(op);
    if (pump->err == 0)
        send_step(pump);
    settle(pump);
}

/* Gives bytes of send_buffer to the stream. True if they were all taken at once. */
static bool write_stream(struct pump *pump, size_t size)
{
    int err = kith_write_start(pump->stream, pump->send_buffer, size, 0, &pump->write_op);

    if (err != 0) {
        fail(pump, err, "sending", kith_error_last()->text);
        return false;
    }
    if (kith_op_result(pump->write_op) == 0) {
        kith_op_free(pump->write_op);
        pump->write_op = NULL;
        pump->bytes_sent += size;
        return true;
    }
    pump->sending = PUMP_SENDING_WRITE;
    loop_watch_stop(&pump->in_watch);
    kith_op_on_done(pump->write_op, on_written, pump);
    return false;
}

static void send_step(struct pump *pump)
{
    if (pump->is_receive_only) {
        finish_sending(pump);
        return;
    }
    for (int round = 0; round < ROUNDS_MAX && (round == 0 || pipe_end_is_eager(&pump->in)); round++) {
        ssize_t got = pipe_end_read(&pump->in, pump->send_buffer, PUMP_BUFFER_SIZE);

        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (got < 0) {
            fail(pump, KITH_ERR_IO, "reading", strerror(errno));
            return;
        }
        if (got == 0) {
            finish_sending(pump);
            return;
        }
        if (!write_stream(pump, (size_t)got))
            return;
    }
    loop_watch_set(pump->loop, &pump->in_watch, pump->in.fd, POLLIN);
}

static void on_in_ready(void *user)
{
    struct pump *pump = user;

    send_step(pump);
    settle(pump);
}

/* ---- From the stream to the descriptor ---- */

static void on_read(struct kith_op *op, void *user)
{
    struct pump *pump = user;

    (void)op; /* receive_step looks at its result */
    receive_step(pump);
    settle(pump);
}

/* Takes what a finished read brought. True if there are bytes to write. */
static bool take_read(struct pump *pump)
{
    int err = kith_op_result(pump->read_op);

    if (err == 0) {
        pump->receive_at = 0;
        pump->receive_size = kith_op_size(pump->read_op);
        pump->bytes_received += pump->receive_size;
    } else if (err == KITH_ERR_END) {
        pump->receiving = PUMP_RECEIVING_DONE;
        pipe_end_finish(&pump->out);
    } else {
        fail_op(pump, pump->read_op, "receiving");
    }
    kith_op_free(pump->read_op);
    pump->read_op = NULL;
    return err == 0;
}

/* Writes what is there. True if nothing is left. */
static bool write_out(struct pump *pump)
{
    while (pump->receive_at < pump->receive_size) {
        ssize_t written = pipe_end_write(&pump->out, pump->receive_buffer + pump->receive_at,
                                         pump->receive_size - pump->receive_at);

        if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            pump->receiving = PUMP_RECEIVING_WRITE;
            loop_watch_set(pump->loop, &pump->out_watch, pump->out.fd, POLLOUT);
            return false;
        }
        if (written < 0) {
            fail(pump, KITH_ERR_IO, "writing", strerror(errno));
            return false;
        }
        pump->receive_at += (size_t)written;
    }
    pump->receiving = PUMP_RECEIVING_READ;
    loop_watch_stop(&pump->out_watch);
    return true;
}

static void receive_step(struct pump *pump)
{
    for (int round = 0;; round++) {
        int err;

        if (pump->read_op != NULL && !take_read(pump))
            return;
        if (!write_out(pump))
            return;
        if ((err = kith_read_start(pump->stream, pump->receive_buffer, PUMP_BUFFER_SIZE, &pump->read_op)) != 0) {
            fail(pump, err, "receiving", kith_error_last()->text);
            return;
        }
        /* A callback on a finished operation comes with the next turn: that is how others get theirs. */
        if (kith_op_result(pump->read_op) == KITH_ERR_AGAIN || round + 1 >= ROUNDS_MAX) {
            kith_op_on_done(pump->read_op, on_read, pump);
            return;
        }
    }
}

static void on_out_ready(void *user)
{
    struct pump *pump = user;

    receive_step(pump);
    settle(pump);
}

/* ---- Starting ---- */

static void on_start(void *user)
{
    struct pump *pump = user;

    receive_step(pump);
    settle(pump);
}

void pump_start(struct pump *pump, struct loop *loop, struct kith_stream *stream, struct pipe_end in,
                struct pipe_end out, bool receive_only, struct kith_slice first)
{
    pump->loop = loop;
    pump->stream = stream;
    pump->in = in;
    pump->out = out;
    pump->is_receive_only = receive_only;
    pump->send_buffer = cli_alloc(PUMP_BUFFER_SIZE);
    pump->receive_buffer = cli_alloc(PUMP_BUFFER_SIZE);
    pump->in_watch.on_ready = on_in_ready;
    pump->out_watch.on_ready = on_out_ready;
    pump->start.on_due = on_start;
    pump->in_watch.user = pump->out_watch.user = pump->start.user = pump;
    /* The first step may already end the pump, and the caller has to return first. */
    loop_timer_set(loop, &pump->start, 0);
    if (first.size > 0) {
        memcpy(pump->send_buffer, first.ptr, first.size);
        pump->bytes_sent -= first.size; /* wraps, and comes back to 0: only the user's bytes count */
        if (!write_stream(pump, first.size))
            return;
    }
    if (receive_only)
        finish_sending(pump);
    else
        loop_watch_set(loop, &pump->in_watch, pump->in.fd, POLLIN);
}
