/* The groups are numbers, lower is better: available 0, backup 1; silent for one probe timeout 2 and 3, and so on. */
#include "quic/path/schedule.h"

#include <limits.h>

static unsigned group_of(const struct kith_path_view *view)
{
    return 2u * view->silence + (view->is_backup ? 1u : 0u);
}

/** Number of the first group with a usable path; UINT_MAX if there is none. */
static unsigned best_group(const struct kith_path_view *views, size_t count)
{
    unsigned best = UINT_MAX;

    for (size_t i = 0; i < count; i++)
        if (views[i].is_usable && group_of(&views[i]) < best)
            best = group_of(&views[i]);
    return best;
}

static bool is_in(const struct kith_path_view *view, unsigned group)
{
    return view->is_usable && group_of(view) == group;
}

/**
 * When a packet sent now would arrive, as far as we can tell: half a round trip, and the share of another one that those
 * before it take of the window.
 */
static uint64_t arrival_ns(const struct kith_path_view *view)
{
    uint64_t fill = view->in_flight >= view->window ? 1024 : view->in_flight * 1024 / view->window;

    return view->rtt_ns / 2 + view->rtt_ns / 1024 * fill;
}

static bool is_before(enum kith_schedule_rule rule, const struct kith_path_view *a, const struct kith_path_view *b)
{
    if (rule == KITH_SCHEDULE_SPREAD && arrival_ns(a) != arrival_ns(b))
        return arrival_ns(a) < arrival_ns(b);
    return a->id < b->id;
}

size_t kith__schedule_pick(enum kith_schedule_rule rule, const struct kith_path_view *views, size_t count)
{
    unsigned group = best_group(views, count);
    size_t picked = count;

    for (size_t i = 0; i < count; i++)
        if (is_in(&views[i], group) && !views[i].is_blocked &&
            (picked == count || is_before(rule, &views[i], &views[picked])))
            picked = i;
    return picked;
}

size_t kith__schedule_first(const struct kith_path_view *views, size_t count)
{
    unsigned group = best_group(views, count);
    size_t first = count;

    for (size_t i = 0; i < count; i++)
        if (is_in(&views[i], group) && (first == count || views[i].id < views[first].id))
            first = i;
    return first;
}
