/* Requests that a relay passes on. */
#include "server/relay_pass.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/sockaddr.h"
#include "codec/url.h"
#include "link/fetch.h"
#include <stdio.h>

/* What a server of signed packets and DNS over HTTP looks at, and what it answers. */
static const char *const asked[] = { "accept", "content-type", "if-none-match", "if-modified-since" };
static const char *const answered[] = { "content-type",
                                        "cache-control",
                                        "etag",
                                        "last-modified",
                                        "retry-after",
                                        "x-ratelimit-after",
                                        "allow",
                                        "access-control-allow-origin",
                                        "access-control-expose-headers",
                                        "access-control-allow-methods",
                                        "access-control-allow-headers",
                                        "access-control-max-age" };
enum { ASKED_MAX = 8 }; /* header lines; more of one kind than anybody sends are left out */

struct request {
    struct kith_relay_pass *pass;
    struct kith_httpd_conn *conn;
    struct kith_fetch *fetch;
};

struct kith_relay_pass {
    struct kith_rt *rt;
    const struct kith_mem *mem;
    struct kith_relay_counters *counters;
    size_t request_count, path_count;
    bool is_failing; /* the last answer did not come: said once, not for every request */
    char base[KITH_SOCKADDR_TEXT_SIZE + 8];
    char paths[KITH_RELAY_PASS_PATHS_MAX][KITH_RELAY_PASS_PATH_SIZE_MAX + 1];
};

int kith__relay_pass_new(struct kith_rt *rt, const struct kith_mem *mem, struct kith_relay_counters *counters,
                         const struct kith_relay_pass_on *options, struct kith_relay_pass **out)
{
    struct kith_relay_pass *pass = kith__alloc_zero(mem, sizeof *pass);
    char address[KITH_SOCKADDR_TEXT_SIZE];

    if (pass == NULL)
        return KITH_ERR_NOMEM;
    pass->rt = rt;
    pass->mem = mem;
    pass->counters = counters;
    snprintf(pass->base, sizeof pass->base, "http://%s", kith_sockaddr_format(&options->to, address));
    pass->path_count = options->path_count;
    for (size_t i = 0; i < options->path_count; i++)
        snprintf(pass->paths[i], sizeof pass->paths[i], "%s", options->paths[i]);
    *out = pass;
    return 0;
}

static void request_free(struct request *request)
{
    request->pass->request_count--;
    kith__free(request->pass->mem, request);
}

void kith__relay_pass_on_gone(void *user)
{
    struct request *request = user;

    kith__fetch_cancel(request->fetch);
    request_free(request);
}

void kith__relay_pass_free(struct kith_relay_pass *pass)
{
    if (pass == NULL)
        return;
    KITH_ASSERT(pass->request_count == 0);
    kith__free(pass->mem, pass);
}

static bool is_passed(const struct kith_relay_pass *pass, struct kith_slice path)
{
    for (size_t i = 0; i < pass->path_count; i++) {
        size_t size = strlen(pass->paths[i]);

        if (path.size >= size && memcmp(path.ptr, pass->paths[i], size) == 0 &&
            (path.size == size || path.ptr[size] == '/' || path.ptr[size] == '?'))
            return true;
    }
    return false;
}

bool kith__relay_pass_wants(const struct kith_relay_pass *pass, const struct kith_http_head *head)
{
    return pass != NULL && is_passed(pass, head->path);
}

/* ---- The answer ---- */

static struct kith_httpd_reply plain_reply(uint16_t status, struct kith_http_header *type, const char *text)
{
    *type = (struct kith_http_header) { kith__http_text("content-type"), kith__http_text("text/plain") };
    return (struct kith_httpd_reply) {
        .status = status, .headers = type, .header_count = 1, .body = kith__http_text(text)
    };
}

static void note_failure(struct kith_relay_pass *pass, const char *why)
{
    kith__relay_count(&pass->counters->http_passed_on_errored, 1);
    kith__log(&pass->rt->log, pass->is_failing ? KITH_LOG_DEBUG : KITH_LOG_WARN, "relay",
              "the lookup server does not answer: %s", why);
    pass->is_failing = true;
}

static void on_done(void *ctx, const struct kith_fetch_result *result)
{
    struct request *request = ctx;
    struct kith_relay_pass *pass = request->pass;
    struct kith_httpd_conn *conn = request->conn;
    struct kith_http_header headers[KITH_HTTPD_HEADERS_MAX];
    struct kith_httpd_reply reply = { .status = result->status, .headers = headers, .body = result->body };
    const struct kith_http_header *found;

    request_free(request);
    if (result->err != 0) {
        note_failure(pass, result->why);
        reply = plain_reply(result->err == KITH_ERR_TIMEOUT ? 504 : 502, headers, "the lookup server does not answer");
        kith__httpd_answer(conn, &reply);
        return;
    }
    pass->is_failing = false;
    for (size_t i = 0; i < KITH_COUNT(answered) && reply.header_count < KITH_HTTPD_HEADERS_MAX; i++) {
        if ((found = kith__http_header(result->head, answered[i])) != NULL)
            headers[reply.header_count++] = (struct kith_http_header) { kith__http_text(answered[i]), found->value };
    }
    kith__httpd_answer(conn, &reply);
}

/* ---- The request ---- */

static const char *remote_text(const struct kith_httpd_conn *conn, char text[KITH_IP_TEXT_SIZE])
{
    struct kith_sockaddr remote = kith__httpd_conn_remote(conn);

    if (remote.family == KITH_FAMILY_V6)
        return kith__ip_format_v6(remote.ip, text);
    snprintf(text, KITH_IP_TEXT_SIZE, "%u.%u.%u.%u", remote.ip[0], remote.ip[1], remote.ip[2], remote.ip[3]);
    return text;
}

static size_t gather_headers(const struct kith_http_head *head, const char *ip,
                             struct kith_http_header headers[ASKED_MAX])
{
    size_t count = 0;

    headers[count++] = (struct kith_http_header) { kith__http_text("x-forwarded-for"), kith__http_text(ip) };
    for (size_t i = 0; i < KITH_COUNT(asked); i++) {
        const struct kith_http_header *found = NULL;

        while (count < ASKED_MAX && (found = kith__http_header_next(head, asked[i], found)) != NULL)
            headers[count++] = *found;
    }
    return count;
}

/*
 * The URL as it will be asked for. A path with dots in it may lead out of what is passed on ("/pkarr/../other"), so the outcome
 * is what counts.
 */
static int make_url(const struct kith_relay_pass *pass, const struct kith_http_head *head, struct kith_buf *out)
{
    char text[KITH_URL_SIZE_MAX + 1];
    struct kith_url url;
    int size, err;

    size = snprintf(text, sizeof text, "%s%.*s%s%.*s", pass->base, (int)head->path.size, (const char *)head->path.ptr,
                    head->query.size != 0 ? "?" : "", (int)head->query.size, (const char *)head->query.ptr);
    if (size < 0 || (size_t)size >= sizeof text)
        return KITH_ERR_TOO_LARGE;
    if ((err = kith__url_normalise(text, (size_t)size, out)) != 0 ||
        (err = kith__url_split(kith__buf_slice(out), &url)) != 0)
        return err;
    if (!is_passed(pass, url.path))
        return KITH_ERR_PARSE;
    return kith__buf_append_byte(out, 0);
}

static int start(struct request *request, const struct kith_http_head *head)
{
    struct kith_relay_pass *pass = request->pass;
    struct kith_http_header headers[ASKED_MAX];
    char method[16], ip[KITH_IP_TEXT_SIZE];
    struct kith_fetch_options options = { .rt = pass->rt,
                                          .method = method,
                                          .headers = headers,
                                          .has_own_accept = true,
                                          .body = kith__httpd_conn_body(request->conn),
                                          .response_size_max = KITH_RELAY_PASS_ANSWER_MAX,
                                          .limit_ns = KITH_RELAY_PASS_LIMIT_NS };
    struct kith_buf url = { .mem = pass->mem };
    int err;

    if (head->method.size >= sizeof method)
        return KITH_ERR_PARSE;
    /* HEAD is asked as GET, so that Content-Length is that of GET; its body is not sent. */
    if (kith__http_is(head->method, "HEAD"))
        snprintf(method, sizeof method, "GET");
    else
        snprintf(method, sizeof method, "%.*s", (int)head->method.size, (const char *)head->method.ptr);
    options.header_count = gather_headers(head, remote_text(request->conn, ip), headers);
    if ((err = make_url(pass, head, &url)) == 0) {
        options.url = (const char *)url.ptr;
        err = kith__fetch(&options, on_done, request, &request->fetch);
    }
    kith__buf_dispose(&url);
    return err;
}

static void refuse(struct kith_relay_pass *pass, struct kith_httpd_conn *conn, uint16_t status, const char *why)
{
    struct kith_http_header type;
    struct kith_httpd_reply reply = plain_reply(status, &type, why);

    kith__relay_count(&pass->counters->http_passed_on_refused, 1);
    (void)!kith__httpd_reply(conn, &reply); /* without memory the connection is closed */
}

void kith__relay_pass_request(struct kith_relay_pass *pass, struct kith_httpd_conn *conn,
                              const struct kith_http_head *head)
{
    struct request *request = pass->request_count < KITH_RELAY_PASS_MAX ? kith__alloc_zero(pass->mem, sizeof *request)
                                                                        : NULL;
    int err;

    if (request == NULL) {
        refuse(pass, conn, 503, "too many requests are under way");
        return;
    }
    *request = (struct request) { .pass = pass, .conn = conn };
    pass->request_count++;
    if ((err = start(request, head)) == 0) {
        kith__relay_count(&pass->counters->http_passed_on, 1);
        kith__httpd_defer(conn, request);
        return;
    }
    request_free(request);
    if (err == KITH_ERR_TOO_LARGE)
        refuse(pass, conn, 414, "the request is too long to be passed on");
    else
        refuse(pass, conn, err == KITH_ERR_NOMEM ? 503 : 400, "the request cannot be passed on");
}
