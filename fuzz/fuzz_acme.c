/* Answers of an ACME authority: any bytes as any of them. What is taken fits its place and ends in a zero. */
#include "server/acme_message.h"

#include "base/assert.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_text(const char *text, size_t size)
{
    KITH_ASSERT(memchr(text, 0, size) != NULL);
}

static void check_order(struct kith_slice json)
{
    static struct kith_acme_order order;

    if (kith__acme_read_order(json, &order) != 0)
        return;
    KITH_ASSERT(order.finalize[0] != 0 && order.authorization_count <= KITH_ACME_AUTHORIZATIONS_MAX);
    KITH_ASSERT(order.status <= KITH_ACME_INVALID);
    check_text(order.certificate, sizeof order.certificate);
    check_text(order.problem, sizeof order.problem);
    for (size_t i = 0; i < order.authorization_count; i++)
        check_text(order.authorizations[i], sizeof order.authorizations[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct kith_slice json = { bytes, size };
    struct kith_acme_directory directory;
    struct kith_acme_authorization authorization;
    struct kith_acme_problem problem;

    if (kith__acme_read_directory(json, &directory) == 0) {
        check_text(directory.new_nonce, sizeof directory.new_nonce);
        KITH_ASSERT(directory.new_order[0] != 0);
    }
    if (kith__acme_read_authorization(json, &authorization) == 0) {
        check_text(authorization.name, sizeof authorization.name);
        KITH_ASSERT(authorization.http.url[0] == 0 || authorization.http.token[0] != 0);
        KITH_ASSERT(authorization.tls_alpn.url[0] == 0 || authorization.tls_alpn.token[0] != 0);
    }
    check_order(json);
    kith__acme_read_problem(json, &problem);
    check_text(problem.type, sizeof problem.type);
    check_text(problem.detail, sizeof problem.detail);
    return 0;
}
