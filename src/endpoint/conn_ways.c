/* Which paths a connection has. */
#include "endpoint/conn_ways.h"

#include "base/assert.h"
#include "endpoint/relays_inner.h"
#include <string.h>

#define CODE_BY_POLICY 0x3e /* of PATH_ABANDON: closed by the application (spec/04, 2.8) */

/** What a look at the paths showed. */
struct view {
    struct kith_quic_path_info paths[KITH_QUIC_PATHS_MAX];
    size_t count;
    bool has_direct; /* one that works */
    bool has_relay;  /* one that works: validated, its relay is connected and answers, the peer too */
    bool is_trying;  /* a path through a relay waits for its validation, and not for too long yet */
    bool is_trying_direct;
};

void kith__conn_ways_init(struct kith_conn_ways *ways, struct kith_quic_conn *quic, struct kith_relays *relays,
                          bool is_client)
{
    *ways =
        (struct kith_conn_ways) { .quic = quic, .relays = relays, .is_client = is_client, .deadline_ns = KITH_NEVER };
}

void kith__conn_ways_dispose(struct kith_conn_ways *ways)
{
    for (size_t i = 0; i < ways->known_count; i++)
        kith__relay_release(ways->known[i].relay);
    ways->known_count = 0;
    ways->quic = NULL;
}

/** The relay that is not connected and was tried longest ago. NULL: all are connected. */
static struct kith_conn_relay *least_useful(struct kith_conn_ways *ways)
{
    struct kith_conn_relay *found = NULL;

    for (size_t i = 0; i < ways->known_count; i++) {
        struct kith_conn_relay *known = &ways->known[i];

        if (!kith__relay_is_fit(known->relay) && (found == NULL || known->tried_ns < found->tried_ns))
            found = known;
    }
    return found;
}

/** Where a relay that is new is noted; what was there is let go. NULL: there is no room. */
static struct kith_conn_relay *place_for(struct kith_conn_ways *ways, bool is_ours)
{
    struct kith_conn_relay *place = NULL;
    size_t theirs = 0;

    for (size_t i = 0; i < ways->known_count; i++)
        theirs += !ways->known[i].is_ours;
    if (ways->known_count < KITH_COUNT(ways->known) && (is_ours || theirs < KITH_CONN_RELAYS_MAX))
        return &ways->known[ways->known_count++];
    if (!is_ours && (place = least_useful(ways)) != NULL)
        kith__relay_release(place->relay);
    return place;
}

static void add_known(struct kith_conn_ways *ways, struct kith_relay_peer *relay, bool is_ours)
{
    struct kith_conn_relay *place;

    for (size_t i = 0; i < ways->known_count; i++)
        if (ways->known[i].relay == relay) {
            ways->known[i].is_ours &= is_ours;
            return;
        }
    if ((place = place_for(ways, is_ours)) == NULL)
        return;
    kith__relay_retain(relay);
    *place = (struct kith_conn_relay) { .relay = relay, .is_ours = is_ours };
}

void kith__conn_ways_add_relay(struct kith_conn_ways *ways, struct kith_relay_peer *relay)
{
    if (ways->quic != NULL)
        add_known(ways, relay, false);
}

void kith__conn_ways_set_ips(struct kith_conn_ways *ways, const struct kith_sockaddr *ips, size_t count)
{
    ways->ip_count = KITH_MIN(count, (size_t)KITH_CONN_IPS_MAX);
    ways->ip_next = 0;
    memcpy(ways->ips, ips, ways->ip_count * sizeof *ips);
}

void kith__conn_ways_add_ip(struct kith_conn_ways *ways, const struct kith_sockaddr *ip)
{
    size_t at = 0;

    while (at < ways->ip_count && !kith_sockaddr_equal(&ways->ips[at], ip))
        at++;
    if (at < ways->ip_count && at >= ways->ip_next)
        return; /* its turn comes */
    if (at == ways->ip_count && ways->ip_count == KITH_CONN_IPS_MAX)
        at = 0;
    if (at < ways->ip_count) {
        memmove(&ways->ips[at], &ways->ips[at + 1], (--ways->ip_count - at) * sizeof *ip);
        ways->ip_next -= at < ways->ip_next;
    }
    ways->ips[ways->ip_count++] = *ip;
}

/* ---- Looking ---- */

static bool is_relay(const struct kith_quic_path_info *path)
{
    return path->remote.family == KITH_FAMILY_RELAY;
}

static bool is_live(const struct kith_quic_path_info *path)
{
    return path->state != KITH_QUIC_PATH_CLOSING;
}

static bool works(const struct kith_conn_ways *ways, const struct kith_quic_path_info *path)
{
    const struct kith_relay_peer *relay;

    if (path->state != KITH_QUIC_PATH_OPEN || path->is_silent)
        return false;
    if (!is_relay(path))
        return true;
    if (kith_sockaddr_equal(&path->remote, &ways->gone))
        return false;
    relay = kith__relays_find(ways->relays, &path->remote, NULL);
    return relay != NULL && kith__relay_is_fit(relay);
}

/** Whether a path of ours has had its time without an answer. */
static bool is_overdue(const struct kith_conn_ways *ways, uint32_t id, uint64_t now_ns)
{
    for (size_t i = 0; i < ways->tried_count; i++)
        if (ways->tried[i].id == id)
            return now_ns - ways->tried[i].since_ns >= KITH_CONN_TRY_NS;
    return false;
}

static void look(const struct kith_conn_ways *ways, struct view *view, uint64_t now_ns)
{
    *view = (struct view) { 0 };
    view->count = KITH_MIN(kith_quic_conn_paths(ways->quic, view->paths, KITH_QUIC_PATHS_MAX),
                           (size_t)KITH_QUIC_PATHS_MAX);
    for (size_t i = 0; i < view->count; i++) {
        const struct kith_quic_path_info *path = &view->paths[i];
        bool is_good = works(ways, path), is_tried = path->state == KITH_QUIC_PATH_PROBING;

        view->has_relay |= is_good && is_relay(path);
        view->has_direct |= is_good && !is_relay(path);
        view->is_trying |= is_tried && is_relay(path) && !is_overdue(ways, path->id, now_ns);
        view->is_trying_direct |= is_tried && !is_relay(path);
    }
}

/** A live path through that relay, or NULL. */
static const struct kith_quic_path_info *path_through(const struct kith_conn_ways *ways, const struct view *view,
                                                      const struct kith_relay_peer *relay)
{
    for (size_t i = 0; i < view->count; i++)
        if (is_live(&view->paths[i]) && is_relay(&view->paths[i]) &&
            kith__relays_find(ways->relays, &view->paths[i].remote, NULL) == relay)
            return &view->paths[i];
    return NULL;
}

/* ---- Opening ---- */

static void wake_at(struct kith_conn_ways *ways, uint64_t at_ns)
{
    ways->deadline_ns = KITH_MIN(ways->deadline_ns, at_ns);
}

static int open_path(struct kith_conn_ways *ways, const struct kith_sockaddr *remote, bool is_backup, uint64_t now_ns)
{
    struct kith_sockaddr any = { 0 };
    uint32_t id;
    int err = kith_quic_conn_path_open(ways->quic, &any, remote, is_backup, now_ns, &id);

    if (err == 0 && ways->tried_count < KITH_QUIC_PATHS_MAX) {
        ways->tried[ways->tried_count].id = id;
        ways->tried[ways->tried_count++].since_ns = now_ns;
    }
    return err;
}

/** How long a relay that did not help is left alone. */
static uint64_t again_after(const struct kith_conn_relay *known, bool is_urgent)
{
    uint64_t wait_ns = KITH_CONN_AGAIN_NS;

    for (unsigned i = 1; !is_urgent && i < known->tries && wait_ns < KITH_CONN_AGAIN_MAX_NS; i++)
        wait_ns *= 2;
    return KITH_MIN(wait_ns, KITH_CONN_AGAIN_MAX_NS);
}

/**
 * The best relay for a new path, the peer's before ours; NULL: none now. Only one that is connected: paths into the void use up the
 * ids that the peer has given, and it cannot give more. The others are dialled, and there is news when they are connected.
 */
static struct kith_conn_relay *best_relay(struct kith_conn_ways *ways, const struct view *view, uint64_t now_ns)
{
    struct kith_conn_relay *best = NULL;

    for (size_t i = 0; i < ways->known_count; i++) {
        struct kith_conn_relay *known = &ways->known[i];
        uint64_t at_ns = known->tried_ns + again_after(known, !view->has_direct);

        if (path_through(ways, view, known->relay) != NULL || (known->is_ours && view->has_direct))
            continue;
        if (known->tried_ns != 0 && at_ns > now_ns) {
            wake_at(ways, at_ns);
            continue;
        }
        if (!kith__relay_is_fit(known->relay)) {
            kith__relay_want(known->relay, now_ns);
            wake_at(ways, now_ns + KITH_CONN_AGAIN_NS);
        } else if (best == NULL) {
            best = known;
        }
    }
    return best;
}

/** Our own relays, as they are now: the peer may be at one of them. */
static void add_ours(struct kith_conn_ways *ways)
{
    struct kith_relay_peer *home = ways->relays != NULL ? kith__relays_home(ways->relays) : NULL;
    struct kith_relay_peer *warm = ways->relays != NULL ? kith__relays_warm(ways->relays) : NULL;

    if (home != NULL)
        add_known(ways, home, true);
    if (warm != NULL)
        add_known(ways, warm, true);
}

/** One path through a relay works, or is tried. */
static void want_relay(struct kith_conn_ways *ways, const struct view *view, uint64_t now_ns)
{
    struct kith_conn_relay *known;
    struct kith_sockaddr way;
    int err;

    if (view->has_relay || view->is_trying || ways->is_single)
        return;
    if (!view->has_direct)
        add_ours(ways);
    if ((known = best_relay(ways, view, now_ns)) == NULL || kith__relay_way(known->relay, &ways->remote_id, &way) != 0)
        return;
    err = open_path(ways, &way, true, now_ns);
    ways->is_single = err == KITH_ERR_UNSUPPORTED;
    if (err == KITH_ERR_AGAIN || err == KITH_ERR_LIMIT)
        return; /* PATHS_AVAILABLE follows */
    known->tried_ns = now_ns;
    known->tries++;
    wake_at(ways, now_ns + KITH_CONN_TRY_NS);
}

/** Direct paths to what the dial knew, a few at a time. */
static void want_direct(struct kith_conn_ways *ways, const struct view *view, uint64_t now_ns)
{
    if (view->has_direct || view->is_trying_direct)
        return;
    for (size_t i = 0; !ways->is_single && i < KITH_CONN_DIRECT_TRIES && ways->ip_next < ways->ip_count; i++) {
        int err = open_path(ways, &ways->ips[ways->ip_next], false, now_ns);

        ways->is_single = err == KITH_ERR_UNSUPPORTED;
        if (err == KITH_ERR_AGAIN || err == KITH_ERR_LIMIT)
            return;
        ways->ip_next++;
    }
    if (ways->tried_count != 0)
        wake_at(ways, now_ns + KITH_CONN_TRY_NS);
}

/* ---- Closing ---- */

static const struct kith_quic_path_info *path_of(const struct view *view, uint32_t id)
{
    for (size_t i = 0; i < view->count; i++)
        if (view->paths[i].id == id)
            return &view->paths[i];
    return NULL;
}

/** True if one was closed. The last path cannot be, and stays. */
static bool close_path(struct kith_conn_ways *ways, uint32_t id, uint64_t now_ns)
{
    return kith_quic_conn_path_close(ways->quic, id, CODE_BY_POLICY, now_ns) == 0;
}

/**
 * Paths of ours that had their time and never answered. While nothing works those through relays stay: if the peer comes back they
 * are as good as new ones, for which there may be no ids.
 */
static bool close_tried(struct kith_conn_ways *ways, const struct view *view, uint64_t now_ns)
{
    bool any = false;
    size_t i = 0;

    while (i < ways->tried_count) {
        const struct kith_quic_path_info *path = path_of(view, ways->tried[i].id);

        if (path != NULL && path->state == KITH_QUIC_PATH_PROBING &&
            now_ns - ways->tried[i].since_ns < KITH_CONN_TRY_NS) {
            wake_at(ways, ways->tried[i++].since_ns + KITH_CONN_TRY_NS);
            continue;
        }
        if (path != NULL && path->state == KITH_QUIC_PATH_PROBING && is_relay(path) && !view->has_direct &&
            !view->has_relay) {
            i++;
            continue;
        }
        if (path != NULL && path->state == KITH_QUIC_PATH_PROBING)
            any |= close_path(ways, path->id, now_ns);
        ways->tried[i] = ways->tried[--ways->tried_count];
    }
    return any;
}

/**
 * With a relay that works, paths through dead ones go, so that what is in flight there is sent again at once. One that is only
 * silent may answer again: the engine knows what to do meanwhile.
 */
static bool close_dead_relays(struct kith_conn_ways *ways, const struct view *view, uint64_t now_ns)
{
    bool any = false;

    for (size_t i = 0; view->has_relay && i < view->count; i++) {
        const struct kith_quic_path_info *path = &view->paths[i];
        const struct kith_relay_peer *relay;

        if (path->state != KITH_QUIC_PATH_OPEN || !is_relay(path))
            continue;
        relay = kith__relays_find(ways->relays, &path->remote, NULL);
        if (relay == NULL || !kith__relay_is_fit(relay))
            any |= close_path(ways, path->id, now_ns);
    }
    return any;
}

/** One direct path is enough: the fastest stays. */
static bool close_slower(struct kith_conn_ways *ways, const struct view *view, uint64_t now_ns)
{
    const struct kith_quic_path_info *best = NULL;
    bool any = false;

    for (size_t i = 0; i < view->count; i++) {
        const struct kith_quic_path_info *path = &view->paths[i], *slower = path;

        if (is_relay(path) || !works(ways, path))
            continue;
        if (best == NULL || path->rtt_ns < best->rtt_ns) {
            slower = best;
            best = path;
        }
        if (slower != NULL)
            any |= close_path(ways, slower->id, now_ns);
    }
    return any;
}

/* ---- Deciding ---- */

/** Relays are backups, whoever opened the path. */
static void set_status(struct kith_conn_ways *ways, const struct view *view, uint64_t now_ns)
{
    for (size_t i = 0; i < view->count; i++) {
        const struct kith_quic_path_info *path = &view->paths[i];

        if (is_live(path) && is_relay(path) && !path->is_backup &&
            kith_quic_conn_path_set_backup(ways->quic, path->id, true, now_ns) != 0)
            return; /* no multipath: there is nothing to be a backup for */
    }
}

static void note_what_works(struct kith_conn_ways *ways, const struct view *view)
{
    for (size_t i = 0; i < ways->known_count; i++) {
        const struct kith_quic_path_info *path = path_through(ways, view, ways->known[i].relay);

        if (path != NULL && path->state == KITH_QUIC_PATH_OPEN)
            ways->known[i].tries = 0;
    }
}

static void review(struct kith_conn_ways *ways, uint64_t now_ns)
{
    struct view view;
    bool is_changed;

    ways->deadline_ns = KITH_NEVER;
    if (ways->gone.family != KITH_FAMILY_NONE && ways->gone_until_ns <= now_ns)
        ways->gone = (struct kith_sockaddr) { 0 };
    else if (ways->gone.family != KITH_FAMILY_NONE)
        wake_at(ways, ways->gone_until_ns);
    look(ways, &view, now_ns);
    set_status(ways, &view, now_ns);
    if (!ways->is_client || !ways->is_confirmed)
        return;
    ways->is_lost = !view.has_direct && !view.has_relay;
    note_what_works(ways, &view);
    is_changed = close_tried(ways, &view, now_ns);
    is_changed |= close_dead_relays(ways, &view, now_ns);
    is_changed |= close_slower(ways, &view, now_ns);
    if (is_changed)
        look(ways, &view, now_ns);
    want_direct(ways, &view, now_ns);
    want_relay(ways, &view, now_ns);
}

void kith__conn_ways_review(struct kith_conn_ways *ways, uint64_t now_ns)
{
    if (ways->quic != NULL)
        review(ways, now_ns);
}

void kith__conn_ways_on_event(struct kith_conn_ways *ways, const struct kith_quic_event *event, uint64_t now_ns)
{
    if (ways->quic == NULL)
        return;
    switch (event->kind) {
    case KITH_QUIC_CONNECTED:
        if (kith_quic_conn_remote_id(ways->quic, &ways->remote_id) == 0)
            review(ways, now_ns);
        break;
    case KITH_QUIC_CONFIRMED:
        ways->is_confirmed = true;
        review(ways, now_ns);
        break;
    case KITH_QUIC_PATH_OPENED:
    case KITH_QUIC_PATH_VALIDATED:
    case KITH_QUIC_PATH_CHANGED:
    case KITH_QUIC_PATH_ABANDONED:
    case KITH_QUIC_PATHS_AVAILABLE:
        review(ways, now_ns);
        break;
    default:
        break;
    }
}

/** A relay is back, and a path through it that fell silent waits longer and longer between its own attempts: it is asked now. */
static void ping_if_lost(struct kith_conn_ways *ways, const struct kith_relay_peer *relay, uint64_t now_ns)
{
    const struct kith_quic_path_info *path;
    struct view view;

    look(ways, &view, now_ns);
    if ((path = path_through(ways, &view, relay)) != NULL && (path->is_silent || path->in_flight_size != 0))
        kith_quic_conn_ping(ways->quic, now_ns);
}

void kith__conn_ways_on_news(struct kith_conn_ways *ways, enum kith_relays_news news, struct kith_relay_peer *relay,
                             const struct kith_sockaddr *gone, uint64_t now_ns)
{
    if (ways->quic == NULL)
        return;
    if (news == KITH_RELAYS_CONNECTED)
        ping_if_lost(ways, relay, now_ns);
    if (!ways->is_client || !ways->is_confirmed)
        return;
    if (gone != NULL) {
        struct kith_id id;

        if (kith__relays_find(ways->relays, gone, &id) == NULL || memcmp(&id, &ways->remote_id, sizeof id) != 0)
            return;
        ways->gone = *gone;
        ways->gone_until_ns = now_ns + KITH_CONN_GONE_NS;
        kith_quic_conn_ping(ways->quic, now_ns);
    }
    if (news == KITH_RELAYS_CONNECTED) /* what failed before may work now */
        for (size_t i = 0; i < ways->known_count; i++)
            if (ways->known[i].relay == relay)
                ways->known[i].tried_ns = 0;
    review(ways, now_ns);
}

void kith__conn_ways_on_deadline(struct kith_conn_ways *ways, uint64_t now_ns)
{
    if (kith__conn_ways_deadline(ways) <= now_ns)
        review(ways, now_ns);
}
