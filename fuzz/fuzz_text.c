/* Parsers of text: URLs, socket addresses, keys, hashes, custom addresses. What was read has one normal form. */
#include "base/mem.h"
#include "codec/url.h"
#include "endpoint/textkey.h"
#include "lookup/addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_url(const char *text, size_t size)
{
    static const char base[] = "https://u:p@a.example:8443/b/c?d/e";
    struct kith_buf once, twice;
    struct kith_url url;

    kith__buf_init(&once, kith_mem_default());
    kith__buf_init(&twice, kith_mem_default());
    if (kith__url_normalise(text, size, &once) == 0) {
        KITH_ASSERT(kith__url_normalise((const char *)once.ptr, once.size, &twice) == 0);
        KITH_ASSERT(once.size == twice.size && memcmp(once.ptr, twice.ptr, once.size) == 0);
        if (memcmp(once.ptr, "http:", 5) == 0 || memcmp(once.ptr, "https:", KITH_MIN(once.size, 6)) == 0)
            KITH_ASSERT(kith__url_split(kith__buf_slice(&once), &url) == 0 && url.host.size != 0 && url.path.size != 0);
    }
    (void)kith__url_split((struct kith_slice) { (const uint8_t *)text, size }, &url);
    once.size = twice.size = 0;
    if (kith__url_resolve((struct kith_slice) { (const uint8_t *)base, sizeof base - 1 },
                          (struct kith_slice) { (const uint8_t *)text, size }, &once) == 0) {
        KITH_ASSERT(kith__url_normalise((const char *)once.ptr, once.size, &twice) == 0);
        KITH_ASSERT(once.size == twice.size && memcmp(once.ptr, twice.ptr, once.size) == 0);
    }
    kith__buf_dispose(&once);
    kith__buf_dispose(&twice);
}

static void check_sockaddr(const uint8_t *bytes, size_t size)
{
    char text[256], formatted[KITH_SOCKADDR_TEXT_SIZE];
    struct kith_sockaddr addr, again;

    if (size >= sizeof text)
        return;
    if (size != 0)
        memcpy(text, bytes, size);
    text[size] = '\0';
    if (kith_sockaddr_parse(text, &addr) != 0)
        return;
    KITH_ASSERT(kith_sockaddr_parse(kith_sockaddr_format(&addr, formatted), &again) == 0);
    KITH_ASSERT(kith_sockaddr_equal(&addr, &again));
}

static void check_keys(const char *text, size_t size)
{
    char formatted[KITH__SIGNATURE_TEXT_SIZE];
    struct kith_id id, same;
    struct kith_hash hash;
    uint8_t signature[KITH_SIGNATURE_SIZE];
    bool is_hash_seq;

    if (kith__id_parse(text, size, &id) == 0 || kith__id_parse_z32(text, size, &id) == 0) {
        KITH_ASSERT(kith__id_parse(kith__id_format(&id, formatted), 64, &same) == 0);
        KITH_ASSERT(memcmp(&id, &same, sizeof id) == 0);
    }
    if (kith__hash_and_format_parse(text, size, &hash, &is_hash_seq) == 0)
        KITH_ASSERT(strlen(kith__hash_and_format_format(&hash, is_hash_seq, formatted)) == size);
    if (kith__signature_parse(text, size, signature) == 0)
        KITH_ASSERT(memcmp(kith__signature_format(signature, formatted), text, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct kith_endpoint_addr addr;

    check_url((const char *)bytes, size);
    check_sockaddr(bytes, size);
    check_keys((const char *)bytes, size);
    kith__endpoint_addr_init(&addr, kith_mem_default(), NULL);
    (void)kith__endpoint_addr_add_custom_text(&addr, (const char *)bytes, size);
    kith__endpoint_addr_dispose(&addr);
    return 0;
}
