/* Tokens are kept as hashes of one size, so that comparing them tells nothing about their lengths. */
#include "relay/access.h"

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/blake3.h"
#include "crypto/secure.h"
#include <stdlib.h>

struct kith_relay_access {
    const struct kith_mem *mem;
    enum kith_relay_access_mode mode;
    struct kith_id *ids; /* ascending */
    size_t id_count;
    struct kith_hash *tokens;
    size_t token_count;
};

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct kith_id));
}

static struct kith_hash hash_token(struct kith_slice token)
{
    struct kith_hash hash;

    kith__blake3_derive_key("kith relay access token", token.ptr, token.size, hash.bytes);
    return hash;
}

static bool tokens_are_valid(const struct kith_relay_access_options *options)
{
    if (options->token_count == 0 || options->token_count > KITH_RELAY_TOKENS_MAX)
        return false;
    for (size_t i = 0; i < options->token_count; i++)
        if (options->tokens[i].size == 0 || options->tokens[i].size > KITH_RELAY_TOKEN_SIZE_MAX)
            return false;
    return true;
}

int kith__relay_access_new(const struct kith_mem *mem, const struct kith_relay_access_options *options,
                           struct kith_relay_access **out)
{
    bool has_ids = options->mode == KITH_RELAY_ACCESS_ALLOW || options->mode == KITH_RELAY_ACCESS_DENY;
    struct kith_relay_access *access;

    if (options->mode == KITH_RELAY_ACCESS_TOKEN && !tokens_are_valid(options))
        return KITH_ERR_INVALID;
    access = kith__alloc_zero(mem, sizeof *access);
    if (access == NULL)
        return KITH_ERR_NOMEM;
    access->mem = mem;
    access->mode = options->mode;
    if (has_ids && options->id_count != 0) {
        access->ids = kith__alloc_array(mem, options->id_count, sizeof *access->ids);
        if (access->ids == NULL)
            goto fail;
        memcpy(access->ids, options->ids, options->id_count * sizeof *access->ids);
        access->id_count = options->id_count;
        qsort(access->ids, access->id_count, sizeof *access->ids, compare_ids);
    }
    if (options->mode == KITH_RELAY_ACCESS_TOKEN) {
        access->tokens = kith__alloc_array(mem, options->token_count, sizeof *access->tokens);
        if (access->tokens == NULL)
            goto fail;
        access->token_count = options->token_count;
        for (size_t i = 0; i < options->token_count; i++)
            access->tokens[i] = hash_token(options->tokens[i]);
    }
    *out = access;
    return 0;
fail:
    kith__relay_access_free(access);
    return KITH_ERR_NOMEM;
}

void kith__relay_access_free(struct kith_relay_access *access)
{
    if (access == NULL)
        return;
    kith__free(access->mem, access->ids);
    if (access->tokens != NULL)
        kith__wipe(access->tokens, access->token_count * sizeof *access->tokens);
    kith__free(access->mem, access->tokens);
    kith__free(access->mem, access);
}

bool kith__relay_access_knows_token(const struct kith_relay_access *access, struct kith_slice token)
{
    struct kith_hash hash;
    unsigned is_known = 0;

    if (access == NULL || access->token_count == 0 || token.size == 0 || token.size > KITH_RELAY_TOKEN_SIZE_MAX)
        return false;
    hash = hash_token(token);
    for (size_t i = 0; i < access->token_count; i++) /* all of them, also behind one that is equal */
        is_known |= kith__equal_secret(hash.bytes, access->tokens[i].bytes, sizeof hash.bytes);
    return is_known != 0;
}

enum kith_relay_verdict kith__relay_access_check(const struct kith_relay_access *access, const struct kith_id *id,
                                                 bool knows_token)
{
    bool is_listed;

    if (access == NULL)
        return KITH_RELAY_ALLOWED;
    is_listed = access->id_count != 0 && bsearch(id, access->ids, access->id_count, sizeof *id, compare_ids) != NULL;
    switch (access->mode) {
    case KITH_RELAY_ACCESS_EVERYONE:
        return KITH_RELAY_ALLOWED;
    case KITH_RELAY_ACCESS_ALLOW:
        return is_listed ? KITH_RELAY_ALLOWED : KITH_RELAY_DENIED;
    case KITH_RELAY_ACCESS_DENY:
        return is_listed ? KITH_RELAY_DENIED : KITH_RELAY_ALLOWED;
    case KITH_RELAY_ACCESS_TOKEN:
        return knows_token ? KITH_RELAY_ALLOWED : KITH_RELAY_DENIED;
    case KITH_RELAY_ACCESS_ASK:
        break;
    }
    return KITH_RELAY_ASK;
}
