/* HTTP bodies: libhttp-parser goes on where the head ended. */
#include "http/body.h"

#include "base/assert.h"

/** One call under way: where the callbacks write. */
struct decode {
    struct kith_http_body *body;
    struct kith_buf *out;
    int err;
};

static int on_body(struct http_parser *parser, const char *at, size_t size)
{
    struct decode *decode = parser->data;

    if (size > decode->body->size_max - decode->body->size)
        decode->err = KITH_ERR_TOO_LARGE;
    else
        decode->err = kith__buf_append(decode->out, at, size);
    if (decode->err == 0)
        decode->body->size += size;
    return decode->err != 0;
}

static int on_message_complete(struct http_parser *parser)
{
    struct decode *decode = parser->data;

    decode->body->is_done = true;
    http_parser_pause(parser, 1); /* the next message is not ours to look at */
    return 0;
}

static const struct http_parser_settings settings = { .on_body = on_body, .on_message_complete = on_message_complete };

static int run(struct kith_http_body *body, const char *bytes, size_t size, struct kith_buf *out, size_t *used)
{
    struct decode decode = { .body = body, .out = out };
    size_t done;

    body->parser.data = &decode;
    done = http_parser_execute(&body->parser, &settings, bytes, size);
    body->parser.data = NULL;
    if (decode.err != 0)
        return decode.err;
    if (!body->is_done && HTTP_PARSER_ERRNO(&body->parser) != HPE_OK)
        return KITH_ERR_PARSE;
    *used = done;
    return 0;
}

int kith__http_body_init(struct kith_http_body *body, const struct kith_http_head *head, bool is_without,
                         uint64_t size_max)
{
    size_t used;

    *body = (struct kith_http_body) { .parser = head->parser, .size_max = size_max };
    if (head->kind == KITH_HTTP_RESPONSE && (head->status < 200 || head->status == 204 || head->status == 304))
        is_without = true; /* RFC 9112, 6.3; the library would believe a Content-Length */
    if (is_without)
        body->parser.flags |= F_SKIPBODY;
    else if (head->has_length && head->length > size_max)
        return KITH_ERR_TOO_LARGE;
    http_parser_pause(&body->parser, 0);
    return run(body, "\n", 1, NULL, &used); /* the parser stands before the head's last line feed */
}

int kith__http_body_receive(struct kith_http_body *body, const uint8_t *bytes, size_t size, struct kith_buf *out,
                            size_t *used)
{
    *used = 0;
    return body->is_done || size == 0 ? 0 : run(body, (const char *)bytes, size, out, used);
}

int kith__http_body_end(struct kith_http_body *body)
{
    size_t used;

    if (!body->is_done && (run(body, NULL, 0, NULL, &used) != 0 || !body->is_done))
        return KITH_ERR_TRUNCATED;
    return 0;
}
