#include "base/mem.h"
#include "base/test.h"
#include "relay/counters.h"
#include <stdio.h>
#include <string.h>

KITH_TEST(relay_counters_are_written_with_the_names_of_the_reference)
{
    struct kith_relay_counters a = { 0 }, sum = { 0 };
    struct kith_relay_gauge gauges[] = { { "clients", "Clients now", 7 } };
    struct kith_buf out;

    kith__buf_init(&out, kith_mem_default());
    kith__relay_count(&a.bytes_sent, 5);
    kith__relay_count(&a.bytes_rx_ratelimited_total, 9);
    kith__relay_counters_add(&sum, &a);
    kith__relay_counters_add(&sum, &a);
    KITH_CHECK_EQ(kith__relay_counters_write(&sum, gauges, 1, &out), 0);
    KITH_CHECK_EQ(kith__buf_append_byte(&out, 0), 0);
    KITH_CHECK(strstr((char *)out.ptr, "# TYPE relayserver_bytes_sent counter\nrelayserver_bytes_sent_total 10\n") !=
               NULL);
    KITH_CHECK(strstr((char *)out.ptr, "\nrelayserver_bytes_rx_ratelimited_total 18\n") != NULL);
    KITH_CHECK(strstr((char *)out.ptr, "\n# HELP relayserver_bytes_rx_ratelimited Bytes of datagram frames") != NULL);
    KITH_CHECK(strstr((char *)out.ptr, "_total_total") == NULL);
    KITH_CHECK(strstr((char *)out.ptr, "# TYPE relayserver_clients gauge\nrelayserver_clients 7\n# EOF\n") != NULL);
    KITH_CHECK_STR((char *)out.ptr + out.size - 7, "# EOF\n");
    kith__buf_dispose(&out);
}

KITH_TEST(relay_counters_have_every_metric_of_the_reference)
{
    static const char *const names[] = {
        "bytes_sent_total",
        "bytes_recv_total",
        "send_packets_sent_total",
        "send_packets_recv_total",
        "send_packets_dropped_total",
        "other_packets_sent_total",
        "other_packets_recv_total",
        "other_packets_dropped_total",
        "got_ping_total",
        "sent_pong_total",
        "unknown_frames_total",
        "bytes_rx_ratelimited_total",
        "conns_rx_ratelimited_total",
        "accepts_total",
        "disconnects_total",
        "unique_client_keys_total",
        "clients_inactive_added_total",
        "clients_inactive_removed_total",
        "qad_incoming_total",
        "qad_incoming_error_total",
        "qad_connections_total",
        "qad_connections_closed_total",
        "qad_connections_errored_total",
        "http_connections_total",
        "http_connections_closed_total",
        "http_connections_errored_total",
    };
    struct kith_relay_counters counters = { 0 };
    struct kith_buf out;
    char line[100];

    kith__buf_init(&out, kith_mem_default());
    KITH_CHECK_EQ(kith__relay_counters_write(&counters, NULL, 0, &out), 0);
    KITH_CHECK_EQ(kith__buf_append_byte(&out, 0), 0);
    for (size_t i = 0; i < KITH_COUNT(names); i++) {
        snprintf(line, sizeof line, "\nrelayserver_%s 0\n", names[i]);
        KITH_CHECK(strstr((char *)out.ptr, line) != NULL);
    }
    kith__buf_dispose(&out);
}

KITH_TEST(relay_counters_without_memory_leave_the_text_as_it_was)
{
    struct kith_relay_counters counters = { 0 };
    int err = -1;

    for (uint64_t fail_at = 2; err != 0; fail_at++) {
        struct kith_test_mem mem;
        struct kith_buf out;

        kith__test_mem_init(&mem, fail_at);
        kith__buf_init(&out, &mem.mem);
        KITH_CHECK_EQ(kith__buf_append(&out, "x", 1), 0);
        err = kith__relay_counters_write(&counters, NULL, 0, &out);
        KITH_CHECK(err == 0 || (err == KITH_ERR_NOMEM && out.size == 1));
        kith__buf_dispose(&out);
        KITH_CHECK_EQ(mem.live, 0);
    }
}
