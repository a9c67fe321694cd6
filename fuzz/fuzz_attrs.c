/*
 * TXT attributes, one in each line. Each takes effect or is counted; what they say is written, reads back as the same, and then
 * nothing of it is ignored. The first word of a line is tried as a label that is an id, too.
 */
#include "base/mem.h"
#include "codec/url.h"
#include "lookup/attrs.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void try_label(struct kith_slice text)
{
    struct kith_dns_name name;
    struct kith_slice label;
    struct kith_id id;

    if (kith__attrs_label_id(text, &id) != 0)
        return;
    kith__attrs_name(&id, &name);
    label = kith__dns_name_label(&name, 1);
    KITH_ASSERT(label.size == text.size && memcmp(label.ptr, text.ptr, text.size) == 0);
}

static void take_lines(const uint8_t *bytes, size_t size, struct kith_lookup_info *info)
{
    size_t ignored = 0;

    while (size != 0) {
        const uint8_t *end = memchr(bytes, '\n', size);
        size_t line_size = end != NULL ? (size_t)(end - bytes) : size, used = line_size + (end != NULL);
        size_t count = kith__attrs_count(info), ignored_before = ignored;

        KITH_ASSERT(kith__attrs_take(info, (struct kith_slice) { bytes, line_size }, &ignored) == 0);
        if (kith__attrs_count(info) != count && memchr(bytes, ' ', line_size) == NULL)
            KITH_ASSERT(ignored == ignored_before);
        try_label((struct kith_slice) { bytes, line_size });
        bytes += used;
        size -= used;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct kith_lookup_info info, again, filtered;
    struct kith_buf text;
    size_t ignored = 0;

    kith__buf_init(&text, kith_mem_default());
    kith__lookup_info_init(&info, kith_mem_default(), NULL);
    kith__lookup_info_init(&again, kith_mem_default(), NULL);
    kith__lookup_info_init(&filtered, kith_mem_default(), NULL);
    take_lines(bytes, size, &info);
    KITH_ASSERT(info.addr.count <= KITH_ADDRS_MAX);
    for (size_t i = 0; i < kith__attrs_count(&info); i++) {
        text.size = 0;
        KITH_ASSERT(kith__attrs_format(&info, i, &text) == 0 && text.size <= KITH_URL_SIZE_MAX + 6);
        KITH_ASSERT(kith__attrs_take(&again, kith__buf_slice(&text), &ignored) == 0);
    }
    KITH_ASSERT(ignored == 0 && kith__lookup_info_equal(&info, &again));
    KITH_ASSERT(kith__lookup_info_filter(&info, KITH_LOOKUP_LOCAL, &filtered) == 0);
    KITH_ASSERT(kith__lookup_info_equal(&info, &filtered));
    kith__lookup_info_dispose(&info);
    kith__lookup_info_dispose(&again);
    kith__lookup_info_dispose(&filtered);
    kith__buf_dispose(&text);
    return 0;
}
