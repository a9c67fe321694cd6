/* Shared by the two halves of the agent. */
#ifndef KITH_TESTS_AGENT_H
#define KITH_TESTS_AGENT_H

#include <kith/kith.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT  (20 * KITH_NS_PER_S)
#define ECHO   "kith-test/echo"
#define SINK   "kith-test/sink"
#define SOURCE "kith-test/source"
#define CLOSE  "kith-test/close"

/* Ends the program with the reason that the library gave. */
#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        int must_err = (call);                                                                                         \
        if (must_err != 0) {                                                                                           \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, kith_error_last()->text);                    \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

#define CHECK(fact)                                                                                                    \
    do {                                                                                                               \
        if (!(fact)) {                                                                                                 \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #fact);                                         \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static inline void fill_pattern(uint8_t *out, uint64_t offset, size_t size)
{
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)((offset + i) % 251);
}

/** An endpoint on one port of 127.0.0.1. Each argument may be NULL. */
struct kith_endpoint *agent_bind(struct kith_context *context, const struct kith_secret *secret,
                                 const char *const *alpns, const struct kith_quic_transport *transport);
/** How long poll may wait before kith_context_process is due. */
int agent_poll_timeout(struct kith_context *context);
/** Runs the loop of a context until standard input ends. */
void agent_run_until_stdin_ends(struct kith_context *context);

/** Takes the options that come before the command; how many words they are. */
int agent_relay_options(int argc, char **argv);
/** Puts the relays of the options into an endpoint's. */
void agent_relay_apply(struct kith_endpoint_options *options);
/** With relays: waits for the home relay and prints what became of it; `watch`: from then on too, when something changes. */
void agent_relay_online(struct kith_endpoint *endpoint, bool watch);
/** Adds all relays of the options to what a ticket names, whichever is home. */
void agent_relay_addr(struct kith_addr *addr);
/** With relays: prints the paths of a connection. */
void agent_relay_paths(struct kith_conn *conn);

/** Takes an option about lookup services; false: it is none. */
bool agent_lookup_option(const char *name, const char *value);
/** Puts the lookup services of the options into an endpoint's. */
void agent_lookup_apply(struct kith_endpoint_options *options);
/** Prints what each of them says about an id; "-": about each id on standard input, a line with the milliseconds for each. */
int agent_lookup(const char *id);

/* The commands; README.md. Each gets the words after its name and returns the exit code. */
int agent_serve(int argc, char **argv);
int agent_dial(int argc, char **argv);
int agent_blobs_serve(int argc, char **argv);
int agent_blobs_get(int argc, char **argv);
int agent_blobs_lie(int argc, char **argv);
/** Parses a ticket and prints it written again. */
int agent_ticket(const char *given);

#endif
