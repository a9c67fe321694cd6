/* Messages of ACME. */
#include "server/acme_message.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Reading ---- */

static json_t *parse(struct kith_slice json)
{
    json_t *root = json_loadb((const char *)json.ptr, json.size, JSON_REJECT_DUPLICATES, NULL);

    if (root != NULL && !json_is_object(root)) {
        json_decref(root);
        return NULL;
    }
    return root;
}

/* Copies a text of an object whole. False: it is missing, no text, empty, or too long. */
static bool take(const json_t *object, const char *name, char *out, size_t size)
{
    const json_t *value = json_object_get(object, name);
    size_t length = json_is_string(value) ? json_string_length(value) : 0;

    if (length == 0 || length >= size || strlen(json_string_value(value)) != length)
        return false;
    memcpy(out, json_string_value(value), length + 1);
    return true;
}

/* A text for people, cut to fit; "" if it is missing. */
static void take_words(const json_t *object, const char *name, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(object, name));

    snprintf(out, size, "%s", text != NULL ? text : "");
}

static enum kith_acme_status status_of(const json_t *object)
{
    static const char *const names[] = { "pending", "ready", "processing", "valid" };
    const char *text = json_string_value(json_object_get(object, "status"));

    for (int i = 0; text != NULL && i < (int)(sizeof names / sizeof names[0]); i++)
        if (strcmp(text, names[i]) == 0)
            return (enum kith_acme_status)i;
    return KITH_ACME_INVALID;
}

int kith__acme_read_directory(struct kith_slice json, struct kith_acme_directory *out)
{
    struct kith_acme_directory made;
    json_t *root = parse(json);
    bool is_fine = root != NULL && take(root, "newNonce", made.new_nonce, sizeof made.new_nonce) &&
                   take(root, "newAccount", made.new_account, sizeof made.new_account) &&
                   take(root, "newOrder", made.new_order, sizeof made.new_order);

    if (is_fine)
        *out = made;
    json_decref(root);
    return is_fine ? 0 : KITH_ERR_PARSE;
}

static bool take_authorizations(const json_t *array, struct kith_acme_order *out)
{
    size_t count = json_array_size(array);

    if (count > KITH_ACME_AUTHORIZATIONS_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        const char *url = json_string_value(json_array_get(array, i));

        if (url == NULL || url[0] == 0 || strlen(url) >= KITH_ACME_URL_SIZE)
            return false;
        snprintf(out->authorizations[i], KITH_ACME_URL_SIZE, "%s", url);
    }
    out->authorization_count = count;
    return true;
}

int kith__acme_read_order(struct kith_slice json, struct kith_acme_order *out)
{
    json_t *root = parse(json);
    bool is_fine;

    memset(out, 0, sizeof *out);
    is_fine = root != NULL && take(root, "finalize", out->finalize, sizeof out->finalize) &&
              take_authorizations(json_object_get(root, "authorizations"), out);
    if (is_fine) {
        out->status = status_of(root);
        take_words(json_object_get(root, "error"), "detail", out->problem, sizeof out->problem);
        /* A valid order without its certificate is of no use: the machine sees that. */
        if (!take(root, "certificate", out->certificate, sizeof out->certificate))
            out->certificate[0] = 0;
    }
    json_decref(root);
    return is_fine ? 0 : KITH_ERR_PARSE;
}

static void take_challenge(const json_t *object, struct kith_acme_authorization *out)
{
    const char *type = json_string_value(json_object_get(object, "type"));
    struct kith_acme_challenge *challenge = NULL;

    if (type != NULL && strcmp(type, "tls-alpn-01") == 0)
        challenge = &out->tls_alpn;
    else if (type != NULL && strcmp(type, "http-01") == 0)
        challenge = &out->http;
    if (challenge == NULL)
        return;
    if (!take(object, "url", challenge->url, sizeof challenge->url) ||
        !take(object, "token", challenge->token, sizeof challenge->token))
        challenge->url[0] = 0;
    if (out->problem[0] == 0)
        take_words(json_object_get(object, "error"), "detail", out->problem, sizeof out->problem);
}

int kith__acme_read_authorization(struct kith_slice json, struct kith_acme_authorization *out)
{
    json_t *root = parse(json);
    const json_t *challenges;
    bool is_fine;

    memset(out, 0, sizeof *out);
    is_fine = root != NULL && take(json_object_get(root, "identifier"), "value", out->name, sizeof out->name);
    if (is_fine) {
        out->status = status_of(root);
        challenges = json_object_get(root, "challenges");
        for (size_t i = 0; i < json_array_size(challenges); i++)
            take_challenge(json_array_get(challenges, i), out);
    }
    json_decref(root);
    return is_fine ? 0 : KITH_ERR_PARSE;
}

void kith__acme_read_problem(struct kith_slice json, struct kith_acme_problem *out)
{
    json_t *root = parse(json);
    const char *type = json_string_value(json_object_get(root, "type"));
    const char *colon = type != NULL ? strrchr(type, ':') : NULL;

    snprintf(out->type, sizeof out->type, "%s", colon != NULL ? colon + 1 : type != NULL ? type : "");
    take_words(root, "detail", out->detail, sizeof out->detail);
    json_decref(root);
}

/* ---- Writing ---- */

/* Appends an object as text, and gives it back; NULL: there was no memory for it. */
static int append(json_t *object, struct kith_buf *out)
{
    char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
    int err = text != NULL ? kith__buf_append(out, text, strlen(text)) : KITH_ERR_NOMEM;

    free(text);
    json_decref(object);
    return err;
}

int kith__acme_write_account(const char *contact, struct kith_buf *out)
{
    char mail[300];

    if (contact == NULL)
        return append(json_pack("{s:b}", "termsOfServiceAgreed", 1), out);
    snprintf(mail, sizeof mail, "mailto:%s", contact);
    return append(json_pack("{s:b, s:[s]}", "termsOfServiceAgreed", 1, "contact", mail), out);
}

int kith__acme_write_order(const char *const *names, size_t count, struct kith_buf *out)
{
    json_t *identifiers = json_array();

    for (size_t i = 0; i < count; i++) {
        if (json_array_append_new(identifiers, json_pack("{s:s, s:s}", "type", "dns", "value", names[i])) != 0) {
            json_decref(identifiers);
            return KITH_ERR_NOMEM;
        }
    }
    return append(json_pack("{s:o}", "identifiers", identifiers), out);
}

/* A text of base64url with its end, made by `fill`, as a JSON string. NULL: no memory. */
static json_t *encoded(const struct kith_mem *mem, struct kith_slice bytes)
{
    struct kith_buf text = { .mem = mem };
    json_t *string = kith__base64url_append(&text, bytes) == 0
                         ? json_stringn(text.ptr != NULL ? (const char *)text.ptr : "", text.size)
                         : NULL;

    kith__buf_dispose(&text);
    return string;
}

int kith__acme_write_finalize(const struct kith_mem *mem, struct kith_slice request, struct kith_buf *out)
{
    return append(json_pack("{s:o}", "csr", encoded(mem, request)), out);
}

static json_t *make_jwk(const struct kith_mem *mem, const struct kith_acme_key *key)
{
    uint8_t x[KITH_ACME_COORDINATE_SIZE], y[KITH_ACME_COORDINATE_SIZE];

    kith__acme_key_public(key, x, y);
    return json_pack("{s:s, s:s, s:o, s:o}", "kty", "EC", "crv", "P-256", "x",
                     encoded(mem, (struct kith_slice) { x, sizeof x }), "y",
                     encoded(mem, (struct kith_slice) { y, sizeof y }));
}

/* "BASE64URL(protected)" "." "BASE64URL(payload)": what is signed. */
static int write_input(const struct kith_mem *mem, json_t *header, struct kith_slice payload, struct kith_buf *input,
                       size_t *header_size)
{
    struct kith_buf text = { .mem = mem };
    int err;

    if ((err = append(header, &text)) == 0 && (err = kith__base64url_append(input, kith__buf_slice(&text))) == 0) {
        *header_size = input->size;
        err = kith__buf_append_byte(input, '.');
        if (err == 0 && payload.size != 0)
            err = kith__base64url_append(input, payload);
    }
    kith__buf_dispose(&text);
    return err;
}

int kith__acme_sign(const struct kith_mem *mem, const struct kith_acme_key *key, const char *kid, const char *nonce,
                    const char *url, struct kith_slice payload, struct kith_buf *out)
{
    struct kith_buf input = { .mem = mem };
    uint8_t signature[KITH_ACME_SIGNATURE_SIZE];
    size_t header_size;
    json_t *header = json_pack("{s:s, s:s, s:s}", "alg", "ES256", "nonce", nonce, "url", url);
    int err;

    if (header != NULL && json_object_set_new(header, kid != NULL ? "kid" : "jwk",
                                              kid != NULL ? json_string(kid) : make_jwk(mem, key)) != 0) {
        json_decref(header);
        header = NULL;
    }
    if ((err = write_input(mem, header, payload, &input, &header_size)) == 0 &&
        (err = kith__acme_key_sign(key, kith__buf_slice(&input), signature)) == 0) {
        const char *text = (const char *)input.ptr;

        err = append(json_pack("{s:s%, s:s%, s:o}", "protected", text, header_size, "payload", text + header_size + 1,
                               input.size - header_size - 1, "signature",
                               encoded(mem, (struct kith_slice) { signature, sizeof signature })),
                     out);
    }
    kith__buf_dispose(&input);
    return err;
}
