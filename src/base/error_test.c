#include "base/test.h"

KITH_TEST(every_error_has_a_name_and_a_text)
{
    KITH_CHECK_STR(kith_strerror(0), "no error");
    KITH_CHECK_STR(kith_err_name(0), "KITH_OK");
    KITH_CHECK_STR(kith_err_name(KITH_ERR_NOMEM), "KITH_ERR_NOMEM");
    KITH_CHECK_STR(kith_strerror(KITH_ERR_NOMEM), "out of memory");
    KITH_CHECK_STR(kith_strerror(-12345), "unknown error");
    KITH_CHECK_STR(kith_err_name(1), "KITH_ERR_UNKNOWN");
    for (int err = -1; err >= KITH_ERR_INTERNAL; err--)
        KITH_CHECK(kith_strerror(err)[0] != 'u' || kith_strerror(err)[1] != 'n');
}
