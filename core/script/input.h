/* input.h: what a policy was asked with, in a line. Private to the script room. */
#ifndef SCRIPT_INPUT_H
#define SCRIPT_INPUT_H

#include <stddef.h>

struct cJSON;

/* The key figures of a view, scaling's or alerts', that are known: "instances 3, cpu_percent 91.5". */
void input_put(char *to, size_t size, const struct cJSON *view);

#endif
