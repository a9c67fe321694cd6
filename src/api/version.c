/* The version of the library. */
#include <kith/kith.h>

const char *kith_version(void)
{
    return "0.1.0";
}
