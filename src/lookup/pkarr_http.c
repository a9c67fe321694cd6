/* PUT and GET of signed packets, with redirects followed within one time limit. */
#include "lookup/pkarr_http.h"

#include "base/assert.h"
#include "base/mem.h"
#include "codec/base32.h"
#include "codec/url.h"
#include "tls/stream.h"

#include <stdio.h>
#include <string.h>

enum { DETAIL_SIZE_MAX = 120, RETRY_AFTER_S_MAX = 1000000 };

struct kith_pkarr_request {
    struct kith_pkarr_http *http;
    void (*done)(void *ctx, const struct kith_pkarr_answer *answer);
    void *ctx;
    struct kith_fetch *fetch;
    struct kith_buf url; /* of the fetch under way, with an end */
    struct kith_buf body;
    bool is_put;
    unsigned redirects;
    uint64_t deadline_ns;
};

/* ---- The server ---- */

/** A normalised URL that ends in a 0 byte, without it. */
static struct kith_slice text_of(const struct kith_buf *url)
{
    return (struct kith_slice) { url->ptr, url->size - 1 };
}

/** The text of a buffer that holds a URL which was split before. */
static struct kith_url parts_of(const struct kith_buf *url)
{
    struct kith_url parts;

    KITH_ASSERT(kith__url_split(text_of(url), &parts) == 0);
    return parts;
}

/** Normalises and checks; url gets an end. */
static int read_url(const char *text, struct kith_buf *url)
{
    struct kith_url parts;
    int err;

    if ((err = kith__url_normalise(text, strlen(text), url)) != 0 || (err = kith__buf_append_byte(url, 0)) != 0)
        return err;
    return kith__url_split(text_of(url), &parts);
}

int kith__pkarr_http_init(struct kith_pkarr_http *http, struct kith_rt *rt,
                          const struct kith_pkarr_http_options *options)
{
    struct kith_buf url;
    int err;

    kith__buf_init(&url, rt->mem);
    err = read_url(options->url, &url);
    if (err == 0 && parts_of(&url).is_https && options->tls == NULL)
        err = KITH_ERR_INVALID;
    if (err != 0) {
        kith__buf_dispose(&url);
        return err;
    }
    *http = (struct kith_pkarr_http) { .rt = rt, .url = url };
    http->limit_ns = options->limit_ns != 0 ? options->limit_ns : KITH_FETCH_LIMIT_NS;
    if (options->tls != NULL)
        http->tls = kith__tls_stream_context_retain(options->tls);
    if (options->proxy_tls != NULL)
        http->proxy_tls = kith__tls_stream_context_retain(options->proxy_tls);
    if (options->proxy != NULL)
        http->proxy = *options->proxy;
    return 0;
}

void kith__pkarr_http_dispose(struct kith_pkarr_http *http)
{
    if (http->rt == NULL)
        return;
    kith__buf_dispose(&http->url);
    kith__tls_stream_context_release(http->tls);
    kith__tls_stream_context_release(http->proxy_tls);
    memset(&http->proxy, 0, sizeof http->proxy); /* it may hold a password */
}

void kith__pkarr_http_label(const struct kith_pkarr_http *http, char *label, size_t size)
{
    struct kith_url url = parts_of(&http->url);
    const char *from = (const char *)url.host.ptr - (url.is_ip_v6 ? 1 : 0);

    snprintf(label, size, "pkarr:%s://%.*s", url.is_https ? "https" : "http",
             (int)((const char *)url.path.ptr + url.path.size - from), from);
}

/** Base, '/', id; the query of the base behind it. */
static int write_url(const struct kith_pkarr_http *http, const struct kith_id *id, struct kith_buf *out)
{
    struct kith_url url = parts_of(&http->url);
    const uint8_t *begin = http->url.ptr, *query = memchr(url.path.ptr, '?', url.path.size);
    const uint8_t *end = url.path.ptr + url.path.size, *path_end = query != NULL ? query : end;
    char text[1 + 64] = "/";
    int err;

    _Static_assert(KITH_ID_SIZE <= 32, "the text of an id has room");
    kith__base32_encode(KITH_BASE32_Z, id->bytes, KITH_ID_SIZE, text + 1);
    if (path_end[-1] == '/')
        path_end--;
    if ((err = kith__buf_append(out, begin, (size_t)(path_end - begin))) != 0 ||
        (err = kith__buf_append(out, text, strlen(text))) != 0 ||
        (query != NULL && (err = kith__buf_append(out, query, (size_t)(end - query))) != 0))
        return err;
    return kith__buf_append_byte(out, 0);
}

/* ---- The end ---- */

static void request_free(struct kith_pkarr_request *request)
{
    kith__buf_dispose(&request->url);
    kith__buf_dispose(&request->body);
    kith__free(request->http->rt->mem, request);
}

void kith__pkarr_request_cancel(struct kith_pkarr_request *request)
{
    if (request == NULL)
        return;
    kith__fetch_cancel(request->fetch);
    request_free(request);
}

/** The request is gone when done is called; what the answer borrows is the fetch's and the caller's. */
static void end(struct kith_pkarr_request *request, const struct kith_pkarr_answer *answer)
{
    void (*done)(void *ctx, const struct kith_pkarr_answer *answer) = request->done;
    void *ctx = request->ctx;

    request_free(request);
    done(ctx, answer);
}

/** Ends with a sentence: the host, and what. */
static void fail(struct kith_pkarr_request *request, struct kith_pkarr_answer *answer, int err, const char *what)
{
    struct kith_slice host = parts_of(&request->url).host;
    char why[KITH_LINK_WHY_SIZE];

    snprintf(why, sizeof why, "%.*s %s", (int)host.size, (const char *)host.ptr, what);
    answer->err = err;
    answer->why = why;
    end(request, answer);
}

/** Seconds only: a date would have to be read by a clock that may be wrong. */
static uint64_t retry_after(const struct kith_http_head *head)
{
    const struct kith_http_header *header = kith__http_header(head, "Retry-After");
    uint64_t seconds = 0;

    for (size_t i = 0; header != NULL && i < header->value.size; i++) {
        uint8_t c = header->value.ptr[i];

        if (c < '0' || c > '9')
            return 0;
        seconds = KITH_MIN(seconds * 10 + (c - '0'), (uint64_t)RETRY_AFTER_S_MAX);
    }
    return seconds * KITH_NS_PER_S;
}

/** The beginning of a body that tells what was wrong, for people: ": " and it, printable characters only. */
static void write_detail(struct kith_slice body, char detail[DETAIL_SIZE_MAX])
{
    size_t size = 0;

    detail[0] = '\0';
    for (size_t i = 0; i < body.size && size + 1 < DETAIL_SIZE_MAX; i++) {
        if (size == 0)
            size = (size_t)snprintf(detail, DETAIL_SIZE_MAX, ": ");
        detail[size++] = body.ptr[i] >= ' ' && body.ptr[i] < 127 ? (char)body.ptr[i] : ' ';
        detail[size] = '\0';
    }
}

static void end_by_status(struct kith_pkarr_request *request, const struct kith_fetch_result *result,
                          struct kith_pkarr_answer *answer)
{
    const char *phrase = kith__http_phrase(result->status);
    char detail[DETAIL_SIZE_MAX], what[DETAIL_SIZE_MAX + 128];
    unsigned status = result->status;

    write_detail(result->body, detail);
    if (status == 404 || status == 410) {
        fail(request, answer, KITH_ERR_NOT_FOUND, "has no packet of this endpoint");
        return;
    }
    if (status == 429) {
        snprintf(what, sizeof what, "is asked too often, and wants %llu s of silence",
                 (unsigned long long)(answer->retry_after_ns / KITH_NS_PER_S));
        fail(request, answer, KITH_ERR_LIMIT,
             answer->retry_after_ns != 0 ? what : "is asked too often, and wants us to wait");
        return;
    }
    snprintf(what, sizeof what, "answered with status %u %s%s", status, phrase, detail);
    fail(request, answer,
         status == 401 || status == 403  ? KITH_ERR_PERMISSION
         : status >= 400 && status < 500 ? KITH_ERR_REFUSED
                                         : KITH_ERR_IO,
         what);
}

/* ---- The way there ---- */

static int start(struct kith_pkarr_request *request);

/** What keeps us from following a redirect to `url` from the one of the request; NULL: nothing. */
static const char *refuse_target(const struct kith_pkarr_request *request, const struct kith_url *url, int *err)
{
    *err = KITH_ERR_PERMISSION;
    if (parts_of(&request->url).is_https && !url->is_https)
        return "redirects from https to http, which is not followed";
    if (url->is_https && request->http->tls == NULL)
        return "redirects to https, but no certificates are trusted here";
    return NULL;
}

static void follow(struct kith_pkarr_request *request, uint16_t status, struct kith_slice location,
                   struct kith_pkarr_answer *answer)
{
    struct kith_buf target;
    struct kith_url url;
    const char *why;
    int err;

    if (request->redirects++ == KITH_PKARR_REDIRECTS_MAX) {
        fail(request, answer, KITH_ERR_LIMIT, "redirects again and again");
        return;
    }
    kith__buf_init(&target, request->http->rt->mem);
    if ((err = kith__url_resolve(text_of(&request->url), location, &target)) == 0)
        err = kith__buf_append_byte(&target, 0);
    if (err == 0)
        err = kith__url_split(text_of(&target), &url);
    why = err == KITH_ERR_NOMEM ? "redirects, but there is no memory to follow"
          : err != 0            ? "redirects to what is no address of a web server"
                                : refuse_target(request, &url, &err);
    if (why != NULL) {
        kith__buf_dispose(&target);
        fail(request, answer, err, why);
        return;
    }
    kith__buf_dispose(&request->url);
    request->url = target;
    if (status == 303) /* "see there": it was done, or not (RFC 9110, 15.4.4) */
        request->is_put = false;
    if ((err = start(request)) != 0)
        fail(request, answer, err, kith_strerror(err));
}

static bool is_redirect(uint16_t status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static void on_done(void *ctx, const struct kith_fetch_result *result)
{
    struct kith_pkarr_request *request = ctx;
    struct kith_pkarr_answer answer = { .err = result->err, .why = result->why, .status = result->status };
    const struct kith_http_header *location;

    request->fetch = NULL;
    if (result->status == 0) {
        end(request, &answer);
        return;
    }
    answer.retry_after_ns = retry_after(result->head);
    location = is_redirect(result->status) ? kith__http_header(result->head, "Location") : NULL;
    if (location != NULL) {
        follow(request, result->status, location->value, &answer);
    } else if (result->status >= 200 && result->status < 300) {
        if (result->err == 0)
            answer.body = result->body;
        end(request, &answer);
    } else {
        end_by_status(request, result, &answer); /* whatever the body was */
    }
}

static int start(struct kith_pkarr_request *request)
{
    struct kith_pkarr_http *http = request->http;
    uint64_t now_ns = kith__rt_now(http->rt);
    const struct kith_fetch_options options = {
        .rt = http->rt,
        .url = (const char *)request->url.ptr,
        .method = request->is_put ? "PUT" : "GET",
        .body = request->is_put ? kith__buf_slice(&request->body) : (struct kith_slice) { NULL, 0 },
        .response_size_max = KITH_PKARR_ANSWER_SIZE_MAX,
        .tls = http->tls,
        .proxy = http->proxy.host[0] != '\0' ? &http->proxy : NULL,
        .proxy_tls = http->proxy_tls,
        .limit_ns = request->deadline_ns - now_ns,
    };

    if (request->deadline_ns <= now_ns)
        return KITH_ERR_TIMEOUT;
    return kith__fetch(&options, on_done, request, &request->fetch);
}

int kith__pkarr_request(struct kith_pkarr_http *http, const struct kith_id *id, const struct kith_slice *body,
                        void (*done)(void *ctx, const struct kith_pkarr_answer *answer), void *ctx,
                        struct kith_pkarr_request **out)
{
    struct kith_pkarr_request *request = kith__alloc_zero(http->rt->mem, sizeof *request);
    uint64_t now_ns = kith__rt_now(http->rt);
    int err;

    if (request == NULL)
        return KITH_ERR_NOMEM;
    request->http = http;
    request->done = done;
    request->ctx = ctx;
    request->is_put = body != NULL;
    request->deadline_ns = now_ns + KITH_MIN(http->limit_ns, KITH_NEVER - now_ns);
    kith__buf_init(&request->url, http->rt->mem);
    kith__buf_init(&request->body, http->rt->mem);
    if ((err = write_url(http, id, &request->url)) != 0 ||
        (body != NULL && (err = kith__buf_append(&request->body, body->ptr, body->size)) != 0) ||
        (err = start(request)) != 0) {
        request_free(request);
        return err;
    }
    *out = request;
    return 0;
}
