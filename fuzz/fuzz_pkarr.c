/*
 * Signed packets. The input is tried as a whole packet, and as a message that is signed here, so that a fuzzer need not sign.
 * What was read says what a packet that is made of it says; any change breaks the signature.
 */
#include "base/mem.h"
#include "crypto/sign.h"
#include "lookup/attrs.h"
#include "lookup/pkarr.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/** The secret of corpus files. */
static const struct kith_secret secret = { { 0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                             16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31 } };

/** A packet of the secret with any message: as kith__pkarr_make writes it. */
static void sign(struct kith_slice dns, uint64_t timestamp_us, struct kith_pkarr *out)
{
    uint8_t message[64 + KITH_PKARR_DNS_SIZE_MAX];
    struct kith_writer w = kith__writer(out->bytes + KITH_ID_SIZE + KITH_SIGNATURE_SIZE, 8);
    struct kith_keypair pair;
    size_t size = kith__pkarr_signed_bytes(timestamp_us, dns, message);

    kith__keypair_init(&pair, &secret);
    memcpy(out->bytes, pair.id.bytes, KITH_ID_SIZE);
    kith__sign(&pair, (struct kith_slice) { message, size }, out->bytes + KITH_ID_SIZE);
    KITH_ASSERT(kith__write_u64(&w, timestamp_us) == 0);
    if (dns.size != 0)
        memcpy(out->bytes + KITH_PKARR_HEAD_SIZE, dns.ptr, dns.size);
    out->size = (uint16_t)(KITH_PKARR_HEAD_SIZE + dns.size);
}

static void check_info(const struct kith_pkarr *packet)
{
    struct kith_lookup_info info, again;
    struct kith_pkarr made;
    struct kith_id own = kith__secret_id(&secret);
    size_t ignored, left_out;

    KITH_ASSERT(kith__pkarr_info(packet, kith_mem_default(), &info, &ignored) == 0);
    if (memcmp(&info.addr.id, &own, sizeof own) == 0) {
        KITH_ASSERT(kith__pkarr_make(&info, &secret, kith__pkarr_timestamp(packet), KITH_PKARR_TTL_S,
                                     kith_mem_default(), &made, &left_out) == 0);
        KITH_ASSERT(kith__pkarr_read(&own, kith__pkarr_payload(&made), &made) == 0);
        KITH_ASSERT(kith__pkarr_info(&made, kith_mem_default(), &again, &ignored) == 0);
        KITH_ASSERT(ignored == 0 && again.addr.count + left_out == info.addr.count);
        KITH_ASSERT(left_out != 0 || kith__lookup_info_equal(&info, &again));
        KITH_ASSERT(again.user_data_size == info.user_data_size);
        KITH_ASSERT(!kith__pkarr_is_newer(packet, packet) &&
                    !(kith__pkarr_is_newer(packet, &made) && kith__pkarr_is_newer(&made, packet)));
        kith__lookup_info_dispose(&again);
    }
    kith__lookup_info_dispose(&info);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct kith_pkarr packet, made;

    if (kith__pkarr_read(NULL, (struct kith_slice) { bytes, size }, &packet) == 0) {
        KITH_ASSERT(packet.size == size && memcmp(packet.bytes, bytes, size) == 0);
        check_info(&packet);
    }
    if (size > KITH_PKARR_DNS_SIZE_MAX)
        return 0;
    sign((struct kith_slice) { bytes, size }, size, &made);
    if (kith__pkarr_read(NULL, (struct kith_slice) { made.bytes, made.size }, &packet) != 0)
        return 0;
    check_info(&packet);
    made.bytes[KITH_ID_SIZE + size % (made.size - KITH_ID_SIZE)] ^= 1;
    KITH_ASSERT(kith__pkarr_read(NULL, (struct kith_slice) { made.bytes, made.size }, &packet) == KITH_ERR_CRYPTO);
    return 0;
}
