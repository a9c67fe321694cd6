/* Which servers to use: n0's, or one's own. Source: spec/03, 8. */
#include <kith/lookup.h>
#include <string.h>

#define QAD KITH_ENDPOINT_QAD_PORT

/* The dots at the end of the relays' names are part of their identity. */
static const struct kith_lookup_preset production = {
    .lookups = { { .kind = KITH_LOOKUP_PKARR, .where = "https://dns.iroh.link/pkarr" },
                 { .kind = KITH_LOOKUP_DNS, .where = "dns.iroh.link." } },
    .lookup_count = 2,
    .relays = { { .url = "https://use1-1.relay.n0.iroh.link./", .qad_port = QAD },
                { .url = "https://usw1-1.relay.n0.iroh.link./", .qad_port = QAD },
                { .url = "https://euc1-1.relay.n0.iroh.link./", .qad_port = QAD },
                { .url = "https://aps1-1.relay.n0.iroh.link./", .qad_port = QAD } },
    .relay_count = 4,
};

static const struct kith_lookup_preset staging = {
    .lookups = { { .kind = KITH_LOOKUP_PKARR, .where = "https://staging-dns.iroh.link/pkarr" },
                 { .kind = KITH_LOOKUP_DNS, .where = "staging-dns.iroh.link." } },
    .lookup_count = 2,
    .relays = { { .url = "https://use1-1.staging-relay.n0.iroh.link./", .qad_port = QAD },
                { .url = "https://euc1-1.staging-relay.n0.iroh.link./", .qad_port = QAD } },
    .relay_count = 2,
};

void kith_lookup_preset_n0(bool is_staging, struct kith_lookup_preset *out)
{
    *out = is_staging ? staging : production;
}

void kith_lookup_preset_mine(const char *relay_url, const char *pkarr_url, const char *dns_origin,
                             struct kith_lookup_preset *out)
{
    memset(out, 0, sizeof *out);
    if (pkarr_url != NULL)
        out->lookups[out->lookup_count++] = (struct kith_lookup_option) { .kind = KITH_LOOKUP_PKARR,
                                                                          .where = pkarr_url };
    if (dns_origin != NULL)
        out->lookups[out->lookup_count++] = (struct kith_lookup_option) { .kind = KITH_LOOKUP_DNS,
                                                                          .where = dns_origin };
    if (relay_url != NULL)
        out->relays[out->relay_count++] = (struct kith_endpoint_relay) { .url = relay_url, .qad_port = QAD };
}
