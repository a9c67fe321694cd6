/** Where a server's certificate comes from, as a file and flags tell it. */
#ifndef APPS_SERVER_CERTIFICATE_H
#define APPS_SERVER_CERTIFICATE_H

#include "guard.h"
#include "settings.h"

#include <kith/certificate.h>

enum certificate_mode { CERTIFICATE_NONE, CERTIFICATE_FILES, CERTIFICATE_SELF, CERTIFICATE_ACME };

/** Zeroed: none. Texts are owned. */
struct certificate_settings {
    int mode;        /* enum certificate_mode */
    char *directory; /* SELF, ACME */
    char *chain_file, *key_file;
    char *contact, *acme_url, *acme_ca;
    bool is_staging; /* ACME without acme_url: Let's Encrypt's authority for tests, which nobody trusts */
    int challenge;   /* enum kith_acme_proof */
    struct texts names;
    struct kith_server_tls tls; /* what certificate_fill made of it; points into the rest */
};

/** Flags of all servers; all borrowed from argv but the names. */
struct certificate_flags {
    bool is_self_signed, is_acme;
    const char *chain_file, *key_file, *directory, *contact, *acme_url, *acme_ca;
    struct texts names;
};

/** What messages call the keys of a program's file. */
struct certificate_words {
    const char *names, *contact;
};

extern const struct setting_choice certificate_challenges[];

/** The rows of a table of options; `flags`: a struct certificate_flags. */
#define CERTIFICATE_OPTIONS(flags)                                                                                          \
    { "hostname", 0, OPTION_CALL, &(flags).names, "NAME", "name of this server for its certificate; repeatable",            \
      texts_take },                                                                                                         \
        { "self-signed", 0,                                                                                                 \
          OPTION_FLAG,   &(flags).is_self_signed,                                                                           \
          NULL,          "make a certificate authority and a certificate",                                                  \
          NULL },                                                                                                           \
        { "acme", 0, OPTION_FLAG, &(flags).is_acme, NULL, "get a certificate from Let's Encrypt (or --acme-url)", NULL },   \
        { "contact", 0, OPTION_TEXT, &(flags).contact, "EMAIL", "address for the ACME account", NULL },                     \
        { "acme-url", 0, OPTION_TEXT, &(flags).acme_url, "URL", "directory of another ACME authority", NULL },              \
        { "acme-ca", 0, OPTION_TEXT, &(flags).acme_ca, "FILE", "PEM: roots that vouch for that authority's https", NULL },  \
        { "cert", 0, OPTION_TEXT, &(flags).chain_file, "FILE", "PEM certificate chain; read again when it changes", NULL }, \
    {                                                                                                                       \
        "key", 0, OPTION_TEXT, &(flags).key_file, "FILE", "PEM private key of --cert", NULL                                 \
    }

/** Frees. */
void certificate_free(struct certificate_settings *settings);
/** KITH_ACME_URL and KITH_ACME_CA, or the older names of relays, IROH_RELAY_ACME_URL and IROH_RELAY_ACME_CA. */
void certificate_read_environment(struct certificate_settings *settings);
/** Flags over the file. False: error: they do not fit together. */
bool certificate_apply(struct certificate_settings *settings, const struct certificate_flags *flags, char *error);
/** Makes settings->tls. Not with CERTIFICATE_NONE. False: error: something is missing. */
bool certificate_fill(struct certificate_settings *settings, const struct certificate_words *words, char *error);
/** True if both lead to the same certificate: from the same place, for the same names. */
bool certificate_same(const struct certificate_settings *a, const struct certificate_settings *b);
/** Adds what it needs after the start; makes its directory where that is missing. */
void certificate_add_paths(const struct certificate_settings *settings, struct guard_paths *paths);

#endif
