/* Writing heads. What the caller gives is checked, so that no value can forge a line of its own (RFC 9110, 5.5). */
#include "http/head.h"

#include <nettle/base64.h>
#include <string.h>

static const char token_marks[] = "!#$%&'*+-.^_`|~"; /* RFC 9110, 5.6.2: beside digits and letters */

static bool is_token_byte(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte != '\0' && strchr(token_marks, byte) != NULL);
}

static bool is_token(struct kith_slice text)
{
    for (size_t i = 0; i < text.size; i++)
        if (!is_token_byte(text.ptr[i]))
            return false;
    return text.size > 0;
}

/** True if all bytes are visible, or above ASCII, or blank where blanks are allowed. */
static bool is_clean(struct kith_slice text, bool takes_blanks)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.ptr[i];

        if (byte == 127 || byte < ' ' ? !(takes_blanks && byte == '\t') : byte == ' ' && !takes_blanks)
            return false;
    }
    return true;
}

/** Writes the pieces or nothing. */
static int write_line(struct kith_writer *w, const struct kith_slice *pieces, size_t count)
{
    struct kith_writer line = *w;

    for (size_t i = 0; i < count; i++)
        if (kith__write_bytes(&line, pieces[i].ptr, pieces[i].size) != 0)
            return KITH_ERR_TOO_LARGE;
    *w = line;
    return 0;
}

int kith__http_write_request(struct kith_writer *w, const char *method, struct kith_slice target)
{
    const struct kith_slice line[] = { kith__http_text(method), kith__http_text(" "), target,
                                       kith__http_text(" HTTP/1.1\r\n") };

    if (!is_token(line[0]) || target.size == 0 || !is_clean(target, false))
        return KITH_ERR_INVALID;
    return write_line(w, line, KITH_COUNT(line));
}

const char *kith__http_phrase(uint16_t status)
{
    const char *phrase = http_status_str((enum http_status)status);

    return phrase[0] == '<' ? "Unknown" : phrase;
}

int kith__http_write_status(struct kith_writer *w, uint16_t status)
{
    const char number[] = { (char)('0' + status / 100 % 10), (char)('0' + status / 10 % 10), (char)('0' + status % 10),
                            ' ', '\0' };
    const struct kith_slice line[] = { kith__http_text("HTTP/1.1 "), kith__http_text(number),
                                       kith__http_text(kith__http_phrase(status)), kith__http_text("\r\n") };

    return status < 100 || status > 999 ? KITH_ERR_INVALID : write_line(w, line, KITH_COUNT(line));
}

int kith__http_write_header_slices(struct kith_writer *w, struct kith_slice name, struct kith_slice value)
{
    const struct kith_slice line[] = { name, kith__http_text(": "), value, kith__http_text("\r\n") };

    if (!is_token(name) || !is_clean(value, true))
        return KITH_ERR_INVALID;
    return write_line(w, line, KITH_COUNT(line));
}

int kith__http_write_header(struct kith_writer *w, const char *name, struct kith_slice value)
{
    return kith__http_write_header_slices(w, kith__http_text(name), value);
}

int kith__http_write_header_text(struct kith_writer *w, const char *name, const char *value)
{
    return kith__http_write_header(w, name, kith__http_text(value));
}

int kith__http_write_header_number(struct kith_writer *w, const char *name, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    return kith__http_write_header(w, name, (struct kith_slice) { (const uint8_t *)digits + at, sizeof digits - at });
}

int kith__http_write_basic(struct kith_writer *w, const char *name, struct kith_slice credentials)
{
    char value[6 + BASE64_ENCODE_RAW_LENGTH(KITH_HTTP_CREDENTIALS_MAX)] = "Basic ";

    if (credentials.size > KITH_HTTP_CREDENTIALS_MAX)
        return KITH_ERR_TOO_LARGE;
    base64_encode_raw(value + 6, credentials.size, credentials.ptr);
    return kith__http_write_header(
        w, name, (struct kith_slice) { (const uint8_t *)value, 6 + BASE64_ENCODE_RAW_LENGTH(credentials.size) });
}

int kith__http_write_end(struct kith_writer *w)
{
    return kith__write_bytes(w, "\r\n", 2);
}
