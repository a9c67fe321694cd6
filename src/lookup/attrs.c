#include "lookup/attrs.h"

#include "codec/base32.h"
#include "crypto/sign.h"

static const char relay_key[] = "relay=", addr_key[] = "addr=", user_data_key[] = "user-data=";

static const struct kith_dns_name service = { 7, "\5_iroh" };

void kith__attrs_name(const struct kith_id *id, struct kith_dns_name *out)
{
    char text[KITH_ATTRS_LABEL_SIZE + 1];
    struct kith_dns_name key;

    kith__base32_encode(KITH_BASE32_Z, id->bytes, KITH_ID_SIZE, text);
    kith__dns_name_root(&key);
    KITH_ASSERT(kith__dns_name_prepend(&key, (struct kith_slice) { (const uint8_t *)text, KITH_ATTRS_LABEL_SIZE }) ==
                0);
    KITH_ASSERT(kith__dns_name_join(&service, &key, out) == 0 && out->size == KITH_ATTRS_NAME_SIZE);
}

int kith__attrs_name_below(const struct kith_id *id, const struct kith_dns_name *origin, struct kith_dns_name *out)
{
    struct kith_dns_name name;

    kith__attrs_name(id, &name);
    return kith__dns_name_join(&name, origin, out);
}

int kith__attrs_label_id(struct kith_slice label, struct kith_id *out)
{
    struct kith_id id;
    int err;

    if (label.size != KITH_ATTRS_LABEL_SIZE)
        return KITH_ERR_PARSE;
    if ((err = kith__base32_decode(KITH_BASE32_Z, (const char *)label.ptr, label.size, id.bytes)) != 0)
        return err;
    if (!kith__id_is_point(id.bytes))
        return KITH_ERR_CRYPTO;
    *out = id;
    return 0;
}

size_t kith__attrs_count(const struct kith_lookup_info *info)
{
    return info->addr.count + (info->user_data_size != 0);
}

static int append_text(struct kith_buf *buf, const char *text)
{
    return kith__buf_append(buf, text, strlen(text));
}

static int append_addr(struct kith_buf *buf, const struct kith_transport_addr *addr)
{
    char text[KITH_SOCKADDR_TEXT_SIZE];
    int err = append_text(buf, addr->kind == KITH_TRANSPORT_RELAY ? relay_key : addr_key);

    if (err != 0)
        return err;
    if (addr->kind == KITH_TRANSPORT_RELAY)
        return kith__buf_append(buf, addr->bytes.ptr, addr->bytes.size);
    if (addr->kind == KITH_TRANSPORT_IP)
        return append_text(buf, kith_sockaddr_format(&addr->ip, text));
    return kith__custom_addr_format(addr->custom_id, addr->bytes, buf);
}

int kith__attrs_format(const struct kith_lookup_info *info, size_t index, struct kith_buf *buf)
{
    size_t before = buf->size;
    int err;

    KITH_ASSERT(index < kith__attrs_count(info));
    if (index < info->addr.count)
        err = append_addr(buf, &info->addr.addrs[index]);
    else if ((err = append_text(buf, user_data_key)) == 0)
        err = kith__buf_append(buf, info->user_data, info->user_data_size);
    if (err != 0)
        buf->size = before;
    return err;
}

/** Text of an IP address with a port that need not end in 0. */
static int add_ip_text(struct kith_endpoint_addr *addr, struct kith_slice text)
{
    char copy[KITH_SOCKADDR_TEXT_SIZE];
    struct kith_sockaddr ip;
    int err;

    if (text.size >= sizeof copy || memchr(text.ptr, 0, text.size) != NULL)
        return KITH_ERR_PARSE;
    memcpy(copy, text.ptr, text.size);
    copy[text.size] = '\0';
    if ((err = kith_sockaddr_parse(copy, &ip)) != 0)
        return err;
    return kith__endpoint_addr_add_ip(addr, &ip);
}

/** Errors but NOMEM cost this value only. */
static int ignore(int err, size_t *ignored)
{
    if (err != 0 && err != KITH_ERR_NOMEM) {
        *ignored += 1;
        return 0;
    }
    return err;
}

static int take_addrs(struct kith_lookup_info *info, struct kith_slice value, size_t *ignored)
{
    size_t count = 0;

    while (value.size != 0) {
        const uint8_t *space = memchr(value.ptr, ' ', value.size);
        struct kith_slice text = { value.ptr, space != NULL ? (size_t)(space - value.ptr) : value.size };
        int err;

        value.size -= text.size + (space != NULL);
        value.ptr += text.size + (space != NULL);
        if (text.size == 0)
            continue;
        count++;
        err = add_ip_text(&info->addr, text);
        if (err == KITH_ERR_PARSE)
            err = kith__endpoint_addr_add_custom_text(&info->addr, (const char *)text.ptr, text.size);
        if ((err = ignore(err, ignored)) != 0)
            return err;
    }
    *ignored += count == 0;
    return 0;
}

/** True if text begins with the key, '=' included; *value is what follows. */
static bool has_key(struct kith_slice text, const char *key, struct kith_slice *value)
{
    size_t size = strlen(key);

    if (text.size < size || memcmp(text.ptr, key, size) != 0)
        return false;
    *value = (struct kith_slice) { text.ptr + size, text.size - size };
    return true;
}

int kith__attrs_take(struct kith_lookup_info *info, struct kith_slice text, size_t *ignored)
{
    struct kith_slice value;

    if (has_key(text, relay_key, &value))
        return ignore(kith__endpoint_addr_add_relay(&info->addr, (const char *)value.ptr, value.size), ignored);
    if (has_key(text, addr_key, &value))
        return take_addrs(info, value, ignored);
    if (has_key(text, user_data_key, &value) && info->user_data_size == 0)
        return ignore(kith__lookup_info_set_user_data(info, value), ignored);
    *ignored += 1;
    return 0;
}
