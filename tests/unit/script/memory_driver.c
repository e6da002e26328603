/* memory_driver.c: makes the n-th allocation of Lua states fail, as if their cap were reached there.
 *
 * The library for tests is linked with --wrap=lua_setallocf, so that the allocator which a state sets is
 * asked through the one here, with its own argument. */
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/ban.h"

void __real_lua_setallocf(lua_State *L, lua_Alloc f, void *ud);
void __wrap_lua_setallocf(lua_State *L, lua_Alloc f, void *ud);
void memory_fail(uint64_t nth, bool sticky);
uint64_t memory_asked(void);

static struct {
    lua_Alloc allocate; /* every state's */
    uint64_t asked, nth;
    bool sticky;
} memory;

/* Blocks that grow do not fail: the allocator has a reserve for them (state.c says why). */
static void *ask(void *ud, void *ptr, size_t old_size, size_t new_size)
{
    if (new_size > old_size && !ptr) {
        memory.asked++;
        if (memory.nth &&
            (memory.asked == memory.nth || (memory.sticky && memory.asked > memory.nth))) {
            return NULL;
        }
    }
    return memory.allocate(ud, ptr, old_size, new_size);
}

void __wrap_lua_setallocf(lua_State *L, lua_Alloc f, void *ud)
{
    void *now = NULL;
    if (lua_getallocf(L, &now) == ask) {
        __real_lua_setallocf(L, f, ud); /* it is about to be closed */
        return;
    }
    memory.allocate = f;
    __real_lua_setallocf(L, ask, ud);
}

/* From now on the `nth` allocation fails, and when `sticky` all behind it; 0: none does. */
void memory_fail(uint64_t nth, bool sticky)
{
    memory.asked = 0;
    memory.nth = nth;
    memory.sticky = sticky;
}

uint64_t memory_asked(void)
{
    return memory.asked;
}
