/* The few bytes of HTTP/3 that `plain` needs. RFC 9114, 7; RFC 9204, 4.5 with static table only and without Huffman codes. */
#include "codec/varint.h"
#include "plain.h"

#include <string.h>

enum { FRAME_DATA = 0, FRAME_HEADERS = 1, NAME_SIZE_MAX = 100 };

const uint8_t plain_control[3] = { 0x00, 0x04, 0x00 };

static int append_frame(struct kith_buf *buf, uint64_t type, const void *bytes, size_t size)
{
    uint8_t head[16];
    size_t head_size = kith__varint_encode(type, head);
    int err;

    head_size += kith__varint_encode(size, head + head_size);
    if ((err = kith__buf_append(buf, head, head_size)) != 0)
        return err;
    return kith__buf_append(buf, bytes, size);
}

/* A field whose name is an entry below 15 of the static table, with a literal value. */
static size_t write_field(uint8_t *out, uint8_t entry, const char *value)
{
    size_t size = strlen(value);

    out[0] = 0x50 | entry;
    out[1] = (uint8_t)size;
    memcpy(out + 2, value, size);
    return 2 + size;
}

int plain_write_request(struct kith_buf *buf, const char *host, const char *path, struct kith_slice body)
{
    enum { AUTHORITY = 0, PATH = 1, METHOD_GET = 0xc0 | 17, METHOD_POST = 0xc0 | 20, SCHEME_HTTPS = 0xc0 | 23 };
    uint8_t fields[4 + 2 * (2 + NAME_SIZE_MAX)] = { 0, 0, body.size != 0 ? METHOD_POST : METHOD_GET, SCHEME_HTTPS };
    size_t size = 4;
    int err;

    if (strlen(host) > NAME_SIZE_MAX || strlen(path) > NAME_SIZE_MAX)
        return KITH_ERR_INVALID;
    size += write_field(fields + size, AUTHORITY, host);
    size += write_field(fields + size, PATH, path);
    if ((err = append_frame(buf, FRAME_HEADERS, fields, size)) != 0)
        return err;
    return body.size != 0 ? append_frame(buf, FRAME_DATA, body.ptr, body.size) : 0;
}

int plain_write_response(struct kith_buf *buf, struct kith_slice body)
{
    static const uint8_t fields[] = { 0, 0, 0xc0 | 25 }; /* :status 200 */
    int err = append_frame(buf, FRAME_HEADERS, fields, sizeof fields);

    return err != 0 || body.size == 0 ? err : append_frame(buf, FRAME_DATA, body.ptr, body.size);
}

/* Adds one byte to the frame header; true when it is whole. */
static bool take_head(struct plain_request *request, uint8_t byte)
{
    size_t type_size, length_size;

    request->head[request->head_size++] = byte;
    type_size = kith__varint_decode(request->head, request->head_size, &request->frame_type);
    if (type_size == 0)
        return false;
    length_size = kith__varint_decode(request->head + type_size, request->head_size - type_size, &request->frame_left);
    if (length_size == 0)
        request->frame_left = 0;
    else
        request->head_size = 0;
    return length_size != 0;
}

int plain_frames(struct plain_request *request, const uint8_t *bytes, size_t size)
{
    while (size != 0) {
        size_t part;

        if (request->frame_left == 0) {
            (void)take_head(request, *bytes++);
            size--;
            continue;
        }
        part = size < request->frame_left ? size : (size_t)request->frame_left;
        if (request->frame_type == FRAME_DATA && kith__buf_append(&request->body, bytes, part) != 0)
            return KITH_ERR_NOMEM;
        request->frame_left -= part;
        bytes += part;
        size -= part;
    }
    return 0;
}
