/* What the setups of all servers have in common. */
#include "server/setup.h"

#include "tls/stream.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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

int kith__server_check_tls(const struct kith_server_tls *tls, struct kith_server_why *why)
{
    if (tls == NULL || tls->source == KITH_CERTIFICATE_NONE)
        return 0;
    if (tls->source > KITH_CERTIFICATE_ACME)
        return kith__server_why(why, KITH_ERR_INVALID, "there is no source of certificates %d", tls->source);
    if (tls->source == KITH_CERTIFICATE_FILES) {
        if (tls->chain_file == NULL || tls->key_file == NULL)
            return kith__server_why(why, KITH_ERR_INVALID,
                                    "a certificate from files needs both: the chain and the private key");
        return 0;
    }
    if (tls->directory == NULL)
        return kith__server_why(why, KITH_ERR_INVALID, "a directory is needed where certificates are kept");
    if (tls->names == NULL || tls->name_count == 0 || tls->name_count > KITH_CERTIFICATE_NAMES_MAX)
        return kith__server_why(why, KITH_ERR_INVALID,
                                "a certificate needs 1 to %d names (the host name of this server)",
                                KITH_CERTIFICATE_NAMES_MAX);
    if (tls->source == KITH_CERTIFICATE_ACME && tls->acme_url != NULL && strncmp(tls->acme_url, "https://", 8) != 0)
        return kith__server_why(why, KITH_ERR_INVALID, "the URL of the ACME directory must be https: %.200s",
                                tls->acme_url);
    if (tls->acme_challenge > KITH_ACME_PROOF_HTTP)
        return kith__server_why(why, KITH_ERR_INVALID, "there is no ACME challenge %d", tls->acme_challenge);
    for (size_t i = 0; i < tls->name_count; i++)
        if (tls->names[i] == NULL || tls->names[i][0] == 0 || strlen(tls->names[i]) > 253)
            return kith__server_why(why, KITH_ERR_INVALID, "a name for the certificate is empty or too long");
    return 0;
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
