#include "api/pair.h"

PAIR_TEST(datagram_there_and_back)
{
    static uint8_t large[2000];
    struct kith_op *receiving;
    struct pair pair;
    char text[16];
    size_t size;

    pair_open(&pair, mode);
    KITH_CHECK(kith_datagram_size_max(pair.at_client) >= 1100);
    PAIR_CHECK(kith_datagram_receive(pair.at_server, text, sizeof text, 0, &size), KITH_ERR_AGAIN);
    PAIR_CHECK(kith_datagram_receive(pair.at_server, text, sizeof text, 1, &size), KITH_ERR_TIMEOUT);
    PAIR_CHECK(kith_datagram_send(pair.at_client, "one", 3), 0);
    PAIR_CHECK(kith_datagram_receive(pair.at_server, text, sizeof text, PAIR_LIMIT, &size), 0);
    KITH_CHECK_EQ(size, 3);
    KITH_CHECK_BYTES(text, "one", 3);
    PAIR_CHECK(kith_datagram_receive_start(pair.at_client, text, sizeof text, &receiving), 0);
    PAIR_CHECK(kith_datagram_send_wait(pair.at_server, "four", 4, PAIR_LIMIT), 0);
    PAIR_CHECK(kith_op_wait(receiving, PAIR_LIMIT), 0);
    KITH_CHECK_EQ(kith_op_size(receiving), 4);
    kith_op_free(receiving);
    PAIR_CHECK(kith_datagram_send(pair.at_client, large, sizeof large), KITH_ERR_TOO_LARGE);
    PAIR_CHECK(kith_datagram_send_wait(pair.at_client, large, sizeof large, PAIR_LIMIT), KITH_ERR_TOO_LARGE);
    KITH_CHECK(strstr(kith_error_last()->text, "2000") != NULL);
    PAIR_CHECK(kith_datagram_send(pair.at_client, "12345", 5), 0);
    PAIR_CHECK(kith_datagram_receive(pair.at_server, text, 2, PAIR_LIMIT, &size), KITH_ERR_TOO_LARGE);
    PAIR_CHECK(kith_datagram_receive(pair.at_server, text, 5, PAIR_LIMIT, &size), 0); /* it stayed */
    PAIR_CHECK(kith_datagram_send(pair.at_client, NULL, 0), 0);
    PAIR_CHECK(kith_datagram_receive(pair.at_server, text, 5, PAIR_LIMIT, &size), 0);
    KITH_CHECK_EQ(size, 0);
    pair_free(&pair);
}

PAIR_TEST(datagram_other_side_takes_none)
{
    struct kith_quic_transport transport;
    struct pair pair;

    kith_quic_transport_defaults(&transport);
    transport.datagram_receive_max = 0;
    pair_bind(&pair, mode, &transport);
    pair_connect(&pair);
    KITH_CHECK_EQ(kith_datagram_size_max(pair.at_client), 0);
    PAIR_CHECK(kith_datagram_send(pair.at_client, "x", 1), KITH_ERR_UNSUPPORTED);
    PAIR_CHECK(kith_datagram_send_wait(pair.at_client, "x", 1, PAIR_LIMIT), KITH_ERR_UNSUPPORTED);
    pair_free(&pair);
}

/* In the caller's mode nothing leaves before the loop runs, so that the buffer fills for certain. */
KITH_TEST(datagram_full_buffer_drops_the_oldest_or_waits)
{
    struct kith_quic_transport transport;
    struct kith_quic_conn_stats stats;
    uint8_t bytes[1000] = { 0 };
    struct pair pair;
    size_t size;
    int count = 0;

    kith_quic_transport_defaults(&transport);
    transport.datagram_send_max = 5000;
    pair_bind(&pair, KITH_CONTEXT_CALLER, &transport);
    pair_connect(&pair);
    for (int i = 0; i < 10; i++) {
        bytes[0] = (uint8_t)i;
        PAIR_CHECK(kith_datagram_send(pair.at_client, bytes, sizeof bytes), 0);
    }
    PAIR_CHECK(kith_datagram_send_wait(pair.at_client, bytes, sizeof bytes, 0), KITH_ERR_AGAIN);
    kith_conn_stats(pair.at_client, &stats);
    KITH_CHECK(stats.datagrams_dropped_send > 0 && stats.datagrams_dropped_send < 10);
    PAIR_CHECK(kith_datagram_receive(pair.at_server, bytes, sizeof bytes, PAIR_LIMIT, &size), 0);
    KITH_CHECK_EQ(bytes[0], stats.datagrams_dropped_send); /* the oldest are gone */
    for (int i = 0; i < 10; i++)
        PAIR_CHECK(kith_datagram_send_wait(pair.at_client, bytes, sizeof bytes, PAIR_LIMIT), 0);
    while (kith_datagram_receive(pair.at_server, bytes, sizeof bytes, KITH_NS_PER_S / 10, &size) == 0)
        count++;
    KITH_CHECK(count >= 10);
    pair_free(&pair);
}
