/* main.c: where every process of tidegate starts. */
#include "app/commands.h"

int main(int argc, char **argv)
{
    return commands_main(argc, argv);
}
