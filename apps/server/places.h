/** Addresses that a server listens on. */
#ifndef APPS_SERVER_PLACES_H
#define APPS_SERVER_PLACES_H

#include <jansson.h>
#include <kith/kith.h>

/**
 * [::] means all addresses of both families to iroh's servers; a socket of kith's has one. Fills out (2 elements), where NONE as
 * the given family means [::] too, and returns how many there are.
 */
size_t place_expand(const struct kith_sockaddr *given, struct kith_sockaddr out[2]);
/** The given address, or where none was given that of another one with another port. */
struct kith_sockaddr place_beside(const struct kith_sockaddr *given, const struct kith_sockaddr *other, uint16_t port);
/** Reads an address without a port, which is 0 then: "192.0.2.1", "2001:db8::1". */
bool place_parse_ip(const char *text, struct kith_sockaddr *out);
/** OPTION_CALL: "ADDR:PORT" into a struct kith_sockaddr. */
const char *place_take(void *target, const char *text);
/** Takes over a flag that was given. */
void place_apply(const struct kith_sockaddr *flag, struct kith_sockaddr *target);

/** The addresses as a JSON array of texts. */
json_t *places_json(const struct kith_sockaddr *list, size_t count);
/** Logs "WHAT on ADDRESS" for each. */
void places_log(const char *what, const struct kith_sockaddr *list, size_t count);

#endif
