/* What a connection tells its qlog: sizes as on the wire, why packets were dropped or lost, what the loss timer does. */
#include "quic/conn/rules.h"

#include <jansson.h>

static struct kith_pair pair_q;
static struct kith_app app_q;

/** What was logged by the client (connections of both sides log; serials are the same, so only one side is switched on). */
static struct records {
    uint64_t sent, sent_bytes, sent_without_size, received_bytes;
    uint64_t lost_by_number, lost_by_time;
    uint64_t set, expired, cancelled, expired_pto;
    uint64_t dropped, started, assigned, assigned_before_start;
    char trigger[32], reason[32], type[32]; /* of the last packet_dropped */
} seen;

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

static void on_timer(const json_t *data)
{
    const char *event = text_of(data, "event_type");

    seen.set += strcmp(event, "set") == 0;
    seen.cancelled += strcmp(event, "cancelled") == 0;
    seen.expired += strcmp(event, "expired") == 0;
    seen.expired_pto += strcmp(event, "expired") == 0 && strcmp(text_of(data, "timer_type"), "pto") == 0;
}

static void on_dropped(const json_t *data)
{
    seen.dropped++;
    snprintf(seen.trigger, sizeof seen.trigger, "%s", text_of(data, "trigger"));
    snprintf(seen.reason, sizeof seen.reason, "%s", text_of(json_object_get(data, "details"), "reason"));
    snprintf(seen.type, sizeof seen.type, "%s", text_of(json_object_get(data, "header"), "packet_type"));
}

static void on_record(void *ctx, uint64_t serial, const char *text)
{
    json_t *record = json_loads(text + 1, 0, NULL), *data = json_object_get(record, "data");
    const char *name = text_of(record, "name");
    uint64_t size = (uint64_t)json_integer_value(json_object_get(json_object_get(data, "raw"), "length"));

    (void)ctx, (void)serial;
    KITH_CHECK(record != NULL);
    if (strcmp(name, "transport:packet_sent") == 0) {
        seen.sent++;
        seen.sent_bytes += size;
        seen.sent_without_size += size == 0;
    } else if (strcmp(name, "connectivity:connection_started") == 0) {
        seen.started++;
        KITH_CHECK_STR(text_of(data, "remote"), "10.0.0.2:4001");
        KITH_CHECK_EQ(strlen(text_of(data, "src_cid")), 16);
        KITH_CHECK_EQ(strlen(text_of(data, "dst_cid")), 40);
    } else if (strcmp(name, "connectivity:tuple_assigned") == 0) {
        seen.assigned++;
        seen.assigned_before_start += seen.started == 0;
    } else if (strcmp(name, "transport:packet_received") == 0) {
        seen.received_bytes += size;
    } else if (strcmp(name, "recovery:packet_lost") == 0) {
        seen.lost_by_number += strcmp(text_of(data, "trigger"), "reordering_threshold") == 0;
        seen.lost_by_time += strcmp(text_of(data, "trigger"), "time_threshold") == 0;
    } else if (strcmp(name, "recovery:loss_timer_updated") == 0) {
        on_timer(data);
    } else if (strcmp(name, "transport:packet_dropped") == 0) {
        on_dropped(data);
    }
    json_decref(record);
}

static void start(void)
{
    struct kith_pair_config config;

    seen = (struct records) { 0 };
    kith__pair_defaults(&config);
    config.transport[0].qlog = true;
    config.transport[0].nat_traversal_max = 0; /* else packets may come from anywhere */
    config.qlog = on_record;
    rules_connect(&pair_q, &app_q, &config);
}

static bool client_ended(struct kith_pair *pair)
{
    (void)pair;
    return app_q.sides[0].ended_total == 1;
}

KITH_TEST(qlog_sizes_of_packets_add_up_to_what_is_on_the_wire)
{
    start();
    app_q.sides[1].echo = true;
    kith__app_send(&pair_q, 0, true, 300000);
    KITH_CHECK(kith__pair_run_until(&pair_q, client_ended, 20 * KITH_NS_PER_S));
    kith_quic_conn_close(pair_q.sides[0].conn, 0, (struct kith_slice) { 0 }, pair_q.now_ns);
    kith__pair_flush(&pair_q);
    KITH_CHECK(seen.sent > 200);
    KITH_CHECK_EQ(seen.sent_without_size, 0);
    KITH_CHECK_EQ(seen.sent, rules_stats(&pair_q, 0).packets_sent);
    KITH_CHECK_EQ(seen.sent_bytes, pair_q.sides[0].sent_bytes);
    KITH_CHECK_EQ(seen.received_bytes, pair_q.sides[0].received_bytes);
    kith__pair_dispose(&pair_q);
}

KITH_TEST(qlog_begins_with_the_connection_and_its_addresses)
{
    start();
    KITH_CHECK_EQ(seen.started, 1);
    KITH_CHECK_EQ(seen.assigned, 1);
    KITH_CHECK_EQ(seen.assigned_before_start, 0);
    kith__pair_dispose(&pair_q);
}

/** Loses the client's datagrams number 1 and following of `user_flag`. */
static bool lose_some(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    (void)bytes, (void)size;
    if (sender == 1 || pair->user_flag == 0)
        return true;
    return --pair->user_flag == 0;
}

KITH_TEST(qlog_tells_losses_by_number_from_those_by_time)
{
    start();
    pair_q.config.tap = lose_some;
    pair_q.user_flag = 2; /* one is lost, many follow */
    kith__app_send(&pair_q, 0, true, 10000);
    kith__pair_run(&pair_q, KITH_NS_PER_S);
    KITH_CHECK_EQ(seen.lost_by_number, 1);
    KITH_CHECK_EQ(seen.lost_by_time, 0);
    pair_q.user_flag = 2; /* one is lost, one follows */
    kith__app_send(&pair_q, 0, true, 10);
    kith__pair_flush(&pair_q);
    kith__app_send(&pair_q, 0, true, 10);
    kith__pair_run(&pair_q, KITH_NS_PER_S);
    KITH_CHECK_EQ(seen.lost_by_number, 1);
    KITH_CHECK_EQ(seen.lost_by_time, 1);
    KITH_CHECK(seen.expired != 0);
    kith__pair_dispose(&pair_q);
}

KITH_TEST(qlog_follows_the_loss_timer)
{
    struct records before;

    start();
    kith__pair_run(&pair_q, 2 * KITH_NS_PER_S);
    KITH_CHECK(seen.set != 0 && seen.cancelled != 0); /* nothing is in flight now */
    before = seen;
    pair_q.config.link.blocked[0] = true;
    kith__app_send(&pair_q, 0, true, 10);
    kith__pair_run(&pair_q, 3 * KITH_NS_PER_S);
    KITH_CHECK(seen.set > before.set);
    KITH_CHECK(seen.expired_pto - before.expired_pto >= 3);
    kith__pair_dispose(&pair_q);
}

KITH_TEST(qlog_says_why_packets_are_dropped)
{
    uint8_t datagram[RULES_DATAGRAM_MAX], copy[RULES_DATAGRAM_MAX];
    static const uint8_t ping[] = { 1 };
    size_t size;
    uint16_t port;

    start();
    port = pair_q.sides[1].outer.port;
    size = rules_seal(pair_q.sides[1].conn, KITH_LEVEL_DATA, 0, ping, sizeof ping, 60, datagram);
    memcpy(copy, datagram, size);
    rules_give(&pair_q, 0, copy, size, port);
    KITH_CHECK_EQ(seen.dropped, 0);
    memcpy(copy, datagram, size);
    rules_give(&pair_q, 0, copy, size, port);
    KITH_CHECK_STR(seen.trigger, "duplicate");
    KITH_CHECK_STR(seen.type, "1RTT");
    memcpy(copy, datagram, size);
    copy[size - 1] ^= 1;
    rules_give(&pair_q, 0, copy, size, port);
    KITH_CHECK_STR(seen.trigger, "decryption_failure");
    KITH_CHECK_STR(seen.reason, "decrypt");
    memcpy(copy, datagram, size);
    rules_give(&pair_q, 0, copy, size, (uint16_t)(port + 1));
    KITH_CHECK_STR(seen.trigger, "rejected");
    KITH_CHECK_STR(seen.reason, "wrong_remote");
    memcpy(copy, datagram, size);
    copy[0] &= 0xbf;
    rules_give(&pair_q, 0, copy, size, port);
    KITH_CHECK_STR(seen.trigger, "invalid");
    KITH_CHECK_STR(seen.reason, "fixed_bit");
    KITH_CHECK_EQ(seen.dropped, 4);
    kith__pair_dispose(&pair_q);
}
