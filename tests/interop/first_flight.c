/*
 * What a dialling endpoint tells everybody on the path: waits on a UDP port for a client's Initial packets, opens them (their
 * keys follow from what is on the wire), puts the ClientHello together and prints what stands in it. Answers nothing.
 * Usage: first-flight, as a peer with the secret key of 32 zero bytes. Prints
 *   READY <endpoint ticket>      then, when the ClientHello is whole, and as the last lines
 *   EXTENSIONS <numbers>         in their order
 *   ALPN <name>                  for each
 *   SNI <name>                   if there is one
 *   HELLO <size in bytes>
 */
#include "quic/guard/seal.h"
#include "quic/wire/frame.h"

#include <arpa/inet.h>
#include <kith/endpoint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { WAIT_S = 30, HELLO_SIZE_MAX = 16384, EXTENSION_SNI = 0, EXTENSION_ALPN = 16 };

struct flight {
    struct kith_keys keys;
    struct kith_open_space space;
    uint8_t hello[HELLO_SIZE_MAX];
    bool has[HELLO_SIZE_MAX]; /* which of its bytes came */
};

static int open_socket(struct kith_sockaddr *local)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    struct timeval limit = { WAIT_S, 0 };
    socklen_t size = sizeof addr;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
        bind(fd, (struct sockaddr *)&addr, size) != 0 || getsockname(fd, (struct sockaddr *)&addr, &size) != 0)
        return -1;
    *local = (struct kith_sockaddr) { .ip = { 127, 0, 0, 1 }, .port = ntohs(addr.sin_port), .family = KITH_FAMILY_V4 };
    return fd;
}

static bool print_ticket(const struct kith_sockaddr *local)
{
    struct kith_secret secret = { { 0 } };
    struct kith_id id = kith_secret_id(&secret);
    char text[KITH_TICKET_TEXT_SIZE];
    struct kith_addr addr;

    kith_addr_init(&addr, &id);
    if (kith_addr_add_ip(&addr, local) != 0 || kith_ticket_format(&addr, text, sizeof text) != 0)
        return false;
    printf("READY %s\n", text);
    return fflush(stdout) == 0;
}

static void take_frames(struct flight *flight, const uint8_t *payload, size_t size)
{
    struct kith_reader r = kith__reader(payload, size);

    while (kith__reader_left(&r) != 0) {
        struct kith_frame_error error;
        struct kith_frame frame;

        if (kith__frame_decode(&r, KITH_PACKET_INITIAL, &frame, &error) != 0)
            return;
        if (frame.info->kind != KITH_KIND_CRYPTO || frame.crypto.offset > HELLO_SIZE_MAX - frame.crypto.data.size)
            continue;
        memcpy(flight->hello + frame.crypto.offset, frame.crypto.data.ptr, frame.crypto.data.size);
        memset(flight->has + frame.crypto.offset, true, frame.crypto.data.size);
    }
}

static void take_datagram(struct flight *flight, uint8_t *bytes, size_t size)
{
    struct kith_packet packet;
    struct kith_opened opened;

    for (; size > 0; bytes += packet.size, size -= packet.size) {
        if (kith__packet_parse(bytes, size, 0, &packet) != 0 || packet.type != KITH_PACKET_INITIAL)
            return;
        if (flight->keys.mem == NULL &&
            kith__keys_install_initial(&flight->keys, kith_mem_default(), packet.dcid, false) != 0)
            return;
        if (kith__packet_open(&flight->keys, &flight->space, bytes, packet.pn_offset, packet.size, &opened) == 0)
            take_frames(flight, opened.payload, opened.size);
    }
}

/* The ClientHello without its head, once it is whole. */
static bool hello_body(const struct flight *flight, struct kith_reader *out)
{
    size_t size = (size_t)flight->hello[1] << 16 | (size_t)flight->hello[2] << 8 | flight->hello[3];

    if (size > HELLO_SIZE_MAX - 4)
        return false;
    for (size_t i = 0; i < size + 4; i++)
        if (!flight->has[i])
            return false;
    *out = kith__reader(flight->hello + 4, size);
    return true;
}

static void print_slice(const char *word, struct kith_slice text)
{
    printf("%s %.*s\n", word, (int)text.size, (const char *)text.ptr);
}

static void print_names(uint16_t type, struct kith_reader body)
{
    struct kith_slice name;
    uint16_t size;
    uint8_t size8;

    if (type == EXTENSION_SNI && kith__read_skip(&body, 3) == 0 && kith__read_u16(&body, &size) == 0 &&
        kith__read_slice(&body, size, &name) == 0)
        print_slice("SNI", name);
    if (type == EXTENSION_ALPN && kith__read_skip(&body, 2) == 0)
        while (kith__read_u8(&body, &size8) == 0 && kith__read_slice(&body, size8, &name) == 0)
            print_slice("ALPN", name);
}

/* RFC 8446, 4.1.2: version, random, then three vectors behind lengths of 1, 2 and 1 bytes, then the extensions. */
static bool print_hello(struct kith_reader r)
{
    size_t hello_size = kith__reader_left(&r);
    struct kith_reader extensions, again, body;
    uint8_t size8;
    uint16_t size, type;

    if (kith__read_skip(&r, 2 + 32) != 0 || kith__read_u8(&r, &size8) != 0 || kith__read_skip(&r, size8) != 0 ||
        kith__read_u16(&r, &size) != 0 || kith__read_skip(&r, size) != 0 || kith__read_u8(&r, &size8) != 0 ||
        kith__read_skip(&r, size8) != 0 || kith__read_u16(&r, &size) != 0 ||
        kith__read_reader(&r, size, &extensions) != 0)
        return false;
    again = extensions;
    printf("EXTENSIONS");
    while (kith__read_u16(&extensions, &type) == 0 && kith__read_u16(&extensions, &size) == 0 &&
           kith__read_skip(&extensions, size) == 0)
        printf(" %u", type);
    printf("\n");
    while (kith__read_u16(&again, &type) == 0 && kith__read_u16(&again, &size) == 0 &&
           kith__read_reader(&again, size, &body) == 0)
        print_names(type, body);
    printf("HELLO %zu\n", hello_size);
    return true;
}

int main(void)
{
    static struct flight flight;
    static uint8_t bytes[65536];
    struct kith_sockaddr local;
    struct kith_reader hello;
    int fd = open_socket(&local), status = 1;

    if (fd < 0 || !print_ticket(&local))
        return 1;
    kith__open_space_init(&flight.space, 0);
    for (;;) {
        ssize_t size = recv(fd, bytes, sizeof bytes, 0);

        if (size < 0) {
            perror("first-flight: no ClientHello");
            break;
        }
        take_datagram(&flight, bytes, (size_t)size);
        if (hello_body(&flight, &hello)) {
            status = print_hello(hello) ? 0 : 1;
            break;
        }
    }
    kith__keys_dispose(&flight.keys);
    close(fd);
    return status;
}
