#include "api/pair.h"
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[32];

static const char *path_of(const char *name)
{
    static char path[128];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void begin(void)
{
    strcpy(directory, "/tmp/kith-key-XXXXXX");
    assert_non_null(mkdtemp(directory));
}

static void end(void)
{
    char command[64];

    snprintf(command, sizeof command, "rm -r %s", directory);
    KITH_CHECK_EQ(system(command), 0);
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    KITH_CHECK(fputs(text, file) >= 0);
    KITH_CHECK_EQ(fclose(file), 0);
    KITH_CHECK_EQ(chmod(path, mode), 0);
}

KITH_TEST(keyfile_is_stored_for_the_owner_alone)
{
    struct kith_secret secret, other, back;
    struct stat stat_of;

    begin();
    kith_secret_generate(&secret);
    kith_secret_generate(&other);
    KITH_CHECK(memcmp(&secret, &other, sizeof secret) != 0);
    PAIR_CHECK(kith_secret_store(path_of("a/b/key"), &secret, false), 0);
    KITH_CHECK_EQ(stat(path_of("a/b/key"), &stat_of), 0);
    KITH_CHECK_EQ(stat_of.st_mode & 07777, 0600);
    KITH_CHECK_EQ(stat(path_of("a"), &stat_of), 0);
    KITH_CHECK_EQ(stat_of.st_mode & 07777, 0700);
    PAIR_CHECK(kith_secret_load(path_of("a/b/key"), &back), 0);
    KITH_CHECK_BYTES(&back, &secret, sizeof back);
    PAIR_CHECK(kith_secret_store(path_of("a/b/key"), &other, false), KITH_ERR_EXISTS);
    PAIR_CHECK(kith_secret_load(path_of("a/b/key"), &back), 0);
    KITH_CHECK_BYTES(&back, &secret, sizeof back);
    PAIR_CHECK(kith_secret_store(path_of("a/b/key"), &other, true), 0);
    PAIR_CHECK(kith_secret_load(path_of("a/b/key"), &back), 0);
    KITH_CHECK_BYTES(&back, &other, sizeof back);
    end();
}

KITH_TEST(keyfile_that_others_may_read_is_refused)
{
    struct kith_secret secret;
    char text[KITH_SECRET_TEXT_SIZE];

    begin();
    kith_secret_generate(&secret);
    write_file(path_of("key"), kith_secret_format(&secret, text), 0640);
    PAIR_CHECK(kith_secret_load(path_of("key"), &secret), KITH_ERR_PERMISSION);
    KITH_CHECK(strstr(kith_error_last()->text, "chmod 600") != NULL);
    write_file(path_of("key"), text, 0604);
    PAIR_CHECK(kith_secret_load(path_of("key"), &secret), KITH_ERR_PERMISSION);
    KITH_CHECK_EQ(chmod(path_of("key"), 0600), 0);
    PAIR_CHECK(kith_secret_load(path_of("key"), &secret), 0);
    end();
}

KITH_TEST(keyfile_that_is_no_file_is_told_at_once)
{
    struct kith_secret secret;

    begin();
    KITH_CHECK_EQ(mkfifo(path_of("fifo"), 0600), 0);
    PAIR_CHECK(kith_secret_load(path_of("fifo"), &secret), KITH_ERR_INVALID);
    PAIR_CHECK(kith_secret_load(path_of("."), &secret), KITH_ERR_INVALID);
    end();
}

KITH_TEST(keyfile_with_other_contents_is_told)
{
    struct kith_secret secret, before;
    char text[KITH_SECRET_TEXT_SIZE], framed[KITH_SECRET_TEXT_SIZE + 16];

    begin();
    memset(&secret, 7, sizeof secret);
    before = secret;
    PAIR_CHECK(kith_secret_load(path_of("none"), &secret), KITH_ERR_NOT_FOUND);
    write_file(path_of("key"), "", 0600);
    PAIR_CHECK(kith_secret_load(path_of("key"), &secret), KITH_ERR_PARSE);
    write_file(path_of("key"), "not a key\n", 0600);
    PAIR_CHECK(kith_secret_load(path_of("key"), &secret), KITH_ERR_PARSE);
    KITH_CHECK_BYTES(&secret, &before, sizeof secret);
    kith_secret_format(&secret, text);
    snprintf(framed, sizeof framed, " \t%s\r\n\n", text);
    write_file(path_of("key"), framed, 0600);
    PAIR_CHECK(kith_secret_load(path_of("key"), &secret), 0);
    PAIR_CHECK(kith_secret_store(path_of("key/below"), &secret, false), KITH_ERR_NOT_FOUND); /* no directory */
    end();
}
