/* The main program of every unit-test binary: tests registered themselves before main (src/base/test.h). */
#include "base/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TESTS_MAX = 4096 };

static struct CMUnitTest tests[TESTS_MAX];
static size_t test_count;

void kith__test_register(const char *name, void (*run)(void **state))
{
    if (test_count == TESTS_MAX)
        abort();
    tests[test_count++] = (struct CMUnitTest) { name, run, NULL, NULL, NULL };
}

uint64_t kith__test_seed(uint64_t otherwise)
{
    const char *text = getenv("KITH_SEED");

    return text != NULL ? strtoull(text, NULL, 0) : otherwise;
}

uint64_t kith__test_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void *failing_resize(void *ctx, void *ptr, size_t size)
{
    struct kith_test_mem *test_mem = ctx;

    if (size == 0) {
        test_mem->live -= ptr != NULL;
        free(ptr);
        return NULL;
    }
    if (++test_mem->calls == test_mem->fail_at)
        return NULL;
    test_mem->live += ptr == NULL;
    return realloc(ptr, size);
}

void kith__test_mem_init(struct kith_test_mem *test_mem, uint64_t fail_at)
{
    *test_mem = (struct kith_test_mem) { .mem = { failing_resize, test_mem }, .fail_at = fail_at };
}

static bool is_wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strstr(name, argv[i]) != NULL)
            return true;
    return argc == 1;
}

int main(int argc, char **argv)
{
    size_t kept = 0;

    for (size_t i = 0; i < test_count; i++)
        if (is_wanted(tests[i].name, argc, argv))
            tests[kept++] = tests[i];
    if (kept == 0) {
        fprintf(stderr, "no test has such a name\n");
        return 2;
    }
    return _cmocka_run_group_tests(argv[0], tests, kept, NULL, NULL) == 0 ? 0 : 1;
}
