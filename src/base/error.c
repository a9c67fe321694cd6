#include <kith/types.h>

struct error_fact {
    int number;
    const char *name, *text;
};

static const struct error_fact *find(int err)
{
    static const struct error_fact facts[] = { { KITH_OK, "KITH_OK", "no error" },
#define FACT(name, number, text) { number, "KITH_ERR_" #name, text },
                                               KITH_ERRORS(FACT)
#undef FACT
    };

    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++)
        if (facts[i].number == err)
            return &facts[i];
    return NULL;
}

const char *kith_strerror(int err)
{
    const struct error_fact *fact = find(err);

    return fact != NULL ? fact->text : "unknown error";
}

const char *kith_err_name(int err)
{
    const struct error_fact *fact = find(err);

    return fact != NULL ? fact->name : "KITH_ERR_UNKNOWN";
}
