/**
 * Tickets: what people copy from one program to another. A lower-case kind, then lower-case base32 of a postcard payload.
 * Source: spec/03, section 3.
 *
 * Parsers take untrusted text of a given size, in which the letters after the kind may have any case. They return
 * KITH_ERR_PARSE for the wrong kind or bad base32, KITH_ERR_TOO_LARGE beyond KITH_TICKET_TEXT_MAX, and the errors of
 * kith__endpoint_addr_decode. Bytes after the payload are ignored, as the reference does. *out is written only on success; the
 * caller disposes of it.
 */
#ifndef KITH_ENDPOINT_TICKET_H
#define KITH_ENDPOINT_TICKET_H

#include "lookup/addr.h"

enum {
    KITH_TICKET_TEXT_MAX = 64 * 1024, /* characters that are looked at at all */
    KITH_DOC_TICKET_NODES_MAX = 256
};

/** Appends kind and payload as text, without an end. KITH_ERR_NOMEM. */
int kith__ticket_text_encode(const char *kind, struct kith_slice payload, struct kith_buf *text);
/** Appends the payload of a ticket of this kind. KITH_ERR_PARSE, KITH_ERR_TOO_LARGE, KITH_ERR_NOMEM. */
int kith__ticket_text_decode(const char *kind, const char *text, size_t size, struct kith_buf *payload);
/** True if the text begins with this kind. */
bool kith__ticket_is_kind(const char *kind, const char *text, size_t size);

/** Kind "endpoint". Custom addresses are written in the new form. KITH_ERR_NOMEM. */
int kith__endpoint_ticket_format(const struct kith_endpoint_addr *addr, struct kith_buf *text);
/** Custom addresses are read in both forms: spec/03, 2.4. */
int kith__endpoint_ticket_parse(const char *text, size_t size, const struct kith_mem *mem,
                                struct kith_endpoint_addr *out);

/** Kind "blob": where to get a blob. */
struct kith_blob_ref {
    struct kith_endpoint_addr addr;
    struct kith_hash hash;
    bool is_hash_seq; /* format: a sequence of hashes, else one raw blob */
};

/** Has room for one relay (the first in order) and no custom addresses; others are left out. KITH_ERR_NOMEM. */
int kith__blob_ref_format(const struct kith_blob_ref *ticket, struct kith_buf *text);
int kith__blob_ref_parse(const char *text, size_t size, const struct kith_mem *mem, struct kith_blob_ref *out);
void kith__blob_ref_dispose(struct kith_blob_ref *ticket);

/** Kind "doc": a document and who has it. */
struct kith_doc_ticket {
    bool can_write;
    uint8_t capability[32]; /* can_write: the namespace's secret key; else its public key */
    struct kith_endpoint_addr *nodes;
    size_t count; /* 1 .. KITH_DOC_TICKET_NODES_MAX */
    const struct kith_mem *mem;
};

/** KITH_ERR_INVALID without nodes or with too many, KITH_ERR_NOMEM. */
int kith__doc_ticket_format(const struct kith_doc_ticket *ticket, struct kith_buf *text);
/** Reads the layout of 1.x, and that of 0.35 where the first one fails or leaves bytes over. No nodes is KITH_ERR_PARSE. */
int kith__doc_ticket_parse(const char *text, size_t size, const struct kith_mem *mem, struct kith_doc_ticket *out);
/** Wipes the capability too. */
void kith__doc_ticket_dispose(struct kith_doc_ticket *ticket);

#endif
