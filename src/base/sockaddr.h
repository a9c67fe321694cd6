/** Text of IP addresses without a port; addresses with a port are in kith/types.h. Strict forms: spec/03, 2.2. */
#ifndef KITH_BASE_SOCKADDR_H
#define KITH_BASE_SOCKADDR_H

#include <kith/types.h>

enum { KITH_IP_TEXT_SIZE = 48 };

/** "1.2.3.4", decimal without leading zeros. KITH_ERR_PARSE; ip is written only on success. */
int kith__ip_parse_v4(const char *text, uint8_t ip[4]);
/** "2001:db8::1" or with a dotted end "::ffff:1.2.3.4"; no scope, no brackets. KITH_ERR_PARSE as above. */
int kith__ip_parse_v6(const char *text, uint8_t ip[16]);
/** The shortest form in lower case (RFC 5952); IPv4-mapped addresses with a dotted end. Returns text. */
const char *kith__ip_format_v6(const uint8_t ip[16], char text[KITH_IP_TEXT_SIZE]);
/** 127.0.0.0/8 and ::1. */
bool kith__ip_is_loopback(const struct kith_sockaddr *addr);
/** True for fe80::/10 and link-local multicast: the addresses to which a scope id belongs. */
bool kith__ip_is_link_local_v6(const uint8_t ip[16]);

#endif
