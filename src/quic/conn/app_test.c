/* The test application: see app.h. */
#include "quic/conn/app.h"

#include "base/test.h"

#include <string.h>

static struct kith_app_side *app_side(struct kith_pair *pair, int side)
{
    return &((struct kith_app *)pair->config.user)->sides[side];
}

static struct kith_app_stream *find(struct kith_app_side *app, uint64_t id)
{
    for (int i = 0; i < KITH_APP_STREAMS_MAX; i++)
        if (app->streams[i].used && app->streams[i].id == id)
            return &app->streams[i];
    return NULL;
}

static struct kith_app_stream *add(struct kith_app_side *app, uint64_t id)
{
    for (int i = 0; i < KITH_APP_STREAMS_MAX; i++)
        if (!app->streams[i].used) {
            app->streams[i] = (struct kith_app_stream) { .id = id, .used = true };
            return &app->streams[i];
        }
    KITH_CHECK(!"too many streams for the test application");
    return NULL;
}

static void pump_write(struct kith_pair *pair, int side, struct kith_app_stream *stream)
{
    static uint8_t bytes[65536];
    struct kith_quic_conn *conn = pair->sides[side].conn;

    while (!stream->fin_written) {
        size_t size = (size_t)KITH_MIN(stream->to_write - stream->written, sizeof bytes);
        bool last = stream->written + size == stream->to_write;
        size_t written = 0;
        int err;

        if (app_side(pair, side)->echo && size == 0 && !stream->ended)
            return;
        for (size_t i = 0; i < size; i++)
            bytes[i] = kith__app_byte(stream->id, stream->written + i);
        if (app_side(pair, side)->echo)
            last = last && stream->ended;
        err = kith_quic_stream_write(conn, stream->id, bytes, size, last, &written);
        if (err != 0)
            return;
        stream->written += written;
        if (last && written == size)
            stream->fin_written = true;
    }
}

static void pump_read(struct kith_pair *pair, int side, struct kith_app_stream *stream)
{
    static uint8_t bytes[65536];
    struct kith_app_side *app = app_side(pair, side);
    size_t step = app->read_step != 0 ? app->read_step : sizeof bytes;

    while (!app->pause && !stream->ended && !stream->reset) {
        size_t size = 0;
        int err = kith_quic_stream_read(pair->sides[side].conn, stream->id, bytes, step, &size, &stream->code);

        if (err == KITH_ERR_AGAIN || err == KITH_ERR_CLOSED || err == KITH_ERR_NOT_FOUND)
            return;
        if (err == KITH_ERR_RESET) {
            stream->reset = true;
            app->reset_total++;
            return;
        }
        if (err == KITH_ERR_END) {
            stream->ended = true;
            app->ended_total++;
        } else {
            KITH_CHECK_EQ(err, 0);
            for (size_t i = 0; i < size; i++)
                KITH_CHECK_EQ(bytes[i], kith__app_byte(stream->id, stream->read + i));
            stream->read += size;
            app->read_total += size;
        }
        if (app->echo && (stream->id & 2) == 0) {
            stream->to_write = stream->read;
            pump_write(pair, side, stream);
        }
    }
}

static void on_event(struct kith_pair *pair, int side, const struct kith_quic_event *event)
{
    struct kith_app_side *app = app_side(pair, side);
    struct kith_app_stream *stream = find(app, event->stream);

    if (event->conn != pair->sides[side].conn)
        return;
    switch (event->kind) {
    case KITH_QUIC_STREAM_OPENED:
        KITH_CHECK(stream == NULL);
        app->opened_total++;
        stream = add(app, event->stream);
        stream->fin_written = !app->echo;
        break;
    case KITH_QUIC_STREAM_READABLE:
        if (stream != NULL)
            pump_read(pair, side, stream);
        break;
    case KITH_QUIC_STREAM_WRITABLE:
        if (stream != NULL)
            pump_write(pair, side, stream);
        break;
    case KITH_QUIC_STREAM_SENT:
        app->sent_total++;
        if (stream != NULL)
            stream->sent = true;
        break;
    case KITH_QUIC_STREAM_STOPPED:
        if (stream != NULL) {
            stream->stopped = true;
            stream->code = event->code;
            stream->fin_written = true;
        }
        break;
    case KITH_QUIC_DATAGRAM_READABLE: {
        uint8_t bytes[2048];
        size_t size;

        while (kith_quic_datagram_receive(pair->sides[side].conn, bytes, sizeof bytes, &size) == 0)
            app->datagrams++;
        break;
    }
    default:
        break;
    }
}

void kith__app_attach(struct kith_app *app, struct kith_pair *pair)
{
    memset(app, 0, sizeof *app);
    pair->config.user = app;
    pair->config.on_event = on_event;
}

struct kith_app_stream *kith__app_send(struct kith_pair *pair, int side, bool bidi, uint64_t size)
{
    uint64_t id;
    struct kith_app_stream *stream;

    KITH_CHECK_EQ(kith_quic_stream_open(pair->sides[side].conn, bidi, &id), 0);
    stream = add(app_side(pair, side), id);
    stream->to_write = size;
    pump_write(pair, side, stream);
    return stream;
}

void kith__app_read_all(struct kith_pair *pair, int side)
{
    struct kith_app_side *app = app_side(pair, side);

    for (int i = 0; i < KITH_APP_STREAMS_MAX; i++)
        if (app->streams[i].used)
            pump_read(pair, side, &app->streams[i]);
}
