/* kith-dns: the lookup server as a program of its own. */
#include "../dns/run.h"

int main(int argc, char **argv)
{
    return dns_program("kith-dns", argc, argv);
}
