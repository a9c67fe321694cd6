/* Errors as a code, a sentence and a cause. */
#include "api/error.h"

#include "base/cause.h"
#include "base/mem.h"
#include "codec/postcard.h"
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Peers choose reasons: nothing of theirs may move the cursor or colour the terminal. */
static void escape(const char *from, char *to, size_t to_size)
{
    bool is_utf8 = kith__utf8_is_valid((const uint8_t *)from, strlen(from));
    size_t used = 0;

    for (; *from != 0 && used + 9 < to_size; from++) {
        uint8_t byte = (uint8_t)*from;

        if (is_utf8 && byte == 0xc2 && (from[1] & 0xe0) == 0x80) /* U+0080 to U+009F: U+009B is as good as ESC [ */
            used += (size_t)snprintf(to + used, to_size - used, "\\xc2\\x%02x", (uint8_t) * ++from);
        else if ((byte >= 0x20 && byte < 0x7f) || (byte >= 0x80 && is_utf8))
            to[used++] = (char)byte;
        else
            used += (size_t)snprintf(to + used, to_size - used, "\\x%02x", byte);
    }
    to[used] = 0;
}

/* What can be done about an end of a connection, or a failure that has no better words. */
static const char *advice(int err)
{
    switch (err) {
    case KITH_ERR_WRONG_PEER:
        return "; check the id or ask for a new ticket";
    case KITH_ERR_ALPN:
        return "; the other program speaks another protocol, or another version of it";
    case KITH_ERR_REFUSED:
        return "; it may be busy or not accept you";
    case KITH_ERR_IDLE:
        return "; it may be gone, or a firewall drops UDP";
    case KITH_ERR_LOST:
        return "; it was probably restarted: connect again";
    case KITH_ERR_NOMEM:
        return "; give back what is not needed or allow more memory, and try again";
    case KITH_ERR_CLOSED:
        return "; nothing can be done with it any more: give it back";
    case KITH_ERR_CANCELLED:
        return "; start it again if it is still wanted";
    case KITH_ERR_END:
        return "; there is no more to read";
    case KITH_ERR_INTERNAL:
        return "; this is a defect of kith: please report it with its log";
    default:
        return "";
    }
}

/* The same for what the system says; NULL: nothing better than the code. */
static const char *system_reason(int64_t number)
{
    static const struct {
        int number;
        const char *text;
    } facts[] = {
        { EMFILE, "this process has too many files open; raise its limit (ulimit -n), or do less at once" },
        { ENFILE, "too many files are open on this machine; end other programs, or raise its limit (fs.file-max)" },
        { ENOSPC, "no space is left on that file system; make room, or choose another place" },
        { EDQUOT, "the disk quota is used up; make room, or choose another place" },
        { EFBIG, "the file would be larger than the file system or the limit of this process (ulimit -f) allows" },
        { EACCES, "permission denied; its owner must let you use it" },
        { EPERM, "permission denied; its owner must let you use it" },
        { EROFS, "the file system is read-only; choose another place" },
        { ELOOP, "a symbolic link is there and is not followed; give the path that it stands for" },
        { ENOENT, "there is no such file or directory; check the path" },
        { ENOTDIR, "a part of the path is not a directory; check the path" },
        { ENAMETOOLONG, "the name is too long; choose a shorter one" },
        { EIO, "input/output error; the disk or the network file system fails: see the system's log" },
        { EADDRINUSE, "another program uses it; choose another port, or 0 for any" },
        { EADDRNOTAVAIL, "this machine has no such address; choose one of its own, or 0.0.0.0 or [::] for all" },
    };

    for (size_t i = 0; i < KITH_COUNT(facts); i++)
        if (facts[i].number == number)
            return facts[i].text;
    return NULL;
}

static int fill(struct kith_error *error, int code, int64_t cause, const char *format, va_list arguments)
{
    char text[KITH_ERROR_TEXT_SIZE];

    error->code = code;
    error->cause = cause;
    vsnprintf(text, sizeof text, format, arguments);
    escape(text, error->text, sizeof error->text);
    return code;
}

int kith__fail(int code, int64_t cause, const char *format, ...)
{
    struct kith_error error;
    va_list arguments;

    va_start(arguments, format);
    fill(&error, code, cause, format, arguments);
    va_end(arguments);
    kith_error_note(&error);
    return code;
}

int kith__fail_into(struct kith_error *error, int code, int64_t cause, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fill(error, code, cause, format, arguments);
    va_end(arguments);
    return code;
}

static int fill_because(struct kith_error *error, int code, const char *format, va_list arguments)
{
    int64_t cause = kith__cause_take(code);
    const char *reason = system_reason(cause);
    char what[KITH_ERROR_TEXT_SIZE];

    vsnprintf(what, sizeof what, format, arguments);
    if (reason != NULL)
        return kith__fail_into(error, code, cause, "%s: %s", what, reason);
    return kith__fail_into(error, code, cause, "%s: %s%s", what, kith_strerror(code), advice(code));
}

int kith__fail_because(int code, const char *format, ...)
{
    struct kith_error error;
    va_list arguments;

    va_start(arguments, format);
    fill_because(&error, code, format, arguments);
    va_end(arguments);
    kith_error_note(&error);
    return code;
}

int kith__fail_into_because(struct kith_error *error, int code, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fill_because(error, code, format, arguments);
    va_end(arguments);
    return code;
}

int kith__fail_null(const char *what)
{
    return kith__fail(KITH_ERR_INVALID, 0, "NULL was given where %s is needed", what);
}

int kith__fail_with(const struct kith_error *error)
{
    kith_error_note(error);
    return error->code;
}

int kith__fail_closed(struct kith_error *error, const struct kith_quic_close_info *info)
{
    int size = info->reason.size < 300 ? (int)info->reason.size : 300;
    const char *reason = (const char *)info->reason.ptr;

    if (info->err == KITH_ERR_CLOSED)
        return kith__fail_into(error, info->err, (int64_t)info->code, "we closed the connection (code %" PRIu64 ")",
                               info->code);
    if (info->is_application && info->by_peer)
        return kith__fail_into(error, info->err, (int64_t)info->code,
                               "the other side closed the connection (code %" PRIu64 "%s%.*s)", info->code,
                               size > 0 ? ": " : "", size, size > 0 ? reason : "");
    if (size > 0 || info->code != 0)
        return kith__fail_into(error, info->err, (int64_t)info->code, "%s (%s said code 0x%" PRIx64 "%s%.*s)%s",
                               kith_strerror(info->err), info->by_peer ? "it" : "we", info->code, size > 0 ? ": " : "",
                               size, size > 0 ? reason : "", advice(info->err));
    return kith__fail_into(error, info->err, 0, "%s%s", kith_strerror(info->err), advice(info->err));
}
