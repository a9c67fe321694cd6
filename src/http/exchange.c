/* One request and its response. */
#include "http/exchange.h"

#include "base/assert.h"

#include <string.h>

static int write_head(struct kith_writer *w, const struct kith_http_exchange_options *options)
{
    bool has_body = options->body.size > 0 || strcmp(options->method, "POST") == 0 ||
                    strcmp(options->method, "PUT") == 0;
    struct kith_slice target = options->target.size > 0 ? options->target : kith__http_text("/");
    int err;

    if ((err = kith__http_write_request(w, options->method, target)) != 0 ||
        (err = kith__http_write_header(w, "Host", options->host)) != 0 ||
        (err = kith__http_write_header_text(w, "Connection", "close")) != 0)
        return err;
    if (!options->has_own_accept && (err = kith__http_write_header_text(w, "Accept", "*/*")) != 0)
        return err;
    if (has_body && (err = kith__http_write_header_number(w, "Content-Length", options->body.size)) != 0)
        return err;
    for (size_t i = 0; i < options->header_count; i++)
        if ((err = kith__http_write_header_slices(w, options->headers[i].name, options->headers[i].value)) != 0)
            return err;
    return kith__http_write_end(w);
}

int kith__http_exchange_init(struct kith_http_exchange *exchange, const struct kith_http_exchange_options *options)
{
    uint8_t bytes[KITH_HTTP_HEAD_SIZE_MAX];
    struct kith_writer w = kith__writer(bytes, sizeof bytes);
    int err;

    memset(exchange, 0, sizeof *exchange);
    if ((err = write_head(&w, options)) != 0)
        return err;
    kith__buf_init(&exchange->request, options->mem);
    kith__buf_init(&exchange->kept, options->mem);
    kith__buf_init(&exchange->body, options->mem);
    kith__http_intake_init(&exchange->intake, options->mem, KITH_HTTP_RESPONSE);
    exchange->response_size_max = options->response_size_max;
    exchange->is_head_request = strcmp(options->method, "HEAD") == 0;
    if (kith__buf_reserve(&exchange->request, kith__writer_size(&w) + options->body.size) != 0)
        return KITH_ERR_NOMEM;
    err = kith__buf_append(&exchange->request, bytes, kith__writer_size(&w));
    if (err == 0 && options->body.size > 0)
        err = kith__buf_append(&exchange->request, options->body.ptr, options->body.size);
    KITH_ASSERT(err == 0);
    return 0;
}

void kith__http_exchange_dispose(struct kith_http_exchange *exchange)
{
    kith__buf_dispose(&exchange->request);
    kith__http_intake_dispose(&exchange->intake);
    kith__buf_dispose(&exchange->kept);
    kith__buf_dispose(&exchange->body);
}

/** The final head: it must outlive what was received, so it is parsed once more where it stays. */
static int keep_head(struct kith_http_exchange *exchange, const struct kith_http_head *head, const uint8_t *bytes)
{
    int err;

    if (kith__buf_append(&exchange->kept, bytes, head->size) != 0)
        return KITH_ERR_NOMEM;
    err = kith__http_head_parse(KITH_HTTP_RESPONSE, exchange->kept.ptr, exchange->kept.size, &exchange->head);
    KITH_ASSERT(err == 0);
    exchange->has_head = true;
    if ((err = kith__http_body_init(&exchange->reader, &exchange->head, exchange->is_head_request,
                                    exchange->response_size_max)) != 0)
        return err;
    exchange->is_done = exchange->reader.is_done;
    return 0;
}

/** Takes bytes up to the end of a head. An interim one (RFC 9110, 15.2) is skipped; 101 would be an upgrade: final. */
static int receive_head(struct kith_http_exchange *exchange, const uint8_t *bytes, size_t size, size_t *used)
{
    struct kith_http_head *head = &exchange->head;
    bool was_empty = exchange->intake.bytes.size == 0;
    int err = kith__http_intake_receive(&exchange->intake, bytes, size, head, used);

    if (err != 0)
        return err;
    if (head->status >= 200 || head->status == 101)
        err = keep_head(exchange, head, was_empty ? bytes : exchange->intake.bytes.ptr);
    else if (++exchange->interim_count > KITH_HTTP_INTERIM_MAX)
        err = KITH_ERR_PARSE;
    kith__http_intake_dispose(&exchange->intake);
    return err;
}

int kith__http_exchange_receive(struct kith_http_exchange *exchange, const uint8_t *bytes, size_t size)
{
    size_t used = 0;
    int err;

    while (!exchange->has_head) {
        if ((err = receive_head(exchange, bytes, size, &used)) != 0)
            return err == KITH_ERR_AGAIN ? 0 : err;
        bytes += used;
        size -= used;
    }
    if (exchange->is_done)
        return 0;
    err = kith__http_body_receive(&exchange->reader, bytes, size, &exchange->body, &used);
    exchange->is_done = err == 0 && exchange->reader.is_done;
    return err;
}

int kith__http_exchange_end(struct kith_http_exchange *exchange)
{
    if (exchange->is_done)
        return 0;
    if (!exchange->has_head || kith__http_body_end(&exchange->reader) != 0)
        return KITH_ERR_TRUNCATED;
    exchange->is_done = true;
    return 0;
}
