/**
 * Unit tests: KITH_TEST(name) { ... } registers itself before main; one program per directory runs all tests of its
 * files through cmocka and prints one line each. `program NAME...` runs only tests whose name contains a NAME.
 * Checks end the test at the first failure with file and line. Test files only.
 */
#ifndef KITH_BASE_TEST_H
#define KITH_BASE_TEST_H

/* cmocka.h needs these four before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include "base/assert.h"
#include <kith/types.h>

void kith__test_register(const char *name, void (*run)(void **state));

/** The seed of randomised tests: KITH_SEED in the environment, else the given default. Print it in failures. */
uint64_t kith__test_seed(uint64_t otherwise);
/** Deterministic random numbers for tests (splitmix64). */
uint64_t kith__test_random(uint64_t *state);
/** An allocator that fails the n-th call (1-based; 0 = never) and counts live blocks. */
struct kith_test_mem {
    struct kith_mem mem;
    uint64_t calls, fail_at;
    int64_t live;
};
void kith__test_mem_init(struct kith_test_mem *test_mem, uint64_t fail_at);

#define KITH_TEST(name)                                                                                                \
    static void name(void **state);                                                                                    \
    __attribute__((constructor)) static void name##_register(void)                                                     \
    {                                                                                                                  \
        kith__test_register(#name, name);                                                                              \
    }                                                                                                                  \
    static void name(void **test_state_unused __attribute__((unused)))

#define KITH_CHECK(fact)             _assert_true((fact) ? 1 : 0, #fact, __FILE__, __LINE__)
#define KITH_CHECK_EQ(a, b)          _assert_int_equal((uintmax_t)(a), (uintmax_t)(b), __FILE__, __LINE__)
#define KITH_CHECK_NE(a, b)          _assert_int_not_equal((uintmax_t)(a), (uintmax_t)(b), __FILE__, __LINE__)
#define KITH_CHECK_STR(a, b)         _assert_string_equal((a), (b), __FILE__, __LINE__)
#define KITH_CHECK_BYTES(a, b, size) _assert_memory_equal((a), (b), (size), __FILE__, __LINE__)

#endif
