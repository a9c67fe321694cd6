/* The certificate of a server. */
#include "server/certs.h"

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/secure.h"
#include "server/acme.h"
#include "server/certs_judge.h"
#include "tls/selfmade.h"
#include "tls/stream.h"
#include <stdio.h>

enum { NAME_SIZE = 256 };

/* When a file was as it was when it was read. */
struct stamp {
    uint64_t modified_ns, size, inode;
};

struct kith_certs {
    struct kith_certs_options options;
    struct kith_rt *rt;
    const struct kith_mem *mem;
    uint8_t source;
    char *chain_file, *key_file, *directory; /* owned */
    char (*names)[NAME_SIZE];
    const char **name_list;
    size_t name_count;
    struct kith_buf chain, key;              /* in use */
    struct kith_tls_certificate *challenges; /* borrowed by the context only while it is made */
    size_t challenge_count;
    struct stamp loaded[2], seen[2]; /* of chain_file and key_file: read last; at the last look */
    struct kith_rt_timer timer;
    struct kith_acme *acme;
};

static int copy_text(const struct kith_mem *mem, const char *text, char **out)
{
    size_t size = text != NULL ? strlen(text) + 1 : 0;

    if (size == 0)
        return 0;
    if ((*out = kith__alloc(mem, size)) == NULL)
        return KITH_ERR_NOMEM;
    memcpy(*out, text, size);
    return 0;
}

static void wipe_buf(struct kith_buf *buf)
{
    if (buf->ptr != NULL)
        kith__wipe(buf->ptr, buf->cap);
    kith__buf_dispose(buf);
}

/* ---- Files ---- */

static void path_in(const char *directory, const char *name, char path[KITH_RT_PATH_MAX + 1])
{
    snprintf(path, KITH_RT_PATH_MAX + 1, "%s/%s", directory, name);
}

int kith__server_write_file(struct kith_rt *rt, const char *path, struct kith_slice bytes, uint32_t mode,
                            struct kith_server_why *why)
{
    struct kith_rt_replace_options options = { .name = path, .mode = mode, .overwrite = true };
    struct kith_rt_replace *replace;
    int err = kith__rt_replace_begin(rt, &options, &replace);

    if (err == 0) {
        err = kith__rt_file_write(kith__rt_replace_file(replace), bytes.ptr, bytes.size);
        if (err == 0)
            err = kith__rt_replace_commit(replace);
        if (err != 0)
            kith__rt_replace_abort(replace, false);
    }
    return err == 0 ? 0 : kith__server_why(why, err, "%s cannot be written: %s", path, kith_strerror(err));
}

static bool look(struct kith_rt *rt, const char *path, struct stamp *out)
{
    struct kith_rt_stat stat;

    if (kith__rt_stat(rt, NULL, path, true, &stat) != 0)
        return false;
    *out = (struct stamp) { stat.modified_ns, stat.size, stat.inode };
    return true;
}

static bool same(const struct stamp *a, const struct stamp *b)
{
    return a->modified_ns == b->modified_ns && a->size == b->size && a->inode == b->inode;
}

/* ---- Using a certificate ---- */

static int make_context(struct kith_certs *certs, struct kith_slice chain, struct kith_slice key,
                        struct kith_tls_stream_context **out)
{
    struct kith_tls_certificate certificate = { chain, key };
    struct kith_tls_stream_context_options options = { .mem = certs->mem,
                                                       .certificates = &certificate,
                                                       .certificate_count = chain.size != 0 ? 1 : 0,
                                                       .refuses_unknown_names = certs->source == KITH_CERTIFICATE_ACME,
                                                       .challenges = certs->challenges,
                                                       .challenge_count = certs->challenge_count };

    return kith__tls_stream_context_new(&options, out);
}

/* Takes over a chain and key that fit; both are moved on success. */
static int use(struct kith_certs *certs, struct kith_buf *chain, struct kith_buf *key)
{
    struct kith_certificate_news news = { NULL, kith__buf_slice(chain), kith__buf_slice(key) };
    struct kith_certificate_info info = { 0 };
    int err;

    if ((err = make_context(certs, news.chain, news.key, &news.context)) != 0)
        return err;
    if (news.chain.size != 0 && (err = kith__certificate_read(news.chain, &info)) != 0) {
        kith__tls_stream_context_release(news.context);
        return err;
    }
    certs->options.on_news(certs->options.ctx, &news);
    kith__tls_stream_context_release(news.context);
    atomic_store_explicit(&certs->options.shared->certificate_ends_s, info.not_after_s, memory_order_relaxed);
    if (chain != &certs->chain) {
        wipe_buf(&certs->key);
        kith__buf_dispose(&certs->chain);
        certs->chain = kith__buf_take(chain);
        certs->key = kith__buf_take(key);
        atomic_fetch_add_explicit(&certs->options.shared->reloads, 1, memory_order_relaxed);
    }
    return 0;
}

static int load(struct kith_certs *certs, const char *chain_file, const char *key_file, struct kith_server_why *why)
{
    struct kith_buf chain = { .mem = certs->mem }, key = { .mem = certs->mem };
    int err = kith__server_read_file(certs->rt, certs->mem, chain_file, "the certificate", &chain, why);

    if (err == 0 &&
        (err = kith__server_read_file(certs->rt, certs->mem, key_file, "the private key", &key, why)) == 0 &&
        (err = use(certs, &chain, &key)) != 0)
        kith__certs_explain(
            why, err,
            &(struct kith_certs_files) { chain_file, key_file, kith__buf_slice(&chain), kith__buf_slice(&key) });
    kith__buf_dispose(&chain);
    wipe_buf(&key);
    return err;
}

/* ---- FILES ---- */

static uint64_t wall_s(const struct kith_certs *certs)
{
    return kith__rt_wall_us(certs->rt) / 1000000;
}

/* What clients will not like about the certificate in use. */
static int judge(const struct kith_certs *certs, struct kith_server_why *why)
{
    struct kith_certs_files files = { certs->chain_file, certs->key_file, kith__buf_slice(&certs->chain),
                                      kith__buf_slice(&certs->key) };

    return kith__certs_judge(why, &files, certs->name_list, certs->name_count, wall_s(certs));
}

static int load_files(struct kith_certs *certs, struct kith_server_why *why)
{
    struct stamp now[2] = { { 0 } };
    struct kith_server_why doubt;
    int err;

    look(certs->rt, certs->chain_file, &now[0]);
    look(certs->rt, certs->key_file, &now[1]);
    err = load(certs, certs->chain_file, certs->key_file, why);
    /* What could not be used is not tried again before it changes. */
    memcpy(certs->loaded, now, sizeof now);
    memcpy(certs->seen, now, sizeof now);
    /* Served all the same: a server that ends helps nobody, and a client may know better (its clock, its trust). */
    if (err == 0 && judge(certs, &doubt) != 0)
        kith__log(&certs->rt->log, KITH_LOG_WARN, "certs", "%s", doubt.text);
    return err;
}

static void note_failure(struct kith_certs *certs, const struct kith_server_why *why)
{
    atomic_fetch_add_explicit(&certs->options.shared->failures, 1, memory_order_relaxed);
    kith__log(&certs->rt->log, KITH_LOG_ERROR, "certs", "the old certificate stays in use: %s", why->text);
}

static void reload_files(struct kith_certs *certs)
{
    struct kith_server_why why;

    if (load_files(certs, &why) != 0)
        note_failure(certs, &why);
    else
        kith__log(&certs->rt->log, KITH_LOG_INFO, "certs", "a new certificate is in use: %s", certs->chain_file);
}

/*
 * Two files are written one after the other: they are read when both have been the same for one look, so that a new chain
 * is not put together with the old key.
 */
static void look_at_files(struct kith_certs *certs)
{
    struct stamp now[2];
    bool is_calm, is_new;

    if (!look(certs->rt, certs->chain_file, &now[0]) || !look(certs->rt, certs->key_file, &now[1]))
        return; /* gone for a moment, or for good: what is in use stays */
    is_calm = same(&now[0], &certs->seen[0]) && same(&now[1], &certs->seen[1]);
    is_new = !same(&now[0], &certs->loaded[0]) || !same(&now[1], &certs->loaded[1]);
    memcpy(certs->seen, now, sizeof now);
    if (is_new && is_calm)
        reload_files(certs);
}

/* ---- SELF ---- */

/* The authority from its files, or a new one where there is none at all. */
static int get_authority(struct kith_certs *certs, struct kith_selfmade *out, struct kith_server_why *why)
{
    char path[KITH_RT_PATH_MAX + 1], key_path[KITH_RT_PATH_MAX + 1], name[64];
    struct stamp ignored;
    int err;

    path_in(certs->directory, "authority.crt", path);
    path_in(certs->directory, "authority.key", key_path);
    if (look(certs->rt, path, &ignored)) {
        err = kith__server_read_file(certs->rt, certs->mem, path, "the authority", &out->certificate, why);
        if (err == 0)
            err = kith__server_read_file(certs->rt, certs->mem, key_path, "the authority's key", &out->key, why);
        return err;
    }
    snprintf(name, sizeof name, "kith relay %.50s", certs->name_list[0]);
    if ((err = kith__selfmade_authority(certs->mem, name, wall_s(certs), out)) != 0)
        return kith__server_why(why, err, "a certificate authority cannot be made: %s", kith_strerror(err));
    /* The key first: an authority that clients trust and whose key is lost would be worse than none. */
    if ((err = kith__server_write_file(certs->rt, key_path, kith__buf_slice(&out->key), 0600, why)) != 0)
        return err;
    return kith__server_write_file(certs->rt, path, kith__buf_slice(&out->certificate), 0644, why);
}

static bool covers_all(const struct kith_certs *certs, struct kith_slice chain)
{
    for (size_t i = 0; i < certs->name_count; i++)
        if (!kith__certificate_covers(chain, certs->name_list[i]))
            return false;
    return true;
}

/* True while a third of its life is left. */
static bool is_young(const struct kith_certs *certs, struct kith_slice chain)
{
    struct kith_certificate_info info;
    uint64_t now = wall_s(certs);

    return kith__certificate_read(chain, &info) == 0 && info.not_before_s <= now &&
           info.not_after_s > now + (info.not_after_s - info.not_before_s) / 3;
}

static int make_server(struct kith_certs *certs, const char *path, struct kith_server_why *why)
{
    struct kith_selfmade authority = { { .mem = certs->mem }, { .mem = certs->mem } };
    struct kith_selfmade server = { { .mem = certs->mem }, { .mem = certs->mem } };
    struct kith_buf both = { .mem = certs->mem };
    int err = get_authority(certs, &authority, why);

    if (err == 0) {
        err = kith__selfmade_server(certs->mem, kith__buf_slice(&authority.certificate),
                                    kith__buf_slice(&authority.key), certs->name_list, certs->name_count, wall_s(certs),
                                    &server);
        if (err != 0)
            kith__server_why(why, err, "a certificate cannot be made with the authority in %s: %s", certs->directory,
                             err == KITH_ERR_INVALID ? "a name is no host name or IP address" : kith_strerror(err));
    }
    /* One file: chain and key can never be of two different generations. */
    if (err == 0 && ((err = kith__buf_append(&both, server.key.ptr, server.key.size)) != 0 ||
                     (err = kith__buf_append(&both, server.certificate.ptr, server.certificate.size)) != 0))
        kith__server_why(why, err, "no memory for a certificate");
    if (err == 0)
        err = kith__server_write_file(certs->rt, path, kith__buf_slice(&both), 0600, why);
    wipe_buf(&both);
    kith__selfmade_dispose(&authority);
    kith__selfmade_dispose(&server);
    return err;
}

static int load_self(struct kith_certs *certs, struct kith_server_why *why)
{
    char path[KITH_RT_PATH_MAX + 1];
    struct kith_buf kept = { .mem = certs->mem };
    bool is_fine;

    path_in(certs->directory, "server.pem", path);
    is_fine = kith__server_read_file(certs->rt, certs->mem, path, "the certificate", &kept, why) == 0 &&
              covers_all(certs, kith__buf_slice(&kept)) && is_young(certs, kith__buf_slice(&kept));
    wipe_buf(&kept);
    if (!is_fine) {
        int err = make_server(certs, path, why);

        if (err != 0)
            return err;
        kith__log(&certs->rt->log, KITH_LOG_INFO, "certs", "made a certificate: %s", path);
    }
    return load(certs, path, path, why);
}

static void look_at_self(struct kith_certs *certs)
{
    struct kith_server_why why;

    if (!is_young(certs, kith__buf_slice(&certs->chain)) && load_self(certs, &why) != 0)
        note_failure(certs, &why);
}

/* ---- ACME ---- */

static void acme_path(const struct kith_certs *certs, char path[KITH_RT_PATH_MAX + 1])
{
    path_in(certs->directory, "acme.pem", path);
}

/* A stored certificate is used as long as it is valid; a new one is ordered when it is not young any more. */
static int load_acme(struct kith_certs *certs, struct kith_server_why *why)
{
    struct kith_acme_options options = { .rt = certs->rt,
                                         .mem = certs->mem,
                                         .tls = certs->options.tls,
                                         .directory = certs->directory,
                                         .shared = certs->options.shared,
                                         .certs = certs,
                                         .has_https = certs->options.has_https,
                                         .has_http = certs->options.has_http };
    char path[KITH_RT_PATH_MAX + 1];
    struct stamp ignored;
    int err;

    acme_path(certs, path);
    if (look(certs->rt, path, &ignored) && load(certs, path, path, why) != 0)
        kith__log(&certs->rt->log, KITH_LOG_WARN, "certs", "the stored certificate is of no use: %s", why->text);
    if ((err = kith__acme_new(&options, &certs->acme, why)) != 0)
        return err;
    if (!covers_all(certs, kith__buf_slice(&certs->chain)) || !is_young(certs, kith__buf_slice(&certs->chain)))
        kith__acme_order(certs->acme);
    return 0;
}

static void look_at_acme(struct kith_certs *certs)
{
    if (!is_young(certs, kith__buf_slice(&certs->chain)))
        kith__acme_order(certs->acme);
}

int kith__certs_set_challenges(struct kith_certs *certs, const struct kith_tls_certificate *challenges, size_t count)
{
    int err;

    if (count == 0 && certs->chain.size == 0)
        return 0; /* there is nothing to serve; who asks gets what was there */
    certs->challenges = (struct kith_tls_certificate *)challenges;
    certs->challenge_count = count;
    err = use(certs, &certs->chain, &certs->key);
    certs->challenges = NULL;
    certs->challenge_count = 0;
    return err;
}

int kith__certs_store(struct kith_certs *certs, struct kith_slice chain, struct kith_slice key,
                      struct kith_server_why *why)
{
    char path[KITH_RT_PATH_MAX + 1];
    struct kith_buf both = { .mem = certs->mem };
    int err;

    acme_path(certs, path);
    if ((err = kith__buf_append(&both, key.ptr, key.size)) != 0 ||
        (err = kith__buf_append(&both, chain.ptr, chain.size)) != 0)
        kith__server_why(why, err, "no memory for a certificate");
    else if ((err = kith__server_write_file(certs->rt, path, kith__buf_slice(&both), 0600, why)) == 0)
        err = load(certs, path, path, why);
    wipe_buf(&both);
    return err;
}

/* ---- Life ---- */

static void on_timer(void *ctx, uint64_t now_ns)
{
    struct kith_certs *certs = ctx;

    if (certs->source == KITH_CERTIFICATE_FILES) {
        look_at_files(certs);
        kith__rt_timer_set(&certs->timer, now_ns + KITH_CERTS_FILES_NS);
        return;
    }
    if (certs->source == KITH_CERTIFICATE_SELF)
        look_at_self(certs);
    else
        look_at_acme(certs);
    kith__rt_timer_set(&certs->timer, now_ns + KITH_CERTS_AGE_NS);
}

static int copy_names(struct kith_certs *certs, const struct kith_server_tls *tls)
{
    if (tls->name_count == 0)
        return 0;
    certs->names = kith__alloc_array(certs->mem, tls->name_count, sizeof *certs->names);
    certs->name_list = kith__alloc_array(certs->mem, tls->name_count, sizeof *certs->name_list);
    if (certs->names == NULL || certs->name_list == NULL)
        return KITH_ERR_NOMEM;
    for (size_t i = 0; i < tls->name_count; i++) {
        snprintf(certs->names[i], NAME_SIZE, "%s", tls->names[i]);
        certs->name_list[i] = certs->names[i];
    }
    certs->name_count = tls->name_count;
    return 0;
}

static int make_directory(struct kith_certs *certs, struct kith_server_why *why)
{
    struct kith_rt_stat stat;
    int err;

    /* A sandbox may forbid to make it, but then it is there. */
    if (kith__rt_stat(certs->rt, NULL, certs->directory, true, &stat) == 0 && stat.kind == KITH_RT_KIND_DIR)
        return 0;
    err = kith__rt_mkdir(certs->rt, NULL, certs->directory, 0700);
    return err == 0 || err == KITH_ERR_EXISTS
               ? 0
               : kith__server_why(why, err, "the directory for certificates cannot be made: %s: %s", certs->directory,
                                  kith_strerror(err));
}

static int first(struct kith_certs *certs, struct kith_server_why *why)
{
    int err;

    if (certs->source == KITH_CERTIFICATE_FILES)
        return load_files(certs, why);
    if ((err = make_directory(certs, why)) != 0)
        return err;
    return certs->source == KITH_CERTIFICATE_SELF ? load_self(certs, why) : load_acme(certs, why);
}

int kith__certs_new(const struct kith_certs_options *options, struct kith_certs **out, struct kith_server_why *why)
{
    struct kith_certs *certs = kith__alloc_zero(options->mem, sizeof *certs);
    const struct kith_server_tls *tls = options->tls;
    uint64_t now = kith__rt_now(options->rt);
    int err;

    if (certs == NULL)
        return kith__server_why(why, KITH_ERR_NOMEM, "no memory for certificates");
    certs->options = *options;
    certs->rt = options->rt;
    certs->mem = options->mem;
    certs->source = tls->source;
    kith__buf_init(&certs->chain, certs->mem);
    kith__buf_init(&certs->key, certs->mem);
    if ((err = copy_text(certs->mem, tls->chain_file, &certs->chain_file)) != 0 ||
        (err = copy_text(certs->mem, tls->key_file, &certs->key_file)) != 0 ||
        (err = copy_text(certs->mem, tls->directory, &certs->directory)) != 0 || (err = copy_names(certs, tls)) != 0 ||
        (err = kith__rt_timer_init(certs->rt, &certs->timer, on_timer, certs)) != 0)
        kith__server_why(why, err, "no memory for certificates");
    else
        err = first(certs, why);
    if (err != 0) {
        kith__certs_free(certs);
        return err;
    }
    certs->options.tls = NULL; /* the caller's */
    kith__rt_timer_set(&certs->timer,
                       now + (certs->source == KITH_CERTIFICATE_FILES ? KITH_CERTS_FILES_NS : KITH_CERTS_AGE_NS));
    *out = certs;
    return 0;
}

void kith__certs_free(struct kith_certs *certs)
{
    if (certs == NULL)
        return;
    kith__acme_free(certs->acme);
    kith__rt_timer_dispose(&certs->timer);
    wipe_buf(&certs->key);
    kith__buf_dispose(&certs->chain);
    kith__free(certs->mem, certs->names);
    kith__free(certs->mem, certs->name_list);
    kith__free(certs->mem, certs->chain_file);
    kith__free(certs->mem, certs->key_file);
    kith__free(certs->mem, certs->directory);
    kith__free(certs->mem, certs);
}

void kith__certs_reload(struct kith_certs *certs)
{
    if (certs->source == KITH_CERTIFICATE_FILES)
        reload_files(certs);
    else
        on_timer(certs, kith__rt_now(certs->rt));
}

static void ignore_news(void *ctx, const struct kith_certificate_news *news)
{
    (void)ctx;
    (void)news;
}

static int check_files(const struct kith_certs_options *options, struct kith_server_why *why)
{
    struct kith_certs *certs;
    int err = kith__certs_new(options, &certs, why);

    if (err != 0)
        return err;
    err = judge(certs, why);
    kith__certs_free(certs);
    return err;
}

int kith__certs_check(struct kith_rt *rt, const struct kith_mem *mem, const struct kith_server_tls *tls,
                      struct kith_server_why *why)
{
    struct kith_certs_shared ignored = { .mem = NULL };
    struct kith_certs_options options = {
        .rt = rt, .mem = mem, .tls = tls, .shared = &ignored, .on_news = ignore_news
    };
    struct kith_tls_stream_context *trust;
    int err;

    if (tls == NULL)
        return 0;
    if (tls->source == KITH_CERTIFICATE_FILES)
        return check_files(&options, why);
    if (tls->source != KITH_CERTIFICATE_ACME || tls->acme_ca_file == NULL)
        return 0; /* what is missing will be made */
    if ((err = kith__server_client_trust(rt, mem, tls->acme_ca_file, &trust, why)) == 0)
        kith__tls_stream_context_release(trust);
    return err;
}

int kith__certs_authority(struct kith_rt *rt, const struct kith_mem *mem, const char *directory, struct kith_buf *out,
                          struct kith_server_why *why)
{
    char path[KITH_RT_PATH_MAX + 1];

    path_in(directory, "authority.crt", path);
    return kith__server_read_file(rt, mem, path, "the authority", out, why);
}
