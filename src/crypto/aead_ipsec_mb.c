/*
 * AEAD through Intel ipsec-mb, by its direct functions: they take the expanded key and a context of the call and never
 * see the manager, so that one manager serves all threads; it is written only while it is made. (The job functions of
 * the same library queue inside the manager and are not used.) Only what versions 1.3 and 2.0 both have is used.
 */
#if KITH_HAVE_IPSEC_MB
#include "crypto/aead.h"

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/cpu.h"
#include "crypto/secure.h"
#include <intel-ipsec-mb.h>
#include <pthread.h>

/**
 * An expanded key. The library loads the GCM tables with instructions that want 64-byte alignment, which the allocator
 * hook does not promise (and the library's header asks for only if LINUX is defined): the object is placed in a larger
 * block.
 */
struct mb_key {
    aes_gcm_enc_dec_t seal, open; /* NULL: ChaCha20-Poly1305 */
    void *block;                  /* what to free */
    uint8_t chacha20[32];
    _Alignas(64) struct gcm_key_data gcm; /* last: not allocated for ChaCha20-Poly1305 */
};

enum { MB_ALIGN = 64 };

static IMB_MGR *mgr; /* NULL: this machine cannot */
static bool mgr_is_wide;
static pthread_once_t mgr_once = PTHREAD_ONCE_INIT;

/** Picks the code of the level that KITH_CPU allows. */
static void mgr_init(void)
{
    const struct kith_cpu *cpu = kith__cpu();
    IMB_MGR *made;

    if (!cpu->has_aes || cpu->level == KITH_CPU_PORTABLE)
        return;
    if ((made = alloc_mb_mgr(0)) == NULL)
        return;
    if (cpu->level == KITH_CPU_AVX512)
        init_mb_mgr_avx512(made);
    else if (cpu->level == KITH_CPU_AVX2)
        init_mb_mgr_avx2(made);
    else
        init_mb_mgr_sse(made);
    if (imb_get_errno(made) != 0 || made->gcm128_enc == NULL) {
        free_mb_mgr(made);
        return;
    }
    mgr_is_wide = cpu->level == KITH_CPU_AVX512;
    mgr = made;
}

static const IMB_MGR *mgr_get(void)
{
    pthread_once(&mgr_once, mgr_init);
    return mgr;
}

bool kith__aead_ipsec_mb_is_wide(void)
{
    return mgr_get() != NULL && mgr_is_wide;
}

static size_t key_size(bool is_gcm)
{
    return is_gcm ? sizeof(struct mb_key) : offsetof(struct mb_key, gcm);
}

static int mb_init(const struct kith_mem *mem, enum kith_cipher cipher, const uint8_t *secret, void **state)
{
    bool is_gcm = cipher != KITH_CIPHER_CHACHA20_POLY1305;
    struct mb_key *key;
    uint8_t *block;

    if (kith__cipher_key_size(cipher) == 0)
        return KITH_ERR_UNSUPPORTED;
    if ((block = kith__alloc_zero(mem, key_size(is_gcm) + MB_ALIGN - 1)) == NULL)
        return KITH_ERR_NOMEM;
    key = (struct mb_key *)(block + (MB_ALIGN - (uintptr_t)block % MB_ALIGN) % MB_ALIGN);
    key->block = block;
    if (cipher == KITH_CIPHER_AES_128_GCM) {
        IMB_AES128_GCM_PRE(mgr, secret, &key->gcm);
        key->seal = mgr->gcm128_enc;
        key->open = mgr->gcm128_dec;
    } else if (cipher == KITH_CIPHER_AES_256_GCM) {
        IMB_AES256_GCM_PRE(mgr, secret, &key->gcm);
        key->seal = mgr->gcm256_enc;
        key->open = mgr->gcm256_dec;
    } else {
        memcpy(key->chacha20, secret, sizeof key->chacha20);
    }
    *state = key;
    return 0;
}

static void mb_dispose(const struct kith_mem *mem, void *state)
{
    struct mb_key *key = state;
    void *block = key->block;

    kith__wipe(key, key_size(key->seal != NULL));
    kith__free(mem, block);
}

static void chacha20_start(const struct mb_key *key, struct chacha20_poly1305_context_data *ctx, const uint8_t *nonce,
                           const uint8_t *aad, size_t aad_size)
{
    IMB_CHACHA20_POLY1305_INIT(mgr, key->chacha20, ctx, nonce, aad, aad_size);
}

static int mb_seal(void *state, const uint8_t *nonce, const uint8_t *aad, size_t aad_size, const uint8_t *in,
                   size_t size, uint8_t *out)
{
    const struct mb_key *key = state;

    if (key->seal != NULL) {
        struct gcm_context_data ctx;

        key->seal(&key->gcm, &ctx, out, in, size, nonce, aad, aad_size, out + size, KITH_AEAD_TAG_SIZE);
    } else {
        struct chacha20_poly1305_context_data ctx;

        chacha20_start(key, &ctx, nonce, aad, aad_size);
        if (size > 0)
            IMB_CHACHA20_POLY1305_ENC_UPDATE(mgr, key->chacha20, &ctx, out, in, size);
        IMB_CHACHA20_POLY1305_ENC_FINALIZE(mgr, &ctx, out + size, KITH_AEAD_TAG_SIZE);
        kith__wipe(ctx.poly_key, sizeof ctx.poly_key);
        kith__wipe(ctx.last_ks, sizeof ctx.last_ks);
    }
    return 0;
}

static int mb_open(void *state, const uint8_t *nonce, const uint8_t *aad, size_t aad_size, const uint8_t *in,
                   size_t size, uint8_t *out)
{
    const struct mb_key *key = state;
    size_t text_size = size - KITH_AEAD_TAG_SIZE;
    uint8_t tag[KITH_AEAD_TAG_SIZE];

    if (size < KITH_AEAD_TAG_SIZE)
        return KITH_ERR_CRYPTO;
    if (key->open != NULL) {
        struct gcm_context_data ctx;

        key->open(&key->gcm, &ctx, out, in, text_size, nonce, aad, aad_size, tag, sizeof tag);
    } else {
        struct chacha20_poly1305_context_data ctx;

        chacha20_start(key, &ctx, nonce, aad, aad_size);
        if (text_size > 0)
            IMB_CHACHA20_POLY1305_DEC_UPDATE(mgr, key->chacha20, &ctx, out, in, text_size);
        IMB_CHACHA20_POLY1305_DEC_FINALIZE(mgr, &ctx, tag, sizeof tag);
        kith__wipe(ctx.poly_key, sizeof ctx.poly_key);
        kith__wipe(ctx.last_ks, sizeof ctx.last_ks);
    }
    return kith__equal_secret_16(tag, in + text_size) ? 0 : KITH_ERR_CRYPTO;
}

const struct kith_aead_ops *kith__aead_ops_ipsec_mb(void)
{
    static const struct kith_aead_ops ops = { "ipsec-mb", mb_init, mb_dispose, mb_seal, mb_open };

    return mgr_get() != NULL ? &ops : NULL;
}
#else
/* A file needs one declaration; without the library its work is done in aead.c. */
struct kith_aead_ops;
#endif
