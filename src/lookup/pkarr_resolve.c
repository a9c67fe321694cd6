#include "lookup/pkarr_resolve.h"

#include "base/assert.h"
#include "base/mem.h"

#include <stdio.h>

struct resolver {
    struct kith_lookup_service base;
    struct kith_rt *rt;
    struct kith_pkarr_http http;
    size_t query_count;
};

struct query { /* is a struct kith_lookup_query for those who hold it */
    struct resolver *resolver;
    struct kith_lookup_sink sink;
    struct kith_id id;
    struct kith_pkarr_request *request; /* NULL: the answer is being told */
    bool is_cancelled;                  /* then: by whom it was told */
};

static struct resolver *of(struct kith_lookup_service *base)
{
    return (struct resolver *)(void *)base;
}

static void query_free(struct query *query)
{
    query->resolver->query_count--;
    kith__free(query->resolver->rt->mem, query);
}

static void end(struct query *query, int err, const char *why)
{
    struct kith_lookup_sink sink = query->sink;

    query_free(query);
    sink.on_end(sink.ctx, err, why);
}

static const char *explain(int err)
{
    switch (err) {
    case KITH_ERR_CRYPTO:
        return "the packet that the server sent is not signed by this endpoint";
    case KITH_ERR_TRUNCATED:
    case KITH_ERR_TOO_LARGE:
        return "what the server sent has not the size of a signed packet: is the URL that of a pkarr server?";
    case KITH_ERR_PARSE:
        return "the packet that the server sent is signed, but holds no DNS message";
    default:
        return kith_strerror(err);
    }
}

/** Tells what a packet says. The query may be cancelled from inside, and is gone in any case. */
static void tell(struct query *query, const struct kith_pkarr *packet)
{
    struct kith_lookup_found found = { .updated_us = kith__pkarr_timestamp(packet) };
    struct resolver *resolver = query->resolver;
    struct kith_lookup_info info;
    int err = kith__pkarr_info(packet, resolver->rt->mem, &info, &found.ignored);

    if (err != 0) {
        end(query, err, explain(err));
        return;
    }
    if (found.ignored > 0)
        kith__log(&resolver->rt->log, KITH_LOG_DEBUG, "pkarr", "%s: %zu attributes were not understood",
                  resolver->base.label, found.ignored);
    found.info = &info;
    query->sink.on_found(query->sink.ctx, &found);
    kith__lookup_info_dispose(&info);
    if (query->is_cancelled)
        query_free(query);
    else
        end(query, 0, "");
}

static void on_answer(void *ctx, const struct kith_pkarr_answer *answer)
{
    struct query *query = ctx;
    struct kith_pkarr packet;
    int err;

    query->request = NULL;
    if (answer->err != 0)
        end(query, answer->err, answer->why);
    else if ((err = kith__pkarr_read(&query->id, answer->body, &packet)) != 0)
        end(query, err, explain(err));
    else
        tell(query, &packet);
}

static int resolve(struct kith_lookup_service *base, const struct kith_id *id, const struct kith_lookup_sink *sink,
                   struct kith_lookup_query **out)
{
    struct resolver *resolver = of(base);
    struct query *query = kith__alloc_zero(resolver->rt->mem, sizeof *query);
    int err;

    if (query == NULL)
        return KITH_ERR_NOMEM;
    *query = (struct query) { .resolver = resolver, .sink = *sink, .id = *id };
    resolver->query_count++;
    if ((err = kith__pkarr_request(&resolver->http, id, NULL, on_answer, query, &query->request)) != 0) {
        query_free(query);
        return err;
    }
    *out = (struct kith_lookup_query *)(void *)query;
    return 0;
}

static void cancel(struct kith_lookup_query *base)
{
    struct query *query = (struct query *)(void *)base;

    if (query->request == NULL) {
        query->is_cancelled = true;
        return;
    }
    kith__pkarr_request_cancel(query->request);
    query_free(query);
}

static void resolver_free(struct kith_lookup_service *base)
{
    struct resolver *resolver = of(base);

    KITH_ASSERT(resolver->query_count == 0);
    kith__pkarr_http_dispose(&resolver->http);
    kith__free(resolver->rt->mem, resolver);
}

static const struct kith_lookup_service_ops ops = {
    .name = "pkarr",
    .resolve = resolve,
    .cancel = cancel,
    .free = resolver_free,
};

int kith__pkarr_resolve_new(struct kith_rt *rt, const struct kith_pkarr_http_options *options,
                            struct kith_lookup_service **out)
{
    struct resolver *resolver = kith__alloc_zero(rt->mem, sizeof *resolver);
    int err;

    if (resolver == NULL)
        return KITH_ERR_NOMEM;
    resolver->base.ops = &ops;
    resolver->rt = rt;
    if ((err = kith__pkarr_http_init(&resolver->http, rt, options)) != 0) {
        kith__free(rt->mem, resolver);
        return err;
    }
    kith__pkarr_http_label(&resolver->http, resolver->base.label, sizeof resolver->base.label);
    *out = &resolver->base;
    return 0;
}
