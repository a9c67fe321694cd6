/* Transport parameters: the first byte chooses the sender. What is accepted is written, read and must mean the same. */
#include "quic/wire/tparams.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    bool from_client = size != 0 && (bytes[0] & 1) != 0;
    struct kith_slice text = { bytes + (size != 0), size != 0 ? size - 1 : 0 };
    struct kith_tparams params, back, kept;
    uint8_t out[KITH_TPARAMS_SIZE_MAX];
    struct kith_writer w = kith__writer(out, sizeof out);
    const char *reason = NULL;

    if (kith__tparams_parse(text, from_client, &params, &reason) != 0) {
        KITH_ASSERT(reason != NULL);
        return 0;
    }
    KITH_ASSERT(kith__tparams_write(&w, &params, NULL) == 0);
    KITH_ASSERT(kith__tparams_parse((struct kith_slice) { out, kith__writer_size(&w) }, from_client, &back, &reason) ==
                0);
    params.has_preferred_address = false; /* never written */
    KITH_ASSERT(memcmp(&params, &back, sizeof params) == 0);
    kept = kith__tparams_remembered(&params);
    KITH_ASSERT(kith__tparams_check_remembered(&kept, &params, &reason) == 0);
    KITH_ASSERT(kith__tparams_early_tag(&kept) == kith__tparams_early_tag(&params));
    return 0;
}
