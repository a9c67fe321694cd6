/*
 * Names of hosts, as the system finds them: getaddrinfo, which blocks, each on a thread of its own. libuv has a pool for that, but two
 * names whose servers are silent, or the AAAA records of one, hold up everything else in it for half a minute; and a loop cannot end before
 * they do. Here nobody waits for them: a lookup that nobody wants any more is left to itself, and may outlive its loop.
 */
#define _GNU_SOURCE 1 /* AI_IDN */
#include "base/assert.h"
#include "base/cause.h"
#include "base/mem.h"
#include "rt/uv/loop.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum {
    HOST_SIZE = 256,
    THREADS_MAX = 32,        /* of one loop: more lookups wait for one of them */
    THREAD_STACK = 512 << 10 /* getaddrinfo's modules take what they need from the stack */
};

struct uv_resolve;

/* A lookup as its thread sees it. Memory of the C library: it may outlive the loop and the loop's allocator. */
struct job {
    struct kith_list node;      /* waiting or done */
    struct uv_resolve *resolve; /* NULL: nobody wants it any more. The loop's thread alone */
    int (*get_addresses)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    char host[HOST_SIZE];
    int family;
    int result, cause; /* of getaddrinfo, and its errno */
    struct addrinfo *list;
};

/* Where a loop and its threads meet. It belongs to all of them. */
struct kith_uv_desk {
    pthread_mutex_t lock;
    unsigned references, threads;
    struct kith_list waiting, done;
    uv_async_t *async; /* NULL: the loop is gone */
};

/* A lookup as its owner sees it. */
struct uv_resolve {
    struct kith_rt_resolve head;
    struct job *job;
};

/* ---- The desk ---- */

static void lock(struct kith_uv_desk *desk)
{
    int result = pthread_mutex_lock(&desk->lock);

    KITH_ASSERT(result == 0);
}

static void unlock(struct kith_uv_desk *desk)
{
    pthread_mutex_unlock(&desk->lock);
}

static void job_free(struct job *job)
{
    if (job->list != NULL)
        freeaddrinfo(job->list);
    free(job);
}

static struct job *take(struct kith_list *list)
{
    struct kith_list *first = kith__list_first(list);

    if (first == NULL)
        return NULL;
    kith__list_remove(first);
    return KITH_CONTAINER(first, struct job, node);
}

/* With the lock, which it gives back. */
static void leave(struct kith_uv_desk *desk)
{
    bool is_last = --desk->references == 0;

    unlock(desk);
    if (!is_last)
        return;
    pthread_mutex_destroy(&desk->lock);
    free(desk);
}

/* ---- A thread ---- */

static void look_up(struct job *job)
{
    struct addrinfo hints = { .ai_family = job->family, .ai_socktype = SOCK_STREAM };

#ifdef AI_IDN
    hints.ai_flags = AI_IDN;
#endif
    errno = 0;
    job->result = job->get_addresses(job->host, NULL, &hints, &job->list);
    job->cause = errno;
    if (job->result != 0)
        job->list = NULL;
}

static void *thread_main(void *ctx)
{
    struct kith_uv_desk *desk = ctx;
    struct job *job;

    lock(desk);
    while ((job = take(&desk->waiting)) != NULL) {
        unlock(desk);
        look_up(job);
        lock(desk);
        if (desk->async == NULL) {
            job_free(job);
            continue;
        }
        kith__list_push_back(&desk->done, &job->node);
        uv_async_send(desk->async);
    }
    desk->threads--;
    leave(desk);
    return NULL;
}

/* With the lock. Signals are for the user's threads; the new one inherits the mask of this moment. */
static int start_thread(struct kith_uv_desk *desk)
{
    pthread_attr_t attr;
    sigset_t all, before;
    pthread_t thread;
    int result;

    if (pthread_attr_init(&attr) != 0)
        return KITH_ERR_NOMEM;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, THREAD_STACK);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    result = pthread_create(&thread, &attr, thread_main, desk);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (result != 0)
        return KITH_ERR_LIMIT;
    desk->references++;
    desk->threads++;
    return 0;
}

/* ---- The loop's side ---- */

static int error_of(const struct job *job)
{
    switch (job->result) {
    case 0:
        return 0;
    case EAI_NONAME:
    case EAI_FAIL:
    case EAI_FAMILY:
    case EAI_SERVICE:
#ifdef EAI_NODATA
    case EAI_NODATA:
#endif
#ifdef EAI_ADDRFAMILY
    case EAI_ADDRFAMILY:
#endif
        return KITH_ERR_NOT_FOUND;
    case EAI_AGAIN:
        return KITH_ERR_TIMEOUT;
    case EAI_MEMORY:
        return KITH_ERR_NOMEM;
    case EAI_SYSTEM:
        return kith__uv_errno(job->cause);
    default:
        return KITH_ERR_IO;
    }
}

static void tell(struct job *job)
{
    struct kith_rt_resolve head = job->resolve->head;
    struct kith_sockaddr addrs[KITH_RT_RESOLVED_MAX];
    size_t count = 0;
    int err = error_of(job);

    for (const struct addrinfo *at = job->list; at != NULL && count < KITH_RT_RESOLVED_MAX; at = at->ai_next)
        if (kith__uv_sockaddr_in(at->ai_addr, &addrs[count]))
            addrs[count++].port = head.port;
    kith__free(head.rt->mem, job->resolve);
    job_free(job);
    if (err == 0 && count == 0)
        err = KITH_ERR_NOT_FOUND;
    head.done(head.ctx, err, addrs, count);
}

static void on_done(uv_async_t *async)
{
    struct kith_uv *uv = async->data;
    struct job *job;

    for (;;) {
        lock(uv->desk);
        job = take(&uv->desk->done);
        unlock(uv->desk);
        if (job == NULL)
            return;
        if (job->resolve != NULL)
            tell(job);
        else
            job_free(job);
    }
}

static int desk_open(struct kith_uv *uv)
{
    struct kith_uv_desk *desk;
    int result;

    if (uv->desk != NULL)
        return 0;
    if ((desk = calloc(1, sizeof *desk)) == NULL || pthread_mutex_init(&desk->lock, NULL) != 0) {
        free(desk);
        return KITH_ERR_NOMEM;
    }
    if ((result = uv_async_init(&uv->loop, &uv->resolved, on_done)) != 0) {
        pthread_mutex_destroy(&desk->lock);
        free(desk);
        return kith__uv_error(result);
    }
    uv->is_dirty = true;
    uv->resolved.data = uv;
    desk->references = 1;
    desk->async = &uv->resolved;
    kith__list_init(&desk->waiting);
    kith__list_init(&desk->done);
    uv->desk = desk;
    return 0;
}

void kith__uv_resolve_close(struct kith_uv *uv)
{
    struct job *job;

    if (uv->desk == NULL)
        return;
    lock(uv->desk);
    uv->desk->async = NULL;
    while ((job = take(&uv->desk->waiting)) != NULL || (job = take(&uv->desk->done)) != NULL) {
        KITH_ASSERT(job->resolve == NULL); /* else a lookup was left open */
        job_free(job);
    }
    leave(uv->desk);
    uv->desk = NULL;
    uv_close((uv_handle_t *)&uv->resolved, NULL);
}

static int begin(struct kith_uv *uv, struct job *job)
{
    struct kith_uv_desk *desk = uv->desk;
    int err = 0;

    lock(desk);
    kith__list_push_back(&desk->waiting, &job->node);
    if (desk->threads < THREADS_MAX && (err = start_thread(desk)) != 0 && desk->threads != 0)
        err = 0; /* another one will come to it */
    if (err != 0)
        kith__list_remove(&job->node);
    unlock(desk);
    return err;
}

int kith__uv_resolve(struct kith_rt *rt, const char *host, struct kith_rt_resolve *head, struct kith_rt_resolve **out)
{
    struct kith_uv *uv = kith__uv_of(rt);
    struct uv_resolve *resolve = kith__alloc_zero(rt->mem, sizeof *resolve);
    struct job *job = calloc(1, sizeof *job);
    int err = resolve == NULL || job == NULL ? KITH_ERR_NOMEM : desk_open(uv);

    if (err == 0) {
        KITH_ASSERT(strlen(host) < sizeof job->host);
        strcpy(job->host, host);
        job->family = head->family == KITH_FAMILY_V4 ? AF_INET : head->family == KITH_FAMILY_V6 ? AF_INET6 : AF_UNSPEC;
        job->get_addresses = uv->get_addresses;
        job->resolve = resolve;
        resolve->head = *head;
        resolve->job = job;
        err = begin(uv, job);
    }
    if (err != 0) {
        kith__free(rt->mem, resolve);
        free(job);
        return err;
    }
    *out = &resolve->head;
    return 0;
}

void kith__uv_resolve_cancel(struct kith_rt_resolve *head)
{
    struct uv_resolve *resolve = (struct uv_resolve *)head;

    resolve->job->resolve = NULL; /* its thread ends when it ends; what it says is thrown away then */
    kith__free(head->rt->mem, resolve);
}
