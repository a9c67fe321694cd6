#include "base/test.h"
#include "rt/uv/random.h"

#include <sodium.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bool is_zero(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

KITH_TEST(uv_random_small_requests_come_from_the_buffer_and_are_wiped_there)
{
    struct kith_uv_random random;
    uint8_t out[KITH_UV_RANDOM_DIRECT], next[KITH_UV_RANDOM_SIZE], large[64] = { 0 };

    KITH_CHECK(sodium_init() >= 0);
    kith__uv_random_init(&random);
    kith__uv_random_fill(&random, out, 8);
    KITH_CHECK_EQ(random.left, KITH_UV_RANDOM_SIZE - 8);
    KITH_CHECK(is_zero(random.bytes, 8));
    memcpy(next, random.bytes + 8, sizeof out);
    kith__uv_random_fill(&random, out, sizeof out);
    KITH_CHECK_BYTES(out, next, sizeof out);
    KITH_CHECK(is_zero(random.bytes, 8 + sizeof out));
    kith__uv_random_fill(&random, large, sizeof large);
    KITH_CHECK_EQ(random.left, KITH_UV_RANDOM_SIZE - 8 - sizeof out); /* a key never lay in the buffer */
    KITH_CHECK(!is_zero(large, sizeof large));
    while (random.left >= sizeof out)
        kith__uv_random_fill(&random, out, sizeof out);
    kith__uv_random_fill(&random, next, sizeof out); /* never part of an old filling and part of a new one */
    KITH_CHECK_EQ(random.left, KITH_UV_RANDOM_SIZE - sizeof out);
    kith__uv_random_dispose(&random);
    KITH_CHECK(is_zero(random.bytes, sizeof random.bytes));
}

KITH_TEST(uv_random_a_forked_process_draws_other_numbers)
{
    struct kith_uv_random random;
    uint8_t ours[16], theirs[16] = { 0 };
    int ends[2], status;
    pid_t child;

    KITH_CHECK(sodium_init() >= 0);
    kith__uv_random_init(&random);
    kith__uv_random_fill(&random, ours, 1); /* filled before the fork */
    KITH_CHECK_EQ(pipe(ends), 0);
    child = fork();
    KITH_CHECK(child >= 0);
    kith__uv_random_fill(&random, ours, sizeof ours);
    if (child == 0)
        _exit(write(ends[1], ours, sizeof ours) == (ssize_t)sizeof ours ? 0 : 1);
    KITH_CHECK_EQ(read(ends[0], theirs, sizeof theirs), sizeof theirs);
    KITH_CHECK_EQ(waitpid(child, &status, 0), child);
    KITH_CHECK_EQ(status, 0);
    KITH_CHECK(memcmp(ours, theirs, sizeof ours) != 0);
    close(ends[0]);
    close(ends[1]);
    kith__uv_random_dispose(&random);
}
