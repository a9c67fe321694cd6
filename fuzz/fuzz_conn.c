/* Two hosts driven by a list of operations: src/quic/conn/ops.h. */
#include "quic/conn/ops.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size <= 4096)
        ops_run(bytes, size);
    return 0;
}
