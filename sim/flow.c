/* One stream of the simulated application: what it writes, what it must read. */
#include "app.h"

#include "base/assert.h"
#include "base/random.h"

#include <stdlib.h>
#include <string.h>

enum { PATTERN_PERIOD = 65521, CHUNK = 32 << 10, MAGIC = 0x4d49534b };

/* Random bytes with a prime period, twice, so that any CHUNK of them is contiguous. */
static uint8_t table[PATTERN_PERIOD + CHUNK];

static const uint8_t *pattern_at(uint64_t seed, uint64_t offset)
{
    if (table[0] == 0) {
        struct kith_prng prng;

        kith__prng_init(&prng, 7);
        for (size_t i = 0; i < sizeof table; i++)
            table[i] = i < PATTERN_PERIOD ? (uint8_t)kith__prng_next(&prng) : table[i - PATTERN_PERIOD];
        table[0] = table[PATTERN_PERIOD] = 1;
    }
    return &table[(offset + seed % PATTERN_PERIOD) % PATTERN_PERIOD];
}

void kith__simflow_pattern(uint64_t seed, uint64_t offset, uint8_t *out, size_t size)
{
    KITH_ASSERT(size <= CHUNK);
    memcpy(out, pattern_at(seed, offset), size);
}

bool kith__simflow_is_pattern(uint64_t seed, uint64_t offset, const uint8_t *bytes, size_t size)
{
    for (size_t at = 0; at < size; at += CHUNK)
        if (memcmp(bytes + at, pattern_at(seed, offset + at), KITH_MIN(size - at, (size_t)CHUNK)) != 0)
            return false;
    return true;
}

static void put_u64(uint8_t *out, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get_u64(const uint8_t *in)
{
    uint64_t value = 0;

    for (int i = 7; i >= 0; i--)
        value = value << 8 | in[i];
    return value;
}

static struct kith_simflow *flow_new(struct kith_simconn *conn, uint64_t stream, bool bidi, bool is_ours)
{
    struct kith_simflow *flow = calloc(1, sizeof *flow);

    if (flow == NULL)
        return NULL;
    flow->conn = conn;
    flow->stream = stream;
    flow->bidi = bidi;
    flow->is_ours = is_ours;
    kith__ranges_init(&flow->seen, kith_mem_default());
    kith__list_push_back(&conn->flows, &flow->node);
    conn->flows_open++;
    conn->flows_peak = KITH_MAX(conn->flows_peak, conn->flows_open);
    kith_quic_stream_set_user(conn->conn, stream, flow);
    return flow;
}

struct kith_simflow *kith__simflow_open(struct kith_simconn *conn, uint64_t stream, bool bidi, uint64_t up,
                                        uint64_t down, uint64_t seed)
{
    struct kith_simflow *flow = flow_new(conn, stream, bidi, true);

    if (flow == NULL)
        return NULL;
    if (!bidi)
        down = 0;
    put_u64(flow->header, (seed & 0xffffffff) << 32 | MAGIC);
    put_u64(flow->header + 8, up);
    put_u64(flow->header + 16, down);
    flow->seed_out = seed & 0xffffffff;
    flow->seed_in = flow->seed_out + 1;
    flow->out_total = up + KITH_SIMAPP_HEADER_SIZE;
    flow->in_total = down;
    flow->in_over = !bidi;
    flow->knows_sizes = true;
    return flow;
}

struct kith_simflow *kith__simflow_accept(struct kith_simconn *conn, uint64_t stream, bool bidi)
{
    struct kith_simflow *flow = flow_new(conn, stream, bidi, false);

    if (flow != NULL)
        flow->out_over = !bidi;
    return flow;
}

void kith__simflow_free(struct kith_simflow *flow)
{
    kith__list_remove(&flow->node);
    flow->conn->flows_open--;
    kith__ranges_dispose(&flow->seen);
    free(flow);
}

/* ---- Writing ---- */

static size_t next_bytes(struct kith_simflow *flow, uint8_t *out)
{
    uint64_t header = flow->is_ours ? KITH_SIMAPP_HEADER_SIZE : 0;
    size_t size;

    if (flow->out_done < header) {
        memcpy(out, flow->header + flow->out_done, (size_t)(header - flow->out_done));
        return (size_t)(header - flow->out_done);
    }
    size = (size_t)KITH_MIN(flow->out_total - flow->out_done, (uint64_t)CHUNK);
    kith__simflow_pattern(flow->seed_out, flow->out_done - header, out, size);
    return size;
}

static void write_some(struct kith_simflow *flow)
{
    struct kith_simconn *conn = flow->conn;
    uint8_t bytes[CHUNK];

    while (flow->knows_sizes && !flow->out_over && !flow->fin_written) {
        size_t size = next_bytes(flow, bytes), written = 0;
        bool fin = flow->out_done + size == flow->out_total;
        int err;

        if (flow->will_reset && flow->out_done * 2 >= flow->out_total) {
            if (kith_quic_stream_reset(conn->conn, flow->stream, 77) != 0)
                kith__simapp_wrong(conn->app, "stream %llu could not be reset", (unsigned long long)flow->stream);
            flow->out_over = true;
            return;
        }
        err = kith_quic_stream_write(conn->conn, flow->stream, bytes, size, fin, &written);
        if (err == KITH_ERR_STOPPED || err == KITH_ERR_CLOSED) {
            flow->out_over = true;
            return;
        }
        if (err == KITH_ERR_AGAIN) {
            conn->stalls++;
            return;
        }
        if (err != 0 || written > size) {
            kith__simapp_wrong(conn->app, "stream %llu: write gives %s", (unsigned long long)flow->stream,
                               kith_err_name(err));
            return;
        }
        flow->out_done += written;
        flow->fin_written = fin && written == size;
        if (written < size)
            return;
    }
}

/* ---- Reading ---- */

static void note_progress(struct kith_simflow *flow, size_t size)
{
    struct kith_simconn *conn = flow->conn;
    uint64_t now_ns = kith__rt_now(conn->app->rt);

    flow->in_done += size;
    conn->bytes_read += size;
    if (conn->gap_from_ns == 0)
        return;
    conn->gap_max_ns = KITH_MAX(conn->gap_max_ns, now_ns - conn->gap_from_ns);
    conn->gap_from_ns = now_ns;
}

static void take_header(struct kith_simflow *flow)
{
    uint64_t first = get_u64(flow->header);

    if ((first & 0xffffffff) != MAGIC) {
        kith__simapp_wrong(flow->conn->app, "stream %llu: its first bytes are wrong", (unsigned long long)flow->stream);
        return;
    }
    flow->seed_in = first >> 32;
    flow->seed_out = flow->seed_in + 1;
    flow->in_total = get_u64(flow->header + 8) + KITH_SIMAPP_HEADER_SIZE;
    flow->out_total = get_u64(flow->header + 16);
    flow->knows_sizes = true;
}

/* Checks bytes that came in order. */
static void take_bytes(struct kith_simflow *flow, const uint8_t *bytes, size_t size)
{
    uint64_t header = flow->is_ours ? 0 : KITH_SIMAPP_HEADER_SIZE;

    while (size > 0 && flow->in_done < header) {
        flow->header[flow->in_done++] = *bytes++;
        size--;
        if (flow->in_done == header)
            take_header(flow);
    }
    if (size == 0)
        return;
    if (flow->in_done + size > flow->in_total ||
        !kith__simflow_is_pattern(flow->seed_in, flow->in_done - header, bytes, size))
        kith__simapp_wrong(flow->conn->app, "stream %llu: wrong bytes in %llu..%llu of %llu",
                           (unsigned long long)flow->stream, (unsigned long long)flow->in_done,
                           (unsigned long long)(flow->in_done + size), (unsigned long long)flow->in_total);
    note_progress(flow, size);
}

static void take_chunk(struct kith_simflow *flow, uint64_t offset, const uint8_t *bytes, size_t size)
{
    if (size == 0)
        return;
    if (offset + size > flow->in_total || !kith__simflow_is_pattern(flow->seed_in, offset, bytes, size))
        kith__simapp_wrong(flow->conn->app, "stream %llu: a chunk has wrong bytes", (unsigned long long)flow->stream);
    if (kith__ranges_intersects(&flow->seen, offset, offset + size))
        kith__simapp_wrong(flow->conn->app, "stream %llu: bytes came twice", (unsigned long long)flow->stream);
    KITH_ASSERT(kith__ranges_add(&flow->seen, offset, offset + size) == 0);
    note_progress(flow, size);
}

static int read_once(struct kith_simflow *flow)
{
    struct kith_quic_conn *conn = flow->conn->conn;
    uint8_t bytes[CHUNK];
    struct kith_slice seen;
    uint64_t offset = 0;
    size_t size = 0;
    int err;

    if (flow->unordered) {
        if ((err = kith_quic_stream_read_chunk(conn, flow->stream, bytes, sizeof bytes, &offset, &size, NULL)) == 0)
            take_chunk(flow, offset, bytes, size);
    } else if (flow->stream % 8 < 4) { /* both ways of reading in order are used */
        if ((err = kith_quic_stream_read(conn, flow->stream, bytes, sizeof bytes, &size, NULL)) == 0)
            take_bytes(flow, bytes, size);
    } else if ((err = kith_quic_stream_peek(conn, flow->stream, &seen, NULL)) == 0) {
        size = seen.size;
        take_bytes(flow, seen.ptr, seen.size);
        err = kith_quic_stream_consume(conn, flow->stream, seen.size);
    }
    if (err == 0 && size == 0)
        kith__simapp_wrong(flow->conn->app, "stream %llu: a read gives no bytes and no reason",
                           (unsigned long long)flow->stream);
    return err;
}

static void on_end(struct kith_simflow *flow)
{
    if (!flow->knows_sizes || flow->in_done != flow->in_total)
        kith__simapp_wrong(flow->conn->app, "stream %llu: the end came after %llu of %llu bytes",
                           (unsigned long long)flow->stream, (unsigned long long)flow->in_done,
                           (unsigned long long)flow->in_total);
    flow->in_over = true;
}

static void read_some(struct kith_simflow *flow)
{
    struct kith_simconn *conn = flow->conn;
    int err = 0;

    while (!flow->in_over && err == 0) {
        if (flow->will_stop && flow->in_done * 2 >= flow->in_total) {
            if (kith_quic_stream_stop(conn->conn, flow->stream, 78) != 0)
                kith__simapp_wrong(conn->app, "stream %llu could not be stopped", (unsigned long long)flow->stream);
            flow->in_over = true;
            return;
        }
        err = read_once(flow);
        conn->last_read_ns = kith__rt_now(conn->app->rt);
        if (err == KITH_ERR_END)
            on_end(flow);
        else if (err == KITH_ERR_RESET || err == KITH_ERR_CLOSED)
            flow->in_over = true;
        else if (err != 0 && err != KITH_ERR_AGAIN)
            kith__simapp_wrong(conn->app, "stream %llu: read gives %s", (unsigned long long)flow->stream,
                               kith_err_name(err));
    }
    if (flow->in_over && !flow->knows_sizes)
        flow->out_over = true; /* reset before the header: there is nothing to answer */
}

bool kith__simflow_pump(struct kith_simflow *flow, bool reads)
{
    if (reads)
        read_some(flow);
    write_some(flow);
    if (!flow->in_over || !flow->out_over)
        return false;
    kith_quic_stream_set_user(flow->conn->conn, flow->stream, NULL);
    kith_quic_stream_release(flow->conn->conn, flow->stream);
    flow->conn->flows_done++;
    kith__simflow_free(flow);
    return true;
}
