#include "lookup/mdns_parts.h"

static struct kith_mdns_names names_of(const struct kith_id *id)
{
    struct kith_mdns_names names;

    KITH_CHECK_EQ(kith__mdns_names_init(&names, id, NULL), 0);
    return names;
}

static size_t bytes_of(const char *hex, uint8_t *out)
{
    size_t size = strlen(hex) / 2;

    KITH_CHECK_EQ(kith__hex_decode(hex, 2 * size, out), 0);
    return size;
}

/* spec/03, 10.1 */
static const char example_query[] = "000000000001000000000000075f69726f687631045f756470056c6f63616c00000c0001";
static const char example_response[] =
    "00008400000000020000000134616f7171707037747a79696c34686c7133756d6f6f733661746674366a767271746f7371327879353373"
    "64676965737667673461075f69726f687631045f756470056c6f63616c0000210001000000000048000000002b673a616f717170703774"
    "7a79696c34686c7133756d6f6f733661746674366a767271746f7371327879353373646769657376676734612d3131313131056c6f6361"
    "6c00c00c001000010000000000322072656c61793d68747470733a2f2f72656c61792e6578616d706c652e636f6d2f10757365722d6461"
    "74613d666f6f626172c06500010001000000000004c0a80102";

KITH_TEST(mdns_query_and_response_are_those_of_the_specification_byte_for_byte)
{
    struct kith_id id = parts_id();
    struct kith_mdns_names names = names_of(&id);
    struct kith_lookup_info info = PARTS_INFO(&id, "192.168.1.2:11111", "https://relay.example.com/", "=foobar");
    uint8_t out[KITH_MDNS_MESSAGE_SIZE], want[KITH_MDNS_MESSAGE_SIZE];
    struct kith_mdns_query query;
    size_t size, left_out;

    kith__mdns_query_begin(&query, &names, out);
    size = kith__mdns_query_end(&query);
    KITH_CHECK_EQ(size, bytes_of(example_query, want));
    KITH_CHECK_BYTES(out, want, size);
    size = kith__mdns_write_response(&names, &info, 1, 0, out, &left_out);
    KITH_CHECK_EQ(left_out, 0);
    KITH_CHECK_EQ(size, bytes_of(example_response, want));
    KITH_CHECK_BYTES(out, want, size);
    kith__lookup_info_dispose(&info);
}

KITH_TEST(mdns_response_of_the_specification_is_read)
{
    struct kith_id own = parts_key(1), id = parts_id();
    struct kith_mdns_names names = names_of(&own);
    struct kith_lookup_info info = PARTS_INFO(&id, "192.168.1.2:11111", "https://relay.example.com/", "=foobar");
    uint8_t bytes[KITH_MDNS_MESSAGE_SIZE];
    size_t size = bytes_of(example_response, bytes);
    struct kith_mdns_heard heard;

    KITH_CHECK_EQ(kith__mdns_read(&names, (struct kith_slice) { bytes, size }, 1, kith_mem_default(), &heard), 0);
    KITH_CHECK(!heard.asks_all && !heard.asks_us && !heard.is_own);
    KITH_CHECK_EQ(heard.count, 1);
    KITH_CHECK_EQ(heard.ignored, 0);
    KITH_CHECK_EQ(heard.said[0].ttl_s, 0);
    KITH_CHECK(!heard.said[0].is_goodbye);
    KITH_CHECK(kith__lookup_info_equal(&heard.said[0].info, &info));
    kith__mdns_heard_dispose(&heard);
    kith__lookup_info_dispose(&info);
}
