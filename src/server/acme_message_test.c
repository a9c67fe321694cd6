/* Messages of ACME: what is written, and what is made of answers. */
#include "server/acme_message.h"

#include "base/test.h"
#include <jansson.h>
#include <string.h>

static struct kith_slice slice(const char *text)
{
    return (struct kith_slice) { (const uint8_t *)text, strlen(text) };
}

KITH_TEST(directories_need_their_three_urls)
{
    struct kith_acme_directory directory;

    KITH_CHECK_EQ(kith__acme_read_directory(slice("{\"newNonce\":\"https://a/n\",\"newAccount\":\"https://a/a\","
                                                  "\"newOrder\":\"https://a/o\",\"meta\":{\"x\":[1]}}"),
                                            &directory),
                  0);
    KITH_CHECK_STR(directory.new_nonce, "https://a/n");
    KITH_CHECK_STR(directory.new_account, "https://a/a");
    KITH_CHECK_STR(directory.new_order, "https://a/o");
    KITH_CHECK_EQ(kith__acme_read_directory(slice("{\"newNonce\":\"https://a/n\"}"), &directory), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__acme_read_directory(slice("[]"), &directory), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__acme_read_directory(slice(""), &directory), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__acme_read_directory(slice("<html>"), &directory), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__acme_read_directory(slice("{\"newNonce\":1,\"newAccount\":\"https://a/a\","
                                                  "\"newOrder\":\"https://a/o\"}"),
                                            &directory),
                  KITH_ERR_PARSE);
}

KITH_TEST(orders_tell_status_and_urls)
{
    static struct kith_acme_order order;

    KITH_CHECK_EQ(
        kith__acme_read_order(slice("{\"status\":\"pending\",\"authorizations\":[\"https://a/1\",\"https://a/2\"],"
                                    "\"finalize\":\"https://a/f\"}"),
                              &order),
        0);
    KITH_CHECK_EQ(order.status, KITH_ACME_PENDING);
    KITH_CHECK_EQ(order.authorization_count, 2);
    KITH_CHECK_STR(order.authorizations[1], "https://a/2");
    KITH_CHECK_STR(order.certificate, "");
    KITH_CHECK_EQ(
        kith__acme_read_order(slice("{\"status\":\"valid\",\"finalize\":\"https://a/f\",\"authorizations\":[],"
                                    "\"certificate\":\"https://a/c\"}"),
                              &order),
        0);
    KITH_CHECK_EQ(order.status, KITH_ACME_VALID);
    KITH_CHECK_STR(order.certificate, "https://a/c");
    KITH_CHECK_EQ(kith__acme_read_order(slice("{\"status\":\"invalid\",\"finalize\":\"https://a/f\","
                                              "\"error\":{\"detail\":\"no\"}}"),
                                        &order),
                  0);
    KITH_CHECK_EQ(order.status, KITH_ACME_INVALID);
    KITH_CHECK_STR(order.problem, "no");
    KITH_CHECK_EQ(kith__acme_read_order(slice("{\"status\":\"novel\",\"finalize\":\"https://a/f\"}"), &order), 0);
    KITH_CHECK_EQ(order.status, KITH_ACME_INVALID);
    KITH_CHECK_EQ(kith__acme_read_order(slice("{\"finalize\":\"https://a/f\",\"authorizations\":[1]}"), &order),
                  KITH_ERR_PARSE);
}

KITH_TEST(authorizations_tell_their_challenges)
{
    struct kith_acme_authorization authorization;

    KITH_CHECK_EQ(
        kith__acme_read_authorization(
            slice("{\"status\":\"pending\",\"identifier\":{\"type\":\"dns\",\"value\":\"a.test\"},\"challenges\":["
                  "{\"type\":\"dns-01\",\"url\":\"https://a/d\",\"token\":\"t1\"},"
                  "{\"type\":\"http-01\",\"url\":\"https://a/h\",\"token\":\"t2\"},"
                  "{\"type\":\"tls-alpn-01\",\"url\":\"https://a/t\",\"token\":\"t3\","
                  "\"error\":{\"detail\":\"timeout\"}}]}"),
            &authorization),
        0);
    KITH_CHECK_STR(authorization.name, "a.test");
    KITH_CHECK_STR(authorization.http.token, "t2");
    KITH_CHECK_STR(authorization.tls_alpn.url, "https://a/t");
    KITH_CHECK_STR(authorization.problem, "timeout");
    KITH_CHECK_EQ(kith__acme_read_authorization(
                      slice("{\"status\":\"valid\",\"identifier\":{\"value\":\"a.test\"},\"challenges\":["
                            "{\"type\":\"http-01\",\"url\":\"https://a/h\"}, 5, {\"type\":7}]}"),
                      &authorization),
                  0);
    KITH_CHECK_STR(authorization.http.url, ""); /* without its token it is of no use */
    KITH_CHECK_EQ(kith__acme_read_authorization(slice("{\"status\":\"valid\"}"), &authorization), KITH_ERR_PARSE);
}

KITH_TEST(problems_are_read_as_far_as_they_go)
{
    struct kith_acme_problem problem;

    kith__acme_read_problem(slice("{\"type\":\"urn:ietf:params:acme:error:badNonce\",\"detail\":\"old\"}"), &problem);
    KITH_CHECK_STR(problem.type, "badNonce");
    KITH_CHECK_STR(problem.detail, "old");
    kith__acme_read_problem(slice("<html>"), &problem);
    KITH_CHECK_STR(problem.type, "");
    KITH_CHECK_STR(problem.detail, "");
}

static json_t *decoded(const json_t *object, const char *name)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *text = json_string_value(json_object_get(object, name));
    char out[2048];
    size_t size = 0;
    uint32_t bits = 0;
    int count = 0;

    KITH_CHECK(text != NULL);
    for (; *text != 0; text++) {
        bits = bits << 6 | (uint32_t)(strchr(digits, *text) - digits);
        if ((count += 6) >= 8)
            out[size++] = (char)(bits >> (count -= 8));
    }
    return json_loadb(out, size, JSON_DECODE_ANY, NULL);
}

KITH_TEST(requests_are_signed_for_their_url_and_account)
{
    struct kith_acme_key *key;
    struct kith_buf payload = { .mem = kith_mem_default() }, body = { .mem = kith_mem_default() };
    json_t *jws, *header, *inner;

    KITH_CHECK_EQ(kith__acme_key_new(kith_mem_default(), &key), 0);
    KITH_CHECK_EQ(kith__acme_write_account("ops@example.com", &payload), 0);
    KITH_CHECK_EQ(
        kith__acme_sign(kith_mem_default(), key, NULL, "nonce1", "https://a/new", kith__buf_slice(&payload), &body), 0);
    jws = json_loadb((const char *)body.ptr, body.size, 0, NULL);
    header = decoded(jws, "protected");
    KITH_CHECK_STR(json_string_value(json_object_get(header, "alg")), "ES256");
    KITH_CHECK_STR(json_string_value(json_object_get(header, "nonce")), "nonce1");
    KITH_CHECK_STR(json_string_value(json_object_get(header, "url")), "https://a/new");
    KITH_CHECK(json_object_get(header, "kid") == NULL);
    KITH_CHECK_EQ(strlen(json_string_value(json_object_get(json_object_get(header, "jwk"), "x"))), 43);
    inner = decoded(jws, "payload");
    KITH_CHECK_STR(json_string_value(json_array_get(json_object_get(inner, "contact"), 0)), "mailto:ops@example.com");
    KITH_CHECK_EQ(strlen(json_string_value(json_object_get(jws, "signature"))), 86);
    json_decref(inner);
    json_decref(header);
    json_decref(jws);
    body.size = 0;
    KITH_CHECK_EQ(kith__acme_sign(kith_mem_default(), key, "https://a/acct/1", "n", "https://a/o",
                                  (struct kith_slice) { 0 }, &body),
                  0);
    jws = json_loadb((const char *)body.ptr, body.size, 0, NULL);
    header = decoded(jws, "protected");
    KITH_CHECK_STR(json_string_value(json_object_get(header, "kid")), "https://a/acct/1");
    KITH_CHECK(json_object_get(header, "jwk") == NULL);
    KITH_CHECK_STR(json_string_value(json_object_get(jws, "payload")), ""); /* POST-as-GET */
    json_decref(header);
    json_decref(jws);
    kith__buf_dispose(&payload);
    kith__buf_dispose(&body);
    kith__acme_key_free(key);
}

KITH_TEST(signing_fails_cleanly_without_memory)
{
    struct kith_acme_key *key;

    KITH_CHECK_EQ(kith__acme_key_new(kith_mem_default(), &key), 0);
    for (uint64_t n = 1;; n++) {
        struct kith_test_mem mem;
        struct kith_buf body;
        int err;

        kith__test_mem_init(&mem, n);
        kith__buf_init(&body, &mem.mem);
        err = kith__acme_sign(&mem.mem, key, NULL, "n", "https://a/o", slice("{}"), &body);
        kith__buf_dispose(&body);
        KITH_CHECK_EQ(mem.live, 0);
        if (err == 0)
            break;
        KITH_CHECK_EQ(err, KITH_ERR_NOMEM);
        KITH_CHECK(n < 1000);
    }
    kith__acme_key_free(key);
}
