/* kith lookup: what each lookup service says about an id. */
#include "commands.h"

#include <string.h>

static json_t *json_of_item(const struct kith_search_item *item, const char *id)
{
    char text[KITH_SOCKADDR_TEXT_SIZE];
    json_t *object, *relays, *addresses;

    if (item->is_end)
        return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:f}", "event", item->err == 0 ? "done" : "failed", "id", id,
                         "service", item->name, "label", item->label, "code",
                         item->err == 0 ? "KITH_OK" : kith_err_name(item->err), "text", item->why, "took_ms",
                         (double)item->took_ns / 1e6);
    relays = json_array();
    addresses = json_array();
    for (size_t i = 0; i < item->addr.relay_count; i++)
        json_array_append_new(relays, json_string(item->addr.relays[i]));
    for (size_t i = 0; i < item->addr.ip_count; i++)
        json_array_append_new(addresses, json_string(kith_sockaddr_format(&item->addr.ips[i], text)));
    object = json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:I, s:b, s:f}", "event", "found", "id", id, "service",
                       item->name, "label", item->label, "relays", relays, "addresses", addresses, "ignored",
                       (json_int_t)item->addr.ignored_count, "news", item->is_news, "took_ms",
                       (double)item->took_ns / 1e6);
    if (object != NULL && item->user_data[0] != 0)
        json_object_set_new(object, "user_data", json_string(item->user_data));
    if (object != NULL && item->age_ns != KITH_NEVER)
        json_object_set_new(object, "age_s", json_real((double)item->age_ns / 1e9));
    return object;
}

/* "3 min ago"; what is in the future is "now". text holds OUTPUT_NUMBER_SIZE + 16 bytes. */
static const char *age_text(uint64_t age_ns, char *text)
{
    static const struct {
        uint64_t s;
        const char *name;
    } units[] = { { 86400, "days" }, { 3600, "h" }, { 60, "min" }, { 1, "s" } };
    uint64_t s = age_ns / KITH_NS_PER_S;

    if (age_ns == KITH_NEVER)
        return ", age not told";
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (s >= units[i].s) {
            snprintf(text, OUTPUT_NUMBER_SIZE + 16, ", told %llu %s ago", (unsigned long long)(s / units[i].s),
                     units[i].name);
            return text;
        }
    return ", told just now";
}

static void print_item(const struct cli *cli, const struct kith_search_item *item)
{
    char label[512], value[CLI_PATH_SIZE], age[OUTPUT_NUMBER_SIZE + 16], took[OUTPUT_NUMBER_SIZE];

    output_clean(item->label, label, sizeof label);
    output_duration(item->took_ns, took);
    if (item->is_end) {
        if (item->err != 0)
            output_note("%s: %s (after %s)", label, output_clean(item->why, value, sizeof value), took);
        else if (cli->verbose > 0)
            output_note("%s: through (after %s)", label, took);
        return;
    }
    printf("%s (after %s%s)\n", label, took, age_text(item->age_ns, age));
    for (size_t i = 0; i < item->addr.relay_count; i++)
        printf("  relay      %s\n", output_clean(item->addr.relays[i], value, sizeof value));
    for (size_t i = 0; i < item->addr.ip_count; i++)
        printf("  address    %s\n", kith_sockaddr_format(&item->addr.ips[i], value));
    if (item->user_data[0] != 0)
        printf("  user data  %s\n", output_clean(item->user_data, value, sizeof value));
    if (item->addr.ignored_count > 0)
        printf("  ignored    %zu addresses of other kinds, or too many\n", item->addr.ignored_count);
    if (item->addr.ip_count + item->addr.relay_count + item->addr.ignored_count == 0)
        printf("  no address\n");
}

/* One after the other, as they come. Returns how it ended: END, NOT_FOUND, TIMEOUT, ...; *found: something was. */
static int print_all(struct cli *cli, struct kith_search *search, const char *id, bool *found)
{
    uint64_t end_ns = loop_now() + cli->timeout_ns, now_ns;
    struct kith_search_item item;
    struct kith_op *op;
    int err;

    for (;;) {
        if ((err = kith_lookup_next_start(search, &op)) != 0)
            return err;
        now_ns = loop_now();
        kith_op_set_limit(op, now_ns < end_ns ? end_ns - now_ns : 0);
        err = loop_wait(&cli->loop, op);
        kith_op_free(op);
        if (err == KITH_ERR_CANCELLED || err == KITH_ERR_TIMEOUT)
            return err;
        if ((err = kith_lookup_next(search, 0, &item)) != 0)
            return err;
        *found = *found || !item.is_end;
        if (!cli->json)
            print_item(cli, &item);
        else if (!output_json(json_of_item(&item, id)))
            return KITH_ERR_IO;
        if (fflush(stdout) != 0)
            return KITH_ERR_IO;
    }
}

/* Says how it ended, if there is something to say. */
static int finish(struct cli *cli, int err, bool found, const char *name)
{
    static const char no_time[] = "not every service answered in the time of --timeout";

    switch (err) {
    case KITH_ERR_END:
        return 0;
    case KITH_ERR_TIMEOUT:
        if (!found)
            return cli_fail_text(cli, err, no_time, "cannot find %s", name);
        output_note("kith lookup: %s", no_time);
        return 0;
    case KITH_ERR_NOT_FOUND: /* whom nobody knows cannot be reached: exit code 3 */
        return cli_fail_text(cli, KITH_ERR_NO_ADDRESS, "no service knows where it is", "cannot find %s", name);
    default:
        return cli_fail(cli, err, "cannot look for %s", name);
    }
}

static int look(struct cli *cli, const struct kith_addr *addr)
{
    char name[KITH_ID_SHORT_SIZE], id[KITH_ID_TEXT_SIZE];
    struct kith_search *search;
    bool found = false;
    int err;

    kith_id_format_short(&addr->id, name);
    kith_id_format(&addr->id, id);
    if ((err = kith_lookup_start(cli->endpoint, &addr->id, &search)) != 0)
        return cli_fail(cli, err, "cannot look for %s", name);
    err = print_all(cli, search, id, &found);
    err = finish(cli, err, found, name);
    kith_lookup_free(search);
    return err;
}

static int run(struct cli *cli, int argc, char **argv)
{
    const struct option_spec own[] = { { 0 } };
    int code = cli_parse(cli, own, argc, argv, 1, 1);
    struct kith_addr addr;

    if (code != CLI_GO_ON)
        return code;
    if (kith_addr_parse(cli->args.items[0], &addr) != 0)
        return cli_usage(cli, "cannot tell whom to look for: %s", kith_error_last()->text);
    if (cli->lookup_count == 0)
        return cli_usage(cli, "nobody can be asked: name a service with --lookup");
    cli->has_new_key = true;          /* its own id may be the one that it asks for */
    cli->publish = KITH_PUBLISH_NONE; /* who only asks is not to be found */
    cli->relay_count = 0;             /* nor needs relays */
    cli->relay_only = false;
    if ((code = cli_open(cli, NULL, 0)) == 0)
        code = look(cli, &addr);
    cli_close(cli, 0);
    return code;
}

const struct cli_command command_lookup = {
    .name = "lookup",
    .arguments = "ID|TICKET",
    .summary = "ask where an endpoint is, and show who says what",
    .details = "Shows what each service of --lookup says as it comes: relays, addresses, user data, how long ago the\n"
               "endpoint told it so itself, and how long the answer took. Who failed, and why, is told on stderr.\n"
               "Exit code 3 if no service knows the id. Nothing is published. It takes 15 s at most, or --timeout.\n",
    .run = run,
};
