/*
 * Memory for QuickJS: small blocks from a run of memory that is never given back, with a free list for each size. A call
 * lives for milliseconds; malloc(3) took a seventh of them.
 */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

enum {
	STEP = 16,           /* sizes are rounded up to this; also the alignment of blocks */
	LARGEST_SMALL = 512, /* what is larger goes to malloc */
	CLASSES = LARGEST_SMALL / STEP + 1,
	CHUNK = 256 * 1024,
};

/* In front of each block: its class, or 0 for a block of malloc's. Keeps blocks aligned. */
struct header {
	uint64_t class;
	uint64_t unused;
};

struct free_block {
	struct free_block *next;
};

static struct free_block *free_lists[CLASSES];
static _Alignas(STEP) uint8_t first_chunk[CHUNK];
static uint8_t *cursor = first_chunk, *end = first_chunk + CHUNK;

static void *take(size_t class)
{
	size_t size = sizeof(struct header) + class * STEP;
	struct free_block *block = free_lists[class];
	struct header *header;

	if (block) {
		free_lists[class] = block->next;
		return block;
	}
	if ((size_t)(end - cursor) < size) {
		cursor = malloc(CHUNK);
		if (!cursor) {
			end = NULL;
			return NULL;
		}
		end = cursor + CHUNK;
	}
	header = (struct header *)cursor;
	header->class = class;
	cursor += size;
	return header + 1;
}

static void *allocate(JSMallocState *state, size_t size)
{
	struct header *header;

	(void)state;
	if (size <= LARGEST_SMALL)
		return take((size + STEP - 1) / STEP);
	header = malloc(sizeof(*header) + size);
	if (!header)
		return NULL;
	header->class = 0;
	return header + 1;
}

static struct header *header_of(const void *block)
{
	return (struct header *)block - 1;
}

static void release(JSMallocState *state, void *block)
{
	size_t class;

	(void)state;
	if (!block)
		return;
	class = header_of(block)->class;
	if (class == 0) {
		free(header_of(block));
	} else {
		((struct free_block *)block)->next = free_lists[class];
		free_lists[class] = block;
	}
}

static size_t usable_size(const void *block)
{
	size_t class = header_of(block)->class;

	return class ? class * STEP : malloc_usable_size(header_of(block)) - sizeof(struct header);
}

static void *reallocate(JSMallocState *state, void *block, size_t size)
{
	void *moved;

	if (!block)
		return allocate(state, size);
	if (size == 0) {
		release(state, block);
		return NULL;
	}
	if (header_of(block)->class == 0 && size > LARGEST_SMALL) {
		struct header *header = realloc(header_of(block), sizeof(*header) + size);

		return header ? header + 1 : NULL;
	}
	if (size <= usable_size(block))
		return block;
	moved = allocate(state, size);
	if (!moved)
		return NULL;
	memcpy(moved, block, usable_size(block));
	release(state, block);
	return moved;
}

const JSMallocFunctions host_arena = {
	.js_malloc = allocate,
	.js_free = release,
	.js_realloc = reallocate,
	.js_malloc_usable_size = usable_size,
};
