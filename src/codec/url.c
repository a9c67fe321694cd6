#include "codec/url.h"

#include "codec/cursor.h"
#include "codec/postcard.h"
#include "codec/url_host.h"

/** Schemes whose URLs have a host and a path of segments, with their default ports. */
static const struct scheme {
    const char *name;
    uint16_t port;
} schemes[] = { { "http", 80 }, { "https", 443 }, { "ws", 80 }, { "wss", 443 }, { "ftp", 21 } };

/** Text from `at` to `end`. */
struct text {
    const char *at, *end;
};

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

/** Takes characters up to the first that is in `stops`. */
static struct text take_until(struct text *from, const char *stops)
{
    struct text out = { from->at, from->at };

    while (out.end < from->end && !is_one_of(*out.end, stops))
        out.end++;
    from->at = out.end;
    return out;
}

/** Writes text; characters outside printable ASCII and those in `also` as %41. */
static int write_encoded(struct kith_writer *w, struct text text, const char *also)
{
    static const char digits[] = "0123456789ABCDEF";

    for (; text.at < text.end; text.at++) {
        uint8_t c = (uint8_t)*text.at;
        uint8_t encoded[3] = { '%', (uint8_t)digits[c >> 4], (uint8_t)digits[c & 15] };
        bool as_is = c >= 0x20 && c < 0x7f && strchr(also, c) == NULL;
        int err = as_is ? kith__write_u8(w, c) : kith__write_bytes(w, encoded, 3);

        if (err != 0)
            return err;
    }
    return 0;
}

/** Spaces and control characters around a URL, and tabs and line ends anywhere in it, are not part of it. */
static size_t clean(const char *text, size_t size, char *out)
{
    size_t out_size = 0;

    while (size != 0 && (uint8_t)text[size - 1] <= ' ')
        size--;
    for (size_t i = 0; i < size; i++)
        if (text[i] != '\t' && text[i] != '\n' && text[i] != '\r' && (out_size != 0 || (uint8_t)text[i] > ' '))
            out[out_size++] = text[i];
    return out_size;
}

/** Takes and writes "scheme:" in lower case. *scheme is NULL if we know nothing about it. */
static int take_scheme(struct text *rest, struct kith_writer *w, const struct scheme **scheme)
{
    size_t size;
    int err;

    for (; rest->at < rest->end && *rest->at != ':'; rest->at++) {
        char c = *rest->at;
        char lower = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
        bool is_letter = lower >= 'a' && lower <= 'z';

        if (!is_letter && (kith__writer_size(w) == 0 || !((c >= '0' && c <= '9') || is_one_of(c, "+-."))))
            return KITH_ERR_PARSE;
        if ((err = kith__write_u8(w, (uint8_t)lower)) != 0)
            return err;
    }
    size = kith__writer_size(w);
    if (rest->at == rest->end || size == 0)
        return KITH_ERR_PARSE;
    rest->at++;
    *scheme = NULL;
    for (size_t i = 0; i < KITH_COUNT(schemes); i++)
        if (strlen(schemes[i].name) == size && memcmp(schemes[i].name, w->begin, size) == 0)
            *scheme = &schemes[i];
    return kith__write_u8(w, ':');
}

/** "user:password" before the last "@" of an authority; nothing is written if both are empty. */
static int write_credentials(struct kith_writer *w, struct text credentials)
{
    static const char also[] = " \"#<>?`{}/:;=@[\\]^|";
    struct text user = take_until(&credentials, ":");
    int err;

    if (credentials.at < credentials.end)
        credentials.at++;
    if (user.at == user.end && credentials.at == credentials.end)
        return 0;
    if ((err = write_encoded(w, user, also)) != 0)
        return err;
    if (credentials.at < credentials.end &&
        ((err = kith__write_u8(w, ':')) != 0 || (err = write_encoded(w, credentials, also)) != 0))
        return err;
    return kith__write_u8(w, '@');
}

/** Digits of a port (may be none), written unless it is the default. */
static int write_port(struct kith_writer *w, struct text digits, uint16_t otherwise)
{
    uint32_t port = digits.at == digits.end ? otherwise : 0;
    char formatted[6];
    size_t size = sizeof formatted;

    for (; digits.at < digits.end; digits.at++) {
        if (*digits.at < '0' || *digits.at > '9')
            return KITH_ERR_PARSE;
        port = port * 10 + (uint32_t)(*digits.at - '0');
        if (port > UINT16_MAX)
            return KITH_ERR_PARSE;
    }
    if (port == otherwise)
        return 0;
    do
        formatted[--size] = (char)('0' + port % 10);
    while ((port /= 10) != 0);
    formatted[--size] = ':';
    return kith__write_bytes(w, formatted + size, sizeof formatted - size);
}

static int write_authority(struct kith_writer *w, struct text authority, uint16_t default_port)
{
    struct text host = authority;
    const char *port = authority.end;
    bool in_brackets = false;
    int err;

    for (const char *p = authority.at; p < authority.end; p++)
        if (*p == '@')
            host.at = p + 1;
    for (const char *p = host.at; p < host.end && port == host.end; p++) {
        if (*p == '[' || *p == ']')
            in_brackets = *p == '[';
        else if (*p == ':' && !in_brackets)
            port = p;
    }
    host.end = port;
    if (host.at != authority.at && (err = write_credentials(w, (struct text) { authority.at, host.at - 1 })) != 0)
        return err;
    if ((err = kith__url_host_normalise(host.at, (size_t)(host.end - host.at), w)) != 0)
        return err;
    return write_port(w, (struct text) { port < authority.end ? port + 1 : port, authority.end }, default_port);
}

/** Counts the dots of a segment that is nothing but dots, some perhaps written as %2e: 1 or 2; else 0. */
static int count_dots(struct text segment)
{
    int dots = 0;

    while (segment.at < segment.end) {
        if (*segment.at == '.')
            segment.at++;
        else if (segment.end - segment.at >= 3 && memcmp(segment.at, "%2", 2) == 0 && is_one_of(segment.at[2], "eE"))
            segment.at += 3;
        else
            return 0;
        dots++;
    }
    return dots <= 2 ? dots : 0;
}

/** Writes a path without its "." and ".." segments. */
static int write_path(struct kith_writer *w, struct text path)
{
    uint8_t *begin = w->at;
    bool is_last = false;
    int err;

    if (path.at < path.end)
        path.at++; /* the first slash: each segment below writes its own */
    while (!is_last) {
        struct text segment = take_until(&path, "/\\");
        int dots = count_dots(segment);

        is_last = path.at == path.end;
        path.at += !is_last;
        if (dots == 2 && w->at > begin)
            while (*--w->at != '/')
                continue;
        if (dots != 0 && !is_last)
            continue;
        if ((err = kith__write_u8(w, '/')) != 0)
            return err;
        if (dots == 0 && (err = write_encoded(w, segment, " \"#<>?`{}")) != 0)
            return err;
    }
    return 0;
}

/** What follows the scheme of a URL with a host. */
static int write_special(struct kith_writer *w, struct text rest, uint16_t default_port)
{
    int err;

    while (rest.at < rest.end && is_one_of(*rest.at, "/\\"))
        rest.at++;
    if ((err = kith__write_bytes(w, "//", 2)) != 0)
        return err;
    if ((err = write_authority(w, take_until(&rest, "/\\?#"), default_port)) != 0)
        return err;
    if ((err = write_path(w, take_until(&rest, "?#"))) != 0)
        return err;
    if (rest.at < rest.end && *rest.at == '?' && (err = write_encoded(w, take_until(&rest, "#"), " \"#<>'")) != 0)
        return err;
    return write_encoded(w, rest, " \"<>`");
}

int kith__url_normalise(const char *text, size_t size, struct kith_buf *out)
{
    char cleaned[KITH_URL_SIZE_MAX + 1];
    uint8_t normalised[KITH_URL_SIZE_MAX];
    struct kith_writer w = kith__writer(normalised, sizeof normalised);
    const struct scheme *scheme = NULL;
    struct text rest;
    int err;

    if (size > KITH_URL_SIZE_MAX)
        return KITH_ERR_TOO_LARGE;
    if (!kith__utf8_is_valid((const uint8_t *)text, size))
        return KITH_ERR_PARSE;
    rest = (struct text) { cleaned, cleaned + clean(text, size, cleaned) };
    if ((err = take_scheme(&rest, &w, &scheme)) != 0)
        return err;
    err = scheme != NULL ? write_special(&w, rest, scheme->port) : write_encoded(&w, rest, "");
    return err != 0 ? err : kith__buf_append(out, normalised, kith__writer_size(&w));
}

/** Steps over `prefix` if the text begins with it. */
static bool take_prefix(struct text *rest, const char *prefix)
{
    size_t size = strlen(prefix);

    if ((size_t)(rest->end - rest->at) < size || memcmp(rest->at, prefix, size) != 0)
        return false;
    rest->at += size;
    return true;
}

static struct kith_slice slice_of(struct text text)
{
    return (struct kith_slice) { (const uint8_t *)text.at, (size_t)(text.end - text.at) };
}

int kith__url_split(struct kith_slice text, struct kith_url *out)
{
    struct kith_reader bytes = kith__reader_of_slice(text);
    struct text rest = { (const char *)bytes.at, (const char *)bytes.end };
    struct text authority, host, userinfo = { NULL, NULL };
    struct kith_url url = { .port = 80 };
    uint32_t port = 0;

    if (take_prefix(&rest, "https://"))
        url = (struct kith_url) { .is_https = true, .port = 443 };
    else if (!take_prefix(&rest, "http://"))
        return KITH_ERR_UNSUPPORTED;
    authority = take_until(&rest, "/?#");
    for (const char *p = authority.at, *begin = p; p < authority.end; p++)
        if (*p == '@') {
            userinfo = (struct text) { begin, p };
            authority.at = p + 1;
        }
    url.userinfo = slice_of(userinfo);
    url.is_ip_v6 = take_prefix(&authority, "[");
    host = take_until(&authority, url.is_ip_v6 ? "]" : ":");
    if (host.at == host.end || (url.is_ip_v6 && !take_prefix(&authority, "]")))
        return KITH_ERR_PARSE;
    if (take_prefix(&authority, ":")) {
        for (; authority.at < authority.end && *authority.at >= '0' && *authority.at <= '9' && port <= UINT16_MAX;
             authority.at++)
            port = port * 10 + (uint32_t)(*authority.at - '0');
        url.port = (uint16_t)port;
    }
    if (authority.at != authority.end || port > UINT16_MAX || rest.at == rest.end || *rest.at != '/')
        return KITH_ERR_PARSE;
    url.host = slice_of(host);
    url.path = slice_of(take_until(&rest, "#"));
    *out = url;
    return 0;
}

/** True if it begins with a scheme and a colon: it stands for itself. */
static bool has_scheme(struct kith_slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        char c = (char)text.ptr[i], lower = (char)(c | 0x20);

        if (c == ':')
            return i > 0;
        if (!(lower >= 'a' && lower <= 'z') && (i == 0 || !((c >= '0' && c <= '9') || is_one_of(c, "+-."))))
            return false;
    }
    return false;
}

/** How much of the base comes before a reference that has no scheme. */
static size_t kept_size(struct kith_slice base, const struct kith_url *url, struct kith_slice reference)
{
    size_t path_at = (size_t)(url->path.ptr - base.ptr), path_size = 0, keep = 0;

    while (path_size < url->path.size && url->path.ptr[path_size] != '?')
        path_size++;
    if (reference.size == 0 || reference.ptr[0] == '#')
        return path_at + url->path.size;
    if (reference.ptr[0] == '?')
        return path_at + path_size;
    if (reference.ptr[0] == '/')
        return reference.size > 1 && reference.ptr[1] == '/' ? (url->is_https ? 6 : 5) : path_at;
    for (size_t i = 0; i < path_size; i++)
        if (url->path.ptr[i] == '/')
            keep = i + 1;
    return path_at + keep;
}

int kith__url_resolve(struct kith_slice base, struct kith_slice reference, struct kith_buf *out)
{
    char text[KITH_URL_SIZE_MAX];
    struct kith_writer w = kith__writer((uint8_t *)text, sizeof text);
    struct kith_url url;
    int err = kith__url_split(base, &url);

    if (err == 0 && !has_scheme(reference))
        err = kith__write_bytes(&w, base.ptr, kept_size(base, &url, reference));
    if (err == 0)
        err = kith__write_bytes(&w, reference.ptr, reference.size);
    return err != 0 ? err : kith__url_normalise(text, kith__writer_size(&w), out);
}
