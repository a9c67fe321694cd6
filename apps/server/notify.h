/** What systemd wants to hear of a service (sd_notify), spoken by hand: one datagram. Nothing happens where nobody asked. */
#ifndef APPS_SERVER_NOTIFY_H
#define APPS_SERVER_NOTIFY_H

#include <stdint.h>

/** "READY=1", "STOPPING=1", "STATUS=..."; several are separated by line ends. */
void notify(const char *text);
/** "RELOADING=1" with the time that systemd wants beside it. */
void notify_reloading(void);
/** How often "WATCHDOG=1" is due, ns; 0: never. */
uint64_t notify_watchdog_ns(void);

#endif
