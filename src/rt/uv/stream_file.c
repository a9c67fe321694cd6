/* Regular files as standard descriptors: read and written by libuv's worker threads, since they cannot be polled. */
#include "base/assert.h"
#include "base/mem.h"
#include "rt/uv/stream.h"

#include <unistd.h>

enum { WRITE_PIECE_MAX = 1 << 20 };

struct uv_stream_file {
    uv_fs_t read, write;
    int fd;
    bool is_reading, is_writing, is_end_due; /* is_end_due: a write of shutdown */
    unsigned callbacks;                      /* on the stack now; the last one out frees a closed stream */
    struct kith_slice slices[KITH_RT_STREAM_SLICES_MAX];
    size_t slice_count, slice_index, slice_done;
    uint8_t buffer[KITH_RT_STREAM_READ_MAX];
};

int kith__uv_file_stream_open(struct uv_stream *stream, int fd)
{
    if ((stream->file = kith__alloc(stream->head.rt->mem, sizeof *stream->file)) == NULL)
        return KITH_ERR_NOMEM;
    memset(stream->file, 0, offsetof(struct uv_stream_file, buffer));
    stream->file->fd = fd;
    stream->is_open = true;
    return 0;
}

static void release(struct uv_stream *stream)
{
    const struct uv_stream_file *file = stream->file;

    if (!stream->is_closed || file->is_reading || file->is_writing || file->callbacks > 0)
        return;
    close(file->fd);
    kith__free(stream->head.rt->mem, stream->file);
    kith__free(stream->head.rt->mem, stream);
}

void kith__uv_file_stream_close(struct uv_stream *stream)
{
    release(stream);
}

/* ---- Reading ---- */

static void got_bytes(struct uv_stream *stream, ssize_t got)
{
    if (got <= 0)
        kith__uv_stream_report_end(stream, kith__uv_error((int)got));
    else if (stream->head.events.on_data != NULL) /* what was read before a read_stop is delivered all the same */
        stream->head.events.on_data(stream->head.events.ctx, stream->file->buffer, (size_t)got);
}

static void on_read(uv_fs_t *request)
{
    struct uv_stream *stream = request->data;
    ssize_t got = request->result;

    uv_fs_req_cleanup(request);
    if (!stream->is_closed) {
        stream->file->callbacks++;
        got_bytes(stream, got); /* still "reading": a read_start from inside must not fill the buffer */
        stream->file->callbacks--;
    }
    stream->file->is_reading = false;
    if (stream->is_closed)
        release(stream);
    else if (stream->wants_read && !stream->is_ended)
        kith__uv_file_stream_read(stream);
}

void kith__uv_file_stream_read(struct uv_stream *stream)
{
    struct uv_stream_file *file = stream->file;
    uv_buf_t buf = uv_buf_init((char *)file->buffer, sizeof file->buffer);
    int result;

    if (file->is_reading)
        return;
    file->read.data = stream;
    result = uv_fs_read(&kith__uv_loop_of(stream)->loop, &file->read, file->fd, &buf, 1, -1, on_read);
    KITH_ASSERT(result == 0);
    file->is_reading = true;
}

/* ---- Writing ---- */

static void write_next(struct uv_stream *stream);

static void report_shutdown(struct uv_stream *stream)
{
    stream->file->is_end_due = false;
    if (stream->head.events.on_shutdown != NULL)
        stream->head.events.on_shutdown(stream->head.events.ctx, 0);
}

/** True if there is more of the write. */
static bool advance(struct uv_stream_file *file, size_t put)
{
    file->slice_done += put;
    if (file->slice_index < file->slice_count && file->slice_done == file->slices[file->slice_index].size) {
        file->slice_index++;
        file->slice_done = 0;
    }
    return file->slice_index < file->slice_count;
}

static void on_write(uv_fs_t *request)
{
    struct uv_stream *stream = request->data;
    struct uv_stream_file *file = stream->file;
    ssize_t put = request->result;

    uv_fs_req_cleanup(request);
    file->is_writing = false;
    if (!stream->is_closed && put > 0 && advance(file, (size_t)put)) {
        write_next(stream);
        return;
    }
    file->callbacks++;
    if (!stream->is_closed && stream->is_writing)
        kith__uv_stream_report_written(stream, put > 0 ? 0 : kith__uv_error((int)put));
    if (!stream->is_closed && file->is_end_due && !stream->is_writing)
        report_shutdown(stream);
    file->callbacks--;
    release(stream);
}

static void write_next(struct uv_stream *stream)
{
    struct uv_stream_file *file = stream->file;
    struct kith_slice slice = file->slice_index < file->slice_count ? file->slices[file->slice_index]
                                                                    : (struct kith_slice) { file->buffer, 0 };
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)(slice.ptr + file->slice_done),
                               (unsigned)KITH_MIN(slice.size - file->slice_done, (size_t)WRITE_PIECE_MAX));
    int result;

    file->write.data = stream;
    result = uv_fs_write(&kith__uv_loop_of(stream)->loop, &file->write, file->fd, &buf, 1, -1, on_write);
    KITH_ASSERT(result == 0);
    file->is_writing = true;
}

void kith__uv_file_stream_write(struct uv_stream *stream, const struct kith_slice *slices, size_t count)
{
    struct uv_stream_file *file = stream->file;

    memcpy(file->slices, slices, count * sizeof *slices);
    file->slice_count = count;
    file->slice_index = file->slice_done = 0;
    write_next(stream);
}

/** A file has no direction to end: on_shutdown still has to come out of a turn, so an empty write carries it. */
void kith__uv_file_stream_shutdown(struct uv_stream *stream)
{
    struct uv_stream_file *file = stream->file;

    file->is_end_due = true;
    if (stream->is_writing)
        return;
    file->slice_count = file->slice_index = file->slice_done = 0;
    write_next(stream);
}
