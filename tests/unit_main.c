/* The main program of every unit-test binary: tests registered themselves before main (src/base/test.h). */
#include "base/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TESTS_MAX = 4096 };

struct test {
    const char *name;
    void (*run)(void **state);
    bool has_begun, is_over; /* a failed check leaves the test without coming back */
};

static struct test tests[TESTS_MAX];
static struct CMUnitTest wanted[TESTS_MAX];
static size_t test_count;

void kith__test_register(const char *name, void (*run)(void **state))
{
    if (test_count == TESTS_MAX)
        abort();
    tests[test_count++] = (struct test) { .name = name, .run = run };
}

static void run_one(void **state)
{
    struct test *test = *state;

    test->has_begun = true;
    test->run(state);
    test->is_over = true;
}

/* What a person types to see each failure again. */
static void print_replays(const char *program)
{
    const char *seed = getenv("KITH_SEED");

    for (size_t i = 0; i < test_count; i++)
        if (tests[i].has_begun && !tests[i].is_over)
            printf("replay: %s%s%s%s %s\n", seed != NULL ? "KITH_SEED=" : "", seed != NULL ? seed : "",
                   seed != NULL ? " " : "", program, tests[i].name);
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
    int failed;

    for (size_t i = 0; i < test_count; i++)
        if (is_wanted(tests[i].name, argc, argv))
            wanted[kept++] = (struct CMUnitTest) { tests[i].name, run_one, NULL, NULL, &tests[i] };
    if (kept == 0) {
        fprintf(stderr, "no test has such a name\n");
        return 2;
    }
    failed = _cmocka_run_group_tests(argv[0], wanted, kept, NULL, NULL);
    print_replays(argv[0]);
    return failed == 0 ? 0 : 1;
}
