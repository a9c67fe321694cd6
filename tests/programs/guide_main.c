/*
 * Runs what doc/api.md shows. test_guide.py puts the page's pieces of C into guide.inc; this file is the world around them: a
 * server on a thread of its own, a client that calls each function once. Prints TAP lines.
 * Usage: guide_main DIRECTORY
 */
#include "guide.inc"

#include <kith/relay.h>
#include <pthread.h>

static int count, failures;

static void check(bool fact, const char *name)
{
    count++;
    failures += !fact;
    printf("%sok %d - the guide: %s\n", fact ? "" : "not ", count, name);
    if (!fact)
        printf("# %s\n", kith_error_last()->text);
}

static void *serve_on_a_thread(void *server)
{
    return serve(server) == 0 ? server : NULL;
}

static void check_questions(struct kith_context *context, struct kith_endpoint *client, struct server *server)
{
    char ticket[KITH_TICKET_TEXT_SIZE], answer[256];
    struct kith_addr addrs[2];
    struct kith_secret nobody;
    struct kith_id id;
    struct kith_conn *conn;
    pthread_t thread;
    void *result;
    size_t size = 0;

    check(show_ticket(server->endpoint, ticket, sizeof ticket) == 0, "a ticket");
    if (pthread_create(&thread, NULL, serve_on_a_thread, server) != 0)
        return;
    check(dial(client, ticket, &conn) == 0, "a dial");
    check(ask(conn, "how far?", answer, sizeof answer, &size) == 0 && size == 8 && memcmp(answer, "how far?", 8) == 0,
          "a question is answered");
    check(ask(conn, "too long", answer, 3, &size) == KITH_ERR_TOO_LARGE, "an answer that does not fit");
    kith_conn_free(conn);

    /* Two runners, of whom only one exists. */
    kith_secret_generate(&nobody);
    id = kith_secret_id(&nobody);
    kith_addr_init(&addrs[0], &id);
    check(kith_addr_parse(ticket, &addrs[1]) == 0, "the ticket can be parsed");
    addrs[0].ip_count = 1;
    addrs[0].ips[0] = addrs[1].ips[0];
    addrs[0].ips[0].port = 9; /* discard */
    conn = dial_first(context, client, addrs, 2);
    check(conn != NULL && ask(conn, "you?", answer, sizeof answer, &size) == 0, "the first that answers wins");
    kith_conn_free(conn);
    check(dial_first(context, client, addrs, 0) == NULL, "a race of nobody");

    stop_from_another_thread(server);
    pthread_join(thread, &result);
    check(result == server && server->served >= 1,
          "the server stops when it is told to"); /* the last answer may not be acknowledged */
}

/* One thread uses both ends, so both must run without it: on threads of their contexts. */
static bool connect_both(struct kith_endpoint *client, struct kith_endpoint *server, struct kith_conn **at_client,
                         struct kith_conn **at_server)
{
    struct kith_slice alpn = { (const uint8_t *)GUIDE_ALPN, strlen(GUIDE_ALPN) };
    struct kith_connect_options how = { KITH_CONNECT_OPTIONS_INIT, .alpns = &alpn, .alpn_count = 1 };
    struct kith_addr addr;
    struct kith_op *op;
    bool is_fine;

    kith_endpoint_addr(server, &addr);
    if (kith_connect_start(client, &addr, &how, &op) != 0)
        return false;
    is_fine = accept_proved(server, at_server) == 0 && kith_op_wait(op, 10 * KITH_NS_PER_S) == 0;
    *at_client = kith_op_take_conn(op);
    kith_op_free(op);
    return is_fine;
}

static void check_parts(struct kith_endpoint *client, struct kith_endpoint *server)
{
    struct kith_conn *here = NULL, *there = NULL;
    struct kith_stream *stream = NULL, *other = NULL;
    double x = 0, y = 0;
    uint64_t code = 0;
    char buffer[16];
    size_t size;

    check(connect_both(client, server, &here, &there), "a client that has proved its address");
    check(send_position(here, 1.5, -2) == 0 && receive_position(there, &x, &y) == 0 && x > 1 && y < -1, "a datagram");
    check(receive_position(there, &x, &y) == KITH_ERR_TIMEOUT, "a datagram that does not come");

    check(kith_open_uni(here, KITH_WAIT, &stream) == 0 && kith_write_all(stream, "a", 1, 0, KITH_WAIT) == 0 &&
              kith_accept_uni(there, KITH_WAIT, &other) == 0,
          "a one-way stream");
    check(read_patiently(other, buffer, sizeof buffer, &size) == 0 && size == 1, "an operation that is waited for");
    check(read_patiently(other, buffer, sizeof buffer, &size) == KITH_ERR_CANCELLED, "an operation that is cancelled");
    check(kith_reset(stream, 77) == 0 && why_it_stopped(other) == 77, "the code of a reset");
    kith_stream_free(stream);
    kith_stream_free(other);

    show_path(here);
    kith_conn_close(here, 5, "enough", 6);
    check(wait_for_the_end(there, &code) == 0 && code == 5, "the code of a close");
    kith_conn_free(here);
    kith_conn_free(there);
}

/* Nobody serves signed packets at the relay's port: what is known is what the program says. */
static void check_lookup(struct kith_context *context, struct kith_endpoint *known, const char *url)
{
    struct kith_endpoint *endpoint = NULL;
    struct kith_addr addr;
    char pkarr[96];

    snprintf(pkarr, sizeof pkarr, "%s/pkarr", url);
    check(bind_to_be_found(context, url, pkarr, &endpoint) == 0, "an endpoint with lookup services");
    kith_endpoint_addr(known, &addr);
    check(kith_endpoint_add_addr(endpoint, &addr, NULL) == 0, "what a program knows by itself");
    check(show_what_is_known(endpoint, &addr.id) == 1, "a search");
    check(kith_endpoint_close(endpoint, 10 * KITH_NS_PER_S) == 0, "the end of an endpoint that could be found");
}

/* A relay on threads of its own, and an endpoint that is home there; the other URL leads nowhere. */
static void check_relays(struct kith_context *context)
{
    struct kith_sockaddr loopback = { .ip = { 127, 0, 0, 1 }, .family = KITH_FAMILY_V4 };
    struct kith_relay_options options = { KITH_RELAY_OPTIONS_INIT, .worker_count = 1, .http = &loopback,
                                          .http_count = 1 };
    struct kith_endpoint *endpoint = NULL;
    struct kith_relay *relay = NULL;
    struct kith_addr addr;
    char url[64];

    if (kith_relay_start(&options, &relay) != 0 ||
        kith_relay_addresses(relay, KITH_RELAY_ADDRESS_HTTP, &loopback, 1) != 1) {
        check(false, "a relay");
        return;
    }
    snprintf(url, sizeof url, "http://127.0.0.1:%u", loopback.port);
    check(bind_with_relays(context, url, "http://127.0.0.1:1", &endpoint) == 0, "an endpoint with relays");
    check(kith_endpoint_online(endpoint, 0) == 0, "it is online");
    kith_endpoint_addr(endpoint, &addr);
    check(addr.relay_count == 1, "its address names the relay that let it in");
    check_lookup(context, endpoint, url);
    check(kith_endpoint_close(endpoint, 10 * KITH_NS_PER_S) == 0, "its end");
    (void)kith_relay_stop(relay, 0);
}

int main(int argc, char **argv)
{
    struct kith_context_options in_my_loop = { KITH_CONTEXT_OPTIONS_INIT, .mode = KITH_CONTEXT_CALLER };
    struct kith_context_options on_a_thread = { KITH_CONTEXT_OPTIONS_INIT, .mode = KITH_CONTEXT_THREAD };
    struct server server = { 0 };
    struct kith_context *context = NULL;
    struct kith_endpoint *client = NULL;
    char path[1024];
    struct kith_id first;

    if (argc < 2 || kith_context_new(&in_my_loop, &context) != 0 ||
        kith_context_new(&on_a_thread, &server.context) != 0)
        return 1;
    snprintf(path, sizeof path, "%s/server.key", argv[1]);
    check(open_endpoint(server.context, path, &server.endpoint) == 0, "an endpoint with a new key");
    snprintf(path, sizeof path, "%s/client.key", argv[1]);
    check(open_endpoint(context, path, &client) == 0, "another in a loop of ours");
    first = kith_endpoint_id(client);
    check(kith_endpoint_close(client, KITH_NS_PER_S) == 0 && open_endpoint(context, path, &client) == 0,
          "a key that is found again");
    check(memcmp(&first, &(struct kith_id) { { 0 } }, sizeof first) != 0 &&
              kith_id_equal(&first, &(struct kith_id[]) { kith_endpoint_id(client) }[0]),
          "the same id as before");
    check_questions(context, client, &server);
    check(kith_endpoint_close(client, 10 * KITH_NS_PER_S) == 0, "the client's end");
    check(open_endpoint(NULL, path, &client) == 0, "an endpoint with a context of its own");
    check_parts(client, server.endpoint);
    check(kith_endpoint_close(client, 10 * KITH_NS_PER_S) == 0, "and its end");
    check(kith_endpoint_close(server.endpoint, 10 * KITH_NS_PER_S) == 0, "the server's end");
    check_relays(context);
    kith_context_free(context);
    kith_context_free(server.context);
    printf("1..%d\n", count);
    return failures != 0;
}
