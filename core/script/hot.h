/* hot.h: the inside of hot states, for hot.c, reader.c, tests and diagnosis. Private to the script room. */
#ifndef SCRIPT_HOT_H
#define SCRIPT_HOT_H

#include <lua.h>
#include <stddef.h>

#include "base/list.h"
#include "script/script.h"

struct budget;
struct cJSON;
struct state;

enum {
    HOT_HANDLER = 1 /* where on the stack the message handler is, always */
};

struct script_hot {
    struct state *state;
    struct budget *budget;         /* the state's */
    struct cJSON *config;          /* our copy of its policies, libraries and program */
    struct script_request request; /* at this address for all pickers */
    struct script_head head;       /* likewise for all readers */
    struct list pickers, readers;
    int functions; /* registry reference: of the configuration, once they were asked for */
};

/* Lends: as long as hot. */
struct state *hot_state(struct script_hot *hot);
/* The function that C calls for a pick. [-0, +1, -] */
void hot_push_pick(lua_State *L, const struct script_picker *picker);
/* "file:line: text" of a failure; `origin` when the text does not say where. */
void hot_sentence(char *to, size_t size, const char *origin, const char *text);
/* Frees the first of a list of readers. */
void reader_free_first(struct list *readers);

#endif
