/* kith key: make and show the permanent identity of this user. */
#include "commands.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct key_options {
    bool force, secret;
    char path[CLI_PATH_SIZE];
};

static int print_key(struct cli *cli, const struct key_options *options, const struct kith_secret *secret,
                     const char *where)
{
    struct kith_id id = kith_secret_id(secret);
    char id_text[KITH_ID_TEXT_SIZE], secret_text[KITH_SECRET_TEXT_SIZE];
    json_t *object;

    kith_id_format(&id, id_text);
    kith_secret_format(secret, secret_text);
    if (cli->json) {
        object = json_pack("{s:s, s:s}", "id", id_text, "key", where);
        if (options->secret && object != NULL)
            json_object_set_new(object, "secret", json_string(secret_text));
        output_json(object);
    } else if (options->secret) {
        printf("%s\n", secret_text);
    } else {
        printf("%s\n", id_text);
        if (!cli->quiet)
            output_note("key: %s", where);
    }
    explicit_bzero(secret_text, sizeof secret_text);
    return CLI_EXIT_OK;
}

/* A link to nothing is no key, and yet in the way of one: the same words for all verbs. 0: it is none. */
static int fail_if_dangling(struct cli *cli, const struct key_options *options, int err)
{
    struct stat info;

    if (lstat(options->path, &info) != 0 || !S_ISLNK(info.st_mode) || stat(options->path, &info) == 0)
        return 0;
    return cli_fail_text(cli, err,
                         "it is a symbolic link to a file that is not there; remove the link, then "
                         "'kith key new' makes a key",
                         "%s", options->path);
}

static int make(struct cli *cli, struct key_options *options)
{
    struct kith_secret secret;
    int err, code;

    kith_secret_generate(&secret);
    err = kith_secret_store(options->path, &secret, options->force);
    if (err == KITH_ERR_EXISTS && (code = fail_if_dangling(cli, options, err)) != 0)
        err = code;
    else if (err == KITH_ERR_EXISTS)
        err = cli_fail_text(cli, err, "a key is there already; --force replaces it, and its id is then lost for good",
                            "%s", options->path);
    else if (err != 0)
        err = cli_fail(cli, err, "cannot make a key");
    else
        err = print_key(cli, options, &secret, options->path);
    kith_secret_wipe(&secret);
    return err;
}

static int show(struct cli *cli, struct key_options *options)
{
    const char *variable = getenv("IROH_SECRET");
    struct kith_secret secret;
    int err, code;

    if (cli->key_file == NULL && variable != NULL && *variable != 0) {
        if ((err = kith_secret_parse(variable, &secret)) != 0)
            return cli_fail(cli, err, "cannot use the key in IROH_SECRET");
        err = print_key(cli, options, &secret, "IROH_SECRET");
    } else {
        err = kith_secret_load(options->path, &secret);
        if (err == KITH_ERR_NOT_FOUND && (code = fail_if_dangling(cli, options, err)) != 0)
            return code;
        if (err == KITH_ERR_NOT_FOUND)
            return cli_fail_text(cli, err, "there is no key yet; 'kith key new' makes one", "%s", options->path);
        if (err != 0)
            return cli_fail(cli, err, "cannot show the key");
        err = print_key(cli, options, &secret, options->path);
    }
    kith_secret_wipe(&secret);
    return err;
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct key_options options = { 0 };
    const struct option_spec own[] = {
        { "force", 0, OPTION_FLAG, &options.force, NULL, "new: replace a key that is there", NULL },
        { "secret", 0, OPTION_FLAG, &options.secret, NULL, "show: print the secret key itself", NULL },
        { 0 },
    };
    int code = cli_parse(cli, own, argc, argv, 0, 1);
    const char *verb;

    if (code != CLI_GO_ON)
        return code;
    verb = cli->args.count > 0 ? cli->args.items[0] : "show";
    if (!cli_key_path(cli, options.path))
        return cli_usage(cli, "there is no home directory to keep a key in; give --key FILE");
    if (options.secret && strcmp(verb, "show") != 0)
        return cli_usage(cli, "--secret belongs to 'kith key show'");
    if (options.force && strcmp(verb, "new") != 0)
        return cli_usage(cli, "--force belongs to 'kith key new'");
    if (strcmp(verb, "new") == 0)
        return make(cli, &options);
    if (strcmp(verb, "id") == 0)
        cli->quiet = true;
    else if (strcmp(verb, "show") != 0)
        return cli_usage(cli, "'%.40s' is none of new, show, id", verb);
    return show(cli, &options);
}

const struct cli_command command_key = {
    .name = "key",
    .arguments = "[new | show | id] [--key FILE]",
    .summary = "make or show a permanent key and its id",
    .details = "  new         makes a key file (mode 0600) and prints its id\n"
               "  show        prints the id, and with --secret the secret key instead (the default)\n"
               "  id          prints the id and nothing else\n"
               "\n"
               "The file is --key FILE, else $XDG_STATE_HOME/kith/key (~/.local/state/kith/key).\n"
               "Without --key, show and id look at IROH_SECRET first. Other commands use a permanent\n"
               "key only when --key or IROH_SECRET is given: kith listen --key ~/.local/state/kith/key\n",
    .run = run,
};
