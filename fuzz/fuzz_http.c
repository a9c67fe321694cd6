/*
 * HTTP heads and bodies. The first byte: request or response, and the size of the pieces in which the rest arrives. What
 * comes whole and what comes in pieces must be the same; slices lie inside the bytes; a head that is written from what was
 * read reads back the same.
 */
#include "base/mem.h"
#include "http/exchange.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_inside(struct kith_slice slice, const uint8_t *bytes, size_t size)
{
    KITH_ASSERT(slice.size == 0 || (slice.ptr >= bytes && slice.ptr + slice.size <= bytes + size));
}

static void check_head(const struct kith_http_head *head, const uint8_t *bytes, size_t size)
{
    uint8_t value[32];
    size_t value_size;

    KITH_ASSERT(head->size <= size && head->size <= KITH_HTTP_HEAD_SIZE_MAX);
    check_inside(head->target, bytes, head->size);
    check_inside(head->query, bytes, head->size);
    for (size_t i = 0; i < head->header_count; i++) {
        check_inside(head->headers[i].name, bytes, head->size);
        check_inside(head->headers[i].value, bytes, head->size);
    }
    if (kith__http_query_get(head->query, "token", value, sizeof value, &value_size) == 0)
        KITH_ASSERT(value_size <= sizeof value && value_size <= head->query.size);
    (void)kith__http_has_token(head, "Connection", "upgrade");
}

static bool is_same(struct kith_slice a, struct kith_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.ptr, b.ptr, a.size) == 0);
}

static void check_same(const struct kith_http_head *a, const struct kith_http_head *b)
{
    KITH_ASSERT(is_same(a->target, b->target) && is_same(a->path, b->path) && is_same(a->query, b->query));
    KITH_ASSERT(a->status == b->status && a->header_count == b->header_count);
    KITH_ASSERT(a->length == b->length && a->is_chunked == b->is_chunked);
    for (size_t i = 0; i < a->header_count; i++)
        KITH_ASSERT(is_same(a->headers[i].name, b->headers[i].name) &&
                    is_same(a->headers[i].value, b->headers[i].value));
}

/** Writes a head anew from its parts. What the parser takes and the writer does not is left out. */
static void check_written(const struct kith_http_head *head)
{
    static uint8_t text[2 * KITH_HTTP_HEAD_SIZE_MAX];
    struct kith_writer w = kith__writer(text, sizeof text);
    struct kith_http_head again;
    int err = head->kind == KITH_HTTP_REQUEST ? kith__http_write_request(&w, "GET", head->target)
                                              : kith__http_write_status(&w, head->status);

    for (size_t i = 0; i < head->header_count && err == 0; i++)
        err = kith__http_write_header_slices(&w, head->headers[i].name, head->headers[i].value);
    if (err != 0 || kith__http_write_end(&w) != 0 || kith__writer_size(&w) > KITH_HTTP_HEAD_SIZE_MAX ||
        kith__http_is(head->method, "CONNECT"))
        return;
    KITH_ASSERT(kith__http_head_parse(head->kind, text, kith__writer_size(&w), &again) == 0);
    check_same(head, &again);
}

static void run_intake(enum kith_http_kind kind, const uint8_t *bytes, size_t size, size_t step)
{
    struct kith_http_head whole, pieces;
    struct kith_http_intake intake;
    int err_whole = kith__http_head_parse(kind, bytes, size, &whole), err = KITH_ERR_AGAIN;
    size_t at = 0, used = 0;

    kith__http_intake_init(&intake, kith_mem_default(), kind);
    while (err == KITH_ERR_AGAIN && at < size) {
        size_t part = KITH_MIN(step, size - at);

        err = kith__http_intake_receive(&intake, bytes + at, part, &pieces, &used);
        at += err == 0 ? used : part;
    }
    /* In pieces an error may come out later (when an end is there, or twice as much as at the last look), or another one. */
    KITH_ASSERT((err == 0) == (err_whole == 0));
    KITH_ASSERT(intake.bytes.size <= KITH_HTTP_HEAD_SIZE_MAX);
    if (err == 0) {
        KITH_ASSERT(at == whole.size);
        check_head(&whole, bytes, size);
        check_same(&whole, &pieces);
        check_written(&whole);
    }
    kith__http_intake_dispose(&intake);
}

static void run_exchange(const uint8_t *bytes, size_t size, size_t step)
{
    const struct kith_http_exchange_options options = {
        .mem = kith_mem_default(),
        .method = step % 5 == 0 ? "HEAD" : "GET",
        .host = kith__http_text("host"),
        .response_size_max = 256,
    };
    struct kith_http_exchange exchange;
    int err = kith__http_exchange_init(&exchange, &options);

    for (size_t at = 0; at < size && err == 0; at += step)
        err = kith__http_exchange_receive(&exchange, bytes + at, KITH_MIN(step, size - at));
    if (err == 0)
        err = kith__http_exchange_end(&exchange);
    KITH_ASSERT(err != 0 || (exchange.has_head && exchange.is_done));
    KITH_ASSERT(exchange.body.size <= options.response_size_max);
    kith__http_exchange_dispose(&exchange);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    size_t step;

    if (size == 0)
        return 0;
    step = 1 + (bytes[0] >> 1) % 64;
    if (bytes[0] & 1) {
        run_intake(KITH_HTTP_RESPONSE, bytes + 1, size - 1, step);
        run_exchange(bytes + 1, size - 1, step);
    } else {
        run_intake(KITH_HTTP_REQUEST, bytes + 1, size - 1, step);
    }
    return 0;
}
