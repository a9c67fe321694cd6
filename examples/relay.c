/* A relay inside a program: plain HTTP on loopback, until standard input ends. Usage: relay [PORT] */
#include <kith/kith.h>
#include <kith/relay.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    struct kith_sockaddr at = { .family = KITH_FAMILY_V4, .ip = { 127, 0, 0, 1 } };
    struct kith_relay *relay;
    char text[KITH_SOCKADDR_TEXT_SIZE];

    at.port = (uint16_t)(argc > 1 ? atoi(argv[1]) : 3340);
    if (kith_relay_start(&(struct kith_relay_options) { KITH_RELAY_OPTIONS_INIT, .http = &at, .http_count = 1 },
                         &relay) != 0) {
        fprintf(stderr, "%s\n", kith_error_last()->text);
        return 1;
    }
    kith_relay_addresses(relay, KITH_RELAY_ADDRESS_HTTP, &at, 1);
    printf("http://%s\n", kith_sockaddr_format(&at, text));
    fflush(stdout);
    while (getchar() != EOF)
        ;
    return kith_relay_stop(relay, KITH_NS_PER_S) == 0 ? 0 : 1;
}
