#include "relay/counters.h"

#include "base/assert.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LINE_MAX_SIZE = 512 };

void kith__relay_counters_add(struct kith_relay_counters *sum, const struct kith_relay_counters *from)
{
#define KITH_RELAY_COUNTER_ADD(field, help) kith__relay_count(&sum->field, kith__relay_counter(&from->field));
    KITH_RELAY_COUNTERS(KITH_RELAY_COUNTER_ADD)
#undef KITH_RELAY_COUNTER_ADD
}

int kith__metric_write(struct kith_buf *out, const char *prefix, const char *name, const char *help, bool is_counter,
                       uint64_t value)
{
    static const char total[] = "_total";
    char text[LINE_MAX_SIZE];
    int stem = (int)strlen(name);
    int size;

    if (stem > (int)sizeof total - 1 && strcmp(name + stem - (sizeof total - 1), total) == 0)
        stem -= (int)sizeof total - 1;
    size = snprintf(text, sizeof text, "# HELP %s%.*s %s.\n# TYPE %s%.*s %s\n%s%.*s%s %" PRIu64 "\n", prefix, stem,
                    name, help, prefix, stem, name, is_counter ? "counter" : "gauge", prefix, stem, name,
                    is_counter ? total : "", value);
    KITH_ASSERT(size > 0 && (size_t)size < sizeof text); /* names and texts are ours */
    return kith__buf_append(out, text, (size_t)size);
}

int kith__relay_counters_write(const struct kith_relay_counters *counters, const struct kith_relay_gauge *gauges,
                               size_t gauge_count, struct kith_buf *out)
{
    static const char end[] = "# EOF\n", prefix[] = "relayserver_";
    size_t before = out->size;
    int err = 0;

#define KITH_RELAY_COUNTER_WRITE(field, help)                                                                          \
    if (err == 0)                                                                                                      \
        err = kith__metric_write(out, prefix, #field, help, true, kith__relay_counter(&counters->field));
    KITH_RELAY_COUNTERS(KITH_RELAY_COUNTER_WRITE)
#undef KITH_RELAY_COUNTER_WRITE
    for (size_t i = 0; err == 0 && i < gauge_count; i++)
        err = kith__metric_write(out, prefix, gauges[i].name, gauges[i].help, false, gauges[i].value);
    if (err == 0)
        err = kith__buf_append(out, end, sizeof end - 1);
    if (err != 0)
        out->size = before;
    return err;
}
