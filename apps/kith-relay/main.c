/* kith-relay: the relay as a program of its own. */
#include "../relay/run.h"

int main(int argc, char **argv)
{
    return relay_program("kith-relay", argc, argv);
}
