/* Which proxy, and for whom: from text. */
#include "base/network.h"
#include "codec/url.h"
#include "http/head.h"
#include "link/dial.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static int take_url(struct kith_slice text, struct kith_proxy *out)
{
    struct kith_proxy proxy;
    struct kith_url url;
    size_t size = 0;
    int err = kith__url_split(text, &url);

    if (err != 0)
        return err;
    memset(&proxy, 0, sizeof proxy);
    if (url.host.size > KITH_DIAL_HOST_SIZE_MAX)
        return KITH_ERR_TOO_LARGE;
    memcpy(proxy.host, url.host.ptr, url.host.size);
    proxy.port = url.port;
    proxy.is_tls = url.is_https;
    if ((err = kith__http_percent_decode(url.userinfo, false, (uint8_t *)proxy.credentials,
                                         KITH_PROXY_CREDENTIALS_SIZE_MAX, &size)) != 0)
        return err;
    if (size != strlen(proxy.credentials) || proxy.port == 0)
        return KITH_ERR_PARSE;
    if (size > 0 && strchr(proxy.credentials, ':') == NULL) { /* a user without a password */
        if (size == KITH_PROXY_CREDENTIALS_SIZE_MAX)
            return KITH_ERR_TOO_LARGE;
        strcat(proxy.credentials, ":");
    }
    *out = proxy;
    return 0;
}

int kith__proxy_parse(const struct kith_mem *mem, const char *text, const char *except, struct kith_proxy *out)
{
    char with_scheme[KITH_URL_SIZE_MAX + 8];
    struct kith_buf normalised;
    int err;

    if (strlen(text) > KITH_URL_SIZE_MAX || (except != NULL && strlen(except) > KITH_PROXY_EXCEPT_SIZE_MAX))
        return KITH_ERR_TOO_LARGE;
    snprintf(with_scheme, sizeof with_scheme, "%s%s", strstr(text, "://") != NULL ? "" : "http://", text);
    kith__buf_init(&normalised, mem);
    if ((err = kith__url_normalise(with_scheme, strlen(with_scheme), &normalised)) == 0)
        err = take_url(kith__buf_slice(&normalised), out);
    if (err == 0 && except != NULL)
        strcpy(out->except, except);
    kith__buf_dispose(&normalised);
    return err;
}

/* ---- Exceptions ---- */

/* The name itself, or one below it. */
static bool is_name_within(const char *host, struct kith_slice name)
{
    size_t size = strlen(host);

    while (size != 0 && host[size - 1] == '.')
        size--;
    if (name.size == 0 || name.size > size ||
        strncasecmp(host + size - name.size, (const char *)name.ptr, name.size) != 0)
        return false;
    return name.size == size || host[size - name.size - 1] == '.';
}

/* Cuts ":port" off; not from an IPv6 address without brackets, which are taken away. False: another port. */
static bool take_port(struct kith_slice *entry, uint16_t port)
{
    const uint8_t *first = memchr(entry->ptr, ':', entry->size), *end = entry->ptr + entry->size;
    const uint8_t *bracket = entry->ptr[0] == '[' ? memchr(entry->ptr, ']', entry->size) : NULL;
    uint32_t named = 0;

    if (bracket != NULL) {
        *entry = (struct kith_slice) { entry->ptr + 1, (size_t)(bracket - entry->ptr) - 1 };
        first = bracket + 1 < end && bracket[1] == ':' ? bracket + 1 : NULL;
    } else if (first != NULL && memchr(first + 1, ':', (size_t)(end - first) - 1) == NULL) {
        entry->size = (size_t)(first - entry->ptr);
    } else {
        first = NULL;
    }
    if (first == NULL)
        return true;
    for (first++; first < end && *first >= '0' && *first <= '9' && named <= UINT16_MAX; first++)
        named = named * 10 + (uint32_t)(*first - '0');
    return first == end && named == port;
}

static bool names(struct kith_slice entry, const char *host, uint16_t port)
{
    struct kith_sockaddr ip;
    struct kith_network network;

    if (entry.size == 1 && entry.ptr[0] == '*')
        return true;
    if (!take_port(&entry, port))
        return false;
    if (kith__network_parse(entry, &network) == 0)
        return kith__ip_parse(host, &ip) == 0 && kith__network_has(&network, &ip);
    while (entry.size != 0 && (entry.ptr[0] == '.' || entry.ptr[0] == '*'))
        entry = (struct kith_slice) { entry.ptr + 1, entry.size - 1 };
    return is_name_within(host, entry);
}

bool kith__proxy_is_for(const struct kith_proxy *proxy, const char *host, uint16_t port)
{
    for (const char *at = proxy->except; *at != '\0';) {
        size_t size = strcspn(at, ", \t");

        if (size != 0 && names((struct kith_slice) { (const uint8_t *)at, size }, host, port))
            return false;
        at += size + (at[size] != '\0');
    }
    return true;
}
