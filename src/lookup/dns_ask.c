/*
 * c-ares behind the rt. A channel of c-ares for each question: it has one server, so that c-ares neither chooses nor repeats
 * (that is the client's part), and a time limit that never comes. Which server that is only the functions below know;
 * c-ares is told of one on loopback.
 *
 * c-ares sees at most one message in a call of ares_process_fd, and only those that pass the checks here: so what it hands to
 * on_answer is the message that it was shown last, byte for byte, whatever it made of it.
 *
 * Ids: c-ares' own are replaced on the way out and in by ones from the rt's random source, so that simulated runs repeat.
 */
#include "lookup/dns_ask.h"

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/sockaddr.h"

#include <ares.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define ARES_1_34                                                                                                      \
    (ARES_VERSION >= 0x012200) /* its own structures for messages, sockets of its own kind; old calls deprecated */

enum {
    SOCKETS_MAX = 4,        /* UDP and TCP, and both again, which does not happen */
    SOCKET_BASE = 0x6b0000, /* c-ares only compares these numbers; one that is never a real descriptor shows mistakes */
    ARES_TIMEOUT_MS = 3600 * 1000,
    UDP_BUFFER_SIZE = 64 << 10,
    TCP_HEAD_SIZE = 2
};

/**
 * What c-ares takes for a socket. One that c-ares closed stays, deaf, until the ask is over: the answer that made c-ares close it
 * lies in its buffers.
 */
struct socket {
    struct kith_dns_ask *ask;
    bool is_used, is_closed;
    bool is_tcp, is_open /* TCP: connected */, is_writing, is_id_written;
    struct sockaddr_storage claimed; /* what c-ares thinks it talks to */
    socklen_t claimed_size;
    struct kith_rt_udp *udp;
    struct kith_rt_stream *stream;
    struct kith_slice shown; /* what the next reads get: a datagram; or of `in` a message with its size in front */
    struct kith_buf in, out; /* TCP */
    size_t writing;          /* bytes of out in the write under way */
    int number; /* errno that reads give once nothing is shown; 0: the end of the stream. EAGAIN: none yet */
};

struct kith_dns_ask {
    struct kith_rt *rt;
    const struct kith_mem *mem;
    struct kith_sockaddr server;
    struct kith_dns_ask_stats *stats;
    kith_dns_ask_done *done;
    void *ctx;
    struct kith_rt_timer limit;
    ares_channel channel;
    struct socket sockets[SOCKETS_MAX];
    struct kith_dns_name name;
    uint16_t type, our_id, ares_id;
    bool is_inside;                   /* a call of c-ares is on the stack */
    bool is_answered;                 /* on_answer was called */
    int err;                          /* of it */
    const char *why;                  /* of it */
    struct kith_slice shown, message; /* the last message that c-ares was shown; the answer */
};

/* ---- The end ---- */

static void dispose_socket(struct socket *s)
{
    kith__rt_udp_close(s->udp);
    kith__rt_stream_close(s->stream);
    if (s->is_used) {
        kith__buf_dispose(&s->in);
        kith__buf_dispose(&s->out);
    }
}

void kith__dns_ask_cancel(struct kith_dns_ask *ask)
{
    if (ask == NULL)
        return;
    KITH_ASSERT(!ask->is_inside);
    ask->is_answered = true; /* c-ares tells us now that we destroy it */
    if (ask->channel != NULL)
        ares_destroy(ask->channel);
    for (size_t i = 0; i < SOCKETS_MAX; i++)
        dispose_socket(&ask->sockets[i]);
    kith__rt_timer_dispose(&ask->limit);
    kith__free(ask->mem, ask);
}

/** Tells the answer, and ends. done may do anything but touch the ask, which borrows nothing of the caller any more. */
static void finish(struct kith_dns_ask *ask, int err, const char *why)
{
    ask->done(ask->ctx, err, why, ask->message);
    kith__dns_ask_cancel(ask);
}

static void on_limit(void *ctx, uint64_t now_ns)
{
    struct kith_dns_ask *ask = ctx;

    (void)now_ns;
    if (ask->is_answered) /* while it was started */
        finish(ask, ask->err, ask->why);
    else
        finish(ask, KITH_ERR_TIMEOUT, "no answer in time");
}

static void take_status(struct kith_dns_ask *ask, int status)
{
    static const struct {
        int status, err;
        const char *why;
    } facts[] = {
        { ARES_SUCCESS, 0, "" },
        { ARES_ENODATA, KITH_ERR_NOT_FOUND, "no record of that type" },
        { ARES_ENOTFOUND, KITH_ERR_NOT_FOUND, "no such name" },
        { ARES_EFORMERR, KITH_ERR_PARSE, "it does not understand the question" },
        { ARES_EBADRESP, KITH_ERR_PARSE, "a malformed answer" },
        { ARES_ESERVFAIL, KITH_ERR_IO, "it failed (SERVFAIL)" },
        { ARES_ENOTIMP, KITH_ERR_UNSUPPORTED, "it does not answer such questions" },
        { ARES_EREFUSED, KITH_ERR_REFUSED, "it refuses to answer" },
        { ARES_EBADNAME, KITH_ERR_INVALID, "not a name that can be asked for" },
        { ARES_ECONNREFUSED, KITH_ERR_UNREACHABLE, "it cannot be reached" },
        { ARES_ENOMEM, KITH_ERR_NOMEM, "out of memory" },
    };

    ask->is_answered = true;
    ask->err = KITH_ERR_IO;
    ask->why = "the exchange broke off";
    for (size_t i = 0; i < KITH_COUNT(facts); i++)
        if (facts[i].status == status) {
            ask->err = facts[i].err;
            ask->why = facts[i].why;
        }
    if (status == ARES_SUCCESS)
        ask->message = ask->shown;
}

/* ---- Ids ---- */

static uint16_t read_id(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static void write_id(uint8_t *at, uint16_t id)
{
    at[0] = (uint8_t)(id >> 8);
    at[1] = (uint8_t)id;
}

/** True if a message is a response that repeats our question. */
static bool answers_question(const struct kith_dns_ask *ask, const uint8_t *message, size_t size)
{
    struct kith_dns_reader r;
    struct kith_dns_question question;

    return kith__dns_reader_init(&r, (struct kith_slice) { message, size }) == 0 &&
           (r.header.flags & KITH_DNS_QR) != 0 && r.header.counts[KITH_DNS_QUESTION] == 1 &&
           kith__dns_next_question(&r, &question) == 0 && question.type == ask->type &&
           question.class_code == KITH_DNS_IN && kith__dns_name_equal(&question.name, &ask->name);
}

/**
 * A message that came in: true if it is one for our question, which is put under the id that c-ares knows. c-ares checks the
 * question, too, but what it does with a malformed one depends on its version.
 */
static bool translate_in(struct kith_dns_ask *ask, uint8_t *message, size_t size)
{
    if (size < KITH_DNS_HEADER_SIZE || read_id(message) != ask->our_id) {
        ask->stats->drop_wrong_id++;
        return false;
    }
    if (!answers_question(ask, message, size)) {
        ask->stats->drop_wrong_question++;
        return false;
    }
    write_id(message, ask->ares_id);
    return true;
}

static void translate_out(struct kith_dns_ask *ask, uint8_t *message)
{
    ask->ares_id = read_id(message);
    write_id(message, ask->our_id);
}

/* ---- Between rt and c-ares ---- */

static ares_socket_t number_of(const struct socket *s)
{
    return SOCKET_BASE + (int)(s - s->ask->sockets);
}

static struct socket *socket_of(struct kith_dns_ask *ask, ares_socket_t number)
{
    KITH_ASSERT(number >= SOCKET_BASE && number < SOCKET_BASE + SOCKETS_MAX);
    return &ask->sockets[number - SOCKET_BASE];
}

/** Lets c-ares read or write. True if the ask is over, and gone. */
static bool process(struct kith_dns_ask *ask, ares_socket_t readable, ares_socket_t writable)
{
    ask->is_inside = true;
    ares_process_fd(ask->channel, readable, writable);
    ask->is_inside = false;
    if (!ask->is_answered)
        return false;
    finish(ask, ask->err, ask->why);
    return true;
}

/** Shows c-ares a message, until it has read all of it or closed the socket. True if the ask is over, and gone. */
static bool show(struct socket *s, struct kith_slice bytes)
{
    struct kith_dns_ask *ask = s->ask;
    ares_socket_t number = number_of(s);

    s->shown = bytes;
    ask->shown = s->is_tcp ? (struct kith_slice) { bytes.ptr + TCP_HEAD_SIZE, bytes.size - TCP_HEAD_SIZE } : bytes;
    while (!s->is_closed && s->shown.size > 0) {
        size_t before = s->shown.size;

        if (process(ask, number, ARES_SOCKET_BAD))
            return true;
        if (s->shown.size == before) /* it does not want it */
            break;
    }
    s->shown = ask->shown = (struct kith_slice) { NULL, 0 };
    return false;
}

static void on_receive(void *ctx, struct kith_quic_received *batch, size_t count, uint64_t now_ns)
{
    struct socket *s = ctx;
    struct kith_dns_ask *ask = s->ask;
    struct kith_dns_ask_stats *stats = ask->stats;

    (void)now_ns;
    for (size_t i = 0; i < count; i++) {
        if (s->is_closed) {
            stats->drop_late++;
        } else if (!kith_sockaddr_equal(&batch[i].remote, &ask->server)) {
            stats->drop_wrong_source++;
        } else if (translate_in(ask, batch[i].bytes, batch[i].size) &&
                   show(s, (struct kith_slice) { batch[i].bytes, batch[i].size })) {
            return;
        }
    }
}

/** Writes what waits, if nothing is on its way. */
static void pump(struct socket *s)
{
    int err;

    if (s->is_closed || !s->is_open || s->is_writing || s->out.size < TCP_HEAD_SIZE + sizeof s->ask->our_id)
        return;
    if (!s->is_id_written)
        translate_out(s->ask, s->out.ptr + TCP_HEAD_SIZE);
    s->is_id_written = true;
    s->writing = s->out.size;
    s->is_writing = true;
    if ((err = kith__rt_stream_write(s->stream, s->out.ptr, s->out.size)) != 0) {
        s->is_writing = false;
        s->number = err == KITH_ERR_NOMEM ? ENOMEM : ECONNRESET;
    }
}

static void stream_open(void *ctx, int err)
{
    struct socket *s = ctx;

    if (err != 0) {
        s->number = ECONNREFUSED;
        process(s->ask, number_of(s), ARES_SOCKET_BAD);
        return;
    }
    s->is_open = true;
    kith__rt_stream_read_start(s->stream);
    if (!process(s->ask, ARES_SOCKET_BAD, number_of(s)) && s->number != EAGAIN) /* it could not write */
        process(s->ask, number_of(s), ARES_SOCKET_BAD);
}

static void stream_data(void *ctx, uint8_t *bytes, size_t size)
{
    struct socket *s = ctx;

    if (s->is_closed)
        return;
    if (kith__buf_append(&s->in, bytes, size) != 0) {
        s->number = ENOMEM;
        process(s->ask, number_of(s), ARES_SOCKET_BAD);
        return;
    }
    while (!s->is_closed && s->in.size >= TCP_HEAD_SIZE) {
        size_t whole = TCP_HEAD_SIZE + (size_t)read_id(s->in.ptr); /* the size is written as ids are */

        if (s->in.size < whole)
            return;
        if (translate_in(s->ask, s->in.ptr + TCP_HEAD_SIZE, whole - TCP_HEAD_SIZE) &&
            show(s, (struct kith_slice) { s->in.ptr, whole }))
            return;
        kith__buf_consume(&s->in, whole);
    }
}

static void stream_end(void *ctx, int err)
{
    struct socket *s = ctx;

    s->number = err == 0 ? 0 : ECONNRESET;
    process(s->ask, number_of(s), ARES_SOCKET_BAD);
}

static void stream_written(void *ctx, int err)
{
    struct socket *s = ctx;

    s->is_writing = false;
    kith__buf_consume(&s->out, s->writing);
    if (err == 0)
        pump(s);
}

/* ---- Socket functions of c-ares ---- */

static ares_socket_t ask_socket(int family, int type, int protocol, void *user)
{
    struct kith_dns_ask *ask = user;

    (void)family; /* the real server decides */
    (void)protocol;
    for (size_t i = 0; i < SOCKETS_MAX; i++) {
        struct socket *s = &ask->sockets[i];

        if (s->is_used)
            continue;
        *s = (struct socket) { .ask = ask, .is_used = true, .is_tcp = type == SOCK_STREAM, .number = EAGAIN };
        s->in.mem = s->out.mem = ask->mem;
        return number_of(s);
    }
    errno = EMFILE;
    return ARES_SOCKET_BAD;
}

static int ask_close(ares_socket_t number, void *user)
{
    socket_of(user, number)->is_closed = true;
    return 0;
}

/** errno for an error of opening. */
static int errno_of(int err)
{
    return err == KITH_ERR_NOMEM ? ENOMEM : err == KITH_ERR_LIMIT ? EMFILE : ENETUNREACH;
}

static int connect_udp(struct socket *s)
{
    struct kith_rt_udp_options options = { .buffer_size = UDP_BUFFER_SIZE, .no_offload = true };
    struct kith_rt_udp_events events = { .on_receive = on_receive, .ctx = s };
    int err;

    options.local.family = s->ask->server.family; /* any address, any port: the system picks a random one */
    if ((err = kith__rt_udp_open(s->ask->rt, &options, &events, &s->udp)) == 0)
        return 0;
    errno = errno_of(err);
    return -1;
}

static int connect_tcp(struct socket *s)
{
    struct kith_rt_stream_addr to = { .ip = s->ask->server };
    struct kith_rt_stream_events events = {
        .on_open = stream_open, .on_data = stream_data, .on_end = stream_end, .on_written = stream_written, .ctx = s
    };
    int err = kith__rt_stream_connect(s->ask->rt, &to, &events, &s->stream);

    s->ask->stats->asked_tcp++;
    errno = err == 0 ? EINPROGRESS : errno_of(err);
    return -1;
}

static int connect_socket(ares_socket_t number, const struct sockaddr *to, socklen_t size, void *user)
{
    struct socket *s = socket_of(user, number);

    KITH_ASSERT(size <= sizeof s->claimed);
    memcpy(&s->claimed, to, size);
    s->claimed_size = size;
    return s->is_tcp ? connect_tcp(s) : connect_udp(s);
}

static ares_ssize_t ask_receive(ares_socket_t number, void *bytes, size_t size, int flags, struct sockaddr *from,
                                socklen_t *from_size, void *user)
{
    struct socket *s = socket_of(user, number);
    size_t taken = KITH_MIN(size, s->shown.size);

    (void)flags;
    if (s->shown.size == 0) {
        errno = s->number;
        return s->number == 0 ? 0 : -1;
    }
    memcpy(bytes, s->shown.ptr, taken);
    s->shown.ptr += taken;
    s->shown.size -= s->is_tcp ? taken : s->shown.size; /* of a datagram the rest is lost */
    if (from != NULL && from_size != NULL) {
        memcpy(from, &s->claimed, KITH_MIN(*from_size, s->claimed_size));
        *from_size = s->claimed_size;
    }
    return (ares_ssize_t)taken;
}

static ares_ssize_t send_udp(struct socket *s, const void *bytes, size_t size)
{
    uint8_t message[KITH_DNS_UDP_SIZE_MIN];
    struct kith_quic_transmit transmit = { .remote = s->ask->server, .size = size, .segment_size = size };
    struct kith_rt_udp_stats stats;

    if (size < KITH_DNS_HEADER_SIZE || size > sizeof message) { /* questions have 300 bytes at most */
        errno = EMSGSIZE;
        return -1;
    }
    memcpy(message, bytes, size);
    translate_out(s->ask, message);
    if (kith__rt_udp_send(s->udp, &transmit, message) != 0) {
        errno = ENETUNREACH;
        return -1;
    }
    stats = kith__rt_udp_stats(s->udp);
    if (stats.drop_unreachable + stats.drop_permission > 0) { /* known at once: no need to wait for the time limit */
        errno = ENETUNREACH;
        return -1;
    }
    return (ares_ssize_t)size;
}

static ares_ssize_t send_bytes(struct socket *s, const void *bytes, size_t size)
{
    if (!s->is_tcp)
        return send_udp(s, bytes, size);
    if (!s->is_open || s->is_writing) { /* out must not move while it is borrowed */
        errno = EAGAIN;
        return -1;
    }
    if (kith__buf_append(&s->out, bytes, size) != 0) {
        errno = ENOMEM;
        return -1;
    }
    pump(s);
    return (ares_ssize_t)size;
}

/* ---- Versions of c-ares ---- */

#if ARES_1_34
static int ask_setsockopt(ares_socket_t number, ares_socket_opt_t option, const void *value, ares_socklen_t size,
                          void *user)
{
    (void)number, (void)option, (void)value, (void)size, (void)user;
    errno = ENOSYS; /* neither buffer sizes nor devices nor fast open */
    return -1;
}

static int ask_connect(ares_socket_t number, const struct sockaddr *to, ares_socklen_t size, unsigned flags, void *user)
{
    (void)flags;
    return connect_socket(number, to, size, user);
}

static ares_ssize_t ask_send(ares_socket_t number, const void *bytes, size_t size, int flags, const struct sockaddr *to,
                             ares_socklen_t to_size, void *user)
{
    (void)flags, (void)to, (void)to_size;
    return send_bytes(socket_of(user, number), bytes, size);
}

static void on_answer(void *ctx, ares_status_t status, size_t timeouts, const ares_dns_record_t *record)
{
    struct kith_dns_ask *ask = ctx;

    (void)timeouts, (void)record;
    if (!ask->is_answered)
        take_status(ask, (int)status);
}

static void set_functions(struct kith_dns_ask *ask)
{
    static const struct ares_socket_functions_ex functions = {
        .version = 1,
        .flags = ARES_SOCKFUNC_FLAG_NONBLOCKING,
        .asocket = ask_socket,
        .aclose = ask_close,
        .asetsockopt = ask_setsockopt,
        .aconnect = ask_connect,
        .arecvfrom = ask_receive,
        .asendto = ask_send,
    };

    ares_set_socket_functions_ex(ask->channel, &functions, ask);
}

static void put_question(struct kith_dns_ask *ask, const char *name)
{
    (void)ares_query_dnsrec(ask->channel, name, ARES_CLASS_IN, (ares_dns_rec_type_t)ask->type, on_answer, ask, NULL);
}
#else
static int ask_connect(ares_socket_t number, const struct sockaddr *to, ares_socklen_t size, void *user)
{
    return connect_socket(number, to, size, user);
}

static ares_ssize_t ask_send(ares_socket_t number, const struct iovec *parts, int count, void *user)
{
    struct socket *s = socket_of(user, number);
    ares_ssize_t total = 0;

    for (int i = 0; i < count; i++) {
        ares_ssize_t sent = send_bytes(s, parts[i].iov_base, parts[i].iov_len);

        if (sent < 0)
            return total > 0 ? total : sent;
        total += sent;
    }
    return total;
}

static void on_answer(void *ctx, int status, int timeouts, unsigned char *bytes, int size)
{
    struct kith_dns_ask *ask = ctx;

    (void)timeouts, (void)bytes, (void)size;
    if (!ask->is_answered)
        take_status(ask, status);
}

static void set_functions(struct kith_dns_ask *ask)
{
    static const struct ares_socket_functions functions = { ask_socket, ask_close, ask_connect, ask_receive, ask_send };

    ares_set_socket_functions(ask->channel, &functions, ask);
}

static void put_question(struct kith_dns_ask *ask, const char *name)
{
    ares_query(ask->channel, name, KITH_DNS_IN, ask->type, on_answer, ask);
}
#endif

/* ---- The beginning ---- */

/** A channel that reads no configuration (all of it is given), with a server that is never used. */
static int open_channel(ares_channel *out)
{
    static char lookups[] = "b", nowhere[] = "/dev/null";
    struct in_addr loopback = { htonl(INADDR_LOOPBACK) };
    struct ares_options options = {
        .flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_NOCHECKRESP, /* SERVFAIL is an answer, too */
        .timeout = ARES_TIMEOUT_MS,
        .tries = 1,
        .ndots = 1,
        .servers = &loopback,
        .nservers = 1,
        .lookups = lookups,
        .resolvconf_path = nowhere,
    };
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS | ARES_OPT_SERVERS |
               ARES_OPT_DOMAINS | ARES_OPT_LOOKUPS | ARES_OPT_SORTLIST | ARES_OPT_NOROTATE | ARES_OPT_RESOLVCONF;

    return ares_init_options(out, &options, mask) == ARES_SUCCESS ? 0 : KITH_ERR_NOMEM;
}

int kith__dns_ask(const struct kith_dns_ask_options *options, kith_dns_ask_done *done, void *ctx,
                  struct kith_dns_ask **out)
{
    struct kith_dns_ask *ask = kith__alloc_zero(options->mem, sizeof *ask);
    char text[KITH_DNS_NAME_TEXT_SIZE];
    int err;

    if (ask == NULL)
        return KITH_ERR_NOMEM;
    ask->rt = options->rt;
    ask->mem = options->mem;
    ask->server = options->server;
    ask->name = *options->name;
    ask->type = options->type;
    ask->stats = options->stats;
    ask->done = done;
    ask->ctx = ctx;
    for (size_t i = 0; i < SOCKETS_MAX; i++)
        ask->sockets[i].ask = ask;
    kith__random_fill(kith__rt_random(ask->rt), &ask->our_id, sizeof ask->our_id);
    if ((err = kith__rt_timer_init(ask->rt, &ask->limit, on_limit, ask)) != 0 ||
        (err = open_channel(&ask->channel)) != 0) {
        kith__dns_ask_cancel(ask);
        return err;
    }
    set_functions(ask);
    ask->stats->asked++;
    ask->is_inside = true;
    put_question(ask, kith__dns_name_format(&ask->name, text));
    ask->is_inside = false;
    /* What failed already is told in the next turn. */
    kith__rt_timer_set(&ask->limit, kith__rt_now(ask->rt) + (ask->is_answered ? 0 : options->timeout_ns));
    *out = ask;
    return 0;
}

/* ---- What the system says ---- */

/** True if the file, as the rt shows it, names a server: without one c-ares would make up one on loopback. */
static bool names_servers(struct kith_rt *rt, const char *path)
{
    char text[16 << 10];
    struct kith_rt_file *file;
    size_t size;
    int err;

    if (kith__rt_file_open(rt, NULL, path, KITH_RT_READ, 0, &file) != 0)
        return false;
    err = kith__rt_file_read(file, text, sizeof text - 1, &size);
    kith__rt_file_close(file);
    if (err != 0)
        return false;
    text[size] = '\0';
    return strncmp(text, "nameserver", 10) == 0 || strstr(text, "\nnameserver") != NULL;
}

/** Adds a server if there is room and its address says where it is. */
static void add_server(const char *text, struct kith_sockaddr *out, size_t *count)
{
    struct kith_sockaddr server;

    if (*count == KITH_DNS_SERVERS_MAX || kith_sockaddr_parse(text, &server) != 0)
        return;
    if (server.family == KITH_FAMILY_V6 && kith__ip_is_link_local_v6(server.ip) && server.scope_id == 0)
        return;
    if (server.port == 0)
        server.port = KITH_DNS_PORT;
    out[(*count)++] = server;
}

#if ARES_1_34
static void list_servers(ares_channel channel, struct kith_sockaddr *out, size_t *count)
{
    char *list = ares_get_servers_csv(channel), *rest = list, *one;

    while (list != NULL && (one = strtok_r(rest, ",", &rest)) != NULL)
        add_server(one, out, count);
    ares_free_string(list);
}
#else
static void list_servers(ares_channel channel, struct kith_sockaddr *out, size_t *count)
{
    struct ares_addr_port_node *list = NULL;
    char ip[INET6_ADDRSTRLEN], text[INET6_ADDRSTRLEN + 16];

    if (ares_get_servers_ports(channel, &list) != ARES_SUCCESS)
        return;
    for (const struct ares_addr_port_node *node = list; node != NULL; node = node->next) {
        if (ares_inet_ntop(node->family, &node->addr, ip, sizeof ip) == NULL)
            continue;
        snprintf(text, sizeof text, node->family == AF_INET6 ? "[%s]:%d" : "%s:%d", ip, node->udp_port);
        add_server(text, out, count);
    }
    ares_free_data(list);
}
#endif

int kith__dns_system_servers(struct kith_rt *rt, const char *path, struct kith_sockaddr *out, size_t *count)
{
    char copy[KITH_RT_PATH_MAX + 1];
    struct ares_options options = { .resolvconf_path = copy };
    ares_channel channel;

    *count = 0;
    snprintf(copy, sizeof copy, "%s", path != NULL ? path : "/etc/resolv.conf");
    if (!names_servers(rt, copy))
        return 0;
    if (ares_init_options(&channel, &options, ARES_OPT_FLAGS | ARES_OPT_RESOLVCONF) != ARES_SUCCESS)
        return KITH_ERR_NOMEM;
    list_servers(channel, out, count);
    ares_destroy(channel);
    return 0;
}

size_t kith__dns_hosts_file(struct kith_rt *rt, const char *name, enum kith_family family, struct kith_sockaddr *out,
                            size_t cap)
{
    size_t count = 0, ip_size = family == KITH_FAMILY_V6 ? 16 : 4;
    struct hostent *host = NULL;
    struct kith_rt_stat stat;
    ares_channel channel;

    if (kith__rt_stat(rt, NULL, "/etc/hosts", true, &stat) != 0 || open_channel(&channel) != 0)
        return 0;
    if (ares_gethostbyname_file(channel, name, family == KITH_FAMILY_V6 ? AF_INET6 : AF_INET, &host) == ARES_SUCCESS) {
        for (char **ip = host->h_addr_list; *ip != NULL && count < cap && (size_t)host->h_length == ip_size; ip++) {
            out[count] = (struct kith_sockaddr) { .family = (uint8_t)family };
            memcpy(out[count++].ip, *ip, ip_size);
        }
        ares_free_hostent(host);
    }
    ares_destroy(channel);
    return count;
}
