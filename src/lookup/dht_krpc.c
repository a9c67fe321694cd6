/* Messages of the DHT. */
#include "lookup/dht_krpc.h"

#include "base/assert.h"
#include "codec/bencode.h"

static const char *const method_names[KITH_KRPC_METHODS] = {
    [KITH_KRPC_PING] = "ping",
    [KITH_KRPC_FIND_NODE] = "find_node",
    [KITH_KRPC_GET_PEERS] = "get_peers",
    [KITH_KRPC_ANNOUNCE_PEER] = "announce_peer",
    [KITH_KRPC_GET] = "get",
    [KITH_KRPC_PUT] = "put",
};

/** What the target is called in the arguments of a method; NULL: it has none. */
static const char *target_name(enum kith_krpc_method method)
{
    switch (method) {
    case KITH_KRPC_FIND_NODE:
    case KITH_KRPC_GET:
    case KITH_KRPC_PUT:
        return "target";
    case KITH_KRPC_GET_PEERS:
    case KITH_KRPC_ANNOUNCE_PEER:
        return "info_hash";
    default:
        return NULL;
    }
}

static bool is_text(struct kith_slice slice, const char *text)
{
    return slice.size == strlen(text) && memcmp(slice.ptr, text, slice.size) == 0;
}

/* ---- Reading ---- */

/** An id of a name; false if there is none, or of another size. */
static bool find_id(const struct kith_bencode *dict, const char *name, struct kith_dht_id *out)
{
    struct kith_slice bytes;

    if (!kith__bencode_find_bytes(dict, name, &bytes) || bytes.size != KITH_DHT_ID_SIZE)
        return false;
    memcpy(out->bytes, bytes.ptr, KITH_DHT_ID_SIZE);
    return true;
}

/** A string of a size; else it is as not there. */
static void find_sized(const struct kith_bencode *dict, const char *name, size_t size, struct kith_slice *out)
{
    struct kith_slice bytes;

    if (kith__bencode_find_bytes(dict, name, &bytes) && bytes.size == size)
        *out = bytes;
}

/** What questions and answers have alike. */
static void read_parts(const struct kith_bencode *dict, struct kith_krpc *out)
{
    struct kith_bencode value;

    kith__bencode_find_bytes(dict, "token", &out->token);
    kith__bencode_find_bytes(dict, "nodes", &out->nodes);
    kith__bencode_find_bytes(dict, "salt", &out->salt);
    find_sized(dict, "k", KITH_ID_SIZE, &out->key);
    find_sized(dict, "sig", KITH_SIGNATURE_SIZE, &out->signature);
    out->has_seq = kith__bencode_find_integer(dict, "seq", &out->seq);
    out->has_cas = kith__bencode_find_integer(dict, "cas", &out->cas);
    if (kith__bencode_find(dict, "v", &value)) {
        out->value = value.whole;
        if (value.kind == KITH_BENCODE_BYTES)
            out->value_bytes = value.bytes;
    }
}

static int read_question(const struct kith_bencode *top, struct kith_krpc *out)
{
    struct kith_bencode arguments;
    struct kith_slice method;
    const char *target;

    if (!kith__bencode_find_bytes(top, "q", &method) || !kith__bencode_find(top, "a", &arguments) ||
        !find_id(&arguments, "id", &out->id))
        return KITH_ERR_PARSE;
    out->method = 0;
    while (out->method < KITH_KRPC_METHODS && !is_text(method, method_names[out->method]))
        out->method++;
    target = target_name(out->method);
    /* BEP 44 has no target in a put: it follows from the rest. */
    out->has_target = target != NULL && find_id(&arguments, target, &out->target);
    if (target != NULL && !out->has_target && out->method != KITH_KRPC_PUT)
        return KITH_ERR_PARSE;
    read_parts(&arguments, out);
    return 0;
}

static int read_answer(const struct kith_bencode *top, struct kith_krpc *out)
{
    struct kith_bencode answer;

    if (!kith__bencode_find(top, "r", &answer) || !find_id(&answer, "id", &out->id))
        return KITH_ERR_PARSE;
    read_parts(&answer, out);
    return 0;
}

/** [code, text]; nodes exist that send less, which is an error still. */
static void read_error(const struct kith_bencode *top, struct kith_krpc *out)
{
    struct kith_bencode list, item;
    struct kith_reader inside;

    if (!kith__bencode_find(top, "e", &list) || list.kind != KITH_BENCODE_LIST)
        return;
    inside = kith__reader_of_slice(list.bytes);
    if (kith__bencode_next(&inside, &item) && item.kind == KITH_BENCODE_INTEGER)
        out->error_code = item.integer;
    if (kith__bencode_next(&inside, &item) && item.kind == KITH_BENCODE_BYTES)
        out->error_text = item.bytes;
}

int kith__krpc_read(struct kith_slice bytes, struct kith_krpc *out)
{
    struct kith_reader r = kith__reader_of_slice(bytes);
    struct kith_krpc message = { .method = KITH_KRPC_METHODS };
    struct kith_slice kind, ip;
    struct kith_bencode top;
    int64_t read_only;
    int err = kith__bencode_read(&r, &top);

    if (err != 0)
        return err;
    if (!kith__bencode_find_bytes(&top, "y", &kind) || !kith__bencode_find_bytes(&top, "t", &message.transaction) ||
        message.transaction.size == 0 || message.transaction.size > KITH_KRPC_TRANSACTION_MAX)
        return KITH_ERR_PARSE;
    kith__bencode_find_bytes(&top, "v", &message.version);
    message.is_read_only = kith__bencode_find_integer(&top, "ro", &read_only) && read_only > 0;
    if (kith__bencode_find_bytes(&top, "ip", &ip) && ip.size == 6)
        message.ip = kith__dht_addr_read(ip.ptr);
    if (is_text(kind, "q")) {
        message.kind = KITH_KRPC_QUESTION;
        err = read_question(&top, &message);
    } else if (is_text(kind, "r")) {
        message.kind = KITH_KRPC_ANSWER;
        err = read_answer(&top, &message);
    } else if (is_text(kind, "e")) {
        message.kind = KITH_KRPC_ERROR;
        read_error(&top, &message);
    } else {
        err = KITH_ERR_PARSE;
    }
    if (err == 0)
        *out = message;
    return err;
}

/* ---- Writing: the keys of each dictionary in order ---- */

static void put_if(struct kith_bencode_writer *w, const char *name, struct kith_slice bytes)
{
    if (bytes.ptr != NULL)
        kith__bencode_put_pair_bytes(w, name, bytes);
}

static void put_id(struct kith_bencode_writer *w, const char *name, const struct kith_dht_id *id)
{
    kith__bencode_put_pair_bytes(w, name, (struct kith_slice) { id->bytes, sizeof id->bytes });
}

/** The dictionary of arguments, or that of an answer. */
static void write_parts(struct kith_bencode_writer *w, const struct kith_krpc *message)
{
    const char *target = message->kind == KITH_KRPC_QUESTION ? target_name(message->method) : NULL;
    bool is_hash = target != NULL && strcmp(target, "info_hash") == 0;

    kith__bencode_begin_dict(w);
    if (message->has_cas)
        kith__bencode_put_pair_integer(w, "cas", message->cas);
    put_id(w, "id", &message->id);
    if (message->has_target && is_hash)
        put_id(w, target, &message->target);
    put_if(w, "k", message->key);
    put_if(w, "nodes", message->nodes);
    put_if(w, "salt", message->salt);
    if (message->has_seq)
        kith__bencode_put_pair_integer(w, "seq", message->seq);
    put_if(w, "sig", message->signature);
    if (message->has_target && target != NULL && !is_hash)
        put_id(w, target, &message->target);
    put_if(w, "token", message->token);
    if (message->value.ptr != NULL) {
        kith__bencode_key(w, "v");
        kith__bencode_put_whole(w, message->value);
    } else if (message->value_bytes.ptr != NULL) {
        kith__bencode_put_pair_bytes(w, "v", message->value_bytes);
    }
    kith__bencode_end(w);
}

static void write_error(struct kith_bencode_writer *w, const struct kith_krpc *message)
{
    kith__bencode_begin_list(w);
    kith__bencode_put_integer(w, message->error_code);
    kith__bencode_put_bytes(w, message->error_text);
    kith__bencode_end(w);
}

static void put_text(struct kith_bencode_writer *w, const char *name, const char *text)
{
    kith__bencode_put_pair_bytes(w, name, (struct kith_slice) { (const uint8_t *)text, strlen(text) });
}

int kith__krpc_write(const struct kith_krpc *message, uint8_t *out, size_t cap, size_t *size)
{
    static const char *const kinds[] = {
        [KITH_KRPC_QUESTION] = "q", [KITH_KRPC_ANSWER] = "r", [KITH_KRPC_ERROR] = "e"
    };
    struct kith_bencode_writer w = kith__bencode_writer(out, cap);
    uint8_t ip[6];

    kith__bencode_begin_dict(&w);
    if (message->kind == KITH_KRPC_QUESTION) {
        KITH_ASSERT(message->method < KITH_KRPC_METHODS);
        kith__bencode_key(&w, "a");
        write_parts(&w, message);
    }
    if (message->kind == KITH_KRPC_ERROR) {
        kith__bencode_key(&w, "e");
        write_error(&w, message);
    }
    if (message->ip.family == KITH_FAMILY_V4) {
        kith__dht_addr_write(&message->ip, ip);
        kith__bencode_put_pair_bytes(&w, "ip", (struct kith_slice) { ip, sizeof ip });
    }
    if (message->kind == KITH_KRPC_QUESTION)
        put_text(&w, "q", method_names[message->method]);
    if (message->kind == KITH_KRPC_ANSWER) {
        kith__bencode_key(&w, "r");
        write_parts(&w, message);
    }
    if (message->is_read_only)
        kith__bencode_put_pair_integer(&w, "ro", 1);
    kith__bencode_put_pair_bytes(&w, "t", message->transaction);
    put_if(&w, "v", message->version);
    put_text(&w, "y", kinds[message->kind]);
    kith__bencode_end(&w);
    return kith__bencode_finish(&w, size);
}
