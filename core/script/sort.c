/* sort.c: see sort.h.
 *
 * The quicksort of ltablib.c of Lua 5.1, Copyright (C) 1994-2012 Lua.org, PUC-Rio, under the MIT
 * licence, so that an order function is asked as the Lua manual says.
 * Invariants: owns nothing; the list is at index 1 and the order function, or nil, at 2. */
#include "script/sort.h"

#include <lauxlib.h>
#include <stdbool.h>

#include "script/budget.h"
#include "script/state.h"
#include "base/ban.h"

/* Whether the value at `a` comes before the one at `b`; both from the top. [-0, +0, e] */
static bool less(lua_State *L, int a, int b)
{
    budget_check(state_budget(L), L);
    if (lua_isnil(L, 2)) {
        return lua_lessthan(L, a, b);
    }
    lua_pushvalue(L, 2);
    lua_pushvalue(L, a - 1);
    lua_pushvalue(L, b - 2);
    lua_call(L, 2, 1);
    bool before = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return before;
}

/* list[i], list[j] = the value on the top, the one below. [-2, +0, e] */
static void put_two(lua_State *L, int i, int j)
{
    lua_rawseti(L, 1, i);
    lua_rawseti(L, 1, j);
}

/* Puts list[i] and list[j] in order. [-0, +0, e] */
static void order(lua_State *L, int i, int j)
{
    lua_rawgeti(L, 1, i);
    lua_rawgeti(L, 1, j);
    if (less(L, -1, -2)) {
        put_two(L, i, j);
    } else {
        lua_pop(L, 2);
    }
}

/* Parts low .. high about the pivot on the top, which is list[high - 1]; where it belongs. [-1, +0, e] */
static int part(lua_State *L, int low, int high)
{
    int i = low, j = high - 1;
    for (;;) {
        while (lua_rawgeti(L, 1, ++i), less(L, -1, -2)) {
            if (i > high) {
                luaL_error(L, "invalid order function for sorting");
            }
            lua_pop(L, 1);
        }
        while (lua_rawgeti(L, 1, --j), less(L, -3, -1)) {
            if (j < low) {
                luaL_error(L, "invalid order function for sorting");
            }
            lua_pop(L, 1);
        }
        if (j < i) {
            lua_pop(L, 3);
            break;
        }
        put_two(L, i, j);
    }
    lua_rawgeti(L, 1, high - 1);
    lua_rawgeti(L, 1, i);
    put_two(L, high - 1, i);
    return i;
}

static void sort(lua_State *L, int low, int high)
{
    while (low < high) {
        order(L, low, high);
        if (high - low == 1) {
            return;
        }
        int middle = low + (high - low) / 2;
        order(L, low, middle);
        order(L, middle, high);
        if (high - low == 2) {
            return;
        }
        lua_rawgeti(L, 1, middle);
        lua_pushvalue(L, -1);
        lua_rawgeti(L, 1, high - 1);
        put_two(L, middle, high - 1);
        int at = part(L, low, high);
        /* The smaller half by recursion, so that it is never deep. */
        if (at - low < high - at) {
            sort(L, low, at - 1);
            low = at + 1;
        } else {
            sort(L, at + 1, high);
            high = at - 1;
        }
    }
}

int sort_list(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    if (!lua_isnoneornil(L, 2)) {
        luaL_checktype(L, 2, LUA_TFUNCTION);
    }
    lua_settop(L, 2);
    luaL_checkstack(L, 40, "sort");
    budget_depth(state_budget(L), L);
    sort(L, 1, (int)lua_objlen(L, 1));
    return 0;
}
