#include "trial.h"
const struct kith_scenario kith__scenarios_peer[] = { { 0 } };
