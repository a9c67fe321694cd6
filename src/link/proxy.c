/* Which proxy: from text, and from values of the environment. */
#include "codec/url.h"
#include "http/head.h"
#include "link/dial.h"

#include <stdio.h>
#include <string.h>

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

int kith__proxy_parse(const struct kith_mem *mem, const char *text, struct kith_proxy *out)
{
    char with_scheme[KITH_URL_SIZE_MAX + 8];
    struct kith_buf normalised;
    int err;

    if (strlen(text) > KITH_URL_SIZE_MAX)
        return KITH_ERR_TOO_LARGE;
    snprintf(with_scheme, sizeof with_scheme, "%s%s", strstr(text, "://") != NULL ? "" : "http://", text);
    kith__buf_init(&normalised, mem);
    if ((err = kith__url_normalise(with_scheme, strlen(with_scheme), &normalised)) == 0)
        err = take_url(kith__buf_slice(&normalised), out);
    kith__buf_dispose(&normalised);
    return err;
}

int kith__proxy_from_env(const struct kith_mem *mem, const struct kith_proxy_env *env, struct kith_proxy *out)
{
    const char *upper_http = env->request_method != NULL ? NULL : env->upper_http;
    const char *const values[] = { upper_http, env->lower_http, env->upper_https, env->lower_https };

    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if (values[i] != NULL && values[i][0] != '\0')
            return kith__proxy_parse(mem, values[i], out);
    return KITH_ERR_NOT_FOUND;
}
