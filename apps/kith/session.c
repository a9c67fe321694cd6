/* Piping sessions. */
#include "session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const uint64_t STREAM_LIMIT_NS = 30 * KITH_NS_PER_S; /* for a client to open its stream and greet */
static const uint64_t LINGER_NS = KITH_NS_PER_S / 2;        /* for the dialler to close first */
static const uint64_t DIALLER_LINGER_NS = KITH_NS_PER_S / 10;
enum { CLOSE_CODE_REFUSED = 1 };

/* A connection that is served: each stream in it becomes a session. */
struct session_line {
    struct session_line *next, *previous;
    struct sessions *owner;
    struct kith_conn *conn;
    struct kith_op *accept; /* the next stream; NULL: none will come any more */
    size_t session_count;
    bool was_used; /* a stream came */
};

struct session {
    struct session *next, *previous;
    struct sessions *owner;
    struct session_line *line; /* whose connection it is; NULL: our own */
    struct kith_conn *conn;
    struct kith_stream *stream;
    struct kith_op *op; /* connecting, opening, accepting, the greeting, or the last wait */
    uint8_t greeting[SESSION_GREETING_SIZE];
    size_t greeting_size;
    struct pipe_end in, out; /* until the pump takes them over */
    struct loop_watch dialling;
    size_t target_index;
    struct socket_target *resolved; /* owned: what the name of the target means now; NULL: as it was at the start */
    bool has_stdio, is_dialler;
    struct pump pump;
    char name[KITH_ID_SHORT_SIZE];
};

/* ---- The protocol's name ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

const char *sessions_take_alpn(void *target, const char *text)
{
    struct sessions *sessions = target;
    size_t size = strlen(text);

    sessions->alpn.ptr = sessions->alpn_bytes;
    sessions->custom_alpn = text;
    if (strncmp(text, "utf8:", 5) == 0) {
        if (size == 5 || size - 5 > CLI_ALPN_SIZE_MAX)
            return "a name of 1 to 255 bytes is expected after utf8:";
        memcpy(sessions->alpn_bytes, text + 5, size - 5);
        sessions->alpn.size = size - 5;
        return NULL;
    }
    if (size == 0 || size % 2 != 0 || size / 2 > CLI_ALPN_SIZE_MAX)
        return "utf8:TEXT or hex digits are expected";
    for (size_t i = 0; i < size / 2; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return "utf8:TEXT or hex digits are expected";
        sessions->alpn_bytes[i] = (uint8_t)(high << 4 | low);
    }
    sessions->alpn.size = size / 2;
    return NULL;
}

void sessions_init(struct sessions *sessions, struct cli *cli)
{
    sessions->cli = cli;
    if (sessions->custom_alpn == NULL)
        sessions->alpn = cli_slice(SESSION_ALPN);
}

/* ---- Life ---- */

static struct session *session_new(struct sessions *owner)
{
    struct session *session = cli_alloc(sizeof *session);

    session->owner = owner;
    session->in.fd = session->out.fd = -1;
    session->next = owner->first;
    if (owner->first != NULL)
        owner->first->previous = session;
    owner->first = session;
    owner->count++;
    return session;
}

/* Frees a line that brings no more streams and has no sessions. */
static void line_free_if_done(struct session_line *line)
{
    struct sessions *owner = line->owner;

    if (line->accept != NULL || line->session_count > 0)
        return;
    kith_conn_free(line->conn);
    if (line->previous != NULL)
        line->previous->next = line->next;
    else
        owner->first_line = line->next;
    if (line->next != NULL)
        line->next->previous = line->previous;
    owner->line_count--;
    free(line);
}

static void session_free(struct session *session)
{
    struct sessions *owner = session->owner;

    loop_watch_stop(&session->dialling);
    kith_op_free(session->op);
    pump_dispose(&session->pump);
    if (session->out.fd == session->in.fd)
        session->in.fd = -1;
    pipe_end_close(&session->in, true);
    pipe_end_close(&session->out, true);
    kith_stream_free(session->stream);
    if (session->line == NULL)
        kith_conn_free(session->conn);
    if (session->previous != NULL)
        session->previous->next = session->next;
    else
        owner->first = session->next;
    if (session->next != NULL)
        session->next->previous = session->previous;
    free(session->resolved);
    owner->count--;
    if (session->line != NULL) {
        session->line->session_count--;
        line_free_if_done(session->line);
    }
    free(session);
}

void sessions_dispose(struct sessions *sessions)
{
    /* Whoever is in the middle of something shall see a reset stream before the connection closes. */
    for (struct session *session = sessions->first; session != NULL; session = session->next)
        pump_abort(&session->pump);
    if (sessions->first != NULL)
        (void)kith_context_process(sessions->cli->loop.context);
    while (sessions->first != NULL)
        session_free(sessions->first);
    while (sessions->first_line != NULL) {
        kith_op_free(sessions->first_line->accept);
        sessions->first_line->accept = NULL;
        line_free_if_done(sessions->first_line);
    }
}

/* Events go to stdout, or to stderr where stdout carries data. */
static void tell(const struct sessions *owner, bool has_stdio, json_t *event)
{
    if (owner->cli->json)
        output_json_to(has_stdio ? stderr : stdout, event);
    else
        json_decref(event);
}

/* The session is over, well or not; err 0 is well. */
static void session_end(struct session *session, int err, const char *why)
{
    struct sessions *owner = session->owner;
    struct cli *cli = owner->cli;
    char clean[SESSION_WHY_SIZE], sent[OUTPUT_NUMBER_SIZE], received[OUTPUT_NUMBER_SIZE];

    output_clean(why != NULL ? why : "", clean, sizeof clean);
    tell(owner, session->has_stdio,
         json_pack("{s:s, s:s, s:I, s:I, s:s, s:s}", "event", "closed", "peer", session->name, "sent",
                   (json_int_t)session->pump.bytes_sent, "received", (json_int_t)session->pump.bytes_received, "code",
                   err == 0 ? "OK" : kith_err_name(err), "text", clean));
    if (session->has_stdio) {
        owner->stdio_is_over = true;
        owner->err = err;
        memcpy(owner->why, clean, sizeof clean);
    } else if (err != 0 && !cli->quiet) {
        output_note("kith %s: with %s: %s", cli->command->name, *session->name != 0 ? session->name : "?", clean);
    }
    if (cli->verbose > 0) {
        if (session->conn != NULL)
            cli_note_paths(session->conn);
        output_note("closed %s: %s sent, %s received", session->name, output_size(session->pump.bytes_sent, sent),
                    output_size(session->pump.bytes_received, received));
    }
    session_free(session);
}

static void session_end_op(struct session *session, const struct kith_op *op)
{
    const struct kith_error *error = kith_op_error(op);
    char why[SESSION_WHY_SIZE];

    snprintf(why, sizeof why, "%s",
             error->code != 0 && error->text[0] != 0 ? error->text : kith_strerror(kith_op_result(op)));
    session_end(session, kith_op_result(op), why);
}

static void session_end_last(struct session *session, int err)
{
    char why[SESSION_WHY_SIZE];

    snprintf(why, sizeof why, "%.*s", (int)sizeof why - 1, kith_error_last()->text);
    session_end(session, err, why);
}

/* Goes on with `next` when the operation is done. */
static void wait_for(struct session *session, int started, uint64_t limit_ns, kith_op_callback *next)
{
    if (started != 0) {
        session->op = NULL;
        session_end_last(session, started);
        return;
    }
    kith_op_set_limit(session->op, limit_ns);
    kith_op_on_done(session->op, next, session);
}

/* ---- Piping ---- */

static void end_after_pump(struct session *session)
{
    session_end(session, session->pump.err, session->pump.err != 0 ? session->pump.why : NULL);
}

static void on_peer_closed(struct kith_op *op, void *user)
{
    (void)op;
    end_after_pump(user);
}

/*
 * Closing at once could overtake our last acknowledgement or our RESET_STREAM, and the other side would take the first for
 * a failure and the second for an end. So everybody waits a little for the other side to close; the dialler of a session
 * that went well less than the others, and only so long that its acknowledgements (delayed by 25 ms) arrive. A session on a
 * line closes nothing: that is for the other side, which may open more streams.
 */
static void on_pump_end(void *user)
{
    struct session *session = user;
    uint64_t limit = LINGER_NS;

    if (session->line != NULL) {
        end_after_pump(session);
        return;
    }
    if (kith_conn_closed_start(session->conn, &session->op) != 0) {
        session->op = NULL;
        end_after_pump(session);
        return;
    }
    if (session->pump.err == 0 && session->is_dialler)
        limit = DIALLER_LINGER_NS + 3 * kith_conn_rtt(session->conn);
    kith_op_set_limit(session->op, limit);
    kith_op_on_done(session->op, on_peer_closed, session);
}

static void start_pump(struct session *session)
{
    struct sessions *owner = session->owner;
    struct pipe_end in = session->in, out = session->out;
    bool greets = session->is_dialler && owner->custom_alpn == NULL;

    session->in.fd = session->out.fd = -1;
    session->pump.on_end = on_pump_end;
    session->pump.user = session;
    pump_start(&session->pump, &owner->cli->loop, session->stream, in, out, owner->receive_only,
               greets ? cli_slice(SESSION_GREETING) : (struct kith_slice) { NULL, 0 });
}

static void take_name(struct session *session)
{
    struct kith_id id = kith_conn_remote_id(session->conn);

    kith_id_format_short(&id, session->name);
    tell(session->owner, session->has_stdio || (session->owner->target == NULL && !session->is_dialler),
         json_pack("{s:s, s:s}", "event", "connected", "peer", session->name));
    if (session->owner->cli->verbose > 0)
        output_note("connected to %s", session->name);
}

/* ---- Serving ---- */

static void dial_target(struct session *session);

static void on_target_decided(void *user)
{
    struct session *session = user;
    int problem = socket_dial_result(session->in.fd);

    loop_watch_stop(&session->dialling);
    if (problem == 0) {
        session->out = session->in;
        start_pump(session);
        return;
    }
    close(session->in.fd);
    session->in.fd = -1;
    errno = problem;
    session->target_index++;
    dial_target(session);
}

/* Tries the target's addresses one after another. */
static void dial_target(struct session *session)
{
    const struct socket_target *target = session->resolved != NULL ? session->resolved : session->owner->target;
    int problem = errno, fd;

    for (; session->target_index < target->count; session->target_index++) {
        if ((fd = socket_dial(target, session->target_index)) >= 0) {
            session->in = pipe_end_socket(fd);
            session->dialling.on_ready = on_target_decided;
            session->dialling.user = session;
            loop_watch_set(&session->owner->cli->loop, &session->dialling, fd, POLLOUT);
            return;
        }
        problem = errno;
    }
    (void)kith_reset(session->stream, 0);
    (void)kith_stop(session->stream, 0);
    session->pump.err = KITH_ERR_UNREACHABLE;
    snprintf(session->pump.why, sizeof session->pump.why, "the target cannot be reached: %s", strerror(problem));
    on_pump_end(session);
}

/* Without an answer, what was known at the start is still worth a try. */
static void on_resolved(void *user)
{
    struct session *session = user;
    struct socket_target *found = cli_alloc(sizeof *found);

    loop_watch_stop(&session->dialling);
    *found = *session->owner->target;
    (void)socket_resolve_take(session->in.fd, found);
    session->resolved = found;
    close(session->in.fd);
    session->in.fd = -1;
    dial_target(session);
}

/* Names are asked for at each connection: a service moves, a machine wakes up in another network. */
static void find_target(struct session *session)
{
    const struct socket_target *target = session->owner->target;
    int fd = target->name != NULL ? socket_resolve_start(target->name) : -1;

    if (fd < 0) {
        dial_target(session);
        return;
    }
    session->in = (struct pipe_end) { .fd = fd, .kind = PIPE_END_OWN };
    session->dialling.on_ready = on_resolved;
    session->dialling.user = session;
    loop_watch_set(&session->owner->cli->loop, &session->dialling, fd, POLLIN);
}

static void join(struct session *session)
{
    struct sessions *owner = session->owner;

    if (owner->target != NULL) {
        find_target(session);
        return;
    }
    if (owner->stdio_is_taken) {
        kith_conn_close(session->conn, CLOSE_CODE_REFUSED, "busy", 4);
        session_end(session, KITH_ERR_REFUSED, "another client was first");
        return;
    }
    owner->stdio_is_taken = session->has_stdio = true;
    session->in = pipe_end_standard(STDIN_FILENO, false);
    session->out = pipe_end_standard(STDOUT_FILENO, true);
    start_pump(session);
}

static void read_greeting(struct session *session);

static void on_greeting(struct kith_op *op, void *user)
{
    struct session *session = user;

    if (kith_op_result(op) != 0) {
        session_end_op(session, op);
        return;
    }
    session->greeting_size += kith_op_size(op);
    kith_op_free(op);
    session->op = NULL;
    read_greeting(session);
}

static void read_greeting(struct session *session)
{
    if (session->greeting_size < SESSION_GREETING_SIZE) {
        wait_for(session,
                 kith_read_start(session->stream, session->greeting + session->greeting_size,
                                 SESSION_GREETING_SIZE - session->greeting_size, &session->op),
                 STREAM_LIMIT_NS, on_greeting);
        return;
    }
    if (memcmp(session->greeting, SESSION_GREETING, SESSION_GREETING_SIZE) != 0) {
        kith_conn_close(session->conn, CLOSE_CODE_REFUSED, "greeting expected", 17);
        session_end(session, KITH_ERR_PARSE, "it does not begin with the greeting of a pipe");
        return;
    }
    join(session);
}

static void on_stream(struct kith_op *op, void *user)
{
    struct session *session = user;

    if (kith_op_result(op) != 0) {
        session_end_op(session, op);
        return;
    }
    session->stream = kith_op_take_stream(op);
    kith_op_free(op);
    session->op = NULL;
    if (session->owner->custom_alpn == NULL)
        read_greeting(session);
    else
        join(session);
}

/* A session on a line. */
static struct session *session_on(struct session_line *line)
{
    struct session *session = session_new(line->owner);

    session->line = line;
    session->conn = line->conn;
    line->session_count++;
    take_name(session);
    return session;
}

static void on_line_stream(struct kith_op *op, void *user);

static void accept_stream(struct session_line *line)
{
    if (kith_accept_stream_start(line->conn, true, &line->accept) != 0) {
        line->accept = NULL;
        return;
    }
    if (!line->was_used)
        kith_op_set_limit(line->accept, STREAM_LIMIT_NS);
    kith_op_on_done(line->accept, on_line_stream, line);
}

static void on_line_stream(struct kith_op *op, void *user)
{
    struct session_line *line = user;
    struct session *session;

    line->accept = NULL;
    if (kith_op_result(op) != 0) {
        if (!line->was_used) {
            session_end_op(session_on(line), op); /* the line goes with it */
            kith_op_free(op);
            return;
        }
        kith_op_free(op);
        line_free_if_done(line);
        return;
    }
    line->was_used = true;
    accept_stream(line); /* first: what happens below may end the session, and the line with the last */
    if (line->owner->count >= SESSIONS_MAX) {
        struct kith_stream *stream = kith_op_take_stream(op);

        kith_stream_free(stream); /* reset and stopped */
        kith_op_free(op);
        line_free_if_done(line);
        return;
    }
    session = session_on(line);
    session->stream = kith_op_take_stream(op);
    kith_op_free(op);
    if (line->owner->custom_alpn == NULL)
        read_greeting(session);
    else
        join(session);
}

static void serve_line(struct sessions *sessions, struct kith_conn *conn)
{
    struct session_line *line = cli_alloc(sizeof *line);

    line->owner = sessions;
    line->conn = conn;
    line->next = sessions->first_line;
    if (sessions->first_line != NULL)
        sessions->first_line->previous = line;
    sessions->first_line = line;
    sessions->line_count++;
    accept_stream(line);
    line_free_if_done(line); /* closed already */
}

void sessions_serve(struct sessions *sessions, struct kith_conn *conn)
{
    struct session *session;

    if (sessions->count >= SESSIONS_MAX || sessions->line_count >= SESSIONS_MAX || sessions->stdio_is_taken) {
        kith_conn_close(conn, CLOSE_CODE_REFUSED, "busy", 4);
        kith_conn_free(conn);
        return;
    }
    if (sessions->target != NULL) {
        serve_line(sessions, conn);
        return;
    }
    session = session_new(sessions);
    session->conn = conn;
    take_name(session);
    wait_for(session, kith_accept_stream_start(conn, true, &session->op), STREAM_LIMIT_NS, on_stream);
}

/* ---- Dialling ---- */

static void on_opened(struct kith_op *op, void *user)
{
    struct session *session = user;

    if (kith_op_result(op) != 0) {
        session_end_op(session, op);
        return;
    }
    session->stream = kith_op_take_stream(op);
    kith_op_free(op);
    session->op = NULL;
    start_pump(session);
}

static void on_connected(struct kith_op *op, void *user)
{
    struct session *session = user;
    char why[CLI_NO_ANSWER_SIZE];

    if (kith_op_result(op) == KITH_ERR_TIMEOUT) {
        session_end(session, KITH_ERR_TIMEOUT, cli_no_answer(session->owner->cli, session->owner->remote, why));
        return;
    }
    if (kith_op_result(op) != 0) {
        session_end_op(session, op);
        return;
    }
    session->conn = kith_op_take_conn(op);
    session->owner->was_connected = true;
    kith_op_free(op);
    session->op = NULL;
    take_name(session);
    wait_for(session, kith_open_start(session->conn, true, &session->op), session->owner->cli->timeout_ns, on_opened);
}

void sessions_dial(struct sessions *sessions, struct pipe_end in, struct pipe_end out)
{
    struct kith_connect_options options = { KITH_CONNECT_OPTIONS_INIT, .alpns = &sessions->alpn, .alpn_count = 1 };
    struct session *session;

    if (sessions->count >= SESSIONS_MAX) {
        if (out.fd == in.fd)
            in.fd = -1;
        pipe_end_close(&in, true);
        pipe_end_close(&out, true);
        if (!sessions->cli->quiet)
            output_note("kith %s: a client was turned away: %d are served already", sessions->cli->command->name,
                        SESSIONS_MAX);
        return;
    }
    session = session_new(sessions);
    session->is_dialler = true;
    session->has_stdio = in.kind != PIPE_END_SOCKET || in.fd == STDIN_FILENO;
    session->in = in;
    session->out = out;
    memcpy(session->name, sessions->remote->name, sizeof session->name);
    wait_for(session, kith_connect_start(sessions->cli->endpoint, &sessions->remote->addr, &options, &session->op),
             sessions->cli->timeout_ns, on_connected);
}
