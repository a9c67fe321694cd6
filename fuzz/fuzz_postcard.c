/* Postcard values and the addresses made of them: any bytes get an answer, and what was read can be written and read again. */
#include "base/mem.h"
#include "codec/postcard.h"
#include "lookup/addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void read_addr(const uint8_t *bytes, size_t size, enum kith_custom_form form)
{
    struct kith_reader r = kith__reader(bytes, size);
    struct kith_endpoint_addr addr, again;
    struct kith_buf buf;
    int err;

    if (kith__endpoint_addr_decode(&r, form, kith_mem_default(), &addr) != 0)
        return;
    kith__buf_init(&buf, kith_mem_default());
    if (kith__endpoint_addr_encode(&addr, form, &buf) == 0) {
        r = kith__reader_of_slice(kith__buf_slice(&buf));
        err = kith__endpoint_addr_decode(&r, form, kith_mem_default(), &again);
        KITH_ASSERT(err == 0 && kith__reader_left(&r) == 0 && kith__endpoint_addr_equal(&addr, &again));
        kith__endpoint_addr_dispose(&again);
    }
    kith__buf_dispose(&buf);
    kith__endpoint_addr_dispose(&addr);
}

/** The first byte of each step chooses what to read next. */
static void read_values(const uint8_t *bytes, size_t size)
{
    struct kith_reader r = kith__reader(bytes, size);
    struct kith_slice slice;
    uint8_t kind;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    int64_t i64;
    size_t count;
    bool yes;

    while (kith__read_u8(&r, &kind) == 0) {
        switch (kind % 8) {
        case 0:
            (void)kith__postcard_read_u16(&r, &u16);
            break;
        case 1:
            (void)kith__postcard_read_u32(&r, &u32);
            break;
        case 2:
            (void)kith__postcard_read_u64(&r, &u64);
            break;
        case 3:
            (void)kith__postcard_read_i64(&r, &i64);
            break;
        case 4:
            (void)kith__postcard_read_bool(&r, &yes);
            break;
        case 5:
            (void)kith__postcard_read_variant(&r, 3, &u32);
            break;
        case 6:
            (void)kith__postcard_read_string(&r, &slice);
            break;
        default:
            if (kith__postcard_read_count(&r, 2, &count) == 0)
                KITH_ASSERT(count <= size);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    read_values(bytes, size);
    read_addr(bytes, size, KITH_CUSTOM_FORM_NEW);
    read_addr(bytes, size, KITH_CUSTOM_FORM_OLD);
    return 0;
}
