/** Waiting for a long operation on blobs while showing how far it is. */
#ifndef APPS_TRANSFER_H
#define APPS_TRANSFER_H

#include "cli.h"

/** Waits until an add or a get is done; CANCELLED on an interruption. Draws on stderr; with --json, events on stdout. */
int transfer_wait(struct cli *cli, struct kith_op *op);

#endif
