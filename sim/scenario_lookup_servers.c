#include "lookup_world.h"
const struct kith_scenario kith__scenarios_lookup_servers[] = {
    { .name = NULL },
};
