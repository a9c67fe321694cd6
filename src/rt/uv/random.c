#include "rt/uv/random.h"

#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <string.h>

static atomic_uint forks;
static pthread_once_t watching = PTHREAD_ONCE_INIT;

static void on_fork(void)
{
    atomic_fetch_add_explicit(&forks, 1, memory_order_relaxed);
}

static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, on_fork);
}

void kith__uv_random_init(struct kith_uv_random *random)
{
    pthread_once(&watching, watch_forks);
    random->left = 0;
    random->forks = atomic_load_explicit(&forks, memory_order_relaxed);
}

static void refill(struct kith_uv_random *random)
{
    randombytes_buf(random->bytes, sizeof random->bytes);
    random->left = sizeof random->bytes;
    random->forks = atomic_load_explicit(&forks, memory_order_relaxed);
}

void kith__uv_random_fill(void *ctx, uint8_t *out, size_t size)
{
    struct kith_uv_random *random = ctx;
    uint8_t *from;

    if (size > KITH_UV_RANDOM_DIRECT) {
        randombytes_buf(out, size);
        return;
    }
    if (random->left < size || random->forks != atomic_load_explicit(&forks, memory_order_relaxed))
        refill(random);
    from = random->bytes + sizeof random->bytes - random->left;
    memcpy(out, from, size);
    sodium_memzero(from, size);
    random->left -= size;
}

void kith__uv_random_dispose(struct kith_uv_random *random)
{
    sodium_memzero(random->bytes, sizeof random->bytes);
    random->left = 0;
}
