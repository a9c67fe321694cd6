/* What path-agent does when it is told to. */
#include "base/mem.h"
#include "endpoint/textkey.h"
#include "endpoint/ticket.h"
#include "path_agent.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 24, CONNECT_REMOTES_MAX = 16 };

struct words {
    const char *word[WORDS_MAX];
    size_t count;
};

static const char *word_at(const struct words *words, size_t index)
{
    return index < words->count ? words->word[index] : "";
}

static uint64_t number_at(const struct words *words, size_t index)
{
    return strtoull(word_at(words, index), NULL, 0);
}

/* connect ID ADDRESS..., or connect TICKET: from the first socket, without a local address if there are several families. */
static int connect_to(struct paths *paths, const struct words *words)
{
    struct kith_slice alpn = { (const uint8_t *)paths->alpn, strlen(paths->alpn) };
    struct kith_sockaddr remotes[CONNECT_REMOTES_MAX];
    struct kith_quic_connect_options options = { .remotes = remotes, .alpns = &alpn, .alpn_count = 1 };
    struct kith_endpoint_addr addr;
    const char *to = word_at(words, 1);
    int err;

    kith__endpoint_addr_init(&addr, kith_mem_default(), NULL);
    if (strncmp(to, "endpoint", 8) == 0) {
        if ((err = kith__endpoint_ticket_parse(to, strlen(to), kith_mem_default(), &addr)) != 0)
            return err;
        options.remote_id = addr.id;
        for (size_t i = 0; i < addr.count && options.remote_count < CONNECT_REMOTES_MAX; i++)
            if (addr.addrs[i].kind == KITH_TRANSPORT_IP)
                remotes[options.remote_count++] = addr.addrs[i].ip;
        kith__endpoint_addr_dispose(&addr);
    } else {
        if ((err = kith__id_parse(to, strlen(to), &options.remote_id)) != 0)
            return err;
        for (size_t i = 2; i < words->count && options.remote_count < CONNECT_REMOTES_MAX; i++)
            if ((err = kith_sockaddr_parse(words->word[i], &remotes[options.remote_count++])) != 0)
                return err;
    }
    if (options.remote_count == 1)
        options.local = kith__rt_udp_local(paths->udp[0]);
    return kith_quic_connect(paths->host, &options, kith__rt_now(paths->rt), &paths->conn);
}

/* ticket TEXT: what it says, for the script. */
static int say_ticket(const struct words *words)
{
    struct kith_endpoint_addr addr;
    char hex[KITH__HEX_KEY_SIZE], text[KITH_SOCKADDR_TEXT_SIZE];
    const char *ticket = word_at(words, 1);
    int err = kith__endpoint_ticket_parse(ticket, strlen(ticket), kith_mem_default(), &addr);

    if (err != 0)
        return err;
    printf("{\"event\":\"ticket\",\"id\":\"%s\",\"addresses\":[", kith__id_format(&addr.id, hex));
    for (size_t i = 0; i < addr.count; i++)
        if (addr.addrs[i].kind == KITH_TRANSPORT_IP)
            printf("%s\"%s\"", i == 0 ? "" : ",", kith_sockaddr_format(&addr.addrs[i].ip, text));
    printf("]}\n");
    kith__endpoint_addr_dispose(&addr);
    return 0;
}

/* open LOCAL REMOTE [backup]: LOCAL is the number of a socket, or any. */
static int open_path(struct paths *paths, const struct words *words)
{
    struct kith_sockaddr remote, local = { .family = KITH_FAMILY_NONE };
    size_t socket = number_at(words, 1);
    uint32_t path;
    int err;

    if ((err = kith_sockaddr_parse(word_at(words, 2), &remote)) != 0)
        return err;
    if (strcmp(word_at(words, 1), "any") != 0) {
        if (socket >= paths->socket_count)
            return KITH_ERR_INVALID;
        local = kith__rt_udp_local(paths->udp[socket]);
    }
    err = kith_quic_conn_path_open(paths->conn, &local, &remote, strcmp(word_at(words, 3), "backup") == 0,
                                   kith__rt_now(paths->rt), &path);
    if (err == 0)
        printf("{\"event\":\"opening\",\"path\":%" PRIu32 "}\n", path);
    return err;
}

static void say_path(const struct kith_quic_path_info *info, const char *before)
{
    char local[KITH_SOCKADDR_TEXT_SIZE], remote[KITH_SOCKADDR_TEXT_SIZE], observed[KITH_SOCKADDR_TEXT_SIZE];

    printf("%s{\"path\":%" PRIu32 ",\"state\":%u,\"validated\":%s,\"backup\":%s,\"peer_backup\":%s,\"silent\":%s,"
           "\"local\":\"%s\",\"remote\":\"%s\",\"observed\":\"%s\",\"rtt_us\":%" PRIu64 ",\"mtu\":%u,\"sent\":%" PRIu64
           ",\"received\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"probe_timeouts\":%" PRIu64 "}",
           before, info->id, info->state, info->is_validated ? "true" : "false", info->is_backup ? "true" : "false",
           info->is_peer_backup ? "true" : "false", info->is_silent ? "true" : "false",
           kith_sockaddr_format(&info->local, local), kith_sockaddr_format(&info->remote, remote),
           kith_sockaddr_format(&info->observed, observed), info->rtt_ns / 1000, info->udp_size, info->bytes_sent,
           info->bytes_received, info->packets_lost, info->probe_timeouts);
}

static int say_status(struct paths *paths)
{
    struct kith_quic_path_info infos[KITH_QUIC_PATHS_MAX * 2];
    struct kith_quic_conn_stats stats;
    size_t count = kith_quic_conn_paths(paths->conn, infos, KITH_COUNT(infos));

    kith_quic_conn_stats(paths->conn, &stats);
    printf("{\"event\":\"status\",\"key_updates\":%" PRIu64 ",\"memory\":%zu,\"dropped\":%" PRIu64
           ",\"migrations\":%" PRIu64 ",\"paths\":[",
           stats.key_updates, stats.memory_size, paths->dropped, stats.migrations);
    for (size_t i = 0; i < count && i < KITH_COUNT(infos); i++)
        say_path(&infos[i], i == 0 ? "" : ",");
    printf("]}\n");
    return 0;
}

static int say_candidates(struct paths *paths)
{
    struct kith_sockaddr list[32];
    char text[KITH_SOCKADDR_TEXT_SIZE];
    size_t count = kith_quic_conn_candidates(paths->conn, list, KITH_COUNT(list));

    printf("{\"event\":\"candidates\",\"addresses\":[");
    for (size_t i = 0; i < count && i < KITH_COUNT(list); i++)
        printf("%s\"%s\"", i == 0 ? "" : ",", kith_sockaddr_format(&list[i], text));
    printf("]}\n");
    return 0;
}

static int change_candidate(struct paths *paths, const struct words *words, bool add)
{
    struct kith_sockaddr address;
    uint64_t now = kith__rt_now(paths->rt);
    int err = kith_sockaddr_parse(word_at(words, 1), &address);

    if (err != 0)
        return err;
    return add ? kith_quic_conn_add_candidate(paths->conn, &address, now)
               : kith_quic_conn_remove_candidate(paths->conn, &address, now);
}

static int kill_at(struct paths *paths, const struct words *words)
{
    paths->moved = 0;
    paths->kill_at = number_at(words, 1);
    paths->kill_path = strcmp(word_at(words, 2), "busiest") == 0 ? PATHS_BUSIEST : (uint32_t)number_at(words, 2);
    return 0;
}

static int set_backup(struct paths *paths, const struct words *words, bool is_backup)
{
    return kith_quic_conn_path_set_backup(paths->conn, (uint32_t)number_at(words, 1), is_backup,
                                          kith__rt_now(paths->rt));
}

/* The words that are about a connection. */
static int run_words(struct paths *paths, const struct words *words)
{
    const char *word = words->word[0];
    uint64_t now = kith__rt_now(paths->rt);

    if (paths->conn == NULL)
        return KITH_ERR_STATE;
    if (strcmp(word, "open") == 0)
        return open_path(paths, words);
    if (strcmp(word, "abandon") == 0)
        return kith_quic_conn_path_close(paths->conn, (uint32_t)number_at(words, 1), 0x3e, now);
    if (strcmp(word, "backup") == 0 || strcmp(word, "available") == 0)
        return set_backup(paths, words, word[0] == 'b');
    if (strcmp(word, "status") == 0)
        return say_status(paths);
    if (strcmp(word, "keys") == 0)
        return kith_quic_conn_update_keys(paths->conn, now);
    if (strcmp(word, "candidate") == 0 || strcmp(word, "uncandidate") == 0)
        return change_candidate(paths, words, word[0] == 'c');
    if (strcmp(word, "candidates") == 0)
        return say_candidates(paths);
    if (strcmp(word, "punch") == 0)
        return kith_quic_conn_punch(paths->conn, now);
    if (strcmp(word, "kill") == 0)
        return paths_kill(paths, (uint32_t)number_at(words, 1));
    if (strcmp(word, "revive") == 0) {
        paths->dead_count = 0;
        return 0;
    }
    if (strcmp(word, "kill-at") == 0)
        return kill_at(paths, words);
    if (strcmp(word, "echo") == 0)
        return paths_echo(paths, number_at(words, 1));
    if (strcmp(word, "fetch") == 0)
        return paths_fetch(paths, number_at(words, 1));
    if (strcmp(word, "end") == 0) {
        kith_quic_conn_close(paths->conn, number_at(words, 1), (struct kith_slice) { NULL, 0 }, now);
        return 0;
    }
    return KITH_ERR_UNSUPPORTED;
}

void paths_command(struct paths *paths, char *line)
{
    struct words words = { .count = 0 };
    char *rest = line, *word;
    int err;

    while (words.count < WORDS_MAX && (word = strtok_r(NULL, " \r", &rest)) != NULL)
        words.word[words.count++] = word;
    if (words.count == 0)
        return;
    if (strcmp(words.word[0], "connect") == 0)
        err = connect_to(paths, &words);
    else if (strcmp(words.word[0], "ticket") == 0)
        err = say_ticket(&words);
    else
        err = run_words(paths, &words);
    printf("{\"did\":\"%s\",\"ok\":%s,\"why\":\"%s\"}\n", words.word[0], err == 0 ? "true" : "false",
           err == 0 ? "" : kith_err_name(err));
}
