/*
 * https streams over real TCP, for tests/interop/test_tls.py:
 *
 *     tls-echo make DIR NAME...           writes ca.pem, cert.pem and key.pem
 *     tls-echo serve DIR [NAME]           echoes on a port of 127.0.0.1 until its standard input ends; NAME: a challenge waits
 *     tls-echo dial PORT NAME CA|any SIZE sends SIZE bytes, which must come back, and ends in order
 *
 * Prints one line for each thing that happens: PORT n, OPEN version cipher exported, END, FAILED reason.
 */
#include "base/mem.h"
#include "rt/rt.h"
#include "rt/uv/uv.h"
#include "tls/acme_crypto.h"
#include "tls/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 65536, PIECE = 50000 };

static struct kith_rt *rt;
static struct kith_tls_stream_context *context;
static struct kith_rt_stream *input; /* standard input of a server: its end ends the program */
static bool is_over;
static int exit_code;

struct conn {
    struct kith_rt_stream *stream;
    struct kith_tls_stream *tls;
    struct kith_buf echo;      /* server: what goes back; what was taken is cut off */
    size_t to_send, sent, got; /* client */
    bool is_server, is_told, is_writing, is_ending;
};

static void fail(const char *what, int err)
{
    fprintf(stderr, "tls-echo: %s: %s\n", what, kith_strerror(err));
    exit(2);
}

static uint8_t pattern(size_t at)
{
    return (uint8_t)(at * 101 + at / 256);
}

/* ---- A connection ---- */

static void conn_free(struct conn *conn)
{
    if (!conn->is_server)
        is_over = true;
    kith__rt_stream_close(conn->stream);
    kith__tls_stream_free(conn->tls);
    kith__buf_dispose(&conn->echo);
    free(conn);
}

static void tell_open(struct conn *conn)
{
    static const char label[] = "EXPORTER-kith-test";
    uint8_t out[16];
    struct kith_slice context_of_export = { NULL, 0 };

    if (conn->is_told || !kith__tls_stream_is_open(conn->tls))
        return;
    conn->is_told = true;
    printf("OPEN %s %s ", kith__tls_stream_version(conn->tls), kith__tls_stream_cipher(conn->tls));
    if (kith__tls_stream_export(conn->tls, (struct kith_slice) { (const uint8_t *)label, sizeof label - 1 },
                                context_of_export, out, sizeof out) == 0)
        for (size_t i = 0; i < sizeof out; i++)
            printf("%02X", out[i]);
    printf("%s\n", kith__tls_stream_is_challenge(conn->tls) ? " challenge" : "");
    if (!conn->is_server && conn->to_send == 0 && kith__tls_stream_close(conn->tls) != 0)
        fail("close", KITH_ERR_NOMEM);
}

static void write_echo(struct conn *conn)
{
    size_t taken;

    while (conn->echo.size > 0 && kith__tls_stream_write(conn->tls, conn->echo.ptr, conn->echo.size, &taken) == 0)
        kith__buf_consume(&conn->echo, taken);
}

static void write_pattern(struct conn *conn)
{
    uint8_t piece[PIECE];
    size_t size, taken;

    while (conn->sent < conn->to_send && kith__tls_stream_is_writable(conn->tls)) {
        size = conn->to_send - conn->sent < PIECE ? conn->to_send - conn->sent : PIECE;
        for (size_t i = 0; i < size; i++)
            piece[i] = pattern(conn->sent + i);
        if (kith__tls_stream_write(conn->tls, piece, size, &taken) != 0)
            return;
        conn->sent += taken;
    }
}

/** Puts what waits on its way. False: the connection is over and gone. */
static bool pump(struct conn *conn)
{
    struct kith_slice output;

    if (conn->is_server)
        write_echo(conn);
    else
        write_pattern(conn);
    if (conn->is_writing)
        return true;
    output = kith__tls_stream_output(conn->tls);
    if (output.size > 0) {
        int err = kith__rt_stream_write(conn->stream, output.ptr, output.size);

        conn->is_writing = err == 0;
        if (err == 0)
            return true;
    }
    if (!conn->is_ending)
        return true;
    conn_free(conn);
    return false;
}

static void on_written(void *ctx, int err)
{
    struct conn *conn = ctx;

    conn->is_writing = false;
    kith__tls_stream_sent(conn->tls, kith__tls_stream_output(conn->tls).size);
    if (err != 0)
        conn->is_ending = true;
    pump(conn);
}

static void take(struct conn *conn, const uint8_t *bytes, size_t size)
{
    if (conn->is_server && kith__buf_append(&conn->echo, bytes, size) != 0)
        fail("echo", KITH_ERR_NOMEM);
    for (size_t i = 0; !conn->is_server && i < size; i++) {
        if (bytes[i] != pattern(conn->got + i)) {
            printf("WRONG byte %zu\n", conn->got + i);
            exit_code = 1;
            return;
        }
    }
    conn->got += size;
    if (!conn->is_server && conn->got == conn->to_send && kith__tls_stream_close(conn->tls) != 0)
        fail("close", KITH_ERR_NOMEM);
}

static void finish(struct conn *conn, int err)
{
    struct kith_tls_stream_failure failure = kith__tls_stream_failure(conn->tls);

    if (err == KITH_ERR_END) {
        printf("END %zu\n", conn->got);
        if (conn->is_server)
            write_echo(conn);
        if (kith__tls_stream_close(conn->tls) != 0)
            fail("close", KITH_ERR_NOMEM);
    } else {
        printf("FAILED %s%s%s\n", failure.text, failure.alert_name != NULL ? " " : "",
               failure.alert_name != NULL ? failure.alert_name : "");
        exit_code = conn->is_server ? exit_code : 1;
    }
    conn->is_ending = true;
}

static void drain(struct conn *conn)
{
    uint8_t *bytes;
    size_t size;
    int err;

    while ((err = kith__tls_stream_read(conn->tls, &bytes, &size)) == 0)
        take(conn, bytes, size);
    tell_open(conn);
    if (err != KITH_ERR_AGAIN && !conn->is_ending)
        finish(conn, err);
    pump(conn);
}

static void on_data(void *ctx, uint8_t *bytes, size_t size)
{
    struct conn *conn = ctx;

    (void)(kith__tls_stream_receive(conn->tls, bytes, size) == 0); /* read says the same */
    drain(conn);
}

static void on_end(void *ctx, int err)
{
    struct conn *conn = ctx;

    (void)err;
    kith__tls_stream_on_end(conn->tls);
    drain(conn);
}

static void on_open(void *ctx, int err)
{
    struct conn *conn = ctx;

    if (err != 0)
        fail("connect", err);
    pump(conn);
}

static struct conn *conn_new(const char *name)
{
    struct conn *conn = calloc(1, sizeof *conn);
    int err;

    if (conn == NULL)
        fail("memory", KITH_ERR_NOMEM);
    conn->is_server = name == NULL;
    kith__buf_init(&conn->echo, kith_mem_default());
    if ((err = kith__tls_stream_new(context, name, &conn->tls)) != 0)
        fail("stream", err);
    return conn;
}

static struct kith_rt_stream_events events_of(struct conn *conn)
{
    return (struct kith_rt_stream_events) { on_open, on_data, on_end, on_written, NULL, conn };
}

static void on_accept(void *ctx, struct kith_rt_stream *stream)
{
    struct conn *conn = conn_new(NULL);
    struct kith_rt_stream_events events = events_of(conn);

    (void)ctx;
    conn->stream = stream;
    kith__rt_stream_set_events(stream, &events);
    kith__rt_stream_read_start(stream);
}

/* ---- Commands ---- */

static struct kith_slice read_file(const char *dir, const char *name)
{
    char path[1000];
    uint8_t *bytes = malloc(FILE_MAX);
    FILE *file;
    size_t size;

    snprintf(path, sizeof path, "%s%s%s", dir, dir[0] != '\0' ? "/" : "", name);
    file = bytes != NULL ? fopen(path, "rb") : NULL;
    if (file == NULL)
        fail(path, KITH_ERR_NOT_FOUND);
    size = fread(bytes, 1, FILE_MAX, file);
    fclose(file);
    return (struct kith_slice) { bytes, size };
}

static void write_file(const char *dir, const char *name, const struct kith_buf *text)
{
    char path[1000];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    if ((file = fopen(path, "wb")) == NULL || fwrite(text->ptr, 1, text->size, file) != text->size || fclose(file) != 0)
        fail(path, KITH_ERR_IO);
}

static uint64_t now_s(void)
{
    return kith__rt_wall_us(rt) / 1000000;
}

static void make(const char *dir, const char *const *names, size_t count)
{
    struct kith_selfmade authority, server;
    int err;

    if ((err = kith__selfmade_authority(kith_mem_default(), "kith interop", now_s(), &authority)) != 0 ||
        (err = kith__selfmade_server(kith_mem_default(), kith__buf_slice(&authority.certificate),
                                     kith__buf_slice(&authority.key), names, count, now_s(), &server)) != 0)
        fail("make", err);
    write_file(dir, "ca.pem", &authority.certificate);
    write_file(dir, "cert.pem", &server.certificate);
    write_file(dir, "key.pem", &server.key);
    kith__selfmade_dispose(&authority);
    kith__selfmade_dispose(&server);
}

static void on_input_end(void *ctx, int err)
{
    (void)ctx, (void)err;
    is_over = true;
}

static void run(void)
{
    while (!is_over) {
        kith__rt_process(rt);
        fflush(stdout);
        if (!is_over)
            kith__rt_wait(rt, kith__rt_deadline(rt));
    }
}

static void serve(const char *dir, const char *challenge_name)
{
    struct kith_rt_stream_events events = { .on_end = on_input_end };
    struct kith_tls_certificate certificate = { read_file(dir, "cert.pem"), read_file(dir, "key.pem") }, challenge;
    struct kith_tls_stream_context_options options = { .mem = kith_mem_default(),
                                                       .certificates = &certificate,
                                                       .certificate_count = 1 };
    struct kith_slice authorisation = { (const uint8_t *)"token.thumbprint", 16 };
    struct kith_rt_stream_addr at = { .unix_path = NULL };
    struct kith_rt_listener *listener;
    struct kith_selfmade made;
    int err;

    if (challenge_name != NULL) {
        if ((err = kith__acme_challenge_certificate(kith_mem_default(), challenge_name, authorisation, now_s(),
                                                    &made)) != 0)
            fail("challenge", err);
        challenge = (struct kith_tls_certificate) { kith__buf_slice(&made.certificate), kith__buf_slice(&made.key) };
        options.challenges = &challenge;
        options.challenge_count = 1;
    }
    if ((err = kith__tls_stream_context_new(&options, &context)) != 0)
        fail("context", err);
    if (kith_sockaddr_parse("127.0.0.1:0", &at.ip) != 0 ||
        (err = kith__rt_listen(rt, &at, on_accept, NULL, &listener)) != 0 ||
        (err = kith__rt_stream_open_stdio(rt, 0, &events, &input)) != 0)
        fail("listen", err);
    kith__rt_stream_read_start(input);
    printf("PORT %u\n", kith__rt_listener_local(listener).port);
    run();
    exit(exit_code); /* with what is still open */
}

static void dial(const char *port, const char *name, const char *ca, const char *size)
{
    struct kith_tls_stream_context_options options = { .mem = kith_mem_default(), .is_client = true };
    struct kith_rt_stream_addr to = { .unix_path = NULL };
    struct kith_rt_stream_events events;
    struct conn *conn;
    int err;

    options.trust = strcmp(ca, "any") == 0 ? KITH_TLS_TRUST_ANY : KITH_TLS_TRUST_ONLY;
    if (options.trust == KITH_TLS_TRUST_ONLY)
        options.anchors = read_file("", ca);
    if ((err = kith__tls_stream_context_new(&options, &context)) != 0)
        fail("context", err);
    if (kith_sockaddr_parse("127.0.0.1:0", &to.ip) != 0)
        fail("address", KITH_ERR_PARSE);
    to.ip.port = (uint16_t)atoi(port);
    conn = conn_new(name);
    conn->to_send = (size_t)atoll(size);
    events = events_of(conn);
    if ((err = kith__rt_stream_connect(rt, &to, &events, &conn->stream)) != 0)
        fail("connect", err);
    kith__rt_stream_read_start(conn->stream);
    run();
    kith__tls_stream_context_release(context);
    kith__rt_free(rt);
    exit(exit_code);
}

int main(int argc, char **argv)
{
    int err = kith__rt_uv_new(NULL, NULL, &rt);

    if (err != 0)
        fail("rt", err);
    if (argc >= 4 && strcmp(argv[1], "make") == 0) {
        make(argv[2], (const char *const *)argv + 3, (size_t)argc - 3);
        return 0;
    }
    if (argc >= 3 && strcmp(argv[1], "serve") == 0)
        serve(argv[2], argc > 3 ? argv[3] : NULL);
    if (argc == 6 && strcmp(argv[1], "dial") == 0)
        dial(argv[2], argv[3], argv[4], argv[5]);
    fprintf(stderr, "usage: see tests/interop/tls_echo.c\n");
    return 2;
}
