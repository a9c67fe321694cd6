/*
 * Signed packets over HTTP: PUT is answered with success only when the packet is on the disk, or was there before; GET gives what is
 * stored. Source: spec/03, 6; where the reference says 204 to a packet that it did not take, this says 409.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "codec/base32.h"
#include "server/dns_parts.h"
#include <inttypes.h>
#include <stdio.h>

enum { KEY_TEXT_SIZE = 52, CACHE_S = KITH_PKARR_TTL_S };

static bool read_key(struct kith_slice text, struct kith_id *out)
{
    return text.size == KEY_TEXT_SIZE &&
           kith__base32_decode(KITH_BASE32_Z, (const char *)text.ptr, text.size, out->bytes) == 0;
}

static void send_error(struct kith_dns_worker *worker, struct kith_httpd_conn *conn, uint16_t status,
                       const char *detail, uint64_t began_ns)
{
    struct kith_dns_page page = { 0 };

    kith__dns_page_error(&page, status, detail);
    kith__dns_page_send(worker, conn, &page, began_ns, false);
}

/* ---- PUT ---- */

/* Too many from one client. The text and headers are those of the reference. */
static void send_limited(struct kith_dns_worker *worker, struct kith_httpd_conn *conn, uint64_t wait_ns,
                         uint64_t began_ns)
{
    struct kith_dns_page page = { 0 };
    uint64_t wait_s = (wait_ns + KITH_NS_PER_S - 1) / KITH_NS_PER_S;

    snprintf(page.values[0], sizeof page.values[0], "%" PRIu64, wait_s);
    snprintf(page.text, sizeof page.text, "Too Many Requests! Wait for %" PRIu64 "s", wait_s);
    kith__dns_page_text(&page, 429, "text/plain; charset=utf-8", page.text);
    kith__dns_page_header(&page, "retry-after", page.values[0]);
    kith__dns_page_header(&page, "x-ratelimit-after", page.values[0]);
    kith__dns_page_send(worker, conn, &page, began_ns, false);
}

static struct kith_sockaddr client_of(const struct kith_dns_worker *worker, struct kith_httpd_conn *conn,
                                      const struct kith_http_head *head)
{
    struct kith_sockaddr remote = kith__httpd_conn_remote(conn);
    const struct kith_http_header *list = NULL, *next = NULL;

    /* The last line of it is the one that the nearest proxy has written to. */
    while ((next = kith__http_header_next(head, "x-forwarded-for", next)) != NULL)
        list = next;
    if (list == NULL)
        while ((next = kith__http_header_next(head, "forwarded", next)) != NULL)
            list = next;
    return kith__dns_rules_client(worker->rules, &remote, list != NULL ? list->value : (struct kith_slice) { NULL, 0 });
}

/* Reads and checks the packet. The very packet that is stored (NULL: none is) was checked when it came: so repeating it costs little. */
static int read_packet(const struct kith_id *id, struct kith_slice body, const struct kith_pkarr *stored,
                       struct kith_pkarr *out)
{
    if (stored == NULL || stored->size != KITH_ID_SIZE + body.size ||
        memcmp(stored->bytes + KITH_ID_SIZE, body.ptr, body.size) != 0)
        return kith__pkarr_read(id, body, out);
    *out = *stored;
    return 0;
}

/* Takes the packet out of the request. NULL: it is answered. */
static struct kith_dns_put *read_put(struct kith_dns_worker *worker, struct kith_httpd_conn *conn,
                                     const struct kith_id *id, const struct kith_pkarr *stored, uint64_t began_ns)
{
    struct kith_slice body = kith__httpd_conn_body(conn);
    struct kith_dns_put *put = NULL;
    int err = KITH_ERR_TOO_LARGE;

    if (body.size <= KITH_PKARR_PAYLOAD_SIZE_MAX) {
        if ((put = kith__alloc(worker->mem, sizeof *put)) == NULL) {
            send_error(worker, conn, 503, "there is no memory for it now", began_ns);
            return NULL;
        }
        err = read_packet(id, body, stored, &put->packet);
    }
    if (err == 0 && kith__pkarr_timestamp(&put->packet) > kith__rt_wall_us(worker->rt) + worker->rules->future_us) {
        kith__dns_count(&worker->counters->puts_future, 1);
        send_error(worker, conn, 400, "invalid packet: its timestamp is in the future; is the sender's clock right?",
                   began_ns);
    } else if (err != 0) {
        kith__dns_count(&worker->counters->puts_invalid, 1);
        send_error(worker, conn, err == KITH_ERR_TOO_LARGE ? 413 : 400,
                   err == KITH_ERR_TOO_LARGE   ? "invalid packet: more than 1072 bytes"
                   : err == KITH_ERR_TRUNCATED ? "invalid packet: less than 72 bytes"
                   : err == KITH_ERR_CRYPTO    ? "invalid packet: the key has not signed this"
                                               : "invalid packet: it holds no DNS message",
                   began_ns);
    } else {
        return put;
    }
    kith__free(worker->mem, put);
    return NULL;
}

static void page_of_older(const struct kith_pkarr *stored, struct kith_dns_page *page)
{
    snprintf(page->text, sizeof page->text,
             "{\"status\":\"409\",\"detail\":\"a newer packet of this key is stored\",\"timestamp\":\"%" PRIu64 "\"}",
             kith__pkarr_timestamp(stored));
    kith__dns_page_text(page, 409, "application/json", page->text);
}

/* An older packet than the stored one needs no writing, and a key that is new counts (stored_err: NOT_FOUND). False: it is answered. */
static bool is_welcome(struct kith_dns_worker *worker, struct kith_httpd_conn *conn, const struct kith_dns_put *put,
                       int stored_err, const struct kith_pkarr *stored, const struct kith_sockaddr *client,
                       uint64_t began_ns)
{
    struct kith_dns_page page = { 0 };
    uint64_t wait_ns;

    if (stored_err == 0 && kith__pkarr_is_newer(stored, &put->packet)) {
        kith__dns_count(&worker->counters->puts_older, 1);
        kith__dns_count(&worker->counters->pkarr_publish_noop, 1);
        page_of_older(stored, &page);
        kith__dns_page_send(worker, conn, &page, began_ns, false);
        return false;
    }
    if (stored_err != KITH_ERR_NOT_FOUND || worker->rules->keys == NULL ||
        (wait_ns = kith__rates_take(worker->rules->keys, client, began_ns)) == 0)
        return true;
    kith__dns_count(&worker->counters->puts_keys_limited, 1);
    send_limited(worker, conn, wait_ns, began_ns);
    return false;
}

/* Hands it to the scribe; the answer comes when it is back. */
static int hand_over(struct kith_dns_worker *worker, struct kith_httpd_conn *conn, struct kith_dns_put *put,
                     uint64_t began_ns)
{
    struct kith_dns_request *request = kith__alloc_zero(worker->mem, sizeof *request);
    int err;

    if (request == NULL)
        return KITH_ERR_NOMEM;
    *request = (struct kith_dns_request) { .worker = worker, .conn = conn, .began_ns = began_ns, .put = put };
    put->user = request;
    put->worker = worker->options.index;
    if ((err = kith__dns_scribe_put(worker->options.scribe, put)) != 0) {
        kith__free(worker->mem, request);
        return err;
    }
    worker->put_count++;
    worker->has_put = true;
    kith__httpd_defer(conn, request);
    return 0;
}

void kith__dns_pkarr_put(struct kith_dns_worker *worker, struct kith_httpd_conn *conn,
                         const struct kith_http_head *head, struct kith_slice text, uint64_t now_ns)
{
    struct kith_sockaddr client = client_of(worker, conn, head);
    struct kith_store *store = worker->shared->store;
    struct kith_pkarr stored;
    struct kith_dns_put *put;
    struct kith_id id;
    uint64_t wait_ns;
    int stored_err;

    if (worker->rules->puts != NULL && (wait_ns = kith__rates_take(worker->rules->puts, &client, now_ns)) != 0) {
        kith__dns_count(&worker->counters->puts_limited, 1);
        send_limited(worker, conn, wait_ns, now_ns);
        return;
    }
    if (!read_key(text, &id)) {
        kith__dns_count(&worker->counters->puts_invalid, 1);
        send_error(worker, conn, 400, "invalid key: it is no z-base-32 of 32 bytes", now_ns);
        return;
    }
    stored_err = store->ops->get(store, &id, &stored, NULL);
    if ((put = read_put(worker, conn, &id, stored_err == 0 ? &stored : NULL, now_ns)) == NULL)
        return;
    if (!is_welcome(worker, conn, put, stored_err, &stored, &client, now_ns)) {
        kith__free(worker->mem, put);
        return;
    }
    if (hand_over(worker, conn, put, now_ns) == 0)
        return;
    kith__dns_count(&worker->counters->puts_overload, 1);
    kith__free(worker->mem, put);
    send_error(worker, conn, 503, "too many packets wait to be stored", now_ns);
}

void kith__dns_pkarr_done(struct kith_dns_worker *worker, struct kith_dns_put *put)
{
    struct kith_dns_request *request = put->user;
    struct kith_store *store = worker->shared->store;
    struct kith_id id = kith__pkarr_id(&put->packet);
    struct kith_dns_page page = { .status = 204 };
    struct kith_pkarr stored;

    if (request != NULL) {
        if (put->err == KITH_ERR_LIMIT)
            kith__dns_page_error(&page, 507, "the store is full: it takes no new keys");
        else if (put->err == KITH_ERR_NO_SPACE)
            kith__dns_page_error(&page, 507, "the server's disk is full");
        else if (put->err != 0)
            kith__dns_page_error(&page, 500, "the packet could not be stored");
        else if (put->how == KITH_STORE_OLDER)
            page_of_older(store->ops->get(store, &id, &stored, NULL) == 0 ? &stored : &put->packet, &page);
        kith__dns_page_send(worker, request->conn, &page, request->began_ns, true);
        kith__free(worker->mem, request);
    }
    kith__free(worker->mem, put);
}

/* ---- GET ---- */

/* True if one of the tags of If-None-Match is ours; weak comparison (RFC 9110, 13.1.2). */
static bool matches(const struct kith_http_head *head, const char *tag)
{
    const struct kith_http_header *header = NULL;

    while ((header = kith__http_header_next(head, "if-none-match", header)) != NULL) {
        struct kith_slice list = header->value, element;

        while (kith__http_list_next(&list, &element)) {
            if (element.size > 2 && element.ptr[0] == 'W' && element.ptr[1] == '/')
                element = (struct kith_slice) { element.ptr + 2, element.size - 2 };
            if (kith__http_is(element, tag) || kith__http_is(element, "*"))
                return true;
        }
    }
    return false;
}

static bool is_unchanged(const struct kith_http_head *head, const char *tag, uint64_t modified_s)
{
    const struct kith_http_header *since = kith__http_header(head, "if-modified-since");
    uint64_t since_s;

    if (kith__http_header(head, "if-none-match") != NULL)
        return matches(head, tag);
    return since != NULL && kith__httpd_date_parse(since->value, &since_s) == 0 && modified_s <= since_s;
}

void kith__dns_pkarr_get(struct kith_dns_worker *worker, struct kith_httpd_conn *conn,
                         const struct kith_http_head *head, struct kith_slice text, uint64_t now_ns)
{
    struct kith_store *store = worker->shared->store;
    struct kith_dns_page page = { .status = 200 };
    char digest[17], cache[40];
    struct kith_pkarr packet;
    uint64_t modified_s;
    struct kith_id id;
    int err;

    if (!read_key(text, &id)) {
        send_error(worker, conn, 400, "invalid key: it is no z-base-32 of 32 bytes", now_ns);
        return;
    }
    if ((err = store->ops->get(store, &id, &packet, NULL)) != 0) {
        send_error(worker, conn, err == KITH_ERR_NOT_FOUND ? 404 : 500,
                   err == KITH_ERR_NOT_FOUND ? "nothing is stored for this key" : "the store cannot be read", now_ns);
        return;
    }
    /* A signature is of one packet only, and time goes by seconds; it must not be later than now (RFC 9110, 8.8.2.1). */
    kith__hex_encode(packet.bytes + KITH_ID_SIZE, 8, digest);
    snprintf(page.text, sizeof page.text, "\"%s\"", digest);
    modified_s = KITH_MIN(kith__pkarr_timestamp(&packet), kith__rt_wall_us(worker->rt)) / 1000000;
    kith__httpd_date(modified_s, page.values[0]);
    snprintf(cache, sizeof cache, "public, max-age=%d", CACHE_S);
    if (is_unchanged(head, page.text, modified_s))
        page.status = 304;
    else
        kith__dns_page_header(&page, "content-type", "application/x-pkarr-signed-packet");
    kith__dns_page_header(&page, "etag", page.text);
    kith__dns_page_header(&page, "last-modified", page.values[0]);
    kith__dns_page_header(&page, "cache-control", cache);
    page.body = kith__pkarr_payload(&packet);
    kith__dns_page_send(worker, conn, &page, now_ns, false);
}
