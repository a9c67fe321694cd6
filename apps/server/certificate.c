/* Where a server's certificate comes from. */
#include "certificate.h"

#include "log.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char LETS_ENCRYPT_STAGING[] = "https://acme-staging-v02.api.letsencrypt.org/directory";

const struct setting_choice certificate_challenges[] = { { "any", KITH_ACME_PROOF_ANY },
                                                         { "tls-alpn-01", KITH_ACME_PROOF_TLS_ALPN },
                                                         { "http-01", KITH_ACME_PROOF_HTTP },
                                                         { NULL, 0 } };

void certificate_free(struct certificate_settings *settings)
{
    char **const owned[] = { &settings->directory, &settings->chain_file, &settings->key_file,
                             &settings->contact,   &settings->acme_url,   &settings->acme_ca };

    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
        text_set(owned[i], NULL);
    texts_free(&settings->names);
    memset(settings, 0, sizeof *settings);
}

void certificate_read_environment(struct certificate_settings *settings)
{
    static const char *const urls[] = { "IROH_RELAY_ACME_URL", "KITH_ACME_URL" }, *const roots[] = {
        "IROH_RELAY_ACME_CA", "KITH_ACME_CA"
    };

    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        if (environment_text(urls[i]) != NULL)
            text_set(&settings->acme_url, environment_text(urls[i]));
        if (environment_text(roots[i]) != NULL)
            text_set(&settings->acme_ca, environment_text(roots[i]));
    }
}

bool certificate_apply(struct certificate_settings *settings, const struct certificate_flags *flags, char *error)
{
    const struct {
        const char *given;
        char **target;
    } texts[] = { { flags->chain_file, &settings->chain_file }, { flags->key_file, &settings->key_file },
                  { flags->directory, &settings->directory },   { flags->contact, &settings->contact },
                  { flags->acme_url, &settings->acme_url },     { flags->acme_ca, &settings->acme_ca } };

    if (flags->is_self_signed + flags->is_acme + (flags->chain_file != NULL || flags->key_file != NULL) > 1) {
        snprintf(error, SETTINGS_ERROR_SIZE, "only one of --self-signed, --acme and --cert can be");
        return false;
    }
    if ((flags->chain_file == NULL) != (flags->key_file == NULL)) {
        snprintf(error, SETTINGS_ERROR_SIZE, "--cert and --key belong together");
        return false;
    }
    if (flags->is_self_signed)
        settings->mode = CERTIFICATE_SELF;
    if (flags->is_acme)
        settings->mode = CERTIFICATE_ACME;
    if (flags->chain_file != NULL)
        settings->mode = CERTIFICATE_FILES;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (texts[i].given != NULL)
            text_set(texts[i].target, texts[i].given);
    }
    for (size_t i = 0; i < flags->names.count; i++)
        texts_add(&settings->names, flags->names.items[i]);
    return true;
}

/* True for what may be in host names, IP addresses and wildcards; whether it leads here is for those who look it up. */
static bool is_host(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:*";

    return name[0] != 0 && name[strspn(name, allowed)] == 0;
}

bool certificate_fill(struct certificate_settings *settings, const struct certificate_words *words, char *error)
{
    struct kith_server_tls *tls = &settings->tls;

    *tls = (struct kith_server_tls) { .directory = settings->directory,
                                      .names = (const char *const *)settings->names.items,
                                      .name_count = settings->names.count };
    for (size_t i = 0; i < settings->names.count; i++)
        if (!is_host(settings->names.items[i])) {
            snprintf(error, SETTINGS_ERROR_SIZE, "%s: '%.200s' is no host name or IP address", words->names,
                     settings->names.items[i]);
            return false;
        }
    switch (settings->mode) {
    case CERTIFICATE_FILES:
        tls->source = KITH_CERTIFICATE_FILES;
        tls->chain_file = settings->chain_file;
        tls->key_file = settings->key_file;
        break;
    case CERTIFICATE_SELF:
        tls->source = KITH_CERTIFICATE_SELF;
        if (settings->names.count == 0) {
            snprintf(
                error, SETTINGS_ERROR_SIZE,
                "a self-made certificate needs the name by which clients reach this server: --hostname NAME, or %s",
                words->names);
            return false;
        }
        break;
    case CERTIFICATE_ACME:
        tls->source = KITH_CERTIFICATE_ACME;
        if (settings->names.count == 0 || settings->contact == NULL) {
            snprintf(error, SETTINGS_ERROR_SIZE, "an ACME certificate needs %s%s",
                     settings->contact == NULL ? "a contact address: --contact, or "
                                               : "the host name of this server: --hostname, or ",
                     settings->contact == NULL ? words->contact : words->names);
            return false;
        }
        tls->acme_challenge = (uint8_t)settings->challenge;
        tls->acme_contact = settings->contact;
        tls->acme_ca_file = settings->acme_ca;
        tls->acme_url = settings->acme_url != NULL ? settings->acme_url
                        : settings->is_staging     ? LETS_ENCRYPT_STAGING
                                                   : NULL;
        break;
    default:
        break;
    }
    return true;
}

void certificate_add_paths(const struct certificate_settings *settings, struct guard_paths *paths)
{
    guard_add_readable(paths, settings->chain_file);
    guard_add_readable(paths, settings->key_file);
    guard_add_readable(paths, settings->acme_ca);
    if (settings->mode == CERTIFICATE_SELF || settings->mode == CERTIFICATE_ACME)
        guard_add_directory(paths, settings->directory);
}

bool certificate_same(const struct certificate_settings *a, const struct certificate_settings *b)
{
    return a->mode == b->mode && texts_same(&a->names, &b->names) && text_same(a->directory, b->directory) &&
           text_same(a->chain_file, b->chain_file) && text_same(a->key_file, b->key_file) &&
           text_same(a->contact, b->contact) && text_same(a->acme_url, b->acme_url) &&
           text_same(a->acme_ca, b->acme_ca) && a->is_staging == b->is_staging && a->challenge == b->challenge;
}
