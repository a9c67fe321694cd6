/*
 * HTTP heads. libhttp-parser walks the grammar in one pass over contiguous bytes, so that every name and value is one span
 * of them; what it is more lenient about than a server should be is checked here.
 */
#include "http/head.h"
#include "codec/percent.h"

#include "base/assert.h"

#include <string.h>

/** One parse under way: where the callbacks write. */
struct parse {
    struct kith_http_head *head;
    bool is_value, is_too_large, is_complete;
};

static struct parse *parse_of(struct http_parser *parser)
{
    return parser->data;
}

static void extend(struct kith_slice *slice, const char *at, size_t size)
{
    if (slice->size == 0)
        slice->ptr = (const uint8_t *)at;
    slice->size += size;
}

static int on_url(struct http_parser *parser, const char *at, size_t size)
{
    extend(&parse_of(parser)->head->target, at, size);
    return 0;
}

static int on_field(struct http_parser *parser, const char *at, size_t size)
{
    struct parse *parse = parse_of(parser);
    struct kith_http_head *head = parse->head;

    if (head->header_count == KITH_HTTP_HEADERS_MAX) {
        parse->is_too_large = true;
        return 1;
    }
    parse->is_value = false;
    head->headers[head->header_count++] = (struct kith_http_header) { .name = { (const uint8_t *)at, size } };
    return 0;
}

static int on_value(struct http_parser *parser, const char *at, size_t size)
{
    struct parse *parse = parse_of(parser);
    struct kith_http_header *header = &parse->head->headers[parse->head->header_count - 1];

    KITH_ASSERT(parse->head->header_count > 0);
    if (parse->is_value) /* the second piece of one value: the line was folded */
        return 1;
    parse->is_value = true;
    while (size > 0 && (at[size - 1] == ' ' || at[size - 1] == '\t'))
        size--;
    header->value = (struct kith_slice) { (const uint8_t *)at, size };
    return 0;
}

static int on_headers_complete(struct http_parser *parser)
{
    parse_of(parser)->is_complete = true;
    http_parser_pause(parser, 1);
    return 0;
}

static const struct http_parser_settings settings = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_headers_complete,
};

/**
 * False for what other parsers may read otherwise: a value that begins on a later line than its name, one with control
 * characters, a name with spaces.
 */
static bool is_header_clear(const struct kith_http_header *header)
{
    const uint8_t *name_end = header->name.ptr + header->name.size;

    if (header->name.size == 0 || memchr(header->name.ptr, ' ', header->name.size) != NULL)
        return false;
    for (size_t i = 0; i < header->value.size; i++)
        if ((header->value.ptr[i] < ' ' && header->value.ptr[i] != '\t') || header->value.ptr[i] == 127)
            return false;
    return header->value.size == 0 || memchr(name_end, '\n', (size_t)(header->value.ptr - name_end)) == NULL;
}

/** False if there is a zero, or a carriage return that ends no line: the library takes some of them for line ends. */
static bool are_lines_clear(const uint8_t *bytes, size_t size)
{
    const uint8_t *at = bytes, *end = bytes + size;

    if (memchr(bytes, '\0', size) != NULL)
        return false;
    while ((at = memchr(at, '\r', (size_t)(end - at))) != NULL)
        if (++at == end || *at != '\n')
            return false;
    return true;
}

/** Path and query of the target: of an absolute one without scheme and host, of CONNECT's none. */
static void split_target(struct kith_http_head *head)
{
    struct http_parser_url url;

    http_parser_url_init(&url);
    if (head->parser.method == HTTP_CONNECT ||
        http_parser_parse_url((const char *)head->target.ptr, head->target.size, 0, &url) != 0)
        return;
    if (url.field_set & 1u << UF_PATH)
        head->path = (struct kith_slice) { head->target.ptr + url.field_data[UF_PATH].off,
                                           url.field_data[UF_PATH].len };
    else
        head->path = kith__http_text("/");
    if (url.field_set & 1u << UF_QUERY)
        head->query = (struct kith_slice) { head->target.ptr + url.field_data[UF_QUERY].off,
                                            url.field_data[UF_QUERY].len };
}

static int finish(struct kith_http_head *head)
{
    const struct http_parser *parser = &head->parser;
    const struct kith_http_header *coding;

    if (parser->http_major != 1 || parser->http_minor > 1)
        return KITH_ERR_VERSION;
    for (size_t i = 0; i < head->header_count; i++)
        if (!is_header_clear(&head->headers[i]))
            return KITH_ERR_PARSE;
    head->minor_version = (uint8_t)parser->http_minor;
    head->is_chunked = (parser->flags & F_CHUNKED) != 0;
    /* We decode no other coding, and without chunked a request has no known end (RFC 9112, 6.3). */
    coding = kith__http_header(head, "Transfer-Encoding");
    if (coding != NULL && (!head->is_chunked || !kith__http_is_nocase(coding->value, "chunked") ||
                           kith__http_header_next(head, "Transfer-Encoding", coding) != NULL))
        return KITH_ERR_PARSE;
    head->has_length = (parser->flags & F_CONTENTLENGTH) != 0;
    head->length = head->has_length ? parser->content_length : 0;
    head->keeps_alive = http_should_keep_alive(parser) != 0;
    if (head->kind == KITH_HTTP_RESPONSE) {
        head->status = (uint16_t)parser->status_code;
        return head->status >= 100 && head->status <= 999 ? 0 : KITH_ERR_PARSE;
    }
    head->method = kith__http_text(http_method_str((enum http_method)parser->method));
    split_target(head);
    return 0;
}

int kith__http_head_parse(enum kith_http_kind kind, const uint8_t *bytes, size_t size, struct kith_http_head *out)
{
    struct parse parse = { .head = out };
    size_t seen = KITH_MIN(size, (size_t)KITH_HTTP_HEAD_SIZE_MAX), used;

    if (size == 0)
        return KITH_ERR_AGAIN;
    memset(out, 0, offsetof(struct kith_http_head, headers));
    out->kind = (uint8_t)kind;
    http_parser_init(&out->parser, kind == KITH_HTTP_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE);
    out->parser.data = &parse;
    used = http_parser_execute(&out->parser, &settings, (const char *)bytes, seen);
    out->parser.data = NULL;
    if (parse.is_complete) {
        out->size = used + 1; /* the parser stands before the last line feed */
        return are_lines_clear(bytes, out->size) ? finish(out) : KITH_ERR_PARSE;
    }
    if (parse.is_too_large)
        return KITH_ERR_TOO_LARGE;
    if (HTTP_PARSER_ERRNO(&out->parser) != HPE_OK)
        return KITH_ERR_PARSE;
    return size >= KITH_HTTP_HEAD_SIZE_MAX ? KITH_ERR_TOO_LARGE : KITH_ERR_AGAIN;
}

/* ---- Looking things up ---- */

struct kith_slice kith__http_text(const char *text)
{
    return (struct kith_slice) { (const uint8_t *)text, strlen(text) };
}

bool kith__http_is(struct kith_slice slice, const char *text)
{
    size_t size = strlen(text);

    return slice.size == size && (size == 0 || memcmp(slice.ptr, text, size) == 0);
}

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + ('a' - 'A')) : byte;
}

bool kith__http_is_nocase(struct kith_slice slice, const char *text)
{
    size_t i;

    for (i = 0; i < slice.size && text[i] != '\0'; i++)
        if (lower(slice.ptr[i]) != lower((uint8_t)text[i]))
            return false;
    return i == slice.size && text[i] == '\0';
}

const struct kith_http_header *kith__http_header_next(const struct kith_http_head *head, const char *name,
                                                      const struct kith_http_header *before)
{
    for (size_t i = before != NULL ? (size_t)(before - head->headers) + 1 : 0; i < head->header_count; i++)
        if (kith__http_is_nocase(head->headers[i].name, name))
            return &head->headers[i];
    return NULL;
}

const struct kith_http_header *kith__http_header(const struct kith_http_head *head, const char *name)
{
    return kith__http_header_next(head, name, NULL);
}

static bool is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

bool kith__http_list_next(struct kith_slice *list, struct kith_slice *out)
{
    while (list->size > 0) {
        const uint8_t *comma = memchr(list->ptr, ',', list->size);
        struct kith_slice part = { list->ptr, comma != NULL ? (size_t)(comma - list->ptr) : list->size };
        size_t step = comma != NULL ? part.size + 1 : part.size;

        list->ptr += step;
        list->size -= step;
        for (; part.size > 0 && is_space(part.ptr[0]); part.size--)
            part.ptr++;
        while (part.size > 0 && is_space(part.ptr[part.size - 1]))
            part.size--;
        if (part.size > 0) {
            *out = part;
            return true;
        }
    }
    return false;
}

bool kith__http_has_token(const struct kith_http_head *head, const char *name, const char *token)
{
    const struct kith_http_header *header = NULL;

    while ((header = kith__http_header_next(head, name, header)) != NULL) {
        struct kith_slice list = header->value, element;

        while (kith__http_list_next(&list, &element))
            if (kith__http_is_nocase(element, token))
                return true;
    }
    return false;
}

/* ---- Queries ---- */

/** Takes one decoded byte off an encoded text that is not empty. */
static uint8_t decode_next(struct kith_slice *text, bool is_form)
{
    bool is_space = is_form && text->ptr[0] == '+';
    uint8_t byte = kith__percent_take(text);

    return is_space ? ' ' : byte;
}

static bool decodes_to(struct kith_slice encoded, const char *name)
{
    for (; encoded.size > 0; name++)
        if (*name == '\0' || decode_next(&encoded, true) != (uint8_t)*name)
            return false;
    return *name == '\0';
}

int kith__http_percent_decode(struct kith_slice text, bool is_form, uint8_t *out, size_t cap, size_t *size)
{
    size_t done = 0;

    while (text.size > 0) {
        uint8_t byte = decode_next(&text, is_form);

        if (done == cap)
            return KITH_ERR_TOO_LARGE;
        out[done++] = byte;
    }
    *size = done;
    return 0;
}

int kith__http_query_get(struct kith_slice query, const char *name, uint8_t *out, size_t cap, size_t *size)
{
    while (query.size > 0) {
        const uint8_t *and = memchr(query.ptr, '&', query.size);
        struct kith_slice pair = { query.ptr, and != NULL ? (size_t)(and-query.ptr) : query.size };
        const uint8_t *equals = pair.size > 0 ? memchr(pair.ptr, '=', pair.size) : NULL;
        struct kith_slice key = { pair.ptr, equals != NULL ? (size_t)(equals - pair.ptr) : pair.size };
        size_t step = and != NULL ? pair.size + 1 : pair.size;

        if (pair.size > 0 && decodes_to(key, name)) {
            struct kith_slice value = { pair.ptr, 0 };

            if (equals != NULL)
                value = (struct kith_slice) { equals + 1, pair.size - key.size - 1 };
            return kith__http_percent_decode(value, true, out, cap, size);
        }
        query.ptr += step;
        query.size -= step;
    }
    return KITH_ERR_NOT_FOUND;
}

/* ---- A head in pieces ---- */

void kith__http_intake_init(struct kith_http_intake *intake, const struct kith_mem *mem, enum kith_http_kind kind)
{
    *intake = (struct kith_http_intake) { .kind = (uint8_t)kind };
    kith__buf_init(&intake->bytes, mem);
}

void kith__http_intake_dispose(struct kith_http_intake *intake)
{
    kith__buf_dispose(&intake->bytes);
    intake->scanned = intake->parse_at = 0;
}

/** True if a blank line ends in bytes[from, size). */
static bool has_end(const uint8_t *bytes, size_t size, size_t from)
{
    const uint8_t *at = bytes + from, *end = bytes + size;

    while (at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        size_t before = (size_t)(at - bytes);

        if (before >= 1 &&
            (bytes[before - 1] == '\n' || (before >= 2 && bytes[before - 1] == '\r' && bytes[before - 2] == '\n')))
            return true;
        at++;
    }
    return false;
}

/** True if a parse may tell something new: there is an end, or much more than at the last one. */
static bool is_parse_due(struct kith_http_intake *intake)
{
    bool is_due = has_end(intake->bytes.ptr, intake->bytes.size, intake->scanned) ||
                  intake->bytes.size >= intake->parse_at || intake->bytes.size == KITH_HTTP_HEAD_SIZE_MAX;

    intake->scanned = intake->bytes.size;
    if (is_due)
        intake->parse_at = 2 * intake->bytes.size;
    return is_due;
}

int kith__http_intake_receive(struct kith_http_intake *intake, const uint8_t *bytes, size_t size,
                              struct kith_http_head *out, size_t *used)
{
    size_t before = intake->bytes.size;
    int err;

    if (size == 0)
        return KITH_ERR_AGAIN;
    if (before == 0) {
        if ((err = kith__http_head_parse(intake->kind, bytes, size, out)) == 0)
            *used = out->size;
        if (err != KITH_ERR_AGAIN)
            return err;
        intake->scanned = size;
        intake->parse_at = 2 * size;
        return kith__buf_append(&intake->bytes, bytes, size) != 0 ? KITH_ERR_NOMEM : KITH_ERR_AGAIN;
    }
    if (kith__buf_append(&intake->bytes, bytes, KITH_MIN(size, (size_t)KITH_HTTP_HEAD_SIZE_MAX - before)) != 0)
        return KITH_ERR_NOMEM;
    if (!is_parse_due(intake))
        return KITH_ERR_AGAIN;
    if ((err = kith__http_head_parse(intake->kind, intake->bytes.ptr, intake->bytes.size, out)) == 0)
        *used = out->size - before;
    return err;
}
