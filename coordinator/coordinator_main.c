#include "coordinator/commands.h"

int main(int argc, char **argv)
{
    return hanse_cli_main(&hanse_coordinator_program, argc, argv);
}
