/* Addresses that a server listens on. */
#include "places.h"

#include "log.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool has_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

size_t place_expand(const struct kith_sockaddr *given, struct kith_sockaddr out[2])
{
    static const uint8_t any[16];
    struct kith_sockaddr first = *given;

    if (given->family == KITH_FAMILY_NONE)
        first = (struct kith_sockaddr) { .family = KITH_FAMILY_V6, .port = given->port };
    if (first.family != KITH_FAMILY_V6 || memcmp(first.ip, any, sizeof any) != 0) {
        out[0] = first;
        return 1;
    }
    out[0] = (struct kith_sockaddr) { .family = KITH_FAMILY_V4, .port = first.port };
    out[1] = first;
    return has_ipv6() ? 2 : 1;
}

struct kith_sockaddr place_beside(const struct kith_sockaddr *given, const struct kith_sockaddr *other, uint16_t port)
{
    struct kith_sockaddr made = given->family != KITH_FAMILY_NONE ? *given : *other;

    if (given->family == KITH_FAMILY_NONE)
        made.port = port;
    return made;
}

bool place_parse_ip(const char *text, struct kith_sockaddr *out)
{
    char with_port[80];

    return text[0] != '[' &&
           snprintf(with_port, sizeof with_port, strchr(text, ':') != NULL ? "[%s]:0" : "%s:0", text) <
               (int)sizeof with_port &&
           kith_sockaddr_parse(with_port, out) == 0;
}

const char *place_take(void *target, const char *text)
{
    return kith_sockaddr_parse(text, target) == 0 ? NULL
                                                  : "an address and port are expected, like 0.0.0.0:80 or [::]:443";
}

void place_apply(const struct kith_sockaddr *flag, struct kith_sockaddr *target)
{
    if (flag->family != KITH_FAMILY_NONE)
        *target = *flag;
}

json_t *places_json(const struct kith_sockaddr *list, size_t count)
{
    char text[KITH_SOCKADDR_TEXT_SIZE];
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, json_string(kith_sockaddr_format(&list[i], text)));
    return array;
}

void places_log(const char *what, const struct kith_sockaddr *list, size_t count)
{
    char text[KITH_SOCKADDR_TEXT_SIZE];

    for (size_t i = 0; i < count; i++)
        log_line(LOG_LEVEL_INFO, "%s on %s", what, kith_sockaddr_format(&list[i], text));
}
