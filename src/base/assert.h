/** Assertions on our own bookkeeping; they stay on in every build. Never used on bytes from outside. style: section 8. */
#ifndef KITH_BASE_ASSERT_H
#define KITH_BASE_ASSERT_H

/** Prints file, line and fact to stderr and aborts. */
_Noreturn void kith__assert_fail(const char *fact, const char *file, int line);

#define KITH_ASSERT(fact) ((fact) ? (void)0 : kith__assert_fail(#fact, __FILE__, __LINE__))
#define KITH_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define KITH_MIN(a, b)    ((a) < (b) ? (a) : (b))
#define KITH_MAX(a, b)    ((a) > (b) ? (a) : (b))

#endif
