/** What is wrong with a certificate from files, as a sentence that names the file and says what helps. Any thread. */
#ifndef KITH_SERVER_CERTS_JUDGE_H
#define KITH_SERVER_CERTS_JUDGE_H

#include "server/setup.h"

/** Two files and what was in them; borrowed. The same file twice: both are in it. */
struct kith_certs_files {
    const char *chain_file, *key_file;
    struct kith_slice chain, key; /* PEM, untrusted */
};

/** Says why they could not be used: the TLS library refused them with err. Returns err. */
int kith__certs_explain(struct kith_server_why *why, int err, const struct kith_certs_files *files);
/**
 * Says what clients will not like about files that can be used: TLS: expired, not valid yet, not for one of the names, certificates
 * that do not follow from each other. 0 if there is nothing. now_s: seconds since 1970.
 */
KITH_MUST_USE int kith__certs_judge(struct kith_server_why *why, const struct kith_certs_files *files,
                                    const char *const *names, size_t name_count, uint64_t now_s);

#endif
