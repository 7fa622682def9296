/* The memory of the process that V8 does not manage; see memory.c. */
#pragma once

#include <node_api.h>

/* Makes malloc return large blocks to the kernel when they are freed. */
void keep_malloc_small(void);

/* Returns free blocks of malloc, and pages of code that are mapped but may not be needed, to the kernel. */
napi_value release_memory(napi_env env, napi_callback_info info);
