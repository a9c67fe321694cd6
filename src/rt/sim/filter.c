/* Who may send to an inner address: what NATs and firewalls remember of outgoing datagrams. RFC 4787, 5; RFC 6092. */
#include "rt/sim/world.h"

struct kith_sockaddr kith__sim_part_of(const struct kith_sockaddr *remote, uint8_t kind)
{
    struct kith_sockaddr part = { 0 };

    if (kind == KITH_SIM_NAT_ENDPOINT_INDEPENDENT)
        return part;
    part = *remote;
    if (kind == KITH_SIM_NAT_ADDRESS_DEPENDENT)
        part.port = 0;
    return part;
}

void kith__sim_contacts_note(struct sim_contacts *contacts, const struct kith_sockaddr *remote, uint64_t now_ns)
{
    struct sim_contact *oldest = &contacts->at[0];

    for (size_t i = 0; i < contacts->count; i++) {
        struct sim_contact *contact = &contacts->at[i];

        if (kith_sockaddr_equal(&contact->remote, remote)) {
            contact->used_ns = now_ns;
            return;
        }
        if (contact->used_ns < oldest->used_ns)
            oldest = contact;
    }
    if (contacts->count < SIM_CONTACTS_MAX)
        oldest = &contacts->at[contacts->count++];
    *oldest = (struct sim_contact) { *remote, now_ns };
}

bool kith__sim_contacts_allow(const struct sim_contacts *contacts, const struct kith_sockaddr *from, uint8_t filtering,
                              uint64_t now_ns, uint64_t hold_ns)
{
    struct kith_sockaddr part = kith__sim_part_of(from, filtering);

    for (size_t i = 0; i < contacts->count; i++) {
        const struct sim_contact *contact = &contacts->at[i];
        struct kith_sockaddr known = kith__sim_part_of(&contact->remote, filtering);

        if ((hold_ns == 0 || now_ns - contact->used_ns < hold_ns) && kith_sockaddr_equal(&known, &part))
            return true;
    }
    return false;
}

void kith__sim_firewall_out(struct sim_interface *interface, const struct sim_packet *packet)
{
    if (interface->options.firewall.is_on)
        kith__sim_contacts_note(&interface->contacts, &packet->to, interface->host->sim->now_ns);
}

bool kith__sim_firewall_in(struct sim_interface *interface, const struct sim_packet *packet)
{
    const struct kith_sim_firewall *firewall = &interface->options.firewall;

    return !firewall->is_on || kith__sim_contacts_allow(&interface->contacts, &packet->from, firewall->filtering,
                                                        interface->host->sim->now_ns, firewall->hold_ns);
}
