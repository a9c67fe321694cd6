#include "quic/path/observed.h"

#include "base/assert.h"

void kith__observed_start(struct kith_observed *observed, uint8_t ours, uint8_t theirs)
{
    bool we_send = ours == KITH_OBSERVED_SEND_ONLY || ours == KITH_OBSERVED_BOTH;
    bool we_receive = ours == KITH_OBSERVED_RECEIVE_ONLY || ours == KITH_OBSERVED_BOTH;

    observed->sends = we_send && (theirs == KITH_OBSERVED_RECEIVE_ONLY || theirs == KITH_OBSERVED_BOTH);
    observed->receives = we_receive && (theirs == KITH_OBSERVED_SEND_ONLY || theirs == KITH_OBSERVED_BOTH);
}

void kith__observed_on_tuple(const struct kith_observed *observed, struct kith_observed_path *path)
{
    path->is_due = observed->sends;
}

void kith__observed_on_local_moved(struct kith_observed_path *path)
{
    path->address = (struct kith_sockaddr) { 0 };
}

void kith__observed_on_sent(struct kith_observed *observed, struct kith_observed_path *path)
{
    KITH_ASSERT(observed->sends);
    path->is_due = false;
    path->sent_end = ++observed->next_sequence;
}

void kith__observed_on_lost(const struct kith_observed *observed, struct kith_observed_path *path, uint64_t sequence)
{
    if (sequence + 1 == path->sent_end)
        path->is_due = observed->sends;
}

int kith__observed_on_frame(struct kith_observed *observed, struct kith_observed_path *path, uint64_t sequence,
                            const struct kith_sockaddr *address, bool *changed, const char **reason)
{
    if (!observed->receives) {
        *reason = "received OBSERVED_ADDRESS frame when not negotiated";
        return KITH_WIRE_PROTOCOL_VIOLATION;
    }
    *changed = false;
    if (sequence < path->received_end) {
        observed->ignored++;
        return 0;
    }
    path->received_end = sequence + 1;
    *changed = !kith_sockaddr_equal(&path->address, address);
    path->address = *address;
    return 0;
}
