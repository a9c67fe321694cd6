/* kith ticket: what a ticket says, without any network. */
#include "commands.h"

#include <string.h>

static json_t *json_addrs(const struct kith_addr *addr)
{
    json_t *list = json_array();
    char text[KITH_SOCKADDR_TEXT_SIZE];

    for (size_t i = 0; i < addr->ip_count; i++)
        json_array_append_new(list, json_string(kith_sockaddr_format(&addr->ips[i], text)));
    return list;
}

static json_t *json_relays(const struct kith_addr *addr)
{
    json_t *list = json_array();

    for (size_t i = 0; i < addr->relay_count; i++)
        json_array_append_new(list, json_string(addr->relays[i]));
    return list;
}

static int print_ticket(struct cli *cli, const char *kind, const struct kith_addr *addr,
                        const struct kith_blob_ticket *blob)
{
    char id[KITH_ID_TEXT_SIZE], hash[KITH_HASH_TEXT_SIZE] = "", text[KITH_SOCKADDR_TEXT_SIZE];
    char relay[CLI_PATH_SIZE];
    const char *format = blob == NULL ? NULL : blob->format == KITH_BLOB_HASH_SEQ ? "collection" : "raw";

    kith_id_format(&addr->id, id);
    if (blob != NULL)
        kith_hash_format(&blob->hash, hash);
    if (cli->json) {
        json_t *object = json_pack("{s:s, s:s, s:o, s:o, s:I}", "kind", kind, "id", id, "addresses", json_addrs(addr),
                                   "relays", json_relays(addr), "ignored", (json_int_t)addr->ignored_count);

        if (blob != NULL && object != NULL) {
            json_object_set_new(object, "hash", json_string(hash));
            json_object_set_new(object, "format", json_string(format));
        }
        return output_json(object) ? CLI_EXIT_OK : CLI_EXIT_FAILED;
    }
    printf("kind     %s\nid       %s\n", kind, id);
    for (size_t i = 0; i < addr->relay_count; i++)
        printf("relay    %s\n", output_clean(addr->relays[i], relay, sizeof relay));
    for (size_t i = 0; i < addr->ip_count; i++)
        printf("address  %s\n", kith_sockaddr_format(&addr->ips[i], text));
    if (addr->ignored_count > 0)
        printf("ignored  %zu addresses that this version does not know, or that are too long or too many\n",
               addr->ignored_count);
    if (blob != NULL)
        printf("hash     %s\nformat   %s\n", hash, format);
    return CLI_EXIT_OK;
}

static int run(struct cli *cli, int argc, char **argv)
{
    const struct option_spec own[] = { { 0 } };
    int code = cli_parse(cli, own, argc, argv, 1, 1);
    struct kith_blob_ticket blob;
    struct kith_addr addr;
    const char *text;

    if (code != CLI_GO_ON)
        return code;
    text = cli->args.items[0];
    if (strncmp(text, "blob", 4) == 0) {
        if (kith_blob_ticket_parse(text, &blob) != 0)
            return cli_usage(cli, "cannot read the ticket: %s", kith_error_last()->text);
        return print_ticket(cli, "blob", &blob.addr, &blob);
    }
    if (kith_addr_parse(text, &addr) != 0)
        return cli_usage(cli, "cannot read the ticket: %s", kith_error_last()->text);
    return print_ticket(cli, strncmp(text, "endpoint", 8) == 0 ? "endpoint" : "id", &addr, NULL);
}

const struct cli_command command_ticket = {
    .name = "ticket",
    .arguments = "TICKET",
    .summary = "show what a ticket says",
    .details = "Understands endpoint tickets, blob tickets and bare ids. Nothing is sent.\n",
    .run = run,
};
