/**
 * What the system said: the errno that an error code was made of. The code goes up through the return values; this number
 * waits beside them, for whoever makes a sentence of the failure (kith_error.cause).
 *
 * One number for each thread. It belongs to the failure that is on its way up right now: take it in the call that failed,
 * before anything else is asked of the system.
 */
#ifndef KITH_BASE_CAUSE_H
#define KITH_BASE_CAUSE_H

#include <stdint.h>

/** Notes that errno `number` (> 0) became the code `err`. Returns err. */
int kith__cause_note(int err, int number);
/** The errno that became `err`, and forgets it; 0 if the last one noted became another code, or there is none. */
int64_t kith__cause_take(int err);

#endif
