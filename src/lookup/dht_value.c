/* Values: what a node has for us, and what we give. */
#include "lookup/dht_core_parts.h"

#include "base/assert.h"
#include "base/mem.h"

#include <stdio.h>

static void put_be64(uint8_t *out, uint64_t value)
{
    for (int i = 7; i >= 0; i--, value >>= 8)
        out[i] = (uint8_t)value;
}

/** Signature, timestamp and message, as kith__pkarr_read takes them. */
static size_t payload_of(const struct kith_krpc *answer, uint8_t out[KITH_PKARR_PAYLOAD_SIZE_MAX])
{
    memcpy(out, answer->signature.ptr, KITH_SIGNATURE_SIZE);
    put_be64(out + KITH_SIGNATURE_SIZE, (uint64_t)answer->seq);
    memcpy(out + KITH_SIGNATURE_SIZE + 8, answer->value_bytes.ptr, answer->value_bytes.size);
    return KITH_SIGNATURE_SIZE + 8 + answer->value_bytes.size;
}

/** True: it is well made, so that a signature can be checked. */
static bool is_complete(struct kith_dht_core *core, const struct kith_dht_op *op, const struct kith_krpc *answer)
{
    if (answer->key.ptr == NULL || answer->signature.ptr == NULL || !answer->has_seq || answer->seq < 0 ||
        answer->value_bytes.ptr == NULL) {
        core->stats.value_incomplete++;
        return false;
    }
    if (memcmp(answer->key.ptr, op->key.bytes, KITH_ID_SIZE) != 0) {
        core->stats.value_wrong_key++;
        return false;
    }
    if (answer->value_bytes.size > KITH_PKARR_DNS_SIZE_MAX) {
        core->stats.value_too_large++;
        return false;
    }
    return true;
}

bool kith__dht_take_value(struct kith_dht_core *core, struct kith_dht_op *op, const struct kith_krpc *answer)
{
    uint8_t payload[KITH_PKARR_PAYLOAD_SIZE_MAX];
    struct kith_pkarr packet;
    size_t size;
    int err;

    if (answer->value.ptr == NULL || !is_complete(core, op, answer))
        return false;
    size = payload_of(answer, payload);
    /* Most nodes have the same: its signature was checked already. */
    if (op->has_newest && op->newest.size == size + KITH_ID_SIZE &&
        memcmp(op->newest.bytes + KITH_ID_SIZE, payload, size) == 0) {
        core->stats.values_found++;
        core->stats.values_older++;
        return false;
    }
    if ((err = kith__pkarr_read(&op->key, (struct kith_slice) { payload, size }, &packet)) != 0) {
        if (err == KITH_ERR_CRYPTO)
            core->stats.value_signature++;
        else
            core->stats.value_dns++;
        return false;
    }
    core->stats.values_found++;
    if (op->has_newest && !kith__pkarr_is_newer(&packet, &op->newest)) {
        core->stats.values_older++;
        return false;
    }
    op->newest = packet;
    op->has_newest = true;
    return true;
}

bool kith__dht_take_own(struct kith_dht_core *core, struct kith_dht_op *op, uint64_t now_ns)
{
    const struct kith_dht_value *value = kith__dht_server_find(&core->server, &op->query.target, now_ns);
    struct kith_krpc answer = { .kind = KITH_KRPC_ANSWER };
    const uint8_t *colon;

    if (value == NULL || !value->is_mutable || (colon = memchr(value->bytes, ':', value->size)) == NULL)
        return false;
    answer.key = (struct kith_slice) { value->key.bytes, sizeof value->key.bytes };
    answer.signature = (struct kith_slice) { value->signature, sizeof value->signature };
    answer.has_seq = true;
    answer.seq = value->seq;
    answer.value = (struct kith_slice) { value->bytes, value->size };
    answer.value_bytes = (struct kith_slice) { colon + 1, (size_t)(value->bytes + value->size - (colon + 1)) };
    return kith__dht_take_value(core, op, &answer);
}

void kith__dht_fill_put(const struct kith_pkarr *packet, struct kith_krpc *put)
{
    put->key = (struct kith_slice) { packet->bytes, KITH_ID_SIZE };
    put->signature = (struct kith_slice) { packet->bytes + KITH_ID_SIZE, KITH_SIGNATURE_SIZE };
    put->has_seq = true;
    put->seq = (int64_t)kith__pkarr_timestamp(packet);
    put->value_bytes = kith__pkarr_dns(packet);
}

bool kith__dht_keep_own(struct kith_dht_core *core, const struct kith_dht_op *op, uint64_t now_ns)
{
    static const struct kith_sockaddr here = { .ip = { 127, 0, 0, 1 }, .family = KITH_FAMILY_V4 };
    struct kith_krpc put = { .kind = KITH_KRPC_QUESTION, .method = KITH_KRPC_PUT, .has_target = true };
    uint8_t encoded[KITH_DHT_VALUE_SIZE_MAX + 1];
    int length;

    put.target = op->query.target;
    kith__dht_fill_put(&op->packet, &put);
    length = snprintf((char *)encoded, sizeof encoded, "%zu:", put.value_bytes.size);
    memcpy(encoded + length, put.value_bytes.ptr, put.value_bytes.size);
    put.value = (struct kith_slice) { encoded, (size_t)length + put.value_bytes.size };
    return kith__dht_server_keep(&core->server, &put, &here, now_ns);
}
