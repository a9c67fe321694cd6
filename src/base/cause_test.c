#include "base/cause.h"
#include "base/test.h"

KITH_TEST(cause_is_taken_once_and_only_for_its_own_code)
{
    KITH_CHECK_EQ(kith__cause_take(-17), 0);
    KITH_CHECK_EQ(kith__cause_note(-17, 24), -17);
    KITH_CHECK_EQ(kith__cause_take(-17), 24);
    KITH_CHECK_EQ(kith__cause_take(-17), 0);
    KITH_CHECK_EQ(kith__cause_note(-17, 24), -17);
    KITH_CHECK_EQ(kith__cause_take(-11), 0); /* another failure: the number is not its */
    KITH_CHECK_EQ(kith__cause_take(-17), 0);
    KITH_CHECK_EQ(kith__cause_take(0), 0);
}
