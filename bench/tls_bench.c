/*
 * How many handshakes a core does, both sides together, without packets: full, resumed, and resumed with 0-RTT.
 *
 *     tls_bench [SECONDS]     per row, 2 by default; one line a row: name, handshakes per second, microseconds each
 */
#include "tls/duo.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char *const alpns[] = { "bench/1" };

static struct duo duo;
static uint8_t session[KITH_TLS_BLOB_SIZE_MAX];
static size_t session_size;

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void fail(const char *what)
{
    fprintf(stderr, "tls_bench: %s\n", what);
    exit(1);
}

static void shake(struct kith_slice offered, bool early_data, enum kith_tls_early early)
{
    if (duo_client(&duo, alpns, 1, offered, early_data) != 0 || duo_server(&duo, alpns, 1, 1) != 0)
        fail("no handshake could be started");
    duo_run(&duo);
    if (duo.client.done_count != 1 || duo.server.done_count != 1 || duo.client.done.early != early ||
        duo.client.done.resumed != (offered.size != 0))
        fail("a handshake took another way than it should");
}

static void take_session(void)
{
    if (kith__tls_send_tickets(duo.server.tls, 1) != 0)
        fail("no ticket could be sent");
    duo_run(&duo);
    session_size = duo.client.session_size;
    memcpy(session, duo.client.session, session_size);
}

static void full(void)
{
    shake((struct kith_slice) { NULL, 0 }, false, KITH_TLS_EARLY_NONE);
}

static void resumed(void)
{
    shake((struct kith_slice) { session, session_size }, false, KITH_TLS_EARLY_NONE);
}

static void early(void)
{
    shake((struct kith_slice) { session, session_size }, true, KITH_TLS_EARLY_ACCEPTED);
    take_session();
}

static void row(const char *name, void (*run)(void), double limit)
{
    double begin = seconds(), used = 0;
    unsigned count = 0;

    for (; used < limit; count++, used = seconds() - begin)
        run();
    printf("%-24s %8.0f /s %8.1f us\n", name, count / used, used * 1e6 / count);
}

int main(int argc, char **argv)
{
    double limit = argc > 1 ? strtod(argv[1], NULL) : 2;

    if (duo_init(&duo, kith_mem_default()) != 0)
        fail("the TLS library refuses the profile");
    row("full", full, limit);
    full();
    take_session();
    row("resumed", resumed, limit);
    row("0-RTT and next ticket", early, limit);
    duo_dispose(&duo);
    return 0;
}
