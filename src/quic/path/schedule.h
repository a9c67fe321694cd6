/**
 * Which path carries what belongs to no path (streams, datagrams, most frames). A pure choice among views of the paths.
 *
 * Paths stand in groups: available, backup, then those of both that fell silent (the peer stopped acknowledging), the more
 * probe timeouts the later. Only the first group that has a usable path counts, so a backup is idle while an available
 * path answers, and a path that just died costs no more than the time to notice it, even if at that time the others lose
 * packets too. Within the group:
 *   FIRST      the lowest id; the next one only while all below are blocked by congestion or pacing
 *   SPREAD     the one where a packet sent now would arrive first, by round trip and fill; so equal paths share evenly,
 *              and a slow one is used only as far as it does not come late
 * Source: spec/01, 4.7.
 */
#ifndef KITH_QUIC_PATH_SCHEDULE_H
#define KITH_QUIC_PATH_SCHEDULE_H

#include <kith/types.h>

enum kith_schedule_rule { KITH_SCHEDULE_FIRST, KITH_SCHEDULE_SPREAD };

/** A path as the choice sees it. */
struct kith_path_view {
    uint32_t id;
    bool is_usable;     /* validated, not abandoned, with a connection id of the peer */
    bool is_backup;     /* our status */
    uint8_t silence;    /* probe timeouts since the peer last acknowledged something on it */
    bool is_blocked;    /* by congestion window or pacing, now */
    uint64_t rtt_ns;    /* smoothed */
    uint64_t in_flight; /* bytes */
    uint64_t window;    /* bytes, > 0 */
};

/**
 * Index of the view that gets the next packet, or `count`: no path can take data now (none is usable, or those of the
 * group are blocked). Ids are unique; order does not matter.
 */
size_t kith__schedule_pick(enum kith_schedule_rule rule, const struct kith_path_view *views, size_t count);
/**
 * Index of the view for frames that must get through even if nothing else may be sent: the first usable one by group
 * and id, blocked or not; `count` if there is none. For CONNECTION_CLOSE, PATH_ABANDON, MAX_PATH_ID.
 */
size_t kith__schedule_first(const struct kith_path_view *views, size_t count);

#endif
