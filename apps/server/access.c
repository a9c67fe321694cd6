/* Who may be a client of a relay. */
#include "access.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void access_free(struct access_settings *access)
{
    texts_free(&access->tokens);
    free(access->ids);
    text_set(&access->url, NULL);
    text_set(&access->bearer, NULL);
    text_set(&access->ca, NULL);
    memset(access, 0, sizeof *access);
}

/* ---- The file ---- */

static bool take_ids(struct access_settings *access, const struct toml_value *value, uint8_t admit, char *error)
{
    if (value->kind != TOML_STRINGS)
        return setting_wrong(error, value, "an array of endpoint ids in quotes");
    free(access->ids);
    access->ids = must(calloc(value->text_count + 1, sizeof *access->ids));
    access->id_count = value->text_count;
    for (size_t i = 0; i < value->text_count; i++) {
        if (kith_id_parse(value->texts[i], &access->ids[i]) != 0)
            return setting_fail(error, value, "'%.80s' is no endpoint id", value->texts[i]);
    }
    access->admit = admit;
    return true;
}

static bool take_tokens(struct access_settings *access, const struct toml_value *value, char *error)
{
    if (value->kind != TOML_STRINGS || value->text_count == 0 || value->text_count > ACCESS_TOKENS_MAX)
        return setting_wrong(error, value, "an array of 1 to 1024 texts in quotes");
    texts_free(&access->tokens);
    for (size_t i = 0; i < value->text_count; i++) {
        if (value->texts[i][0] == 0)
            return setting_wrong(error, value, "tokens that are not empty");
        texts_add(&access->tokens, value->texts[i]);
    }
    access->admit = KITH_RELAY_ADMIT_TOKEN;
    return true;
}

static bool take_callback(struct access_settings *access, const char *key, const struct toml_value *value, char *error)
{
    char **target = strcmp(key, ".url") == 0            ? &access->url
                    : strcmp(key, ".bearer_token") == 0 ? &access->bearer
                                                        : &access->ca;

    if (value->kind == TOML_EMPTY_TABLE)
        return setting_wrong(error, value, "a url");
    if (value->kind != TOML_STRING || value->text[0] == 0)
        return setting_wrong(error, value, "a text in quotes that is not empty");
    text_set(target, value->text);
    access->admit = KITH_RELAY_ADMIT_HTTP;
    return true;
}

bool access_take(void *field, const struct toml_value *value, char *error)
{
    static const char word[] = "access", http[] = ".http";
    struct access_settings *access = field;
    const char *key = strstr(value->path, word) + sizeof word - 1;
    bool is_http = strncmp(key, http, sizeof http - 1) == 0;

    /* Which of two rules would count is not for the reader to guess. */
    if (access->is_given && !(access->admit == KITH_RELAY_ADMIT_HTTP && is_http))
        return setting_fail(error, value, "there is another rule of access already; only one can count");
    access->is_given = true;
    if (is_http)
        return take_callback(access, key + sizeof http - 1, value, error);
    if (key[0] == 0) {
        if (value->kind != TOML_STRING || strcmp(value->text, "everyone") != 0)
            return setting_wrong(error, value,
                                 "\"everyone\", or one of access.allowlist, access.denylist, "
                                 "access.shared_token, access.http");
        return true;
    }
    if (strcmp(key, ".allowlist") == 0)
        return take_ids(access, value, KITH_RELAY_ADMIT_LISTED, error);
    if (strcmp(key, ".denylist") == 0)
        return take_ids(access, value, KITH_RELAY_ADMIT_UNLISTED, error);
    return take_tokens(access, value, error);
}

/* ---- Environment, flags, outcome ---- */

void access_read_environment(struct access_settings *access)
{
    const char *token = environment_text("IROH_RELAY_ACCESS_TOKEN"),
               *bearer = environment_text("IROH_RELAY_HTTP_BEARER_TOKEN");

    /* As with iroh-relay the two act only where the rule that they belong to is chosen. */
    if (token != NULL && access->admit == KITH_RELAY_ADMIT_TOKEN) {
        texts_free(&access->tokens);
        texts_add(&access->tokens, token);
    }
    if (bearer != NULL && access->admit == KITH_RELAY_ADMIT_HTTP)
        text_set(&access->bearer, bearer);
}

bool access_add_tokens(struct access_settings *access, const struct texts *tokens, const char *token_file, char *error)
{
    if (tokens->count == 0 && token_file == NULL)
        return true;
    if (access->is_given && access->admit != KITH_RELAY_ADMIT_TOKEN) {
        snprintf(error, SETTINGS_ERROR_SIZE, "a token was given, but the file has another rule of access");
        return false;
    }
    access->admit = KITH_RELAY_ADMIT_TOKEN;
    for (size_t i = 0; i < tokens->count; i++)
        texts_add(&access->tokens, tokens->items[i]);
    return token_file == NULL || texts_read(&access->tokens, token_file, "token", error);
}

bool access_fill(struct access_settings *access, char *error)
{
    if (access->admit == KITH_RELAY_ADMIT_HTTP && access->url == NULL) {
        snprintf(error, SETTINGS_ERROR_SIZE, "access.http needs a url");
        return false;
    }
    access->rules = (struct kith_relay_access_rules) { .admit = access->admit,
                                                       .ids = access->ids,
                                                       .id_count = access->id_count,
                                                       .tokens = (const char *const *)access->tokens.items,
                                                       .token_count = access->tokens.count,
                                                       .url = access->url,
                                                       .bearer = access->bearer,
                                                       .ca_file = access->ca };
    return true;
}

void access_print(const struct access_settings *access)
{
    static const char *const rules[] = { "everyone", "allowlist", "denylist", "shared_token", "http", "" };

    if (access->admit == KITH_RELAY_ADMIT_EVERYONE)
        printf("access = \"everyone\"\n");
    else if (access->admit == KITH_RELAY_ADMIT_HTTP)
        printf("access.http.url = \"%s\"\n", access->url);
    else
        printf("# access.%s: %zu entries\n", rules[access->admit],
               access->admit == KITH_RELAY_ADMIT_TOKEN ? access->tokens.count : access->id_count);
    if (access->bearer != NULL)
        printf("access.http.bearer_token = \"(secret)\"\n");
    if (access->ca != NULL)
        printf("access.http.ca = \"%s\"\n", access->ca);
}
