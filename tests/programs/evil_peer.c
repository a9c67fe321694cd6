/*
 * A peer that does not behave, for the tests of the program. It uses only the public headers: blobs of any bytes can be offered with
 * them, and a stream can carry any answer. Prints its ticket on stdout and goes on until its standard input ends.
 *
 *   evil_peer names HEX...          offers a collection with these names (bytes in hex), each of a file "evil"
 *   evil_peer meta HEX COUNT        offers a hash sequence of COUNT files whose metadata blob is these bytes
 *   evil_peer lie                   answers every request for blobs with bytes that are not the ones asked for
 *   evil_peer silent ALPN           takes the connection and says nothing
 *   evil_peer close ALPN CODE HEX   ends every connection with this code and reason
 *   evil_peer refuse                refuses every connection
 */
#include <kith/kith.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BYTES_MAX = 1 << 20, HASHES_MAX = 1024 };

static const char evil[] = "evil";
static struct kith_endpoint *endpoint;
static struct kith_blobs *blobs;

static void fail(const char *what)
{
    fprintf(stderr, "evil_peer: %s: %s\n", what, kith_error_last()->text);
    exit(1);
}

static size_t from_hex(const char *text, unsigned char *out)
{
    size_t size = strlen(text) / 2;

    for (size_t i = 0; i < size; i++) {
        unsigned byte = 0;

        if (i == BYTES_MAX || sscanf(text + 2 * i, "%2x", &byte) != 1)
            fail("hex digits are expected");
        out[i] = (unsigned char)byte;
    }
    return size;
}

static void bind_for(const char *alpn)
{
    const char *alpns[] = { alpn, NULL };
    struct kith_sockaddr local;

    if (kith_sockaddr_parse("127.0.0.1:0", &local) != 0 ||
        kith_endpoint_bind(
            &(struct kith_endpoint_options) { KITH_OPTIONS_INIT, .alpns = alpns, .binds = &local, .bind_count = 1 },
            &endpoint) != 0)
        fail("bind");
}

static void print_blob_ticket(struct kith_hash hash, uint8_t format)
{
    struct kith_blob_ticket ticket = { .hash = hash, .format = format };
    char text[KITH_TICKET_TEXT_SIZE];

    kith_endpoint_addr(endpoint, &ticket.addr);
    if (kith_blob_ticket_format(&ticket, text, sizeof text) != 0)
        fail("ticket");
    puts(text);
    fflush(stdout);
}

static void print_ticket(void)
{
    struct kith_addr addr;
    char text[KITH_TICKET_TEXT_SIZE];

    kith_endpoint_addr(endpoint, &addr);
    if (kith_ticket_format(&addr, text, sizeof text) != 0)
        fail("ticket");
    puts(text);
    fflush(stdout);
}

/* Offers a hash sequence: the metadata, then `count` times the same file. */
static void offer(const unsigned char *meta, size_t meta_size, size_t count)
{
    static struct kith_hash hashes[HASHES_MAX];
    struct kith_hash root;

    if (count + 1 > HASHES_MAX)
        fail("too many names");
    if (kith_blobs_new(endpoint, &(struct kith_blobs_options) { KITH_BLOBS_OPTIONS_INIT }, &blobs) != 0 ||
        kith_blobs_add_bytes(blobs, meta, meta_size, &hashes[0]) != 0)
        fail("blobs");
    for (size_t i = 1; i <= count; i++)
        if (kith_blobs_add_bytes(blobs, evil, sizeof evil - 1, &hashes[i]) != 0)
            fail("blobs");
    if (kith_blobs_add_bytes(blobs, hashes, (count + 1) * sizeof hashes[0], &root) != 0)
        fail("blobs");
    print_blob_ticket(root, KITH_BLOB_HASH_SEQ);
}

static size_t write_varint(unsigned char *out, size_t value)
{
    size_t size = 0;

    for (; value >= 0x80; value >>= 7)
        out[size++] = (unsigned char)(value | 0x80);
    out[size++] = (unsigned char)value;
    return size;
}

static void offer_names(int count, char **names)
{
    static unsigned char meta[BYTES_MAX], name[BYTES_MAX];
    size_t size = 13;

    memcpy(meta, "CollectionV0.", 13);
    size += write_varint(meta + size, (size_t)count);
    for (int i = 0; i < count; i++) {
        size_t name_size = from_hex(names[i], name);

        if (size + name_size + 8 > sizeof meta)
            fail("too many names");
        size += write_varint(meta + size, name_size);
        memcpy(meta + size, name, name_size);
        size += name_size;
    }
    offer(meta, size, (size_t)count);
}

/* A size and bytes of a leaf that cannot have the hash that was asked for. */
static void lie(struct kith_conn *conn)
{
    unsigned char request[4096], answer[8 + 1000] = { 0xe8, 0x03 };
    struct kith_stream *stream;
    size_t size;

    while (kith_accept_bi(conn, KITH_WAIT, &stream) == 0) {
        if (kith_read_to_end(stream, request, sizeof request, KITH_WAIT, &size) != 0 ||
            kith_write_all(stream, answer, sizeof answer, KITH_FIN, KITH_WAIT) != 0 ||
            kith_sent(stream, KITH_WAIT) != 0)
            fprintf(stderr, "evil_peer: the other side did not want it\n");
        kith_stream_free(stream);
    }
}

static void serve(int argc, char **argv)
{
    static unsigned char reason[BYTES_MAX];
    const char *mode = argv[1];
    struct kith_incoming *incoming;
    struct kith_conn *conn;

    if (strcmp(mode, "refuse") == 0) {
        while (kith_incoming_next(endpoint, KITH_WAIT, &incoming) == 0)
            kith_incoming_refuse(incoming);
        return;
    }
    while (kith_accept(endpoint, KITH_WAIT, &conn) == 0) {
        if (blobs != NULL) {
            if (kith_blobs_serve(blobs, conn) != 0)
                fail("serve");
            continue;
        }
        if (strcmp(mode, "lie") == 0)
            lie(conn);
        else if (strcmp(mode, "close") == 0 && argc == 5)
            kith_conn_close(conn, strtoull(argv[3], NULL, 0), reason, from_hex(argv[4], reason));
        (void)kith_conn_closed(conn, KITH_WAIT);
        kith_conn_free(conn);
    }
}

/* The test closes our standard input when it is done, or dies. */
static void *wait_for_end(void *unused)
{
    char byte;

    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    _exit(0);
    return unused;
}

int main(int argc, char **argv)
{
    static unsigned char meta[BYTES_MAX];
    const char *mode = argc > 1 ? argv[1] : "";
    pthread_t thread;

    if (strcmp(mode, "names") == 0) {
        bind_for(KITH_BLOBS_ALPN);
        offer_names(argc - 2, argv + 2);
    } else if (strcmp(mode, "meta") == 0 && argc == 4) {
        bind_for(KITH_BLOBS_ALPN);
        offer(meta, from_hex(argv[2], meta), strtoul(argv[3], NULL, 10));
    } else if (strcmp(mode, "lie") == 0 || strcmp(mode, "refuse") == 0) {
        bind_for(KITH_BLOBS_ALPN);
        print_blob_ticket(kith_hash_bytes("truth", 5), KITH_BLOB_RAW);
    } else if ((strcmp(mode, "silent") == 0 || strcmp(mode, "close") == 0) && argc > 2) {
        bind_for(argv[2]);
        if (strcmp(argv[2], KITH_BLOBS_ALPN) == 0)
            print_blob_ticket(kith_hash_bytes("truth", 5), KITH_BLOB_RAW);
        else
            print_ticket();
    } else {
        fputs("usage: see the first lines of evil_peer.c\n", stderr);
        return 2;
    }
    if (pthread_create(&thread, NULL, wait_for_end, NULL) != 0)
        fail("thread");
    serve(argc, argv);
    return 0;
}
