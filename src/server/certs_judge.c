/* What is wrong with a certificate from files, in words that help. */
#include "server/certs_judge.h"

#include "server/httpd.h"
#include "tls/chain.h"
#include "tls/selfmade.h"

int kith__certs_explain(struct kith_server_why *why, int err, const struct kith_certs_files *files)
{
    struct kith_chain_report report;

    if (err != KITH_ERR_PARSE || kith__chain_check(files->chain, files->key, &report) != 0)
        return kith__server_why(why, err, "the certificate in %s with the key in %s cannot be used: %s",
                                files->chain_file, files->key_file, kith_strerror(err));
    switch (report.fault) {
    case KITH_CHAIN_NO_CERTIFICATE:
        return kith__server_why(why, err,
                                "there is no certificate in %s: it must be PEM, and begin with "
                                "-----BEGIN CERTIFICATE-----",
                                files->chain_file);
    case KITH_CHAIN_NO_KEY:
        return kith__server_why(why, err,
                                "there is no private key in %s that can be read: it must be PEM, without a password",
                                files->key_file);
    case KITH_CHAIN_FOREIGN_KEY:
        return kith__server_why(why, err,
                                "the key in %s belongs to another certificate than the one in %s: name the two "
                                "files that were made together",
                                files->key_file, files->chain_file);
    case KITH_CHAIN_KEY_OF_LATER:
        return kith__server_why(why, err,
                                "%s has its certificates in the wrong order: the key in %s belongs to number %zu, "
                                "which must be the first",
                                files->chain_file, files->key_file, report.number);
    default:
        return kith__server_why(why, err, "the certificate in %s cannot be used", files->chain_file);
    }
}

static int judge_time(struct kith_server_why *why, const struct kith_certs_files *files, uint64_t now_s)
{
    struct kith_certificate_info info;
    char date[KITH_HTTPD_DATE_SIZE];
    int err = kith__certificate_read(files->chain, &info);

    if (err != 0)
        return kith__certs_explain(why, err, files);
    if (info.not_after_s < now_s)
        return kith__server_why(why, KITH_ERR_TLS, "the certificate in %s has expired (%s): get a new one",
                                files->chain_file, kith__httpd_date(info.not_after_s, date));
    if (info.not_before_s > now_s)
        return kith__server_why(
            why, KITH_ERR_TLS,
            "the certificate in %s is not valid yet (it will be on %s): is this machine's clock right?",
            files->chain_file, kith__httpd_date(info.not_before_s, date));
    return 0;
}

int kith__certs_judge(struct kith_server_why *why, const struct kith_certs_files *files, const char *const *names,
                      size_t name_count, uint64_t now_s)
{
    struct kith_chain_report report;
    int err = judge_time(why, files, now_s);

    for (size_t i = 0; err == 0 && i < name_count; i++) {
        if (!kith__certificate_covers(files->chain, names[i]))
            err = kith__server_why(why, KITH_ERR_TLS,
                                   "the certificate in %s is not for %.253s: clients would refuse it. Get one for "
                                   "that name, or correct the name",
                                   files->chain_file, names[i]);
    }
    if (err == 0 && kith__chain_check(files->chain, files->key, &report) == 0 && report.fault == KITH_CHAIN_ORDER)
        err = kith__server_why(why, KITH_ERR_TLS,
                               "%s has its certificates in the wrong order, or one is missing: number %zu did not "
                               "sign number %zu",
                               files->chain_file, report.number, report.number - 1);
    return err;
}
