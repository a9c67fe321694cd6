/** Who may be a client of a relay, as a file and flags tell it: one rule, and no second. */
#ifndef APPS_SERVER_ACCESS_H
#define APPS_SERVER_ACCESS_H

#include "settings.h"

#include <kith/kith.h>
#include <kith/relay.h>

enum { ACCESS_TOKENS_MAX = 1024 };

/** Zeroed: everyone. Texts are owned. */
struct access_settings {
    uint8_t admit; /* enum kith_relay_admit */
    bool is_given;
    struct texts tokens;
    struct kith_id *ids;
    size_t id_count;
    char *url, *bearer, *ca;
    struct kith_relay_access_rules rules; /* what access_fill made of it; points into the rest */
};

/** Frees, wiping tokens. */
void access_free(struct access_settings *access);
/** SETTING_CALL for "access" and every key below it. An empty table "access" is an error: everybody would be let in. */
bool access_take(void *field, const struct toml_value *value, char *error);
/** Environment (IROH_RELAY_ACCESS_TOKEN, IROH_RELAY_HTTP_BEARER_TOKEN); each acts only where its rule is chosen. */
void access_read_environment(struct access_settings *access);
/** Adds what flags tell. False: error: the file has another rule, or token_file (NULL: none) cannot be read. */
bool access_add_tokens(struct access_settings *access, const struct texts *tokens, const char *token_file, char *error);
/** Makes the rules; they borrow from it. False: error. */
bool access_fill(struct access_settings *access, char *error);
/** Prints the rule as TOML, tokens and ids as a number. */
void access_print(const struct access_settings *access);

/** The rows of a table of keys; `field`: of a struct access_settings. */
#define ACCESS_KEYS(prefix, field)                                                                                     \
    { prefix "access", SETTING_CALL, field, .take = access_take },                                                     \
        { prefix "access.allowlist", SETTING_CALL, field, .take = access_take },                                       \
        { prefix "access.denylist", SETTING_CALL, field, .take = access_take },                                        \
        { prefix "access.shared_token", SETTING_CALL, field, .take = access_take },                                    \
        { prefix "access.http", SETTING_CALL, field, .take = access_take },                                            \
        { prefix "access.http.url", SETTING_CALL, field, .take = access_take },                                        \
        { prefix "access.http.bearer_token", SETTING_CALL, field, .take = access_take },                               \
    {                                                                                                                  \
        prefix "access.http.ca", SETTING_CALL, field, .take = access_take                                              \
    }

#endif
