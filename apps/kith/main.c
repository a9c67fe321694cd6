/* kith: the command-line program. This file only finds the command. */
#include "commands.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct cli_command *const commands[] = {
    &command_send,   &command_receive, &command_listen, &command_connect, &command_ping, &command_speed,
    &command_lookup, &command_key,     &command_ticket, &command_relay,   &command_dns,  &command_serve,
};
/* dumbpipe's words. */
static const struct cli_command *const synonyms[] = {
    &command_listen_tcp,
    &command_listen_unix,
    &command_connect_tcp,
    &command_connect_unix,
};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0], SYNONYM_COUNT = sizeof synonyms / sizeof synonyms[0] };

static const struct cli_command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i]->name, name) == 0 ||
            (commands[i]->alias != NULL && strcmp(commands[i]->alias, name) == 0))
            return commands[i];
    }
    for (size_t i = 0; i < SYNONYM_COUNT; i++) {
        if (strcmp(synonyms[i]->name, name) == 0)
            return synonyms[i];
    }
    return NULL;
}

static void print_list(FILE *file)
{
    fprintf(file, "Usage: kith COMMAND [OPTIONS] ...\n\n"
                  "Connects devices by their public keys, not by their IP addresses.\n\nCommands\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(file, "  %-10s%s\n", commands[i]->name, commands[i]->summary);
    fprintf(file, "  %-10s%s\n  %-10s%s\n\n", "help", "this text, or that of a command", "version", "the version");
    fprintf(file, "kith COMMAND --help tells more, and so does man kith.\n");
}

static int run(const struct cli_command *command, int argc, char **argv)
{
    struct cli cli = { .command = command };
    int code = command->run(&cli, argc, argv);

    cli_close(&cli, 0);
    /* A line that failed earlier is gone from the buffer: only the mark of the stream still tells. */
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == CLI_EXIT_OK) {
        output_note("kith %s: the output could not be written: is the disk full, or the reader gone?", command->name);
        code = CLI_EXIT_FAILED;
    }
    return code;
}

static int help(int argc, char **argv)
{
    char *with_help[] = { argv[0], NULL, NULL };
    const struct cli_command *command;
    char option[] = "--help";

    if (argc < 2) {
        print_list(stdout);
        return CLI_EXIT_OK;
    }
    if ((command = find_command(argv[1])) == NULL) {
        fprintf(stderr, "kith: there is no command '%.80s'; 'kith help' lists them\n", argv[1]);
        return CLI_EXIT_USAGE;
    }
    with_help[1] = option;
    return run(command, 2, with_help);
}

/*
 * A standard descriptor that was given closed must not become a socket or a file of ours, into which output would go then.
 * In its place: one from which nothing comes, and that cannot be written.
 */
static void fill_standard_descriptors(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDONLY);
    } while (fd >= 0 && fd <= 2);
    if (fd > 2)
        close(fd);
}

int main(int argc, char **argv)
{
    const struct cli_command *command;
    const char *name = argc > 1 ? argv[1] : NULL;

    fill_standard_descriptors();
    if (name == NULL) {
        print_list(stderr);
        return CLI_EXIT_USAGE;
    }
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return help(argc - 1, argv + 1);
    if (strcmp(name, "version") == 0 || strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        if (argc > 2 && strcmp(argv[2], "--json") == 0)
            return output_json(json_pack("{s:s}", "version", kith_version())) ? CLI_EXIT_OK : CLI_EXIT_FAILED;
        printf("kith %s\n", kith_version());
        return fflush(stdout) == 0 ? CLI_EXIT_OK : CLI_EXIT_FAILED;
    }
    if ((command = find_command(name)) == NULL) {
        fprintf(stderr, "kith: there is no command '%.80s'; 'kith help' lists them\n", name);
        return CLI_EXIT_USAGE;
    }
    return run(command, argc - 1, argv + 1);
}
