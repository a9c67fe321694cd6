/**
 * kith/lookup.h: from a public key to where it is now. Public header.
 *
 * An endpoint may have several lookup services (kith_endpoint_options.lookups): it tells the world through them where it is
 * (publishing: at first, whenever that changes, and again and again), and it asks all of them at once when it is to connect to an
 * id (resolving). Without any (the default) nothing is published and nobody is asked.
 *
 * kith_connect resolves by itself: also when addresses were given, unless a connection to that endpoint works already. What is
 * found only adds to what was given, and is tried at once, also by a dial that is under way and by a connection that lost its last
 * path. This header is for those who choose the services, want to see what they say, or bring their own.
 *
 * What services say is a hint: it may be old, or a lie, and costs at most some datagrams. Who answers proves who it is.
 *
 * Thread rules: those of kith/endpoint.h.
 */
#ifndef KITH_LOOKUP_H
#define KITH_LOOKUP_H

#include <kith/endpoint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Services ---- */

enum kith_lookup_kind {
    KITH_LOOKUP_DNS,           /* resolves: TXT records below an origin, asked of the DNS */
    KITH_LOOKUP_PKARR,         /* publishes and resolves: signed packets at a server, over HTTP */
    KITH_LOOKUP_PKARR_PUBLISH, /* only the one half */
    KITH_LOOKUP_PKARR_RESOLVE, /* only the other half */
    KITH_LOOKUP_MDNS,          /* publishes and resolves: the local network */
    KITH_LOOKUP_DHT,           /* publishes and resolves: the Mainline DHT, or one of one's own */
    KITH_LOOKUP_MEMORY,        /* resolves: what kith_endpoint_add_addr told. That function brings it along, too */
    KITH_LOOKUP_CUSTOM         /* the program's own */
};

/** What of an endpoint's addresses a service tells the world. User data go with all but NONE. */
enum kith_publish {
    KITH_PUBLISH_DEFAULT, /* MDNS, CUSTOM: all; others: relays only, or with options.no_relays all */
    KITH_PUBLISH_RELAYS,
    KITH_PUBLISH_DIRECT, /* all but relays */
    KITH_PUBLISH_ALL,
    KITH_PUBLISH_NONE /* nothing: it only resolves */
};

struct kith_lookup_custom;

/** A service to use. Everything is copied, but what the callbacks of `custom` use. */
struct kith_lookup_option {
    uint8_t kind;    /* enum kith_lookup_kind */
    uint8_t publish; /* enum kith_publish; of no meaning for kinds that do not publish */
    /**
     * DNS: the origin, as "dns.example". PKARR*: the URL, as "https://dns.example/pkarr", normalised or not; certificates
     * are checked as those of relays (options.relay_trust, relay_ca_pem), and it is reached through options.proxy. Others: NULL.
     */
    const char *where;
    /** DHT: "host:port" of nodes that are asked first, up to NULL at the end; NULL: the public ones. Others: NULL. */
    const char *const *bootstrap;
    const struct kith_lookup_custom *custom; /* CUSTOM; else NULL */
};

enum { KITH_ENDPOINT_LOOKUPS_MAX = 12 };

/** n0's public servers, which iroh uses, too. Static texts; hand lookups and relays to kith_endpoint_options as they are. */
struct kith_lookup_preset {
    struct kith_lookup_option lookups[4];
    size_t lookup_count;
    struct kith_endpoint_relay relays[4];
    size_t relay_count;
};
/** is_staging: those that n0 tries new versions on. Source: spec/03, 8. */
KITH_API void kith_lookup_preset_n0(bool is_staging, struct kith_lookup_preset *out);
/**
 * Only one's own: each may be NULL; pkarr publishes and resolves, DNS resolves. The texts are borrowed: they live as long as
 * *out is used.
 */
KITH_API void kith_lookup_preset_mine(const char *relay_url, const char *pkarr_url, const char *dns_origin,
                                      struct kith_lookup_preset *out);

/* ---- Being found ---- */

/**
 * Where the time of the newest signed packet is kept between runs: with a clock that was set back a server would otherwise keep
 * the older packet. Both run inside the endpoint's loop, in any of its calls, and must not call back into kith.
 */
struct kith_publish_time {
    uint64_t (*load)(void *ctx); /* microseconds since 1970; 0: none is known */
    /** Before the packet goes out. Times rise, but that one that is ahead of the clock is gone back from. */
    void (*store)(void *ctx, uint64_t timestamp_us);
    void *ctx;
};

/**
 * The text that is published beside the addresses: at most KITH_USER_DATA_SIZE_MAX bytes of UTF-8; NULL or "": none. It is
 * public: whoever knows the id reads it. TOO_LARGE, PARSE, NOMEM: the old one stays.
 */
KITH_API KITH_MUST_USE int kith_endpoint_set_user_data(struct kith_endpoint *endpoint, const char *text);

enum { KITH_SEARCH_NAME_SIZE = 32, KITH_SEARCH_LABEL_SIZE = 128, KITH_SEARCH_WHY_SIZE = 256 };

/** One service of an endpoint, as it is now. */
struct kith_endpoint_lookup_info {
    char name[KITH_SEARCH_NAME_SIZE];   /* "dns", "pkarr", "mdns", "dht", "memory", or a custom one's */
    char label[KITH_SEARCH_LABEL_SIZE]; /* which one: "dns:dns.example" */
    bool publishes, resolves;
    /* Publishing. */
    uint64_t accepted_count, failed_count;
    uint64_t accepted_ago_ns;       /* since the last success; KITH_NEVER: there was none yet */
    int err;                        /* of the last attempt; 0: it was accepted, or there was none */
    char why[KITH_SEARCH_WHY_SIZE]; /* a sentence about it; "" */
    /* Resolving: questions that ended. */
    uint64_t found_count, unknown_count, broken_count; /* with an answer; without; the service failed */
    int resolve_err;                                   /* of the last one that broke; 0: none did */
    char resolve_why[KITH_SEARCH_WHY_SIZE];            /* a sentence about it; "" */
};
/** The services, in the order of the options: fills up to `capacity`, returns how many there are. */
KITH_API size_t kith_endpoint_lookup_status(struct kith_endpoint *endpoint, struct kith_endpoint_lookup_info *out,
                                            size_t capacity);

/* ---- Finding others ---- */

/**
 * Tells this endpoint where another one may be; it adds to what was told before, and dials under way hear of it at once.
 * user_data: NULL: what was told stays. NOMEM, LIMIT, TOO_LARGE, PARSE.
 */
KITH_API KITH_MUST_USE int kith_endpoint_add_addr(struct kith_endpoint *endpoint, const struct kith_addr *addr,
                                                  const char *user_data);
/** Forgets what kith_endpoint_add_addr told of an id. */
KITH_API void kith_endpoint_remove_addr(struct kith_endpoint *endpoint, const struct kith_id *id);

struct kith_search; /* one question to all services */

/** What one service said, or that it is through. */
struct kith_search_item {
    char name[KITH_SEARCH_NAME_SIZE]; /* provenance; as in kith_endpoint_lookup_info */
    char label[KITH_SEARCH_LABEL_SIZE];
    bool is_end;                    /* the service is through: err and why tell; else it found what follows */
    int err;                        /* 0: it found something; NOT_FOUND: it knows nothing; else what failed */
    char why[KITH_SEARCH_WHY_SIZE]; /* a sentence about it; "" */
    bool is_news;                   /* with an address that no service told before in this search */
    struct kith_addr addr;          /* what this service said now */
    char user_data[KITH_USER_DATA_SIZE_MAX + 1];
    uint64_t age_ns;  /* since the other endpoint said so itself; KITH_NEVER: not told; 0 also for times to come */
    uint64_t took_ns; /* since the services were asked */
};

/** Asks. STATE: no service resolves; INVALID: the endpoint's own id; LIMIT, NOMEM, CLOSED. */
KITH_API KITH_MUST_USE int kith_lookup_start(struct kith_endpoint *endpoint, const struct kith_id *id,
                                             struct kith_search **out);
/**
 * Waits for the next item and takes it. END: all services are through and something was found; NOT_FOUND: likewise, and
 * nothing was: kith_error_last names each with its reason; TIMEOUT, AGAIN (limit 0), CLOSED. At most 128 items wait; of more
 * the oldest are dropped.
 */
KITH_API KITH_MUST_USE int kith_lookup_next(struct kith_search *search, uint64_t limit_ns,
                                            struct kith_search_item *out);
/** An operation that ends with 0 when an item waits, or with how the search ended. Take it with kith_lookup_next. */
KITH_API KITH_MUST_USE int kith_lookup_next_start(struct kith_search *search, struct kith_op **out);
/** Gives it back; nobody is asked any more on its behalf. NULL is fine. */
KITH_API void kith_lookup_free(struct kith_search *search);

/* ---- A service of the program's own ---- */

struct kith_question; /* an id that is looked for; the program gives it back with kith_question_end */

/**
 * Each callback may be NULL. They run inside kith_context_process and inside calls that wait, on the thread that made these,
 * and may call everything that neither waits nor ends the endpoint.
 */
struct kith_lookup_custom {
    const char *name; /* provenance; copied */
    /** What to tell the world from now on. addr and user_data are valid until it returns; user_data is "" if there is none. */
    void (*publish)(void *ctx, const struct kith_addr *addr, const char *user_data);
    /** Somebody looks for an id: answer any number of times, now or later, and end it. */
    void (*resolve)(void *ctx, struct kith_question *question);
    /** Nobody waits for the answer any more. The question must still be ended, here or later. */
    void (*cancel)(void *ctx, struct kith_question *question);
    /** The endpoint is gone: the last one, inside the call that ended it; to free what is the program's own, without kith. */
    void (*closed)(void *ctx);
    void *ctx;
};
/** Whom it is about. */
KITH_API struct kith_id kith_question_id(const struct kith_question *question);
/** For the program. NULL at first. */
KITH_API void kith_question_set_user(struct kith_question *question, void *user);
/** What kith_question_set_user put there; NULL if nothing. */
KITH_API void *kith_question_user(const struct kith_question *question);
/**
 * Something was found. user_data: NULL or "": none. updated_us: when the other endpoint said so (microseconds since 1970);
 * 0: not known. INVALID: another id; TOO_LARGE, PARSE: the user data; NOMEM. 0 also when nobody waits any more; LIMIT: 64 wait for the loop already.
 */
KITH_API KITH_MUST_USE int kith_question_answer(struct kith_question *question, const struct kith_addr *addr,
                                                const char *user_data, uint64_t updated_us);
/** It is through, and gone. err: 0 or NOT_FOUND, or what failed; why: a sentence; NULL for 0. A NULL question is fine. */
KITH_API void kith_question_end(struct kith_question *question, int err, const char *why);

#ifdef __cplusplus
}
#endif
#endif
