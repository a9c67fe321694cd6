/* Values of others, tokens and rates. */
#include "lookup/dht_server.h"

#include "base/mem.h"
#include "base/random.h"
#include "crypto/sign.h"

#include <nettle/sha1.h>
#include <stdio.h>
#include <string.h>

static void take_secret(struct kith_dht_server *server, uint64_t now_ns)
{
    memcpy(server->secrets[1], server->secrets[0], sizeof server->secrets[1]);
    kith__random_fill(server->random, server->secrets[0], sizeof server->secrets[0]);
    server->secret_ns = now_ns;
}

int kith__dht_server_init(struct kith_dht_server *server, const struct kith_mem *mem, const struct kith_random *random,
                          struct kith_dht_stats *stats, uint64_t now_ns)
{
    struct kith_dht_rate *rates = kith__alloc_array(mem, KITH_DHT_RATES, sizeof *rates);

    *server = (struct kith_dht_server) { 0 };
    if (rates == NULL)
        return KITH_ERR_NOMEM;
    *server = (struct kith_dht_server) { .mem = mem, .random = random, .stats = stats, .rates = rates };
    kith__list_init(&server->values);
    kith__map_init(&server->by_target, mem, kith__random_u64(random));
    take_secret(server, now_ns);
    take_secret(server, now_ns);
    return 0;
}

static void forget(struct kith_dht_server *server, struct kith_dht_value *value)
{
    kith__map_remove(&server->by_target, value->target.bytes, KITH_DHT_ID_SIZE);
    kith__list_remove(&value->list);
    kith__free(server->mem, value);
    server->value_count--;
}

void kith__dht_server_dispose(struct kith_dht_server *server)
{
    if (server->mem == NULL)
        return; /* it is none, or there was no memory for it */
    KITH_LIST_EACH_SAFE(node, after, &server->values)
    forget(server, KITH_CONTAINER(node, struct kith_dht_value, list));
    kith__map_dispose(&server->by_target);
    kith__free(server->mem, server->rates);
    *server = (struct kith_dht_server) { 0 };
}

/* ---- Rates ---- */

/** Takes one question from a bucket that fills by `rate` a second up to `burst`. */
static bool take(struct kith_dht_rate *rate, uint32_t per_s, uint32_t burst, uint64_t now_ns)
{
    uint64_t grown = rate->at_ns == 0 ? burst * 1000ull : (now_ns - rate->at_ns) / (KITH_NS_PER_S / 1000) * per_s;
    uint64_t left = KITH_MIN(rate->left_milli + grown, burst * 1000ull);

    if (rate->at_ns == 0 || grown > 0)
        rate->at_ns = now_ns;
    rate->left_milli = (uint32_t)(left >= 1000 ? left - 1000 : left);
    return left >= 1000;
}

bool kith__dht_server_admit(struct kith_dht_server *server, const struct kith_sockaddr *from, uint64_t now_ns)
{
    struct sha1_ctx sha1;
    uint8_t digest[4];

    if (!kith__dht_addr_is_local(from)) {
        sha1_init(&sha1);
        sha1_update(&sha1, 8, (const uint8_t *)&server->by_target.seed);
        sha1_update(&sha1, 4, from->ip);
        sha1_digest(&sha1, sizeof digest, digest);
        if (!take(&server->rates[(digest[0] << 8 | digest[1]) % KITH_DHT_RATES], KITH_DHT_RATE_PER_IP,
                  KITH_DHT_RATE_PER_IP_BURST, now_ns))
            return false;
    }
    return take(&server->all, KITH_DHT_RATE_ALL, KITH_DHT_RATE_ALL_BURST, now_ns);
}

/* ---- Tokens ---- */

static void make_token(const uint8_t secret[20], const struct kith_sockaddr *addr, uint8_t out[KITH_DHT_OUR_TOKEN_SIZE])
{
    struct sha1_ctx sha1;
    uint8_t where[6];

    kith__dht_addr_write(addr, where);
    sha1_init(&sha1);
    sha1_update(&sha1, 20, secret);
    sha1_update(&sha1, sizeof where, where);
    sha1_digest(&sha1, KITH_DHT_OUR_TOKEN_SIZE, out);
}

/** Tokens of a secret are good until the second change after them. */
static void change_secret(struct kith_dht_server *server, uint64_t now_ns)
{
    uint64_t age_ns = now_ns - server->secret_ns;

    if (age_ns >= KITH_DHT_TOKEN_NS)
        take_secret(server, now_ns);
    if (age_ns >= 2 * KITH_DHT_TOKEN_NS)
        take_secret(server, now_ns); /* nobody asked in between: both are too old */
}

void kith__dht_server_token(struct kith_dht_server *server, const struct kith_sockaddr *addr, uint64_t now_ns,
                            uint8_t out[KITH_DHT_OUR_TOKEN_SIZE])
{
    change_secret(server, now_ns);
    make_token(server->secrets[0], addr, out);
}

static bool is_token(struct kith_dht_server *server, struct kith_slice token, const struct kith_sockaddr *addr,
                     uint64_t now_ns)
{
    uint8_t wanted[KITH_DHT_OUR_TOKEN_SIZE];

    change_secret(server, now_ns);
    for (size_t i = 0; token.size == sizeof wanted && i < KITH_COUNT(server->secrets); i++) {
        make_token(server->secrets[i], addr, wanted);
        if (memcmp(wanted, token.ptr, sizeof wanted) == 0)
            return true;
    }
    return false;
}

/* ---- Values ---- */

size_t kith__dht_signed_bytes(struct kith_slice salt, int64_t seq, struct kith_slice value, uint8_t *out)
{
    size_t size = 0;

    if (salt.size != 0) {
        size += (size_t)sprintf((char *)out, "4:salt%zu:", salt.size);
        memcpy(out + size, salt.ptr, salt.size);
        size += salt.size;
    }
    size += (size_t)sprintf((char *)out + size, "3:seqi%llde1:v", (long long)seq);
    memcpy(out + size, value.ptr, value.size);
    return size + value.size;
}

static void expire(struct kith_dht_server *server, uint64_t now_ns)
{
    struct kith_list *first;

    while ((first = kith__list_first(&server->values)) != NULL) {
        struct kith_dht_value *value = KITH_CONTAINER(first, struct kith_dht_value, list);

        if (value->stored_ns + KITH_DHT_VALUE_NS > now_ns)
            return;
        server->stats->stored_expired++;
        forget(server, value);
    }
}

const struct kith_dht_value *kith__dht_server_find(struct kith_dht_server *server, const struct kith_dht_id *target,
                                                   uint64_t now_ns)
{
    expire(server, now_ns);
    return kith__map_get(&server->by_target, target->bytes, sizeof target->bytes);
}

/** Makes room for one more of this address. */
static void evict(struct kith_dht_server *server, const struct kith_sockaddr *from)
{
    struct kith_dht_value *own_oldest = NULL, *oldest;
    size_t own = 0;

    KITH_LIST_EACH(node, &server->values)
    {
        struct kith_dht_value *value = KITH_CONTAINER(node, struct kith_dht_value, list);

        if (memcmp(value->from.ip, from->ip, 4) != 0)
            continue;
        own_oldest = own_oldest != NULL ? own_oldest : value;
        own++;
    }
    if (own >= KITH_DHT_VALUES_PER_IP_MAX && !kith__dht_addr_is_local(from)) {
        server->stats->stored_evicted++;
        forget(server, own_oldest);
    } else if (server->value_count >= KITH_DHT_VALUES_MAX) {
        oldest = KITH_CONTAINER(kith__list_first(&server->values), struct kith_dht_value, list);
        server->stats->stored_evicted++;
        forget(server, oldest);
    }
}

/** The value at the put's target, made if there is none. NULL without memory. */
static struct kith_dht_value *value_for(struct kith_dht_server *server, const struct kith_dht_id *target,
                                        const struct kith_sockaddr *from)
{
    struct kith_dht_value *value = kith__map_get(&server->by_target, target->bytes, sizeof target->bytes);

    if (value != NULL)
        return value;
    evict(server, from);
    if ((value = kith__alloc_zero(server->mem, sizeof *value)) == NULL)
        return NULL;
    value->target = *target;
    if (kith__map_put(&server->by_target, target->bytes, sizeof target->bytes, value) != 0) {
        kith__free(server->mem, value);
        return NULL;
    }
    kith__list_push_back(&server->values, &value->list);
    server->value_count++;
    return value;
}

bool kith__dht_server_keep(struct kith_dht_server *server, const struct kith_krpc *put,
                           const struct kith_sockaddr *from, uint64_t now_ns)
{
    struct kith_dht_value *value = value_for(server, &put->target, from);

    if (value == NULL) {
        server->stats->stored_refused++;
        return false;
    }
    kith__list_remove(&value->list);
    kith__list_push_back(&server->values, &value->list);
    value->from = *from;
    value->stored_ns = now_ns;
    value->is_mutable = put->key.ptr != NULL;
    if (value->is_mutable) {
        memcpy(value->key.bytes, put->key.ptr, sizeof value->key.bytes);
        memcpy(value->signature, put->signature.ptr, sizeof value->signature);
        value->seq = put->seq;
    }
    value->size = (uint16_t)put->value.size;
    memcpy(value->bytes, put->value.ptr, put->value.size);
    server->stats->stored++;
    return true;
}

/** Where it belongs. */
static struct kith_dht_id target_of(const struct kith_krpc *put)
{
    uint8_t bytes[KITH_ID_SIZE + KITH_KRPC_SALT_MAX];

    if (put->key.ptr == NULL)
        return kith__dht_id_of_bytes(put->value);
    memcpy(bytes, put->key.ptr, KITH_ID_SIZE);
    if (put->salt.size != 0)
        memcpy(bytes + KITH_ID_SIZE, put->salt.ptr, put->salt.size);
    return kith__dht_id_of_bytes((struct kith_slice) { bytes, KITH_ID_SIZE + put->salt.size });
}

static bool is_signed(const struct kith_krpc *put)
{
    uint8_t bytes[128 + KITH_KRPC_SALT_MAX + KITH_DHT_VALUE_SIZE_MAX];
    size_t size = kith__dht_signed_bytes(put->salt, put->seq, put->value, bytes);
    struct kith_id key;

    memcpy(key.bytes, put->key.ptr, sizeof key.bytes);
    return kith__verify(&key, (struct kith_slice) { bytes, size }, put->signature.ptr) == 0;
}

static int refuse(int code, const char *why, const char **text)
{
    *text = why;
    return code;
}

/** 0, or why the message alone will not do. */
static int check_put(const struct kith_krpc *put, const struct kith_dht_id *target, const char **text)
{
    if (put->has_target && !kith__dht_id_equal(target, &put->target))
        return refuse(KITH_KRPC_PROTOCOL, "The target is not that of the value", text);
    if (put->key.ptr == NULL)
        return 0;
    if (put->signature.ptr == NULL || !put->has_seq)
        return refuse(KITH_KRPC_PROTOCOL, "No seq or no signature", text);
    return is_signed(put) ? 0 : refuse(KITH_KRPC_BAD_SIGNATURE, "Invalid signature", text);
}

/** What is inside a string; other values as they are. */
static struct kith_slice inside_of(const uint8_t *bytes, size_t size)
{
    const uint8_t *colon = size != 0 && bytes[0] >= '0' && bytes[0] <= '9' ? memchr(bytes, ':', size) : NULL;

    return colon != NULL ? (struct kith_slice) { colon + 1, (size_t)(bytes + size - colon) - 1 }
                         : (struct kith_slice) { bytes, size };
}

static int compare(struct kith_slice a, struct kith_slice b)
{
    int order = memcmp(a.ptr, b.ptr, KITH_MIN(a.size, b.size));

    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

/** 0, or why what is there stays. */
static int check_replaces(const struct kith_krpc *put, const struct kith_dht_value *there, const char **text)
{
    if (there == NULL || !there->is_mutable)
        return 0;
    if (put->has_cas && put->cas != there->seq)
        return refuse(KITH_KRPC_CAS_MISMATCH, "CAS mismatch: read the value again", text);
    if (put->seq < there->seq)
        return refuse(KITH_KRPC_OLD_SEQ, "A value with a larger seq is stored", text);
    /* Two values with one seq: everybody keeps the larger, so that all come to the same (spec/03, 5). */
    if (put->seq == there->seq &&
        compare(inside_of(put->value.ptr, put->value.size), inside_of(there->bytes, there->size)) < 0)
        return refuse(KITH_KRPC_OLD_SEQ, "A larger value with this seq is stored", text);
    return 0;
}

int kith__dht_server_put(struct kith_dht_server *server, const struct kith_krpc *put, const struct kith_sockaddr *from,
                         uint64_t now_ns, const char **text)
{
    struct kith_krpc checked = *put;
    int code;

    if (!is_token(server, put->token, from, now_ns))
        code = refuse(KITH_KRPC_PROTOCOL, "Bad token", text);
    else if (put->value.ptr == NULL)
        code = refuse(KITH_KRPC_PROTOCOL, "No value", text);
    else if (put->value.size > KITH_DHT_VALUE_SIZE_MAX)
        code = refuse(KITH_KRPC_VALUE_TOO_BIG, "The value is too big", text);
    else if (put->salt.size > KITH_KRPC_SALT_MAX)
        code = refuse(KITH_KRPC_SALT_TOO_BIG, "The salt is too big", text);
    else {
        checked.target = target_of(put);
        if ((code = check_put(put, &checked.target, text)) == 0)
            code = check_replaces(put, kith__dht_server_find(server, &checked.target, now_ns), text);
    }
    if (code != 0)
        server->stats->stored_refused++;
    else if (!kith__dht_server_keep(server, &checked, from, now_ns))
        code = refuse(KITH_KRPC_SERVER, "Out of memory", text);
    return code;
}
