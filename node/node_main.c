#include "node/commands.h"

int main(int argc, char **argv)
{
    return hanse_cli_main(&hanse_node_program, argc, argv);
}
