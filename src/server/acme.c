/* Gets certificates from an ACME authority. */
#include "server/acme.h"

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/secure.h"
#include "link/fetch.h"
#include "server/acme_message.h"
#include "server/certs.h"
#include "tls/acme_crypto.h"
#include "tls/stream.h"
#include <stdio.h>
#include <stdlib.h>

/* What the next request asks for. */
enum step {
    STEP_IDLE,
    STEP_DIRECTORY,
    STEP_NONCE,
    STEP_ACCOUNT,
    STEP_ORDER,
    STEP_AUTHORIZATION, /* what is to be proved for the name at hand */
    STEP_CHALLENGE,     /* "look now" */
    STEP_PROOF,         /* has it looked? */
    STEP_FINALIZE,
    STEP_ISSUE, /* is it made? */
    STEP_CERTIFICATE
};

static const char *const step_words[] = { "",
                                          "asking for the directory",
                                          "asking for a nonce",
                                          "registering the account",
                                          "ordering",
                                          "asking what is to be proved",
                                          "starting a challenge",
                                          "waiting for the challenge",
                                          "sending the request for the certificate",
                                          "waiting for the certificate",
                                          "fetching the certificate" };

enum { NAME_SIZE = 256 };

struct kith_acme {
    struct kith_acme_options options;
    struct kith_rt *rt;
    const struct kith_mem *mem;
    char url[KITH_ACME_URL_SIZE], contact[KITH_ACME_TEXT_SIZE];
    char (*names)[NAME_SIZE];
    const char **name_list;
    size_t name_count;
    struct kith_acme_key *account;
    struct kith_tls_stream_context *trust;
    struct kith_rt_timer timer; /* the next step, or the next order */
    struct kith_fetch *fetch;
    enum step step;
    uint64_t pause_ns; /* after the next failure */
    unsigned failures, nonce_tries, polls;
    bool is_resting;   /* after a failure, until the timer */
    uint8_t challenge; /* enum kith_acme_proof */
    /* Of the order under way. */
    struct kith_acme_directory directory;
    struct kith_acme_order order;
    struct kith_acme_authorization authorization;
    char order_url[KITH_ACME_URL_SIZE], account_url[KITH_ACME_URL_SIZE], nonce[KITH_ACME_NONCE_SIZE];
    size_t authorization_index;
    bool uses_tls;                 /* tls-alpn-01 for this order, else http-01 */
    struct kith_acme_key *key;     /* of the certificate */
    struct kith_buf authorisation; /* key authorisation of the challenge at hand; empty: none is set up */
};

static void proceed(struct kith_acme *acme);

static void go(struct kith_acme *acme, enum step step)
{
    acme->step = step;
    proceed(acme);
}

static void go_later(struct kith_acme *acme, enum step step, uint64_t after_ns)
{
    acme->step = step;
    kith__rt_timer_set(&acme->timer, kith__rt_now(acme->rt) + after_ns);
}

/* ---- The challenge ---- */

static void take_down(struct kith_acme *acme)
{
    if (acme->authorisation.size == 0)
        return;
    if (!acme->uses_tls)
        kith__http01_remove(acme->options.shared, acme->authorization.http.token);
    else if (kith__certs_set_challenges(acme->options.certs, NULL, 0) != 0)
        kith__log(&acme->rt->log, KITH_LOG_WARN, "acme", "the challenge's certificate could not be taken back");
    acme->authorisation.size = 0;
}

static int set_up_tls(struct kith_acme *acme)
{
    struct kith_selfmade made = { { .mem = acme->mem }, { .mem = acme->mem } };
    struct kith_tls_certificate challenge;
    int err = kith__acme_challenge_certificate(acme->mem, acme->authorization.name,
                                               kith__buf_slice(&acme->authorisation),
                                               kith__rt_wall_us(acme->rt) / 1000000, &made);

    if (err != 0)
        return err;
    challenge = (struct kith_tls_certificate) { kith__buf_slice(&made.certificate), kith__buf_slice(&made.key) };
    err = kith__certs_set_challenges(acme->options.certs, &challenge, 1);
    kith__selfmade_dispose(&made);
    return err;
}

static int set_up(struct kith_acme *acme)
{
    const struct kith_acme_challenge *challenge = acme->uses_tls ? &acme->authorization.tls_alpn
                                                                 : &acme->authorization.http;
    int err;

    acme->authorisation.size = 0;
    if ((err = kith__acme_authorisation(acme->account, challenge->token, &acme->authorisation)) != 0)
        return err;
    err = acme->uses_tls
              ? set_up_tls(acme)
              : kith__http01_add(acme->options.shared, challenge->token, kith__buf_slice(&acme->authorisation));
    if (err != 0)
        acme->authorisation.size = 0;
    return err;
}

/* ---- Failure and success ---- */

static void fail(struct kith_acme *acme, const char *why)
{
    take_down(acme);
    kith__acme_key_free(acme->key);
    acme->key = NULL;
    acme->account_url[0] = acme->nonce[0] = 0;
    acme->failures++;
    atomic_fetch_add_explicit(&acme->options.shared->failures, 1, memory_order_relaxed);
    kith__log(&acme->rt->log, KITH_LOG_ERROR, "acme", "no certificate from %.100s: %s: %s; tried again in %llu s",
              acme->url, step_words[acme->step], why, (unsigned long long)(acme->pause_ns / KITH_NS_PER_S));
    acme->is_resting = true;
    go_later(acme, STEP_IDLE, acme->pause_ns);
    acme->pause_ns = KITH_MIN(acme->pause_ns * 2, KITH_ACME_PAUSE_MAX_NS);
}

static void succeed(struct kith_acme *acme)
{
    kith__acme_key_free(acme->key);
    acme->key = NULL;
    acme->nonce[0] = 0;
    acme->pause_ns = KITH_ACME_PAUSE_NS;
    acme->step = STEP_IDLE;
    kith__log(&acme->rt->log, KITH_LOG_INFO, "acme", "a new certificate for %s is in use", acme->name_list[0]);
}

/* ---- Answers ---- */

static void next_authorization(struct kith_acme *acme)
{
    if (acme->authorization_index < acme->order.authorization_count)
        go(acme, STEP_AUTHORIZATION);
    else
        go(acme, STEP_FINALIZE);
}

static bool take_location(const struct kith_http_head *head, char out[KITH_ACME_URL_SIZE])
{
    const struct kith_http_header *header = kith__http_header(head, "location");

    if (header == NULL || header->value.size == 0 || header->value.size >= KITH_ACME_URL_SIZE)
        return false;
    memcpy(out, header->value.ptr, header->value.size);
    out[header->value.size] = 0;
    return true;
}

static void on_order(struct kith_acme *acme, const struct kith_fetch_result *result)
{
    if (!take_location(result->head, acme->order_url) || kith__acme_read_order(result->body, &acme->order) != 0) {
        fail(acme, "the answer makes no sense");
        return;
    }
    acme->authorization_index = 0;
    next_authorization(acme);
}

static void on_authorization(struct kith_acme *acme, const struct kith_fetch_result *result)
{
    int err;

    if (kith__acme_read_authorization(result->body, &acme->authorization) != 0) {
        fail(acme, "the answer makes no sense");
        return;
    }
    if (acme->authorization.status == KITH_ACME_VALID) { /* proved not long ago */
        acme->authorization_index++;
        next_authorization(acme);
        return;
    }
    if (acme->authorization.status != KITH_ACME_PENDING ||
        (acme->uses_tls ? acme->authorization.tls_alpn.url : acme->authorization.http.url)[0] == 0) {
        fail(acme, acme->authorization.problem[0] != 0 ? acme->authorization.problem
                                                       : "it does not offer a challenge that can be answered here");
        return;
    }
    if ((err = set_up(acme)) != 0) {
        fail(acme, kith_strerror(err));
        return;
    }
    acme->polls = 0;
    go_later(acme, STEP_CHALLENGE, KITH_ACME_SETTLE_NS);
}

static void poll_again(struct kith_acme *acme)
{
    if (++acme->polls > KITH_ACME_POLLS_MAX)
        fail(acme, "it takes too long");
    else
        go_later(acme, acme->step, KITH_ACME_POLL_NS);
}

static void on_proof(struct kith_acme *acme, const struct kith_fetch_result *result)
{
    struct kith_acme_authorization now;

    if (kith__acme_read_authorization(result->body, &now) != 0) {
        fail(acme, "the answer makes no sense");
    } else if (now.status == KITH_ACME_VALID) {
        take_down(acme);
        acme->authorization_index++;
        next_authorization(acme);
    } else if (now.status == KITH_ACME_PENDING || now.status == KITH_ACME_PROCESSING) {
        poll_again(acme);
    } else {
        fail(acme, now.problem[0] != 0 ? now.problem : "the authority could not check that the name is ours");
    }
}

/* Of FINALIZE and ISSUE: the order as it is now. */
static void on_issue(struct kith_acme *acme, const struct kith_fetch_result *result)
{
    if (kith__acme_read_order(result->body, &acme->order) != 0) {
        fail(acme, "the answer makes no sense");
        return;
    }
    switch (acme->order.status) {
    case KITH_ACME_VALID:
        if (acme->order.certificate[0] == 0)
            fail(acme, "the order is complete, but there is no certificate");
        else
            go(acme, STEP_CERTIFICATE);
        break;
    case KITH_ACME_PROCESSING:
    case KITH_ACME_READY:
    case KITH_ACME_PENDING:
        acme->step = STEP_ISSUE;
        poll_again(acme);
        break;
    case KITH_ACME_INVALID:
        fail(acme, acme->order.problem[0] != 0 ? acme->order.problem : "the order was refused");
        break;
    }
}

static void on_certificate(struct kith_acme *acme, const struct kith_fetch_result *result)
{
    struct kith_buf pem = { .mem = acme->mem };
    struct kith_server_why why;
    int err = kith__acme_key_store(acme->key, &pem);

    if (err != 0)
        kith__server_why(&why, err, "%s", kith_strerror(err));
    else
        err = kith__certs_store(acme->options.certs, result->body, kith__buf_slice(&pem), &why);
    if (pem.ptr != NULL)
        kith__wipe(pem.ptr, pem.cap);
    kith__buf_dispose(&pem);
    if (err != 0)
        fail(acme, why.text);
    else
        succeed(acme);
}

static void on_answer(struct kith_acme *acme, const struct kith_fetch_result *result)
{
    switch (acme->step) {
    case STEP_DIRECTORY:
        if (kith__acme_read_directory(result->body, &acme->directory) != 0)
            fail(acme, "this is no ACME directory: check the URL");
        else
            go(acme, STEP_ACCOUNT);
        break;
    case STEP_ACCOUNT:
        if (!take_location(result->head, acme->account_url))
            fail(acme, "the answer names no account");
        else
            go(acme, STEP_ORDER);
        break;
    case STEP_ORDER:
        on_order(acme, result);
        break;
    case STEP_AUTHORIZATION:
        on_authorization(acme, result);
        break;
    case STEP_CHALLENGE:
        go_later(acme, STEP_PROOF, KITH_ACME_POLL_NS);
        break;
    case STEP_PROOF:
        on_proof(acme, result);
        break;
    case STEP_FINALIZE:
    case STEP_ISSUE:
        on_issue(acme, result);
        break;
    case STEP_CERTIFICATE:
        on_certificate(acme, result);
        break;
    case STEP_IDLE:
    case STEP_NONCE:
        break;
    }
}

static void take_nonce(struct kith_acme *acme, const struct kith_http_head *head)
{
    const struct kith_http_header *header = kith__http_header(head, "replay-nonce");

    acme->nonce[0] = 0;
    if (header == NULL || header->value.size >= sizeof acme->nonce)
        return;
    memcpy(acme->nonce, header->value.ptr, header->value.size);
    acme->nonce[header->value.size] = 0;
}

/* An error answer: a nonce that has aged is no failure (RFC 8555, 6.5). */
static void on_refusal(struct kith_acme *acme, const struct kith_fetch_result *result)
{
    struct kith_acme_problem problem;
    char why[KITH_ACME_TEXT_SIZE + 128];

    kith__acme_read_problem(result->body, &problem);
    if (strcmp(problem.type, "badNonce") == 0 && ++acme->nonce_tries < KITH_ACME_NONCE_TRIES_MAX) {
        proceed(acme);
        return;
    }
    snprintf(why, sizeof why, "status %u%s%s%s%s", result->status, problem.type[0] != 0 ? ", " : "", problem.type,
             problem.detail[0] != 0 ? ": " : "", problem.detail);
    fail(acme, why);
}

/* What every answer begins with. False: there was none, and that is dealt with. */
static bool take_result(struct kith_acme *acme, const struct kith_fetch_result *result)
{
    acme->fetch = NULL;
    if (result->err != 0) {
        fail(acme, result->why);
        return false;
    }
    take_nonce(acme, result->head);
    return true;
}

static void on_done(void *ctx, const struct kith_fetch_result *result)
{
    struct kith_acme *acme = ctx;

    if (!take_result(acme, result))
        return;
    if (result->status < 200 || result->status > 299) {
        on_refusal(acme, result);
        return;
    }
    acme->nonce_tries = 0;
    on_answer(acme, result);
}

/* HEAD newNonce; then what was to be done. */
static void on_nonce(void *ctx, const struct kith_fetch_result *result)
{
    struct kith_acme *acme = ctx;

    if (!take_result(acme, result))
        return;
    if (acme->nonce[0] == 0)
        fail(acme, "the authority gives no nonce");
    else
        proceed(acme);
}

/* ---- Requests ---- */

static void fetch(struct kith_acme *acme, const char *method, const char *url, struct kith_slice body,
                  void (*done)(void *ctx, const struct kith_fetch_result *result))
{
    struct kith_http_header type = { kith__http_text("content-type"), kith__http_text("application/jose+json") };
    struct kith_fetch_options options = { .rt = acme->rt,
                                          .url = url,
                                          .method = method,
                                          .headers = &type,
                                          .header_count = body.size != 0 ? 1 : 0,
                                          .body = body,
                                          .response_size_max = KITH_ACME_ANSWER_MAX,
                                          .tls = acme->trust,
                                          .limit_ns = 30 * KITH_NS_PER_S };
    int err = kith__fetch(&options, done, acme, &acme->fetch);

    if (err != 0)
        fail(acme, kith_strerror(err));
}

static int make_request(struct kith_acme *acme, struct kith_buf *payload)
{
    struct kith_buf der = { .mem = acme->mem };
    int err = 0;

    if (acme->key == NULL)
        err = kith__acme_key_new(acme->mem, &acme->key);
    if (err == 0)
        err = kith__acme_request(acme->key, acme->name_list, acme->name_count, &der);
    if (err == 0)
        err = kith__acme_write_finalize(acme->mem, kith__buf_slice(&der), payload);
    kith__buf_dispose(&der);
    return err;
}

/* The URL of a step's request, and its payload; empty: POST-as-GET. */
static int make_payload(struct kith_acme *acme, struct kith_buf *payload, const char **url)
{
    switch (acme->step) {
    case STEP_ACCOUNT:
        *url = acme->directory.new_account;
        return kith__acme_write_account(acme->contact[0] != 0 ? acme->contact : NULL, payload);
    case STEP_ORDER:
        *url = acme->directory.new_order;
        return kith__acme_write_order(acme->name_list, acme->name_count, payload);
    case STEP_CHALLENGE:
        *url = acme->uses_tls ? acme->authorization.tls_alpn.url : acme->authorization.http.url;
        return kith__buf_append(payload, "{}", 2);
    case STEP_FINALIZE:
        *url = acme->order.finalize;
        return make_request(acme, payload);
    case STEP_ISSUE:
        *url = acme->order_url;
        return 0;
    case STEP_CERTIFICATE:
        *url = acme->order.certificate;
        return 0;
    default:
        *url = acme->order.authorizations[acme->authorization_index];
        return 0;
    }
}

static void post(struct kith_acme *acme)
{
    struct kith_buf payload = { .mem = acme->mem }, body = { .mem = acme->mem };
    const char *url = NULL;
    int err = make_payload(acme, &payload, &url);

    if (err == 0)
        err = kith__acme_sign(acme->mem, acme->account, acme->step == STEP_ACCOUNT ? NULL : acme->account_url,
                              acme->nonce, url, kith__buf_slice(&payload), &body);
    acme->nonce[0] = 0; /* for one use */
    if (err != 0)
        fail(acme, kith_strerror(err));
    else
        fetch(acme, "POST", url, kith__buf_slice(&body), on_done);
    kith__buf_dispose(&payload);
    kith__buf_dispose(&body);
}

static void proceed(struct kith_acme *acme)
{
    static const struct kith_slice nothing;

    if (acme->step == STEP_DIRECTORY)
        fetch(acme, "GET", acme->url, nothing, on_done);
    else if (acme->nonce[0] == 0)
        fetch(acme, "HEAD", acme->directory.new_nonce, nothing, on_nonce);
    else
        post(acme);
}

static void on_timer(void *ctx, uint64_t now_ns)
{
    struct kith_acme *acme = ctx;

    (void)now_ns;
    if (acme->step != STEP_IDLE) {
        proceed(acme);
        return;
    }
    acme->is_resting = false;
    kith__acme_order(acme);
}

void kith__acme_order(struct kith_acme *acme)
{
    if (acme->step != STEP_IDLE || acme->is_resting)
        return;
    /* Where one kind of challenge failed, a firewall perhaps, the other one is tried the next time; what worked is used again. */
    acme->uses_tls = acme->challenge == KITH_ACME_PROOF_ANY
                         ? acme->options.has_https && (!acme->options.has_http || acme->failures % 2 == 0)
                         : acme->challenge == KITH_ACME_PROOF_TLS_ALPN;
    acme->nonce_tries = acme->polls = 0;
    kith__log(&acme->rt->log, KITH_LOG_INFO, "acme", "ordering a certificate for %s from %s with %s",
              acme->name_list[0], acme->url, acme->uses_tls ? "tls-alpn-01" : "http-01");
    go(acme, STEP_DIRECTORY);
}

/* ---- Life ---- */

static int load_account(struct kith_acme *acme, const char *path, struct kith_server_why *why)
{
    struct kith_buf pem;
    int err = kith__server_read_file(acme->rt, acme->mem, path, "the ACME account key", &pem, why);

    if (err != 0)
        return err;
    if ((err = kith__acme_key_load(acme->mem, kith__buf_slice(&pem), &acme->account)) != 0)
        kith__server_why(why, err, "the ACME account key in %s cannot be used: %s", path, kith_strerror(err));
    kith__wipe(pem.ptr, pem.cap);
    kith__buf_dispose(&pem);
    return err;
}

static int make_account(struct kith_acme *acme, const char *path, struct kith_server_why *why)
{
    struct kith_buf pem = { .mem = acme->mem };
    int err = kith__acme_key_new(acme->mem, &acme->account);

    if (err == 0)
        err = kith__acme_key_store(acme->account, &pem);
    if (err != 0)
        kith__server_why(why, err, "an ACME account key cannot be made: %s", kith_strerror(err));
    else
        err = kith__server_write_file(acme->rt, path, kith__buf_slice(&pem), 0600, why);
    if (pem.ptr != NULL)
        kith__wipe(pem.ptr, pem.cap);
    kith__buf_dispose(&pem);
    return err;
}

static int get_account(struct kith_acme *acme, struct kith_server_why *why)
{
    char path[KITH_RT_PATH_MAX + 1];
    struct kith_rt_stat stat;

    snprintf(path, sizeof path, "%s/account.key", acme->options.directory);
    if (kith__rt_stat(acme->rt, NULL, path, true, &stat) == 0)
        return load_account(acme, path, why);
    return make_account(acme, path, why);
}

static int copy_options(struct kith_acme *acme, struct kith_server_why *why)
{
    const struct kith_server_tls *tls = acme->options.tls;
    const char *url = tls->acme_url != NULL ? tls->acme_url : KITH_ACME_LETS_ENCRYPT;

    if (strlen(url) >= sizeof acme->url || strncmp(url, "https://", 8) != 0)
        return kith__server_why(why, KITH_ERR_INVALID, "the URL of the ACME directory must be https, and short: %.100s",
                                url);
    snprintf(acme->url, sizeof acme->url, "%s", url);
    snprintf(acme->contact, sizeof acme->contact, "%s", tls->acme_contact != NULL ? tls->acme_contact : "");
    acme->names = kith__alloc_array(acme->mem, tls->name_count, sizeof *acme->names);
    acme->name_list = kith__alloc_array(acme->mem, tls->name_count, sizeof *acme->name_list);
    if (acme->names == NULL || acme->name_list == NULL)
        return kith__server_why(why, KITH_ERR_NOMEM, "no memory for ACME");
    for (size_t i = 0; i < tls->name_count; i++) {
        if (tls->names[i][0] == '*')
            return kith__server_why(why, KITH_ERR_INVALID, "ACME gives no certificate for %s without access to DNS",
                                    tls->names[i]);
        snprintf(acme->names[i], NAME_SIZE, "%s", tls->names[i]);
        acme->name_list[i] = acme->names[i];
    }
    acme->name_count = tls->name_count;
    return 0;
}

int kith__acme_new(const struct kith_acme_options *options, struct kith_acme **out, struct kith_server_why *why)
{
    struct kith_acme *acme = kith__alloc_zero(options->mem, sizeof *acme);
    int err;

    if (acme == NULL)
        return kith__server_why(why, KITH_ERR_NOMEM, "no memory for ACME");
    acme->options = *options;
    acme->rt = options->rt;
    acme->mem = options->mem;
    acme->pause_ns = KITH_ACME_PAUSE_NS;
    acme->challenge = options->tls->acme_challenge;
    kith__buf_init(&acme->authorisation, acme->mem);
    if ((err = copy_options(acme, why)) == 0 &&
        (err = kith__server_client_trust(acme->rt, acme->mem, options->tls->acme_ca_file, &acme->trust, why)) == 0 &&
        (err = get_account(acme, why)) == 0 && (err = kith__rt_timer_init(acme->rt, &acme->timer, on_timer, acme)) != 0)
        kith__server_why(why, err, "no memory for ACME");
    if (err != 0) {
        kith__acme_free(acme);
        return err;
    }
    acme->options.tls = NULL; /* the caller's */
    acme->options.directory = NULL;
    *out = acme;
    return 0;
}

void kith__acme_free(struct kith_acme *acme)
{
    if (acme == NULL)
        return;
    kith__fetch_cancel(acme->fetch);
    kith__rt_timer_dispose(&acme->timer);
    kith__acme_key_free(acme->account);
    kith__acme_key_free(acme->key);
    kith__tls_stream_context_release(acme->trust);
    kith__buf_dispose(&acme->authorisation);
    kith__free(acme->mem, acme->names);
    kith__free(acme->mem, acme->name_list);
    kith__free(acme->mem, acme);
}
