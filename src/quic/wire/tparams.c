/* Transport parameters: see tparams.h. One table says for each parameter how its value looks and which values are legal. */
#include "quic/wire/tparams.h"

#include <stddef.h>

enum kith_tparam_form {
    FORM_INT,       /* minimal varint into a uint64_t */
    FORM_INT_LOOSE, /* likewise, but any encoding is taken (spec/01, part 3, the trap) */
    FORM_PATH_ID,   /* minimal varint <= 2^32-1 into a uint32_t */
    FORM_ROLE,      /* minimal varint into a uint8_t */
    FORM_BYTE,      /* one raw byte */
    FORM_CID,
    FORM_TOKEN, /* 16 bytes */
    FORM_FLAG,  /* no value; the `has` member is all there is */
    FORM_PREFERRED
};

struct row {
    uint64_t id;
    uint8_t form;
    bool server_only;
    uint16_t value;    /* offset of the member; 0 if there is none */
    uint16_t has;      /* offset of the bool that tells of its presence; NO_MEMBER: absent is the default value */
    uint64_t min, max; /* of numbers */
    uint64_t absent;   /* FORM_INT: default */
};

enum { NO_MEMBER = 0xffff, GREASE_SIZE_MAX = 16 };

#define AT(member)         offsetof(struct kith_tparams, member)
#define STREAMS_MAX        (UINT64_C(1) << 60)
#define UDP_PAYLOAD_ABSENT 65527

/* In the order in which they are written when there is no random source. */
static const struct row rows[] = {
    { 0x00, FORM_CID, true, AT(original_destination_cid), AT(has_original_destination_cid), 0, 0, 0 },
    { 0x01, FORM_INT, false, AT(max_idle_timeout_ms), NO_MEMBER, 0, KITH_VARINT_MAX, 0 },
    { 0x02, FORM_TOKEN, true, AT(stateless_reset_token), AT(has_stateless_reset_token), 0, 0, 0 },
    { 0x03, FORM_INT, false, AT(max_udp_payload_size), NO_MEMBER, 1200, KITH_VARINT_MAX, UDP_PAYLOAD_ABSENT },
    { 0x04, FORM_INT, false, AT(initial_max_data), NO_MEMBER, 0, KITH_VARINT_MAX, 0 },
    { 0x05, FORM_INT, false, AT(initial_max_stream_data_bidi_local), NO_MEMBER, 0, KITH_VARINT_MAX, 0 },
    { 0x06, FORM_INT, false, AT(initial_max_stream_data_bidi_remote), NO_MEMBER, 0, KITH_VARINT_MAX, 0 },
    { 0x07, FORM_INT, false, AT(initial_max_stream_data_uni), NO_MEMBER, 0, KITH_VARINT_MAX, 0 },
    { 0x08, FORM_INT, false, AT(initial_max_streams_bidi), NO_MEMBER, 0, STREAMS_MAX, 0 },
    { 0x09, FORM_INT, false, AT(initial_max_streams_uni), NO_MEMBER, 0, STREAMS_MAX, 0 },
    { 0x0a, FORM_INT, false, AT(ack_delay_exponent), NO_MEMBER, 0, 20, 3 },
    { 0x0b, FORM_INT, false, AT(max_ack_delay_ms), NO_MEMBER, 0, (1 << 14) - 1, 25 },
    { 0x0c, FORM_FLAG, false, AT(disable_active_migration), AT(disable_active_migration), 0, 0, 0 },
    { 0x0d, FORM_PREFERRED, true, AT(has_preferred_address), AT(has_preferred_address), 0, 0, 0 },
    { 0x0e, FORM_INT, false, AT(active_connection_id_limit), NO_MEMBER, 2, KITH_VARINT_MAX, 2 },
    { 0x0f, FORM_CID, false, AT(initial_source_cid), AT(has_initial_source_cid), 0, 0, 0 },
    { 0x10, FORM_CID, true, AT(retry_source_cid), AT(has_retry_source_cid), 0, 0, 0 },
    { 0x20, FORM_INT_LOOSE, false, AT(max_datagram_frame_size), NO_MEMBER, 0, KITH_VARINT_MAX, 0 },
    { 0x3e, FORM_PATH_ID, false, AT(initial_max_path_id), AT(has_initial_max_path_id), 0, UINT32_MAX, 0 },
    { 0x2ab2, FORM_FLAG, false, AT(grease_quic_bit), AT(grease_quic_bit), 0, 0, 0 },
    { 0xff04de1b, FORM_INT_LOOSE, false, AT(min_ack_delay_us), AT(has_min_ack_delay), 0, KITH_VARINT_MAX, 0 },
    { 0x9f81a176, FORM_ROLE, false, AT(observed_address), NO_MEMBER, 0, KITH_OBSERVED_BOTH, KITH_OBSERVED_OFF },
    { 0x3d7f91120401, FORM_BYTE, false, AT(nat_traversal_addresses), NO_MEMBER, 1, 255, 0 },
};

static const char malformed[] = "malformed";
static const char illegal_value[] = "illegal value";

static void *member(struct kith_tparams *params, uint16_t offset)
{
    return (uint8_t *)params + offset;
}

static const void *member_const(const struct kith_tparams *params, uint16_t offset)
{
    return (const uint8_t *)params + offset;
}

/* The number of a row with a number. */
static uint64_t number_of(const struct kith_tparams *params, const struct row *row)
{
    const void *at = member_const(params, row->value);

    switch (row->form) {
    case FORM_PATH_ID:
        return *(const uint32_t *)at;
    case FORM_ROLE:
    case FORM_BYTE:
        return *(const uint8_t *)at;
    default:
        return *(const uint64_t *)at;
    }
}

static void set_number(struct kith_tparams *params, const struct row *row, uint64_t value)
{
    void *at = member(params, row->value);

    switch (row->form) {
    case FORM_PATH_ID:
        *(uint32_t *)at = (uint32_t)value;
        break;
    case FORM_ROLE:
    case FORM_BYTE:
        *(uint8_t *)at = (uint8_t)value;
        break;
    default:
        *(uint64_t *)at = value;
    }
}

static bool is_number(const struct row *row)
{
    return row->form <= FORM_BYTE;
}

static bool is_present(const struct kith_tparams *params, const struct row *row)
{
    if (row->has != NO_MEMBER)
        return *(const bool *)member_const(params, row->has);
    return number_of(params, row) != row->absent;
}

void kith__tparams_defaults(struct kith_tparams *params)
{
    memset(params, 0, sizeof *params);
    for (size_t i = 0; i < KITH_COUNT(rows); i++)
        if (is_number(&rows[i]))
            set_number(params, &rows[i], rows[i].absent);
}

/* ---- Writing ---- */

static int write_number(struct kith_writer *w, const struct row *row, uint64_t value)
{
    int err;

    KITH_ASSERT(value >= row->min && value <= row->max);
    if (row->form == FORM_BYTE)
        return (err = kith__write_u8(w, 1)) != 0 ? err : kith__write_u8(w, (uint8_t)value);
    return (err = kith__write_varint(w, kith__varint_size(value))) != 0 ? err : kith__write_varint(w, value);
}

static int write_row(struct kith_writer *w, const struct kith_tparams *params, const struct row *row)
{
    const struct kith_cid *cid;
    int err;

    if (row->form == FORM_PREFERRED || !is_present(params, row))
        return 0;
    if ((err = kith__write_varint(w, row->id)) != 0)
        return err;
    switch (row->form) {
    case FORM_CID:
        cid = member_const(params, row->value);
        return kith__write_varint_slice(w, kith__cid_slice(cid));
    case FORM_TOKEN:
        return kith__write_varint_slice(w,
                                        (struct kith_slice) { params->stateless_reset_token, KITH_RESET_TOKEN_BYTES });
    case FORM_FLAG:
        return kith__write_varint(w, 0);
    default:
        return write_number(w, row, number_of(params, row));
    }
}

/* A reserved parameter (RFC 9000, 18.1) that peers must ignore: keeps them honest. */
static int write_grease(struct kith_writer *w, const struct kith_random *random)
{
    uint8_t bytes[9 + GREASE_SIZE_MAX];
    uint64_t n = 0;
    int err;

    random->fill(random->ctx, bytes, sizeof bytes);
    for (int i = 0; i < 8; i++)
        n = n << 8 | bytes[i];
    n %= (KITH_VARINT_MAX - 27) / 31;
    if ((err = kith__write_varint(w, 27 + 31 * n)) != 0)
        return err;
    return kith__write_varint_slice(w, (struct kith_slice) { bytes + 9, bytes[8] % GREASE_SIZE_MAX });
}

int kith__tparams_write(struct kith_writer *w, const struct kith_tparams *params, const struct kith_random *random)
{
    enum { ITEMS = KITH_COUNT(rows) + 1 }; /* one more: the reserved one */
    uint8_t order[ITEMS], dice[ITEMS] = { 0 };
    int err = 0;

    for (size_t i = 0; i < ITEMS; i++)
        order[i] = (uint8_t)i;
    if (random != NULL)
        random->fill(random->ctx, dice, sizeof dice);
    for (size_t i = ITEMS - 1; random != NULL && i > 0; i--) {
        size_t j = dice[i] % (i + 1);
        uint8_t kept = order[i];

        order[i] = order[j];
        order[j] = kept;
    }
    for (size_t i = 0; i < ITEMS && err == 0; i++) {
        if (order[i] < KITH_COUNT(rows))
            err = write_row(w, params, &rows[order[i]]);
        else if (random != NULL)
            err = write_grease(w, random);
    }
    return err;
}

/* ---- Reading ---- */

/* Returns NULL, or what is wrong. */
static const char *read_number(struct kith_slice value, const struct row *row, struct kith_tparams *params)
{
    uint64_t number = 0;

    if (row->form == FORM_BYTE) {
        if (value.size != 1)
            return malformed;
        number = value.ptr[0];
    } else {
        size_t used = kith__varint_decode(value.ptr, value.size, &number);

        if (used == 0 || used != value.size)
            return malformed;
        if (row->form != FORM_INT_LOOSE && !kith__varint_is_minimal(number, used))
            return malformed;
        if (row->form == FORM_PATH_ID && number > UINT32_MAX)
            return malformed;
    }
    if (number < row->min || number > row->max)
        return illegal_value;
    set_number(params, row, number);
    return NULL;
}

/* IPv4 address and port, IPv6 address and port, an id, a token (RFC 9000, 18.2). Only the form counts. */
static const char *check_preferred(struct kith_slice value)
{
    struct kith_reader r = kith__reader_of_slice(value);
    uint8_t size = 0;

    if (kith__read_skip(&r, 4 + 2 + 16 + 2) != 0 || kith__read_u8(&r, &size) != 0 || size > KITH_CID_SIZE_MAX ||
        kith__reader_left(&r) != (size_t)size + KITH_RESET_TOKEN_BYTES)
        return malformed;
    return size == 0 ? illegal_value : NULL;
}

static const char *read_value(struct kith_slice value, const struct row *row, struct kith_tparams *params)
{
    const char *wrong = NULL;

    switch (row->form) {
    case FORM_CID:
        if (value.size > KITH_CID_SIZE_MAX)
            return malformed;
        *(struct kith_cid *)member(params, row->value) = kith__cid(value.ptr, value.size);
        break;
    case FORM_TOKEN:
        if (value.size != KITH_RESET_TOKEN_BYTES)
            return malformed;
        memcpy(params->stateless_reset_token, value.ptr, value.size);
        break;
    case FORM_FLAG:
        wrong = value.size != 0 ? malformed : NULL;
        break;
    case FORM_PREFERRED:
        wrong = check_preferred(value);
        break;
    default:
        wrong = read_number(value, row, params);
    }
    if (wrong == NULL && row->has != NO_MEMBER)
        *(bool *)member(params, row->has) = true;
    return wrong;
}

static size_t find_row(uint64_t id)
{
    size_t i = 0;

    while (i < KITH_COUNT(rows) && rows[i].id != id)
        i++;
    return i;
}

/* Unknown parameters are ignored, also twice: remembering them all would cost memory that the peer chooses. */
static const char *parse(struct kith_reader *r, bool from_client, struct kith_tparams *params)
{
    uint32_t seen = 0;

    _Static_assert(KITH_COUNT(rows) <= 32, "one bit for each in `seen`");
    while (kith__reader_left(r) != 0) {
        struct kith_slice value;
        const char *wrong;
        uint64_t id = 0;
        size_t row;

        if (kith__read_varint(r, &id) != 0 || kith__read_varint_slice(r, &value) != 0)
            return malformed;
        row = find_row(id);
        if (row == KITH_COUNT(rows))
            continue;
        if ((seen & UINT32_C(1) << row) != 0)
            return malformed;
        seen |= UINT32_C(1) << row;
        if ((wrong = read_value(value, &rows[row], params)) != NULL)
            return wrong;
        if (from_client && rows[row].server_only)
            return illegal_value;
    }
    if (params->has_min_ack_delay && params->min_ack_delay_us > params->max_ack_delay_ms * 1000)
        return illegal_value;
    return NULL;
}

int kith__tparams_parse(struct kith_slice bytes, bool from_client, struct kith_tparams *out, const char **reason)
{
    struct kith_reader r = kith__reader_of_slice(bytes);
    struct kith_tparams params;
    const char *wrong;

    kith__tparams_defaults(&params);
    if ((wrong = parse(&r, from_client, &params)) != NULL) {
        *reason = wrong;
        return KITH_WIRE_TRANSPORT_PARAMETER_ERROR;
    }
    *out = params;
    return 0;
}

/* ---- Checks ---- */

/* An id that must be there and equal, or (expected NULL) must not be there. */
static bool cid_matches(bool has, const struct kith_cid *cid, const struct kith_cid *expected)
{
    return expected == NULL ? !has : has && kith__cid_equal(cid, expected);
}

int kith__tparams_check_cids(const struct kith_tparams *params, const struct kith_cid *initial_source,
                             const struct kith_cid *original, const struct kith_cid *retry_source, const char **reason)
{
    if (cid_matches(params->has_initial_source_cid, &params->initial_source_cid, initial_source) &&
        cid_matches(params->has_original_destination_cid, &params->original_destination_cid, original) &&
        cid_matches(params->has_retry_source_cid, &params->retry_source_cid, retry_source))
        return 0;
    *reason = "CID authentication failure";
    return KITH_WIRE_TRANSPORT_PARAMETER_ERROR;
}

/*
 * What is remembered for 0-RTT, and how the next connection's value must compare. The two that only shape how we send, not
 * what the server must be able to take, may change freely (RFC 9000, 7.4.1).
 */
enum comparison { MAY_CHANGE, NOT_BELOW, EQUAL };

static const struct {
    uint64_t id;
    uint8_t comparison; /* enum comparison */
} remembered_rows[] = {
    { 0x01, MAY_CHANGE }, { 0x03, MAY_CHANGE }, { 0x04, NOT_BELOW },   { 0x05, NOT_BELOW },
    { 0x06, NOT_BELOW },  { 0x07, NOT_BELOW },  { 0x08, NOT_BELOW },   { 0x09, NOT_BELOW },
    { 0x0e, NOT_BELOW },  { 0x20, NOT_BELOW },  { 0x9f81a176, EQUAL }, { 0x3d7f91120401, EQUAL },
};

struct kith_tparams kith__tparams_remembered(const struct kith_tparams *params)
{
    struct kith_tparams kept;

    kith__tparams_defaults(&kept);
    for (size_t i = 0; i < KITH_COUNT(remembered_rows); i++) {
        const struct row *row = &rows[find_row(remembered_rows[i].id)];

        set_number(&kept, row, number_of(params, row));
    }
    kept.disable_active_migration = params->disable_active_migration;
    return kept;
}

int kith__tparams_check_remembered(const struct kith_tparams *remembered, const struct kith_tparams *params,
                                   const char **reason)
{
    for (size_t i = 0; i < KITH_COUNT(remembered_rows); i++) {
        const struct row *row = &rows[find_row(remembered_rows[i].id)];
        uint64_t before = number_of(remembered, row), now = number_of(params, row);

        if (remembered_rows[i].comparison == EQUAL ? before != now
                                                   : remembered_rows[i].comparison == NOT_BELOW && now < before) {
            *reason = "0-RTT accepted with incompatible transport parameters";
            return KITH_WIRE_PROTOCOL_VIOLATION;
        }
    }
    return 0;
}

uint64_t kith__tparams_early_tag(const struct kith_tparams *params)
{
    uint64_t hash = UINT64_C(
        0xcbf29ce484222325); /* FNV-1a: the tag only has to differ, nobody attacks our own values */

    for (size_t i = 0; i < KITH_COUNT(remembered_rows); i++) {
        uint64_t value = number_of(params, &rows[find_row(remembered_rows[i].id)]);

        for (int byte = 0; byte < 8; byte++)
            hash = (hash ^ (value >> (8 * byte) & 0xff)) * UINT64_C(0x100000001b3);
    }
    return hash;
}
