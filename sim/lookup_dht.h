/** A few nodes of a DHT of their own, each on a host of its own: what endpoints publish to and find through without a server. */
#ifndef KITH_SIM_LOOKUP_DHT_H
#define KITH_SIM_LOOKUP_DHT_H

#include "lookup/dht.h"
#include "trial.h"

enum { KITH_SIMDHT_NODES = 6 };

struct kith_simdht {
    struct kith_trial *trial; /* NULL: there is none */
    struct kith_simmem mem;   /* of all nodes */
    struct kith_sim_host *hosts[KITH_SIMDHT_NODES];
    struct kith_dht *nodes[KITH_SIMDHT_NODES];
    char names[KITH_SIMDHT_NODES][24]; /* "10.0.6.1:6881" */
    const char *bootstrap[2];          /* for everybody else */
};

/** Makes the hosts, 10.0.6.1 and so on, with links as the scenario chooses them; the first node is whom the others join through. */
void kith__simdht_open(struct kith_simdht *dht, struct kith_trial *trial);
/** A host reaches none of the nodes any more, and they do not reach it; or it does again. */
void kith__simdht_part(struct kith_simdht *dht, struct kith_sim_host *host, bool is_cut);
void kith__simdht_close(struct kith_simdht *dht);

#endif
