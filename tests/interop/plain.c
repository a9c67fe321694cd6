/*
 * Usage:
 *   plain server ADDRESS:PORT --cert FILE --key FILE [--file FILE] [--mode accept|retry|refuse] [--out DIR] [--key-update N]
 *         [--instance TEXT]
 *   plain client ADDRESS:PORT --name NAME (--ca FILE | --any) [--path PATH] [--repeat N] [--upload FILE] [--resume]
 *         [--migrate] [--out DIR] [--key-update N]
 *
 * A server answers every request with FILE, until it is killed; one that is started again with the same --instance resets the
 * connections of the one before. A client sends its request N times at once; --resume does it
 * all once more over a second connection with the session and the token of the first. --key-update: a new key after N packets.
 * What happens is told on standard output, a line each, with a word in capitals first.
 */
#include "plain.h"
#include "base/mem.h"
#include "tls/tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct kith_slice read_file(const char *path)
{
    struct kith_buf bytes;
    uint8_t part[65536];
    size_t size;
    FILE *file = fopen(path, "rb");

    if (file == NULL) {
        perror(path);
        exit(2);
    }
    kith__buf_init(&bytes, kith_mem_default());
    while ((size = fread(part, 1, sizeof part, file)) != 0)
        if (kith__buf_append(&bytes, part, size) != 0)
            abort();
    fclose(file);
    return kith__buf_slice(&bytes); /* ends with drop_file */
}

static void drop_file(struct kith_slice bytes)
{
    kith__free(kith_mem_default(), (void *)bytes.ptr);
}

static int usage(void)
{
    fprintf(stderr, "plain: see the head of tests/interop/plain.c for the words\n");
    return 2;
}

/* A word without a value. */
static bool read_switch(const char *word, struct plain_options *options)
{
    if (strcmp(word, "--any") == 0)
        options->x509->accept_any = true;
    else if (strcmp(word, "--resume") == 0)
        options->resume = true;
    else if (strcmp(word, "--migrate") == 0)
        options->migrate = true;
    else
        return false;
    return true;
}

static bool read_option(const char *word, const char *value, struct plain_options *options)
{
    if (strcmp(word, "--cert") == 0)
        options->x509->chain = read_file(value);
    else if (strcmp(word, "--key") == 0)
        options->x509->key = read_file(value);
    else if (strcmp(word, "--ca") == 0)
        options->x509->anchors = read_file(value);
    else if (strcmp(word, "--file") == 0 || strcmp(word, "--upload") == 0)
        options->file = read_file(value);
    else if (strcmp(word, "--mode") == 0)
        options->mode = value;
    else if (strcmp(word, "--name") == 0)
        options->name = value;
    else if (strcmp(word, "--path") == 0)
        options->path = value;
    else if (strcmp(word, "--instance") == 0)
        options->instance = value;
    else if (strcmp(word, "--out") == 0)
        options->out_dir = value;
    else if (strcmp(word, "--repeat") == 0)
        options->repeat = strtoull(value, NULL, 10);
    else if (strcmp(word, "--key-update") == 0)
        options->key_update_after = strtoull(value, NULL, 10);
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    struct kith_tls_x509 x509 = { .accept_any = false };
    struct plain_options options = { .x509 = &x509, .mode = "accept", .name = "localhost", .path = "/", .repeat = 1 };
    int code;

    if (argc < 3 || kith_sockaddr_parse(argv[2], &options.address) != 0)
        return usage();
    options.is_server = strcmp(argv[1], "server") == 0;
    if (!options.is_server && strcmp(argv[1], "client") != 0)
        return usage();
    for (int i = 3; i < argc; i++) {
        if (read_switch(argv[i], &options))
            continue;
        if (i + 1 >= argc || !read_option(argv[i], argv[i + 1], &options))
            return usage();
        i++;
    }
    code = plain_run(&options);
    drop_file(x509.chain);
    drop_file(x509.key);
    drop_file(x509.anchors);
    drop_file(options.file);
    return code;
}
