#include "trial.h"
const struct kith_scenario kith__scenarios_speed[] = { { 0 } };
