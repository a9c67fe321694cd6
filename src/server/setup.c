/* What the setups of all servers have in common. */
#include "server/setup.h"

#include "tls/stream.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { CONTACT_SIZE_MAX = 254 }; /* RFC 5321, 4.5.3.1.3 without its angle brackets */

int kith__server_why(struct kith_server_why *why, int err, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(why->text, sizeof why->text, format, arguments);
    va_end(arguments);
    return err;
}

/* ---- Options ---- */

int kith__server_check_binds(const struct kith_sockaddr *binds, size_t count, const char *what,
                             struct kith_server_why *why)
{
    if (count > KITH_SERVER_BINDS_MAX)
        return kith__server_why(why, KITH_ERR_INVALID, "more than %d addresses for %s", KITH_SERVER_BINDS_MAX, what);
    if (count != 0 && binds == NULL)
        return kith__server_why(why, KITH_ERR_INVALID, "the addresses for %s are NULL", what);
    for (size_t i = 0; i < count; i++)
        if (binds[i].family != KITH_FAMILY_V4 && binds[i].family != KITH_FAMILY_V6)
            return kith__server_why(why, KITH_ERR_INVALID, "an address for %s is neither IPv4 nor IPv6", what);
    return 0;
}

/* RFC 8555 has the authority prove each name over the network: it must be a whole host name. */
static bool is_acme_name(const char *name)
{
    struct kith_sockaddr address;
    char text[KITH_SOCKADDR_TEXT_SIZE];
    int size = snprintf(text, sizeof text, strchr(name, ':') != NULL ? "[%s]:1" : "%s:1", name);
    bool is_address = size > 0 && (size_t)size < sizeof text && kith_sockaddr_parse(text, &address) == 0;

    return !is_address && name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")] == 0 &&
           name[0] != '.' && strstr(name, "..") == NULL;
}

static bool is_contact(const char *contact)
{
    const char *at = strchr(contact, '@');

    return strlen(contact) <= CONTACT_SIZE_MAX && at != NULL && at != contact && at[1] != 0 &&
           strchr(at + 1, '@') == NULL && contact[strcspn(contact, " \t:,<>\"")] == 0;
}

static int check_acme(const struct kith_server_tls *tls, struct kith_server_why *why)
{
    if (tls->acme_url != NULL && strncmp(tls->acme_url, "https://", 8) != 0)
        return kith__server_why(why, KITH_ERR_INVALID, "the URL of the ACME directory must be https: %.200s",
                                tls->acme_url);
    if (tls->acme_challenge > KITH_ACME_PROOF_HTTP)
        return kith__server_why(why, KITH_ERR_INVALID, "there is no ACME challenge %d", tls->acme_challenge);
    if (tls->acme_contact != NULL && !is_contact(tls->acme_contact))
        return kith__server_why(why, KITH_ERR_INVALID,
                                "the ACME contact '%.200s' is no e-mail address like ops@example.com (without mailto:)",
                                tls->acme_contact);
    for (size_t i = 0; i < tls->name_count; i++) {
        if (!is_acme_name(tls->names[i]))
            return kith__server_why(why, KITH_ERR_INVALID,
                                    "no ACME certificate can be had for '%.253s': it must be a host name that leads to "
                                    "this server, no IP address and no pattern",
                                    tls->names[i]);
    }
    return 0;
}

int kith__server_check_tls(const struct kith_server_tls *tls, struct kith_server_why *why)
{
    bool is_from_files;

    if (tls == NULL || tls->source == KITH_CERTIFICATE_NONE)
        return 0;
    if (tls->source > KITH_CERTIFICATE_ACME)
        return kith__server_why(why, KITH_ERR_INVALID, "there is no source of certificates %d", tls->source);
    is_from_files = tls->source == KITH_CERTIFICATE_FILES;
    if (is_from_files && (tls->chain_file == NULL || tls->key_file == NULL))
        return kith__server_why(why, KITH_ERR_INVALID,
                                "a certificate from files needs both: the chain and the private key");
    if (!is_from_files && tls->directory == NULL)
        return kith__server_why(why, KITH_ERR_INVALID, "a directory is needed where certificates are kept");
    if (tls->name_count > KITH_CERTIFICATE_NAMES_MAX || (tls->name_count == 0 && !is_from_files) ||
        (tls->name_count != 0 && tls->names == NULL))
        return kith__server_why(why, KITH_ERR_INVALID,
                                "a certificate needs 1 to %d names (the host name of this server)",
                                KITH_CERTIFICATE_NAMES_MAX);
    for (size_t i = 0; i < tls->name_count; i++)
        if (tls->names[i] == NULL || tls->names[i][0] == 0 || strlen(tls->names[i]) > 253)
            return kith__server_why(why, KITH_ERR_INVALID, "a name for the certificate is empty or too long");
    return tls->source == KITH_CERTIFICATE_ACME ? check_acme(tls, why) : 0;
}

/* ---- Files ---- */

int kith__server_read_file(struct kith_rt *rt, const struct kith_mem *mem, const char *path, const char *what,
                           struct kith_buf *out, struct kith_server_why *why)
{
    struct kith_rt_file *file;
    struct kith_rt_stat stat;
    size_t done = 0;
    int err;

    kith__buf_init(out, mem);
    err = kith__rt_file_open(rt, NULL, path, KITH_RT_READ | KITH_RT_REGULAR, 0, &file);
    if (err != 0)
        return kith__server_why(why, err, "%s cannot be read: %s: %s", what, path, kith_strerror(err));
    if ((err = kith__rt_file_stat(file, &stat)) == 0 && stat.size > KITH_SERVER_FILE_MAX)
        err = KITH_ERR_TOO_LARGE;
    if (err == 0)
        err = kith__buf_reserve(out, (size_t)stat.size + 1);
    if (err == 0 && (err = kith__rt_file_pread(file, out->ptr, (size_t)stat.size, 0, &done)) == 0)
        out->size = done;
    kith__rt_file_close(file);
    if (err == 0)
        return 0;
    kith__buf_dispose(out);
    return kith__server_why(why, err, "%s cannot be read: %s: %s", what, path, kith_strerror(err));
}

/* ---- Requests of our own ---- */

int kith__server_client_trust(struct kith_rt *rt, const struct kith_mem *mem, const char *ca_file,
                              struct kith_tls_stream_context **out, struct kith_server_why *why)
{
    struct kith_tls_stream_context_options options = { .mem = mem, .is_client = true };
    struct kith_buf anchors = { .mem = mem };
    int err = 0;

    if (ca_file != NULL &&
        (err = kith__server_read_file(rt, mem, ca_file, "the file of trusted certificates", &anchors, why)) != 0)
        return err;
    options.anchors = kith__buf_slice(&anchors);
    if ((err = kith__tls_stream_context_new(&options, out)) != 0)
        kith__server_why(why, err, "trust for https cannot be set up%s%s: %s", ca_file != NULL ? " with " : "",
                         ca_file != NULL ? ca_file : "", kith_strerror(err));
    kith__buf_dispose(&anchors);
    return err;
}
