/**
 * What is wrong with the two PEM texts of a server, its chain of certificates and its private key, in more detail than a TLS
 * library's refusal: for those who have to put it right. Sans-IO; thread-safe.
 *
 * Source: RFC 8446, 4.4.2 (the server's own certificate comes first, each next one certifies the one before).
 */
#ifndef KITH_TLS_CHAIN_H
#define KITH_TLS_CHAIN_H

#include <kith/types.h>

enum kith_chain_fault {
    KITH_CHAIN_FINE,
    KITH_CHAIN_NO_CERTIFICATE, /* no certificate in the PEM text, or one that cannot be read, or too many */
    KITH_CHAIN_NO_KEY,         /* no private key in the PEM text, or one with a password */
    KITH_CHAIN_FOREIGN_KEY,    /* the key belongs to none of the certificates */
    KITH_CHAIN_KEY_OF_LATER,   /* the key belongs to certificate `number`, which ought to be the first */
    KITH_CHAIN_ORDER           /* certificate `number` does not certify the one before */
};

struct kith_chain_report {
    uint8_t fault; /* enum kith_chain_fault, the first that was found */
    size_t number; /* of a certificate, from 1 on; 0 where none is meant */
};

enum { KITH_CHAIN_COUNT_MAX = 16 }; /* certificates of a chain */

/** Looks at a chain and a key (untrusted bytes). NOMEM; everything else is in the report. */
KITH_MUST_USE int kith__chain_check(struct kith_slice chain_pem, struct kith_slice key_pem,
                                    struct kith_chain_report *out);

#endif
