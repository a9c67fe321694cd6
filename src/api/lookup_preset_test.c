/* Presets. */
#include "base/test.h"
#include <kith/lookup.h>

KITH_TEST(n0s_servers_are_those_that_iroh_uses)
{
    struct kith_lookup_preset preset;

    kith_lookup_preset_n0(false, &preset);
    KITH_CHECK_EQ(preset.lookup_count, 2);
    KITH_CHECK_EQ(preset.lookups[0].kind, KITH_LOOKUP_PKARR);
    KITH_CHECK_STR(preset.lookups[0].where, "https://dns.iroh.link/pkarr");
    KITH_CHECK_EQ(preset.lookups[1].kind, KITH_LOOKUP_DNS);
    KITH_CHECK_STR(preset.lookups[1].where, "dns.iroh.link.");
    KITH_CHECK_EQ(preset.relay_count, 4);
    KITH_CHECK_STR(preset.relays[2].url, "https://euc1-1.relay.n0.iroh.link./");
    KITH_CHECK_EQ(preset.relays[2].qad_port, 7842);
    kith_lookup_preset_n0(true, &preset);
    KITH_CHECK_STR(preset.lookups[0].where, "https://staging-dns.iroh.link/pkarr");
    KITH_CHECK_STR(preset.lookups[1].where, "staging-dns.iroh.link.");
    KITH_CHECK_EQ(preset.relay_count, 2);
    KITH_CHECK(preset.relays[2].url == NULL);
}

KITH_TEST(ones_own_servers_leave_out_what_is_not_there)
{
    struct kith_lookup_preset preset;

    kith_lookup_preset_mine("https://relay.example", "https://dns.example/pkarr", "dns.example.", &preset);
    KITH_CHECK_EQ(preset.lookup_count, 2);
    KITH_CHECK_EQ(preset.relay_count, 1);
    KITH_CHECK_STR(preset.relays[0].url, "https://relay.example");
    kith_lookup_preset_mine(NULL, NULL, "dns.example.", &preset);
    KITH_CHECK_EQ(preset.lookup_count, 1);
    KITH_CHECK_EQ(preset.lookups[0].kind, KITH_LOOKUP_DNS);
    KITH_CHECK_EQ(preset.relay_count, 0);
}
