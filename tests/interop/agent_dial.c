/* The dialling side of the transport cases, in blocking style. */
#include "agent.h"

#include <inttypes.h>
#include <time.h>

struct dialler {
    struct kith_endpoint *endpoint;
    struct kith_addr addr;
    int argc;
    char **argv;
};

static uint64_t argument(const struct dialler *dialler, int index, uint64_t otherwise)
{
    return index < dialler->argc ? strtoull(dialler->argv[index], NULL, 10) : otherwise;
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static struct kith_conn *dial(struct dialler *dialler, const char *alpn)
{
    struct kith_conn *conn;

    MUST(kith_connect(dialler->endpoint, &dialler->addr, alpn, LIMIT, &conn));
    agent_relay_paths(conn);
    return conn;
}

/* Writes and reads at once, so that neither side's window stops the other. */
static void echo_on(struct kith_stream *out, struct kith_stream *in, size_t size)
{
    uint8_t *sent = malloc(size + 1), *back = malloc(size + 2);
    struct kith_op *writing;
    size_t got;

    CHECK(sent != NULL && back != NULL);
    fill_pattern(sent, 0, size);
    MUST(kith_write_start(out, sent, size, KITH_FIN, &writing));
    MUST(kith_read_to_end(in, back, size + 1, 6 * LIMIT, &got));
    MUST(kith_op_wait(writing, LIMIT));
    kith_op_free(writing);
    CHECK(got == size);
    CHECK(memcmp(sent, back, size) == 0);
    free(sent);
    free(back);
}

static void echo_once(struct kith_conn *conn, size_t size)
{
    struct kith_stream *stream;

    MUST(kith_open_bi(conn, LIMIT, &stream));
    echo_on(stream, stream, size);
    kith_stream_free(stream);
}

static void close_and_free(struct kith_conn *conn)
{
    agent_relay_paths(conn);
    kith_conn_close(conn, 0, NULL, 0);
    kith_conn_free(conn);
}

static void echo_bi(struct dialler *dialler)
{
    struct kith_conn *conn = dial(dialler, ECHO);

    echo_once(conn, argument(dialler, 0, 5));
    close_and_free(conn);
}

static void echo_uni(struct dialler *dialler)
{
    struct kith_conn *conn = dial(dialler, ECHO);
    struct kith_stream *out, *in;
    size_t size = argument(dialler, 0, 5), got;
    uint8_t *sent = malloc(size + 1), *back = malloc(size + 2);

    CHECK(sent != NULL && back != NULL);
    fill_pattern(sent, 0, size);
    MUST(kith_open_uni(conn, LIMIT, &out));
    MUST(kith_write_all(out, sent, size, KITH_FIN, LIMIT));
    MUST(kith_accept_uni(conn, LIMIT, &in));
    MUST(kith_read_to_end(in, back, size + 1, LIMIT, &got));
    CHECK(got == size && memcmp(sent, back, size) == 0);
    kith_stream_free(in);
    kith_stream_free(out);
    close_and_free(conn);
    free(sent);
    free(back);
}

static void up(struct dialler *dialler)
{
    enum { BLOCK = 251 * 1024 };
    struct kith_conn *conn = dial(dialler, SINK);
    uint64_t size = argument(dialler, 0, 1), counted = 0;
    struct kith_stream *stream;
    uint8_t *block = malloc(BLOCK), count[8];
    double started = seconds();

    CHECK(block != NULL);
    fill_pattern(block, 0, BLOCK);
    MUST(kith_open_bi(conn, LIMIT, &stream));
    for (uint64_t left = size; left > 0;) {
        size_t part = left < BLOCK ? (size_t)left : BLOCK;

        MUST(kith_write_all(stream, block, part, 0, LIMIT));
        left -= part;
    }
    MUST(kith_finish(stream));
    MUST(kith_read_exact(stream, count, sizeof count, 6 * LIMIT));
    for (int i = 0; i < 8; i++)
        counted = counted << 8 | count[i];
    printf("RATE %.0f\n", (double)size / (seconds() - started));
    CHECK(counted == size);
    kith_stream_free(stream);
    close_and_free(conn);
    free(block);
}

static void down(struct dialler *dialler)
{
    enum { BUFFER = 1 << 18 };
    struct kith_conn *conn = dial(dialler, SOURCE);
    uint64_t size = argument(dialler, 0, 1), at = 0;
    struct kith_stream *stream;
    uint8_t *buffer = malloc(BUFFER), wanted[8];
    double started = seconds();
    size_t got;
    int err;

    CHECK(buffer != NULL);
    for (int i = 0; i < 8; i++)
        wanted[i] = (uint8_t)(size >> (56 - 8 * i));
    MUST(kith_open_bi(conn, LIMIT, &stream));
    MUST(kith_write_all(stream, wanted, sizeof wanted, KITH_FIN, LIMIT));
    while ((err = kith_read(stream, buffer, BUFFER, LIMIT, &got)) == 0) {
        for (size_t i = 0; i < got; i++)
            CHECK(buffer[i] == (at + i) % 251);
        at += got;
    }
    CHECK(err == KITH_ERR_END && at == size);
    printf("RATE %.0f\n", (double)size / (seconds() - started));
    kith_stream_free(stream);
    close_and_free(conn);
    free(buffer);
}

/* Many streams at once: all are opened and written before the first is read. */
static void streams(struct dialler *dialler)
{
    enum { AT_ONCE = 50, SIZE_MAX_EACH = 3000 };
    struct kith_conn *conn = dial(dialler, ECHO);
    uint64_t count = argument(dialler, 0, 1000);
    static uint8_t sent[SIZE_MAX_EACH], back[SIZE_MAX_EACH + 1];
    struct kith_stream *open[AT_ONCE];

    fill_pattern(sent, 0, sizeof sent);
    for (uint64_t first = 0; first < count; first += AT_ONCE) {
        uint64_t n = count - first < AT_ONCE ? count - first : AT_ONCE;

        for (uint64_t i = 0; i < n; i++) {
            MUST(kith_open_bi(conn, LIMIT, &open[i]));
            MUST(kith_write_all(open[i], sent, 1 + (first + i) % SIZE_MAX_EACH, KITH_FIN, LIMIT));
        }
        for (uint64_t i = 0; i < n; i++) {
            size_t got;

            MUST(kith_read_to_end(open[i], back, sizeof back, LIMIT, &got));
            CHECK(got == 1 + (first + i) % SIZE_MAX_EACH && memcmp(sent, back, got) == 0);
            kith_stream_free(open[i]);
        }
    }
    close_and_free(conn);
}

static void datagrams(struct dialler *dialler)
{
    struct kith_conn *conn = dial(dialler, ECHO);
    uint64_t count = argument(dialler, 0, 100), back = 0;
    uint8_t bytes[2048];

    for (uint64_t i = 0; i < count; i++) {
        size_t size = 8 + (size_t)(i * 37 % 1000), got;

        fill_pattern(bytes, i, size);
        MUST(kith_datagram_send(conn, bytes, size));
        if (kith_datagram_receive(conn, bytes, sizeof bytes, 2 * KITH_NS_PER_S, &got) == 0) {
            CHECK(got >= 8);
            back++;
        }
    }
    CHECK(back * 10 >= count * 9);
    close_and_free(conn);
}

static void close_with_code(struct dialler *dialler)
{
    struct kith_conn *conn = dial(dialler, ECHO);
    const char *reason = dialler->argc > 1 ? dialler->argv[1] : "bye";

    echo_once(conn, 100);
    kith_conn_close(conn, argument(dialler, 0, 7), reason, strlen(reason));
    kith_conn_free(conn);
}

static void closed_by_peer(struct dialler *dialler)
{
    struct kith_conn *conn = dial(dialler, CLOSE);
    struct kith_quic_close_info info;
    struct kith_stream *stream;

    MUST(kith_open_bi(conn, LIMIT, &stream));
    MUST(kith_write_all(stream, "please close", 12, KITH_FIN, LIMIT));
    MUST(kith_conn_closed(conn, LIMIT));
    MUST(kith_conn_close_info(conn, &info));
    CHECK(info.by_peer && info.is_application && info.code == 42);
    CHECK(info.reason.size == 11 && memcmp(info.reason.ptr, "server done", 11) == 0);
    kith_stream_free(stream);
    kith_conn_free(conn);
}

static void fails_within(struct dialler *dialler, const char *alpn, uint64_t limit_ns, int expected)
{
    struct kith_conn *conn;
    int err = kith_connect(dialler->endpoint, &dialler->addr, alpn, limit_ns, &conn);

    if (err != expected) {
        fprintf(stderr, "ended with %s: %s\n", kith_err_name(err), err != 0 ? kith_error_last()->text : "connected");
        exit(1);
    }
    printf("ERROR %s\n", kith_error_last()->text);
}

static void fails_with(struct dialler *dialler, const char *alpn, int expected)
{
    fails_within(dialler, alpn, LIMIT, expected);
}

static void alpn_mismatch(struct dialler *dialler)
{
    fails_with(dialler, "kith-test/none", KITH_ERR_ALPN);
    CHECK(kith_error_last()->cause == 0x178);
}

static void wrong_key(struct dialler *dialler)
{
    struct kith_secret secret;

    kith_secret_generate(&secret);
    dialler->addr.id = kith_secret_id(&secret);
    fails_with(dialler, ECHO, KITH_ERR_WRONG_PEER);
}

static void refused(struct dialler *dialler)
{
    fails_with(dialler, ECHO, KITH_ERR_REFUSED);
}

/* Nobody says anything: only our own limit ends it. */
static void ignored(struct dialler *dialler)
{
    fails_within(dialler, ECHO, argument(dialler, 0, 3) * KITH_NS_PER_S, KITH_ERR_TIMEOUT);
}

static void resume(struct dialler *dialler)
{
    for (int i = 0; i < 2; i++) {
        struct kith_conn *conn = dial(dialler, ECHO);
        struct kith_quic_conn_stats stats;

        echo_once(conn, 100);
        kith_conn_stats(conn, &stats);
        printf("RESUMED %s\n", stats.is_resumed ? "yes" : "no");
        CHECK(stats.is_resumed == (i > 0));
        close_and_free(conn);
    }
}

static void early(struct dialler *dialler)
{
    struct kith_slice alpn = { (const uint8_t *)ECHO, strlen(ECHO) };
    struct kith_connect_options options = { KITH_CONNECT_OPTIONS_INIT, .alpns = &alpn, .alpn_count = 1,
                                            .early_data = true };
    struct kith_conn *conn = dial(dialler, ECHO);
    struct kith_stream *stream;
    struct kith_op *op;
    uint8_t sent[500], back[501];
    size_t got;

    echo_once(conn, 100);
    close_and_free(conn);
    MUST(kith_connect_start(dialler->endpoint, &dialler->addr, &options, &op));
    MUST(kith_op_wait(op, LIMIT));
    conn = kith_op_take_conn(op);
    kith_op_free(op);
    fill_pattern(sent, 0, sizeof sent);
    MUST(kith_open_bi(conn, LIMIT, &stream));
    MUST(kith_write_all(stream, sent, sizeof sent, KITH_FIN, LIMIT));
    MUST(kith_conn_handshake(conn, LIMIT));
    printf("EARLY %s\n", kith_conn_early_accepted(conn) ? "accepted" : "rejected");
    MUST(kith_read_to_end(stream, back, sizeof back, LIMIT, &got));
    CHECK(got == sizeof sent && memcmp(sent, back, got) == 0);
    kith_stream_free(stream);
    close_and_free(conn);
}

static void key_update(struct dialler *dialler)
{
    struct kith_conn *conn = dial(dialler, ECHO);
    struct kith_quic_conn_stats stats;

    echo_once(conn, 12000000);
    MUST(kith_conn_update_keys(conn));
    echo_once(conn, 12000000);
    kith_conn_stats(conn, &stats);
    printf("UPDATES %" PRIu64 "\n", stats.key_updates);
    CHECK(stats.key_updates >= 2);
    close_and_free(conn);
}

static void idle(struct dialler *dialler)
{
    struct kith_conn *conn = dial(dialler, ECHO);
    struct kith_op *closed;

    echo_once(conn, 100);
    /* Silence: only the two sides' own keep-alive passes. */
    MUST(kith_conn_closed_start(conn, &closed));
    CHECK(kith_op_wait(closed, argument(dialler, 0, 60) * KITH_NS_PER_S) == KITH_ERR_TIMEOUT);
    kith_op_free(closed);
    echo_once(conn, 100);
    close_and_free(conn);
}

/* One small echo after another on one stream for so long; tells how many, and the longest that one took. */
static void steady(struct dialler *dialler)
{
    struct kith_conn *conn = dial(dialler, ECHO);
    double end = seconds() + (double)argument(dialler, 0, 3000) / 1e3, longest = 0;
    struct kith_stream *stream;
    uint64_t rounds = 0;

    MUST(kith_open_bi(conn, LIMIT, &stream));
    printf("STEADY begun\n");
    while (seconds() < end) {
        uint8_t sent[32], back[32];
        double at = seconds();

        if (rounds % 50 == 0)
            agent_relay_paths(conn);
        fill_pattern(sent, rounds++, sizeof sent);
        MUST(kith_write_all(stream, sent, sizeof sent, 0, 6 * LIMIT));
        MUST(kith_read_exact(stream, back, sizeof back, 6 * LIMIT));
        CHECK(memcmp(sent, back, sizeof back) == 0);
        longest = seconds() - at > longest ? seconds() - at : longest;
        nanosleep(&(struct timespec) { .tv_nsec = 10000000 }, NULL);
    }
    printf("STEADY %" PRIu64 " %.0f\n", rounds, longest * 1e3);
    MUST(kith_finish(stream));
    kith_stream_free(stream);
    close_and_free(conn);
}

/* One connection after another, each with an echo. */
static void connects(struct dialler *dialler)
{
    uint64_t count = argument(dialler, 0, 100);

    for (uint64_t i = 0; i < count; i++) {
        struct kith_conn *conn = dial(dialler, ECHO);

        echo_once(conn, 1 + (size_t)(i * 97 % 5000));
        close_and_free(conn);
    }
    printf("CONNECTS %" PRIu64 "\n", count);
}

/* The largest datagram there is comes back; a larger one is refused here. */
static void datagram_max(struct dialler *dialler)
{
    struct kith_conn *conn = dial(dialler, ECHO);
    uint8_t sent[4096], back[4096];
    size_t size, got;

    /* Time for the path's MTU to be found. */
    echo_once(conn, 300000);
    size = kith_datagram_size_max(conn);
    printf("DATAGRAM %zu\n", size);
    CHECK(size > 0 && size + 1000 <= sizeof sent);
    fill_pattern(sent, 7, sizeof sent);
    CHECK(kith_datagram_send(conn, sent, size + 1000) == KITH_ERR_TOO_LARGE);
    for (int i = 0; i < 5; i++) {
        MUST(kith_datagram_send(conn, sent, size));
        if (kith_datagram_receive(conn, back, sizeof back, 2 * KITH_NS_PER_S, &got) != 0)
            continue;
        CHECK(got == size && memcmp(sent, back, size) == 0);
        close_and_free(conn);
        return;
    }
    CHECK(!"the largest datagram comes back");
}

int agent_dial(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(struct dialler *dialler);
    } cases[] = { { "echo-bi", echo_bi },
                  { "echo-uni", echo_uni },
                  { "up", up },
                  { "down", down },
                  { "streams", streams },
                  { "datagrams", datagrams },
                  { "close", close_with_code },
                  { "closed-by-peer", closed_by_peer },
                  { "alpn-mismatch", alpn_mismatch },
                  { "wrong-key", wrong_key },
                  { "refused", refused },
                  { "ignored", ignored },
                  { "resume", resume },
                  { "early", early },
                  { "key-update", key_update },
                  { "idle", idle },
                  { "steady", steady },
                  { "connects", connects },
                  { "datagram-max", datagram_max } };
    struct dialler dialler = { .argc = argc - 2, .argv = argv + 2 };

    MUST(kith_addr_parse(argv[0], &dialler.addr));
    dialler.endpoint = agent_bind(NULL, NULL, NULL, NULL);
    agent_relay_online(dialler.endpoint, false);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (strcmp(argv[1], cases[i].name) != 0)
            continue;
        cases[i].run(&dialler);
        kith_endpoint_close(dialler.endpoint, 2 * KITH_NS_PER_S);
        return 0;
    }
    fprintf(stderr, "no such case: %s\n", argv[1]);
    return 2;
}
