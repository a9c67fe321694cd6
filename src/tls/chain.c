/* Faults of a chain and a key. */
#include "tls/chain.h"

#include "base/mem.h"
#include "tls/certs.h"

#include <gnutls/abstract.h>
#include <limits.h>

enum { ID_SIZE_MAX = 64 };

struct id {
    unsigned char bytes[ID_SIZE_MAX];
    size_t size;
};

static bool same(const struct id *a, const struct id *b)
{
    return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

/* rv of the library. */
static int id_of_key(struct kith_slice pem, struct id *out)
{
    gnutls_datum_t datum = { (unsigned char *)pem.ptr, (unsigned)pem.size };
    gnutls_privkey_t key;
    gnutls_pubkey_t public_key;
    int rv = gnutls_privkey_init(&key);

    if (rv < 0)
        return rv;
    if ((rv = gnutls_pubkey_init(&public_key)) < 0) {
        gnutls_privkey_deinit(key);
        return rv;
    }
    out->size = sizeof out->bytes;
    rv = gnutls_privkey_import_x509_raw(key, &datum, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (rv >= 0)
        rv = gnutls_pubkey_import_privkey(public_key, key, 0, 0);
    if (rv >= 0)
        rv = gnutls_pubkey_get_key_id(public_key, GNUTLS_KEYID_USE_SHA256, out->bytes, &out->size);
    gnutls_pubkey_deinit(public_key);
    gnutls_privkey_deinit(key);
    return rv;
}

/* The certificate whose key it is, from 1 on; 0: none. */
static size_t owner(const gnutls_x509_crt_t *certificates, size_t count, const struct id *key)
{
    struct id id;

    for (size_t i = 0; i < count; i++) {
        id.size = sizeof id.bytes;
        if (gnutls_x509_crt_get_key_id(certificates[i], GNUTLS_KEYID_USE_SHA256, id.bytes, &id.size) >= 0 &&
            same(&id, key))
            return i + 1;
    }
    return 0;
}

static struct kith_chain_report judge(const gnutls_x509_crt_t *certificates, size_t count, const struct id *key)
{
    size_t number = owner(certificates, count, key);

    if (number == 0)
        return (struct kith_chain_report) { KITH_CHAIN_FOREIGN_KEY, 0 };
    if (number != 1)
        return (struct kith_chain_report) { KITH_CHAIN_KEY_OF_LATER, number };
    for (size_t i = 1; i < count; i++) {
        if (gnutls_x509_crt_check_issuer(certificates[i - 1], certificates[i]) == 0)
            return (struct kith_chain_report) { KITH_CHAIN_ORDER, i + 1 };
    }
    return (struct kith_chain_report) { KITH_CHAIN_FINE, 0 };
}

static bool is_pem_size(struct kith_slice pem)
{
    return pem.size != 0 && pem.size <= INT_MAX;
}

int kith__chain_check(struct kith_slice chain_pem, struct kith_slice key_pem, struct kith_chain_report *out)
{
    gnutls_datum_t datum = { (unsigned char *)chain_pem.ptr, (unsigned)chain_pem.size };
    gnutls_x509_crt_t certificates[KITH_CHAIN_COUNT_MAX];
    unsigned count = KITH_CHAIN_COUNT_MAX;
    struct id key;
    int rv = !is_pem_size(chain_pem) ? GNUTLS_E_NO_CERTIFICATE_FOUND
                                     : gnutls_x509_crt_list_import(certificates, &count, &datum, GNUTLS_X509_FMT_PEM,
                                                                   GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);
    if (rv <= 0) {
        if (rv == GNUTLS_E_MEMORY_ERROR)
            return KITH_ERR_NOMEM;
        *out = (struct kith_chain_report) { KITH_CHAIN_NO_CERTIFICATE, 0 };
        return 0;
    }
    count = (unsigned)rv;
    rv = is_pem_size(key_pem) ? id_of_key(key_pem, &key) : GNUTLS_E_NO_CERTIFICATE_FOUND;
    if (rv >= 0)
        *out = judge(certificates, count, &key);
    else if (rv != GNUTLS_E_MEMORY_ERROR)
        *out = (struct kith_chain_report) { KITH_CHAIN_NO_KEY, 0 };
    for (unsigned i = 0; i < count; i++)
        gnutls_x509_crt_deinit(certificates[i]);
    return rv == GNUTLS_E_MEMORY_ERROR ? KITH_ERR_NOMEM : 0;
}
