/* Replays corpus files through a fuzz target without a fuzzer: `replay-NAME FILE|DIRECTORY...`. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static int replayed;

static void replay_file(const char *path, long size)
{
    FILE *file = fopen(path, "rb");
    /* Exactly as large as the input, so that a sanitizer sees the first byte read beyond it. */
    uint8_t *bytes = malloc(size > 0 ? (size_t)size : 1);

    if (file == NULL || bytes == NULL || fread(bytes, 1, (size_t)size, file) != (size_t)size) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(1);
    }
    fclose(file);
    LLVMFuzzerTestOneInput(bytes, (size_t)size);
    free(bytes);
    replayed++;
}

static void replay(const char *path)
{
    struct stat info;
    struct dirent *entry;
    DIR *directory;

    if (stat(path, &info) != 0) {
        perror(path);
        exit(1);
    }
    if (!S_ISDIR(info.st_mode)) {
        replay_file(path, (long)info.st_size);
        return;
    }
    directory = opendir(path);
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        char inner[4096];

        if (entry->d_name[0] == '.')
            continue;
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        replay(inner);
    }
    if (directory != NULL)
        closedir(directory);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    if (replayed == 0) {
        fprintf(stderr, "no corpus file found\n");
        return 1;
    }
    printf("replayed %d inputs\n", replayed);
    return 0;
}
