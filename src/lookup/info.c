#include "lookup/info.h"

#include "codec/postcard.h"

void kith__lookup_info_init(struct kith_lookup_info *info, const struct kith_mem *mem, const struct kith_id *id)
{
    memset(info, 0, sizeof *info);
    kith__endpoint_addr_init(&info->addr, mem, id);
}

void kith__lookup_info_dispose(struct kith_lookup_info *info)
{
    kith__endpoint_addr_dispose(&info->addr);
    info->user_data_size = 0;
    info->user_data[0] = '\0';
}

static void copy_user_data(const struct kith_lookup_info *from, struct kith_lookup_info *to)
{
    to->user_data_size = from->user_data_size;
    memcpy(to->user_data, from->user_data, sizeof to->user_data);
}

int kith__lookup_info_copy(const struct kith_lookup_info *from, struct kith_lookup_info *to)
{
    int err = kith__endpoint_addr_copy(&from->addr, &to->addr);

    if (err == 0)
        copy_user_data(from, to);
    return err;
}

bool kith__lookup_info_equal(const struct kith_lookup_info *a, const struct kith_lookup_info *b)
{
    return a->user_data_size == b->user_data_size && memcmp(a->user_data, b->user_data, a->user_data_size) == 0 &&
           kith__endpoint_addr_equal(&a->addr, &b->addr);
}

int kith__lookup_info_set_user_data(struct kith_lookup_info *info, struct kith_slice text)
{
    if (text.size > KITH_USER_DATA_SIZE_MAX)
        return KITH_ERR_TOO_LARGE;
    if (text.size != 0 && (memchr(text.ptr, 0, text.size) != NULL || !kith__utf8_is_valid(text.ptr, text.size)))
        return KITH_ERR_PARSE;
    if (text.size != 0)
        memcpy(info->user_data, text.ptr, text.size);
    info->user_data[text.size] = '\0';
    info->user_data_size = (uint8_t)text.size;
    return 0;
}

static bool passes(const struct kith_transport_addr *addr, enum kith_lookup_filter filter)
{
    if (addr->kind == KITH_TRANSPORT_IP && addr->ip.scope_id != 0)
        return filter == KITH_LOOKUP_LOCAL;
    switch (filter) {
    case KITH_LOOKUP_RELAYS:
        return addr->kind == KITH_TRANSPORT_RELAY;
    case KITH_LOOKUP_DIRECT:
        return addr->kind != KITH_TRANSPORT_RELAY;
    case KITH_LOOKUP_ALL:
    case KITH_LOOKUP_LOCAL:
        return true;
    default:
        return false;
    }
}

/** Adds a copy of one address of a set to another; what stands in a set already is normalised. */
static int add(struct kith_endpoint_addr *to, const struct kith_transport_addr *item)
{
    if (item->kind == KITH_TRANSPORT_RELAY)
        return kith__endpoint_addr_add_relay(to, (const char *)item->bytes.ptr, item->bytes.size);
    if (item->kind == KITH_TRANSPORT_IP)
        return kith__endpoint_addr_add_ip(to, &item->ip);
    return kith__endpoint_addr_add_custom(to, item->custom_id, item->bytes);
}

int kith__lookup_info_filter(const struct kith_lookup_info *from, enum kith_lookup_filter filter,
                             struct kith_lookup_info *to)
{
    struct kith_endpoint_addr passed;
    int err = 0;

    kith__endpoint_addr_init(&passed, to->addr.mem, &from->addr.id);
    for (size_t i = 0; i < from->addr.count && err == 0; i++)
        if (passes(&from->addr.addrs[i], filter))
            err = add(&passed, &from->addr.addrs[i]);
    if (err != 0) {
        kith__endpoint_addr_dispose(&passed);
        return err;
    }
    kith__lookup_info_dispose(to);
    if (filter != KITH_LOOKUP_NONE)
        copy_user_data(from, to);
    to->addr = passed;
    return 0;
}

int kith__lookup_info_add_addrs(const struct kith_lookup_info *from, struct kith_lookup_info *to)
{
    int err = 0;

    for (size_t i = 0; i < from->addr.count && err == 0; i++)
        err = kith__endpoint_addr_ignore(&to->addr, add(&to->addr, &from->addr.addrs[i]));
    return err;
}

bool kith__lookup_info_is_empty(const struct kith_lookup_info *info)
{
    return info->addr.count == 0 && info->user_data_size == 0;
}
