/* main.c: where every process of tidegate starts. */
#include "app/children.h"
#include "commands/commands.h"
#include "base/str.h"

int main(int argc, char **argv)
{
    /* The master starts its children as ourselves. */
    if (argc > 1 && str_same(argv[1], "--worker")) {
        return worker_main(argc, argv);
    }
    if (argc > 1 && str_same(argv[1], "--policy")) {
        return policy_main(argc, argv);
    }
    return commands_main(argc, argv);
}
