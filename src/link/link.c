/*
 * Links. The wire below (a TCP stream, or a link to a proxy) and the user above meet here; with TLS a kith_tls_stream lies
 * between them:
 *
 *     wire_data -> kith__tls_stream_receive -> pump -> on_data
 *     write -> fill -> kith__tls_stream_write -> flush -> wire -> wire_written -> ... -> on_writable
 *
 * The rules of finishing are in finish_step.
 */
#include "link/link_internal.h"

#include "base/assert.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

static void on_timer(void *ctx, uint64_t now_ns);
static void finish_step(struct kith_link *link);

/* ---- Life ---- */

int kith__link_new(struct kith_rt *rt, const struct kith_link_events *events, struct kith_link **out)
{
    struct kith_link *link = kith__alloc_zero(rt->mem, sizeof *link);

    if (link == NULL)
        return KITH_ERR_NOMEM;
    link->rt = rt;
    if (events != NULL)
        link->events = *events;
    if (kith__rt_timer_init(rt, &link->timer, on_timer, link) != 0) {
        kith__free(rt->mem, link);
        return KITH_ERR_NOMEM;
    }
    *out = link;
    return 0;
}

void kith__link_enter(struct kith_link *link)
{
    link->callbacks++;
}

void kith__link_leave(struct kith_link *link)
{
    if (--link->callbacks == 0 && link->is_closed)
        kith__free(link->rt->mem, link);
}

static void forget_pending(struct kith_link *link)
{
    kith__free(link->rt->mem, link->pending_array);
    link->pending_array = link->pending = NULL;
    link->pending_count = link->pending_offset = 0;
}

void kith__link_close(struct kith_link *link)
{
    if (link == NULL)
        return;
    KITH_ASSERT(!link->is_closed);
    link->is_closed = true;
    kith__dial_free(link->dial);
    kith__rt_stream_close(link->stream); /* first: it may have borrowed output of the TLS stream */
    kith__link_close(link->below);
    kith__tls_stream_free(link->tls);
    forget_pending(link);
    kith__rt_timer_dispose(&link->timer);
    kith__link_enter(link);
    kith__link_leave(link);
}

/* ---- The wire ---- */

static int wire_write(struct kith_link *link, const struct kith_slice *slices, size_t count)
{
    if (link->below != NULL)
        return kith__link_write_slices(link->below, slices, count);
    return count == 1 ? kith__rt_stream_write(link->stream, slices->ptr, slices->size)
                      : kith__rt_stream_write_slices(link->stream, slices, count);
}

/** Lets bytes come from below or not, as the state wants it. */
static void update_reading(struct kith_link *link)
{
    bool wants;

    if (link->is_closed || (link->stream == NULL && link->below == NULL))
        return;
    if (link->state == KITH_LINK_FINISHING || link->state == KITH_LINK_FAILED)
        wants = true; /* to throw it away: unread bytes would turn our end into a reset */
    else if (link->state == KITH_LINK_WAITING)
        wants = link->tls != NULL;
    else
        wants = !link->is_paused;
    if (link->below != NULL)
        (wants ? kith__link_read_resume : kith__link_read_pause)(link->below);
    else
        (wants ? kith__rt_stream_read_start : kith__rt_stream_read_stop)(link->stream);
}

/* ---- Telling the user ---- */

static void tell_open(struct kith_link *link, int err, const char *why)
{
    struct kith_dial *dial = link->dial;

    KITH_ASSERT(link->state == KITH_LINK_WAITING);
    link->state = err == 0 ? KITH_LINK_OPEN : KITH_LINK_FAILED;
    link->dial = NULL;
    kith__link_enter(link);
    if (link->events.on_open != NULL)
        link->events.on_open(link->events.ctx, err, why);
    kith__dial_free(dial); /* not before: `why` may be its */
    update_reading(link);
    kith__link_leave(link);
}

static void give(struct kith_link *link, uint8_t *bytes, size_t size)
{
    link->stats.received_bytes += size;
    if (link->events.on_data != NULL)
        link->events.on_data(link->events.ctx, bytes, size);
}

static void tell_end(struct kith_link *link, int err)
{
    if (link->is_end_told)
        return;
    link->is_end_told = true;
    if (link->events.on_end != NULL)
        link->events.on_end(link->events.ctx, err);
}

static void tell_written(struct kith_link *link, int err)
{
    link->is_writing = false;
    forget_pending(link);
    if (err == 0)
        link->stats.sent_bytes += link->write_size;
    if (link->events.on_writable != NULL)
        link->events.on_writable(link->events.ctx, err);
}

/** The wire takes nothing any more. */
static void break_writing(struct kith_link *link, int err)
{
    link->is_write_broken = true;
    if (link->state == KITH_LINK_WAITING)
        kith__link_open_failed(link, err, "the connection broke during the TLS handshake: try again");
    else if (link->is_writing)
        tell_written(link, err);
}

/** A client that cannot believe the certificate: unacceptable to us, and not the other side's complaint. */
static bool is_distrust(const struct kith_tls_stream_failure *failure)
{
    enum { BAD_CERTIFICATE = 42, UNSUPPORTED = 43, REVOKED = 44, EXPIRED = 45, UNKNOWN = 46, UNKNOWN_CA = 48 };

    return !failure->from_peer &&
           (failure->wrong_name || (failure->alert >= BAD_CERTIFICATE && failure->alert <= UNKNOWN) ||
            failure->alert == UNKNOWN_CA);
}

static void flush_alert(struct kith_link *link);

/** The TLS stream has failed: tells why. */
static void fail_tls(struct kith_link *link, int err)
{
    struct kith_tls_stream_failure failure = kith__tls_stream_failure(link->tls);
    char why[KITH_LINK_WHY_SIZE], addr[KITH_SOCKADDR_TEXT_SIZE];
    struct kith_sockaddr remote = kith__link_remote(link);
    const char *hint = "";

    if (err == KITH_ERR_TLS && is_distrust(&failure)) {
        err = KITH_ERR_WRONG_PEER;
        hint = failure.wrong_name ? ": is the host name right?"
                                  : ": if the server is yours, give its certificate authority as one to trust";
    }
    snprintf(why, sizeof why, "TLS with %s failed: %s%s%s%s%s%s",
             link->dial != NULL ? kith__dial_target(link->dial) : kith_sockaddr_format(&remote, addr),
             failure.text != NULL ? failure.text : kith_strerror(err), failure.alert_name != NULL ? " (" : "",
             failure.alert_name != NULL ? failure.alert_name : "",
             failure.alert_name != NULL && failure.from_peer ? ", says the other side" : "",
             failure.alert_name != NULL ? ")" : "", hint);
    flush_alert(link);
    link->is_refusing = true;
    if (link->state == KITH_LINK_WAITING)
        kith__link_open_failed(link, err, why);
    else
        tell_end(link, err);
}

/* ---- TLS: from the wire to the user ---- */

/** Hands out what the TLS stream has; on_open before the first of it. The caller holds the link. */
static void pump(struct kith_link *link)
{
    uint8_t *bytes;
    size_t size;
    int err = KITH_ERR_AGAIN;

    if (link->is_pumping)
        return;
    link->is_pumping = true;
    link->has_kept = false;
    if (link->state == KITH_LINK_WAITING && kith__tls_stream_is_open(link->tls))
        tell_open(link, 0, "");
    while (!link->is_closed && !link->is_paused && link->state <= KITH_LINK_OPEN && !link->is_end_told &&
           (err = kith__tls_stream_read(link->tls, &bytes, &size)) == 0)
        give(link, bytes, size);
    link->is_pumping = false;
    if (link->is_closed || link->state > KITH_LINK_OPEN || link->is_end_told)
        return;
    if (link->is_paused) {
        link->has_kept = true;
        err = kith__tls_stream_keep(link->tls) != 0 ? KITH_ERR_NOMEM : KITH_ERR_AGAIN;
    }
    if (err == KITH_ERR_END || err == KITH_ERR_TRUNCATED)
        tell_end(link, err == KITH_ERR_END ? 0 : err);
    else if (err != KITH_ERR_AGAIN && err != 0)
        fail_tls(link, err);
}

/** Lends ciphertext to the wire, if it has none and there is some. */
static int flush(struct kith_link *link)
{
    struct kith_slice out;
    int err;

    if (link->is_closed || link->is_write_broken || link->wire_size != 0)
        return 0;
    out = kith__tls_stream_output(link->tls);
    if (out.size == 0)
        return 0;
    if ((err = wire_write(link, &out, 1)) == 0)
        link->wire_size = out.size;
    return err;
}

static void flush_alert(struct kith_link *link)
{
    if (!link->is_wire_ended && flush(link) != 0)
        link->is_write_broken = true;
}

static void flush_or_break(struct kith_link *link)
{
    int err = flush(link);

    if (err != 0)
        break_writing(link, err);
}

void kith__link_wire_data(struct kith_link *link, uint8_t *bytes, size_t size)
{
    int err;

    kith__link_enter(link);
    if (link->state <= KITH_LINK_OPEN && !link->is_closed && !link->is_end_told) {
        if (link->tls == NULL) {
            give(link, bytes, size);
        } else {
            err = kith__tls_stream_receive(link->tls, bytes, size);
            (void)err; /* the read that follows tells it */
            pump(link);
            if (!link->is_closed && link->state <= KITH_LINK_OPEN)
                flush_or_break(link);
        }
    }
    kith__link_leave(link);
}

static void wire_end(struct kith_link *link, int err)
{
    kith__link_enter(link);
    link->is_wire_ended = true;
    if (link->state == KITH_LINK_FINISHING) {
        finish_step(link);
    } else if (link->state == KITH_LINK_WAITING) {
        kith__link_open_failed(link, err != 0 ? err : KITH_ERR_CLOSED_BY_PEER,
                               "the other side closed the connection during the TLS handshake: is it a TLS port?");
    } else if (link->state == KITH_LINK_OPEN) {
        if (link->tls != NULL && err == 0) {
            kith__tls_stream_on_end(link->tls);
            pump(link); /* END or TRUNCATED, behind what is not read yet */
        } else {
            tell_end(link, err);
        }
    }
    kith__link_leave(link);
}

/* ---- TLS: from the user to the wire ---- */

/** Gives pending plaintext to the TLS stream while it takes any. *taken counts bytes. */
static int fill(struct kith_link *link, size_t *taken)
{
    while (link->pending_count > 0) {
        const struct kith_slice *slice = link->pending;
        size_t part = 0;
        int err = kith__tls_stream_write(link->tls, slice->ptr + link->pending_offset,
                                         slice->size - link->pending_offset, &part);

        if (err != 0)
            return err == KITH_ERR_AGAIN ? 0 : err;
        *taken += part;
        link->pending_offset += part;
        if (link->pending_offset == slice->size) {
            link->pending++;
            link->pending_count--;
            link->pending_offset = 0;
        }
    }
    return 0;
}

static int write_tls(struct kith_link *link, const struct kith_slice *slices, size_t count)
{
    size_t taken = 0;
    int err;

    link->single = slices[0];
    link->pending = &link->single;
    if (count > 1) {
        if ((link->pending_array = kith__alloc_array(link->rt->mem, count, sizeof *slices)) == NULL)
            return KITH_ERR_NOMEM;
        memcpy(link->pending_array, slices, count * sizeof *slices);
        link->pending = link->pending_array;
    }
    link->pending_count = count;
    link->pending_offset = 0;
    if ((err = fill(link, &taken)) == 0)
        err = flush(link);
    if (err != 0) {
        link->is_refusing = taken > 0; /* a part of it goes out, or never will */
        forget_pending(link);
    }
    return err;
}

int kith__link_write_slices(struct kith_link *link, const struct kith_slice *slices, size_t count)
{
    size_t size = 0;
    int err;

    if (link->state != KITH_LINK_OPEN || link->is_writing || link->is_write_broken || link->is_refusing)
        return KITH_ERR_STATE;
    if (count == 0 || count > KITH_RT_STREAM_SLICES_MAX)
        return KITH_ERR_INVALID;
    for (size_t i = 0; i < count; i++) {
        if (slices[i].size == 0)
            return KITH_ERR_INVALID;
        size += slices[i].size;
    }
    err = link->tls != NULL ? write_tls(link, slices, count) : wire_write(link, slices, count);
    if (err != 0)
        return err;
    link->is_writing = true;
    link->write_size = size;
    return 0;
}

int kith__link_write(struct kith_link *link, const uint8_t *bytes, size_t size)
{
    struct kith_slice slice = { bytes, size };

    return kith__link_write_slices(link, &slice, 1);
}

static void wire_written_tls(struct kith_link *link, int err)
{
    size_t taken = 0;
    int fill_err = 0;

    if (err == 0)
        kith__tls_stream_sent(link->tls, link->wire_size);
    link->wire_size = 0;
    if (err == 0) {
        fill_err = fill(link, &taken);
        err = flush(link);
    }
    if (err != 0) {
        break_writing(link, err);
    } else if (fill_err != 0) { /* the rest of the user's bytes will never go out */
        link->is_refusing = true;
        tell_written(link, fill_err);
    } else if (link->is_writing && link->pending_count == 0 && link->wire_size == 0) {
        tell_written(link, 0);
    }
}

static void wire_written(struct kith_link *link, int err)
{
    kith__link_enter(link);
    if (link->tls != NULL) {
        wire_written_tls(link, err);
    } else {
        link->is_write_broken = err != 0;
        tell_written(link, err);
    }
    if (!link->is_closed && link->state == KITH_LINK_FINISHING)
        finish_step(link);
    kith__link_leave(link);
}

/* ---- Events of a TCP stream, and of a link below ---- */

static void stream_data(void *ctx, uint8_t *bytes, size_t size)
{
    kith__link_wire_data(ctx, bytes, size);
}

static void stream_end(void *ctx, int err)
{
    wire_end(ctx, err);
}

static void stream_written(void *ctx, int err)
{
    wire_written(ctx, err);
}

/** The link below has finished, and is gone. */
static void below_closed(void *ctx)
{
    struct kith_link *link = ctx;

    link->below = NULL;
    wire_end(link, 0);
}

static void take_wire(struct kith_link *link)
{
    if (link->below != NULL)
        kith__link_set_events(link->below, &(struct kith_link_events) { .on_data = stream_data,
                                                                        .on_end = stream_end,
                                                                        .on_writable = stream_written,
                                                                        .on_closed = below_closed,
                                                                        .ctx = link });
    else
        kith__rt_stream_set_events(link->stream, &(struct kith_rt_stream_events) { .on_data = stream_data,
                                                                                   .on_end = stream_end,
                                                                                   .on_written = stream_written,
                                                                                   .ctx = link });
}

/* ---- Opening ---- */

int kith__link_attach(struct kith_link *link, struct kith_rt_stream *stream, struct kith_link *below,
                      struct kith_tls_stream_context *tls, const char *name)
{
    int err;

    link->stream = stream;
    link->below = below;
    take_wire(link);
    if (tls != NULL) {
        if ((err = kith__tls_stream_new(tls, name, &link->tls)) != 0 || (err = flush(link)) != 0)
            return err;
    }
    update_reading(link);
    return 0;
}

void kith__link_opened(struct kith_link *link)
{
    tell_open(link, 0, "");
}

void kith__link_open_failed(struct kith_link *link, int err, const char *why)
{
    tell_open(link, err, why);
}

int kith__link_accept(struct kith_rt *rt, struct kith_rt_stream *stream, struct kith_tls_stream_context *tls,
                      const struct kith_link_events *events, struct kith_link **out)
{
    struct kith_link *link;
    int err = kith__link_new(rt, events, &link);

    if (err != 0) {
        kith__rt_stream_close(stream);
        return err;
    }
    if ((err = kith__link_attach(link, stream, NULL, tls, NULL)) != 0) {
        kith__link_close(link);
        return err;
    }
    if (tls == NULL)
        kith__rt_timer_set(&link->timer, kith__rt_now(rt)); /* on_open comes out of a turn */
    *out = link;
    return 0;
}

/* ---- Finishing ---- */

/** It is over: on_closed comes out of a turn. */
static void go(struct kith_link *link)
{
    if (!link->is_gone)
        kith__rt_timer_set(&link->timer, kith__rt_now(link->rt));
    link->is_gone = true;
}

static int wire_shutdown(struct kith_link *link)
{
    if (link->below != NULL) {
        kith__link_finish(link->below, KITH_NEVER - kith__rt_now(link->rt)); /* our limit ends it too */
        return 0;
    }
    return link->stream != NULL ? kith__rt_stream_shutdown(link->stream) : KITH_ERR_STATE;
}

/** Each step waits for the one before: the user's bytes, close_notify, the end of our direction, that of the other. */
static void finish_step(struct kith_link *link)
{
    int err;

    if (link->is_gone || link->is_closed)
        return;
    if (!link->is_write_broken) {
        if (link->is_writing || link->wire_size != 0)
            return;
        if (link->tls != NULL && !link->is_close_sent) {
            link->is_close_sent = true;
            err = kith__tls_stream_close(link->tls); /* without memory for it the end comes without close_notify */
            (void)err;
            if (flush(link) != 0)
                link->is_write_broken = true;
            if (link->wire_size != 0)
                return;
        }
        if (!link->is_shut) {
            link->is_shut = true;
            if (wire_shutdown(link) != 0)
                link->is_write_broken = true;
        }
    }
    if (link->is_wire_ended || link->is_write_broken)
        go(link);
}

void kith__link_finish(struct kith_link *link, uint64_t limit_ns)
{
    struct kith_dial *dial = link->dial;

    KITH_ASSERT(link->state != KITH_LINK_FINISHING && !link->is_closed);
    KITH_ASSERT(!link->is_writing || link->events.on_closed != NULL);
    if (link->state == KITH_LINK_WAITING) { /* nobody has written anything yet */
        link->dial = NULL;
        kith__dial_free(dial);
        link->is_write_broken = true;
    }
    link->state = KITH_LINK_FINISHING;
    kith__rt_timer_set(&link->timer, kith__rt_now(link->rt) + (limit_ns != 0 ? limit_ns : KITH_LINK_FINISH_NS));
    update_reading(link);
    finish_step(link);
}

static void on_timer(void *ctx, uint64_t now_ns)
{
    struct kith_link *link = ctx;
    struct kith_link_events events = link->events;

    (void)now_ns;
    kith__link_enter(link);
    if (link->state == KITH_LINK_FINISHING) {
        kith__link_close(link);
        if (events.on_closed != NULL)
            events.on_closed(events.ctx);
    } else if (link->state == KITH_LINK_WAITING) {
        kith__link_opened(link);
    } else if (link->state == KITH_LINK_OPEN && link->tls != NULL) {
        pump(link);
        if (!link->is_closed && link->state == KITH_LINK_OPEN)
            flush_or_break(link);
    }
    kith__link_leave(link);
}

/* ---- The rest ---- */

void kith__link_set_events(struct kith_link *link, const struct kith_link_events *events)
{
    link->events = *events;
}

bool kith__link_is_writing(const struct kith_link *link)
{
    return link->is_writing;
}

void kith__link_read_pause(struct kith_link *link)
{
    link->is_paused = true;
    update_reading(link);
}

void kith__link_read_resume(struct kith_link *link)
{
    if (!link->is_paused)
        return;
    link->is_paused = false;
    update_reading(link);
    if (link->state == KITH_LINK_OPEN && !link->is_pumping && link->has_kept)
        kith__rt_timer_set(&link->timer, kith__rt_now(link->rt));
}

bool kith__link_is_open(const struct kith_link *link)
{
    return link->state == KITH_LINK_OPEN;
}

bool kith__link_is_tls(const struct kith_link *link)
{
    return link->tls != NULL;
}

int kith__link_export(const struct kith_link *link, struct kith_slice label, struct kith_slice context, uint8_t *out,
                      size_t size)
{
    if (link->state != KITH_LINK_OPEN)
        return KITH_ERR_STATE;
    return link->tls != NULL ? kith__tls_stream_export(link->tls, label, context, out, size) : KITH_ERR_UNSUPPORTED;
}

bool kith__link_is_challenge(const struct kith_link *link)
{
    return link->tls != NULL && kith__tls_stream_is_challenge(link->tls);
}

struct kith_slice kith__link_alpn(const struct kith_link *link)
{
    return link->tls != NULL ? kith__tls_stream_alpn(link->tls) : (struct kith_slice) { NULL, 0 };
}

const char *kith__link_tls_version(const struct kith_link *link)
{
    return link->tls != NULL ? kith__tls_stream_version(link->tls) : "";
}

struct kith_sockaddr kith__link_remote(const struct kith_link *link)
{
    if (link->below != NULL)
        return kith__link_remote(link->below);
    return link->stream != NULL ? kith__rt_stream_remote(link->stream) : (struct kith_sockaddr) { .family = 0 };
}

struct kith_sockaddr kith__link_local(const struct kith_link *link)
{
    if (link->below != NULL)
        return kith__link_local(link->below);
    return link->stream != NULL ? kith__rt_stream_local(link->stream) : (struct kith_sockaddr) { .family = 0 };
}

struct kith_link_stats kith__link_stats(const struct kith_link *link)
{
    return link->stats;
}

struct kith_rt *kith__link_rt(const struct kith_link *link)
{
    return link->rt;
}
