/* kith/relay.h: the relay of src/server, with errors as the rest of the library has them. */
#include "api/error.h"
#include "api/give.h"
#include "server/relay_crew.h"
#include "server/relay_news.h"
#include <kith/kith.h>
#include <kith/relay.h>
#include <string.h>

static int take_options(const struct kith_relay_options *options, struct kith_relay_options *out)
{
    if (options == NULL || options->size > sizeof *out || options->size < offsetof(struct kith_relay_options, mem))
        return kith__fail(KITH_ERR_INVALID, 0, "the options were not initialised with KITH_RELAY_OPTIONS_INIT");
    memset(out, 0, sizeof *out);
    memcpy(out, options, options->size);
    return 0;
}

static int fail(int err, const struct kith_server_why *why)
{
    return kith__fail(err, 0, "%s", why->text);
}

int kith_relay_start(const struct kith_relay_options *options, struct kith_relay **out)
{
    struct kith_relay_options taken;
    struct kith_server_why why;
    int err;

    if ((err = take_options(options, &taken)) != 0)
        return err;
    err = kith__relay_crew_new(&taken, kith_version(), out, &why);
    return err == 0 ? 0 : fail(err, &why);
}

int kith_relay_check(const struct kith_relay_options *options)
{
    struct kith_relay_options taken;
    struct kith_server_why why;
    int err;

    if ((err = take_options(options, &taken)) != 0)
        return err;
    err = kith__relay_crew_check(&taken, &why);
    return err == 0 ? 0 : fail(err, &why);
}

int kith_relay_stop(struct kith_relay *relay, uint64_t limit_ns)
{
    int err;

    if (relay == NULL)
        return 0;
    err = kith__relay_crew_stop(relay, limit_ns);
    return err == 0 ? 0 : kith__fail(err, 0, "the relay had clients left when its time to stop was over");
}

void kith_relay_reload_certificate(struct kith_relay *relay)
{
    kith__relay_crew_reload(relay);
}

int kith_relay_set_access(struct kith_relay *relay, const struct kith_relay_access_rules *rules)
{
    struct kith_server_why why;
    int err = kith__relay_crew_set_access(relay, rules, &why);

    return err == 0 ? 0 : fail(err, &why);
}

int kith_relay_set_quota(struct kith_relay *relay, const struct kith_relay_quota *quota)
{
    struct kith_server_why why;
    int err = kith__relay_crew_set_quota(relay, quota, &why);

    return err == 0 ? 0 : fail(err, &why);
}

int kith_relay_disconnect(struct kith_relay *relay, const struct kith_id *id)
{
    int err = kith__relay_crew_disconnect(relay, id);

    return err == 0 ? 0 : kith__fail_because(err, "the connections cannot be ended");
}

size_t kith_relay_addresses(const struct kith_relay *relay, enum kith_relay_address kind, struct kith_sockaddr *out,
                            size_t capacity)
{
    return kith__relay_crew_addresses(relay, kind, out, capacity);
}

void kith_relay_stats(const struct kith_relay *relay, struct kith_relay_stats *out)
{
    kith__relay_crew_stats(relay, out);
}

bool kith_relay_check_alive(struct kith_relay *relay)
{
    return kith__relay_crew_check_alive(relay);
}

int kith_relay_metrics(const struct kith_relay *relay, char *text, size_t capacity, size_t *size)
{
    struct kith_buf made = { .mem = kith__relay_crew_mem(relay) };
    int err = kith__relay_crew_metrics(relay, &made);

    return kith__give_text(&made, err, "the metrics", text, capacity, size);
}

int kith_relay_authority(const struct kith_relay *relay, char *text, size_t capacity, size_t *size)
{
    struct kith_buf made = { .mem = kith__relay_crew_mem(relay) };
    int err = kith__relay_crew_authority(relay, &made);

    return kith__give_text(&made, err, "the certificate authority", text, capacity, size);
}

int kith_relay_next_news(struct kith_relay *relay, uint64_t limit_ns, struct kith_relay_news *out)
{
    uint64_t now = kith__relay_crew_now(relay);
    uint64_t until = limit_ns == 0 ? 0 : limit_ns >= KITH_NEVER - now ? KITH_NEVER : now + limit_ns;
    int err = kith__relay_news_take(kith__relay_crew_news(relay), until, out);

    return err == 0 ? 0 : kith__fail(err, 0, "there are no news of clients");
}

int kith_relay_fd(const struct kith_relay *relay)
{
    return kith__relay_news_fd(kith__relay_crew_news(relay));
}

int kith_relay_answer(struct kith_relay *relay, uint64_t connection, bool is_allowed, const char *reason)
{
    int err = kith__relay_crew_answer(relay, connection, is_allowed, reason);

    return err == 0 ? 0 : kith__fail_because(err, "the answer cannot be given");
}
