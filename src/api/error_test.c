/* Errors: every failing call says more than its code, and what the system said goes along. */
#include "api/pair.h"
#include <errno.h>
#include <kith/blobs.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* The last call failed with this code: its text tells more than the code alone, is one line, and says what did not work. */
static void check_words(int err, int expected, const char *file, int line)
{
    const struct kith_error *error = kith_error_last();
    const char *bare = kith_strerror(expected);

    pair_check(err, expected, file, line);
    if (error->code != expected || strcmp(error->text, bare) == 0 || strlen(error->text) < strlen("it is closed") ||
        strncmp(error->text, ": ", 2) == 0 || strchr(error->text, '\n') != NULL) {
        print_error("%s:%d: %s says only \"%s\"\n", file, line, kith_err_name(error->code), error->text);
        fail();
    }
}
#define WORDS(result, expected) check_words((result), (expected), __FILE__, __LINE__)

PAIR_TEST(error_words_of_streams)
{
    struct kith_stream *local, *remote, *uni, *uni_remote;
    struct kith_op *op, *waiting;
    char byte;
    size_t got;
    uint64_t offset;
    struct pair pair;

    pair_open(&pair, mode);
    pair_stream(&pair, true, &local, &remote);
    WORDS(kith_reset(local, UINT64_C(1) << 62), KITH_ERR_INVALID);
    KITH_CHECK(strstr(kith_error_last()->text, "2^62") != NULL);
    WORDS(kith_stop(local, UINT64_MAX), KITH_ERR_INVALID);
    WORDS(kith_read(local, &byte, 0, 0, &got), KITH_ERR_INVALID);
    WORDS(kith_read(local, &byte, 1, 0, &got), KITH_ERR_AGAIN);
    WORDS(kith_read(local, &byte, 1, 1, &got), KITH_ERR_TIMEOUT);
    WORDS(kith_read_chunk(local, &byte, 0, 0, &offset, &got), KITH_ERR_INVALID);
    WORDS(kith_write_all(local, "x", 1, 6, PAIR_LIMIT), KITH_ERR_INVALID);
    WORDS(kith_write_start(local, "x", 1, 6, &op), KITH_ERR_INVALID);
    WORDS(kith_sent(local, 0), KITH_ERR_STATE);
    PAIR_CHECK(kith_read_start(local, &byte, 1, &waiting), 0);
    kith_op_cancel(waiting);
    WORDS(kith_op_wait(waiting, 0), KITH_ERR_CANCELLED);
    KITH_CHECK(strstr(kith_op_error(waiting)->text, "nothing was read") != NULL);
    WORDS(kith_blobs_progress(waiting, NULL), KITH_ERR_STATE);
    WORDS(kith_blobs_added(waiting, NULL), KITH_ERR_STATE);
    kith_op_free(waiting);
    PAIR_CHECK(kith_finish(local), 0);
    WORDS(kith_finish(local), KITH_ERR_STATE);
    WORDS(kith_write_all(local, "x", 1, 0, PAIR_LIMIT), KITH_ERR_STATE);
    WORDS(kith_read(remote, &byte, 1, PAIR_LIMIT, &got), KITH_ERR_END);
    WORDS(kith_read(remote, &byte, 1, PAIR_LIMIT, &got), KITH_ERR_END);
    WORDS(kith_read_exact(remote, &byte, 1, PAIR_LIMIT), KITH_ERR_TRUNCATED);
    WORDS(kith_stop(remote, 0), KITH_ERR_STATE);
    PAIR_CHECK(kith_reset(remote, 5), 0);
    WORDS(kith_sent(remote, 0), KITH_ERR_STATE);
    WORDS(kith_read(local, &byte, 1, PAIR_LIMIT, &got), KITH_ERR_RESET);
    KITH_CHECK_EQ(kith_error_last()->cause, 5);
    pair_stream(&pair, false, &uni, &uni_remote);
    WORDS(kith_read(uni, &byte, 1, PAIR_LIMIT, &got), KITH_ERR_STATE);
    WORDS(kith_reset(uni_remote, 0), KITH_ERR_STATE);
    WORDS(kith_set_priority(uni_remote, 1), KITH_ERR_STATE);
    kith_stream_free(uni);
    kith_stream_free(uni_remote);
    kith_stream_free(local);
    kith_stream_free(remote);
    pair_free(&pair);
}

PAIR_TEST(error_words_of_connections)
{
    struct kith_quic_close_info info;
    struct kith_stream *stream;
    struct kith_conn *conn;
    struct kith_incoming *incoming;
    struct kith_op *op;
    struct kith_addr nobody;
    struct pair pair;
    char bytes[70000] = { 0 };
    size_t size;

    pair_open(&pair, mode);
    WORDS(kith_connect(pair.client, &pair.addr, "", PAIR_LIMIT, &conn), KITH_ERR_INVALID);
    kith_addr_init(&nobody, &(struct kith_id) { { 1 } });
    WORDS(kith_connect(pair.client, &nobody, PAIR_ALPN, PAIR_LIMIT, &conn), KITH_ERR_NO_ADDRESS);
    kith_endpoint_addr(pair.client, &nobody);
    WORDS(kith_connect(pair.client, &nobody, PAIR_ALPN, PAIR_LIMIT, &conn), KITH_ERR_WRONG_PEER);
    WORDS(kith_accept(pair.server, 0, &conn), KITH_ERR_AGAIN);
    WORDS(kith_incoming_next(pair.server, 1, &incoming), KITH_ERR_TIMEOUT);
    WORDS(kith_accept_bi(pair.at_client, 0, &stream), KITH_ERR_AGAIN);
    WORDS(kith_conn_close_info(pair.at_client, &info), KITH_ERR_STATE);
    WORDS(kith_conn_closed(pair.at_client, 0), KITH_ERR_AGAIN);
    WORDS(kith_datagram_send(pair.at_client, bytes, sizeof bytes), KITH_ERR_TOO_LARGE);
    WORDS(kith_datagram_receive(pair.at_client, bytes, sizeof bytes, 0, &size), KITH_ERR_AGAIN);
    WORDS(kith_conn_export(pair.at_client, (struct kith_slice) { NULL, 0 }, (struct kith_slice) { NULL, 0 },
                           (uint8_t *)bytes, 0),
          KITH_ERR_INVALID);
    kith_conn_close(pair.at_server, 7, "enough", 6);
    PAIR_CHECK(kith_conn_closed(pair.at_client, PAIR_LIMIT), 0);
    WORDS(kith_open_bi(pair.at_client, PAIR_LIMIT, &stream), KITH_ERR_CLOSED_BY_PEER);
    KITH_CHECK_EQ(kith_error_last()->cause, 7);
    WORDS(kith_open_start(pair.at_server, true, &op), KITH_ERR_CLOSED);
    WORDS(kith_datagram_send(pair.at_client, bytes, 1), KITH_ERR_CLOSED_BY_PEER);
    WORDS(kith_conn_handshake(pair.at_client, 0), KITH_ERR_CLOSED_BY_PEER);
    WORDS(kith_conn_update_keys(pair.at_client), KITH_ERR_STATE);
    pair_free(&pair);
}

/* What TLS said is the wire code 0x100 plus the alert: here 120, no_application_protocol (RFC 9001, 4.8). */
KITH_TEST(error_cause_is_the_alert_of_tls)
{
    struct kith_conn *conn;
    struct kith_op *accept;
    struct pair pair;

    pair_bind(&pair, KITH_CONTEXT_THREAD, NULL);
    PAIR_CHECK(kith_accept_start(pair.server, &accept), 0);
    WORDS(kith_connect(pair.client, &pair.addr, "other/1", PAIR_LIMIT, &conn), KITH_ERR_ALPN);
    KITH_CHECK_EQ(kith_error_last()->cause, 0x178);
    kith_op_free(accept);
    pair_free(&pair);
}

/* Lowers a limit of this process; gives back the old one. */
static struct rlimit lower(int which, rlim_t to)
{
    struct rlimit old, now;

    KITH_CHECK_EQ(getrlimit((__rlimit_resource_t)which, &old), 0);
    now = (struct rlimit) { to, old.rlim_max };
    KITH_CHECK_EQ(setrlimit((__rlimit_resource_t)which, &now), 0);
    return old;
}

KITH_TEST(error_cause_is_errno_and_the_text_says_which_limit)
{
    struct kith_context_options context_options = { KITH_CONTEXT_OPTIONS_INIT, .mode = KITH_CONTEXT_CALLER };
    struct kith_endpoint_options options = { KITH_OPTIONS_INIT, .bind_count = 1 };
    struct kith_sockaddr local;
    struct kith_endpoint *endpoint;
    struct kith_context *context, *other;
    struct rlimit old;
    int next;

    PAIR_CHECK(kith_context_new(&context_options, &context), 0);
    PAIR_CHECK(kith_sockaddr_parse("127.0.0.1:0", &local), 0);
    options.context = context;
    options.binds = &local;
    KITH_CHECK((next = dup(0)) >= 0); /* the lowest free descriptor: none may be opened from there on */
    old = lower(RLIMIT_NOFILE, (rlim_t)next);
    close(next);
    WORDS(kith_endpoint_bind(&options, &endpoint), KITH_ERR_LIMIT);
    KITH_CHECK_EQ(kith_error_last()->cause, EMFILE);
    KITH_CHECK(strstr(kith_error_last()->text, "ulimit -n") != NULL);
    KITH_CHECK(strstr(kith_error_last()->text, "127.0.0.1") != NULL);
    WORDS(kith_context_new(&context_options, &other), KITH_ERR_LIMIT);
    KITH_CHECK_EQ(kith_error_last()->cause, EMFILE);
    KITH_CHECK_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
    PAIR_CHECK(kith_endpoint_bind(&options, &endpoint), 0);
    KITH_CHECK_EQ(kith_endpoint_bound(endpoint, &local, 1), 1);
    WORDS(kith_endpoint_bind(&options, &endpoint), KITH_ERR_ADDRESS_IN_USE);
    KITH_CHECK_EQ(kith_error_last()->cause, EADDRINUSE);
    KITH_CHECK(strstr(kith_error_last()->text, "choose another port") != NULL);
    PAIR_CHECK(kith_sockaddr_parse("192.0.2.1:0", &local), 0);
    WORDS(kith_endpoint_bind(&options, &endpoint), KITH_ERR_UNREACHABLE);
    KITH_CHECK_EQ(kith_error_last()->cause, EADDRNOTAVAIL);
    kith_context_free(context);
}

KITH_TEST(error_cause_of_files_is_errno)
{
    struct kith_secret secret;
    char path[64] = "/tmp/kith-error-XXXXXX", file[96];

    kith_secret_generate(&secret);
    WORDS(kith_secret_load("/nonexistent/key", &secret), KITH_ERR_NOT_FOUND);
    KITH_CHECK_EQ(kith_error_last()->cause, ENOENT);
    KITH_CHECK(strstr(kith_error_last()->text, "/nonexistent/key") != NULL);
    WORDS(kith_secret_load("what is this", &secret), KITH_ERR_NOT_FOUND);
    WORDS(kith_secret_store("/proc/kith/key", &secret, false), KITH_ERR_NOT_FOUND);
    KITH_CHECK_EQ(kith_error_last()->cause, ENOENT);
    assert_non_null(mkdtemp(path));
    snprintf(file, sizeof file, "%s/key", path);
    PAIR_CHECK(kith_secret_store(file, &secret, false), 0);
    WORDS(kith_secret_store(file, &secret, false), KITH_ERR_EXISTS);
    KITH_CHECK_EQ(chmod(file, 0644), 0);
    WORDS(kith_secret_load(file, &secret), KITH_ERR_PERMISSION);
    KITH_CHECK_EQ(kith_error_last()->cause, 0); /* the system allows it: it is our own rule */
    KITH_CHECK_EQ(unlink(file), 0);
    KITH_CHECK_EQ(rmdir(path), 0);
}

KITH_TEST(error_words_of_blobs)
{
    struct kith_blobs_options options = { KITH_BLOBS_OPTIONS_INIT, .cache_directory = "/proc/kith/cache" };
    struct kith_blobs_get_options get = { KITH_BLOBS_GET_OPTIONS_INIT };
    struct kith_blobs *blobs;
    struct kith_hash hash;
    struct kith_op *op;
    struct pair pair;

    pair_open(&pair, KITH_CONTEXT_CALLER);
    WORDS(kith_blobs_new(pair.server, NULL, &blobs), KITH_ERR_INVALID);
    WORDS(kith_blobs_new(pair.server, &options, &blobs), KITH_ERR_NOT_FOUND);
    KITH_CHECK_EQ(kith_error_last()->cause, ENOENT);
    options.cache_directory = NULL;
    PAIR_CHECK(kith_blobs_new(pair.server, &options, &blobs), 0);
    WORDS(kith_blobs_add_bytes(blobs, NULL, 1, &hash), KITH_ERR_INVALID);
    WORDS(kith_blobs_add_start(blobs, NULL, 0, &op), KITH_ERR_INVALID);
    WORDS(kith_blobs_add_named_start(blobs, NULL, "x", 0, &op), KITH_ERR_INVALID);
    WORDS(kith_blobs_add_start(blobs, "", 0, &op), KITH_ERR_INVALID);
    WORDS(kith_blobs_add_start(blobs, "/nonexistent", 0, &op), KITH_ERR_NOT_FOUND);
    KITH_CHECK_EQ(kith_error_last()->cause, ENOENT);
    WORDS(kith_blobs_add_start(blobs, "/dev/null", 0, &op), KITH_ERR_INVALID);
    WORDS(kith_blobs_add_named_start(blobs, "/proc/self/exe", "a/b", 0, &op), KITH_ERR_INVALID);
    WORDS(kith_blobs_get_start(pair.at_client, NULL, &op), KITH_ERR_INVALID);
    WORDS(kith_blobs_get_start(pair.at_client, &get, &op), KITH_ERR_INVALID);
    get.target = "/nonexistent/x";
    WORDS(kith_blobs_get_start(pair.at_client, &get, &op), KITH_ERR_NOT_FOUND);
    KITH_CHECK_EQ(kith_error_last()->cause, ENOENT);
    get.target = "/tmp/x";
    get.format = KITH_BLOB_HASH_SEQ;
    get.chunk_end = 1;
    WORDS(kith_blobs_get_start(pair.at_client, &get, &op), KITH_ERR_INVALID);
    kith_blobs_free(blobs);
    pair_free(&pair);
}
