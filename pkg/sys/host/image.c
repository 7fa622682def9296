/*
 * The image: QuickJS's memory after loading the plugins. The build runs the executable once without an image (main.c,
 * seed). This run evaluates the plugins' script and writes this structure to a file, which the build then inserts into
 * the same executable. A plugin therefore starts with all scripts loaded: it reads, links and evaluates nothing, and
 * the kernel maps only the pages that it accesses.
 *
 * This works because a static executable has fixed addresses, so every pointer in the image stays valid, and because
 * the image contains all of QuickJS's state: its blocks (below), and the handles in `struct host_image`.
 *
 * After the image is sealed, small and medium blocks come from free lists and from chunks that malloc allocates; larger
 * blocks come from malloc directly. malloc maps and unmaps pages for nearly each of the medium blocks. The first write
 * to a page of the image copies it, which costs more than 1 us. So blocks that were freed in the image are not used
 * again, and reference counts of its values are not written (hack/quickjs.patch).
 */
#include <stdlib.h>
#include <string.h>

#include "host.h"

/* In its own section at a fixed address, whose content the build replaces. */
struct host_image host_image __attribute__((section(".image"), aligned(4096)));

/*
 * Without the image, loading and evaluating a plugin's own bytecode took 5.5 of the 11.7 million instructions of an ADD. The
 * time of an ADD was 0.43 of the reference plugins' (1.9.1) without it, and is 0.36 with it, measured in one run.
 */

enum {
	STEP = 16,           /* blocks with their headers are rounded up to a multiple of this */
	LARGEST_SMALL = 504,
	SMALLEST_MEDIUM = 1024, /* after the image is sealed, medium blocks with their headers are powers of two */
	LARGEST_MEDIUM = (SMALLEST_MEDIUM << (HOST_MEDIUM_CLASSES - 1)) - 8, /* larger blocks come from malloc */
	CHUNK = 256 * 1024,
};

/*
 * The header of each block: its size, and its class, or 0 for a block without a free list. Blocks are aligned to eight
 * bytes, which is sufficient for QuickJS's structures; with sixteen, each object would be larger by a fifth.
 */
struct header {
	/*
	 * With blocks aligned to sixteen, and tables that grew not cut up, the file was 270 KiB larger and an ADD some hundredths
	 * slower, because each page that is touched is mapped.
	 */
	uint64_t size : 56;
	uint64_t class : 8;
};

_Static_assert((LARGEST_SMALL + sizeof(struct header)) / STEP + 1 == HOST_SMALL_CLASSES, "a free list for each size");

struct free_block {
	struct free_block *next;
};

/* Large blocks freed before the image was sealed (tables that grew). They are split for new blocks. */
static struct free_block *spares;

static struct header *header_of(const void *block)
{
	return (struct header *)block - 1;
}

static bool is_in_image(const void *block)
{
	return (const uint8_t *)block >= host_image.memory && (const uint8_t *)block < host_image.memory + sizeof(host_image.memory);
}

/* Cuts a block off the end of the first spare that is large enough; NULL if there is none. */
static void *cut_spare(size_t whole)
{
	for (struct free_block **link = &spares; *link; link = &(*link)->next) {
		struct header *header = header_of(*link);

		if (header->size < whole + sizeof(struct free_block))
			continue;
		header->size -= whole;
		return (uint8_t *)(header + 1) + header->size;
	}
	return NULL;
}

/* Cuts a block off the current chunk; NULL if out of memory. */
static void *cut_run(size_t whole)
{
	void *block;

	if (!host_image.is_sealed && !host_image.cursor) {
		host_image.cursor = host_image.memory;
		host_image.end = host_image.memory + sizeof(host_image.memory);
	}
	if ((size_t)(host_image.end - host_image.cursor) < whole) {
		if (!host_image.is_sealed)
			return NULL;
		host_image.cursor = malloc(CHUNK);
		if (!host_image.cursor) {
			host_image.end = NULL;
			return NULL;
		}
		host_image.end = host_image.cursor + CHUNK;
	}
	block = host_image.cursor;
	host_image.cursor += whole;
	return block;
}

static void *cut(size_t whole, size_t class)
{
	struct header *header = host_image.is_sealed ? NULL : cut_spare(whole);

	if (!header)
		header = cut_run(whole);
	if (!header)
		return NULL;
	*header = (struct header){ .size = whole - sizeof(*header), .class = class };
	return header + 1;
}

/* Returns the newest free block of the class, or a new one; NULL if out of memory. */
static void *take(size_t whole, size_t class)
{
	struct free_block *block = host_image.free_lists[class];

	if (!block)
		return cut(whole, class);
	host_image.free_lists[class] = block->next;
	return block;
}

static void *allocate_medium(size_t least)
{
	size_t whole = SMALLEST_MEDIUM, class = HOST_SMALL_CLASSES;

	for (; whole < least; whole *= 2)
		class++;
	return take(whole, class);
}

static void *allocate(JSMallocState *state, size_t size)
{
	size_t whole = (size + sizeof(struct header) + STEP - 1) / STEP * STEP;
	struct header *header;

	(void)state;
	if (size > SIZE_MAX / 512)
		return NULL;
	if (size <= LARGEST_SMALL)
		return take(whole, whole / STEP);
	if (!host_image.is_sealed)
		return cut(whole, 0);
	if (size <= LARGEST_MEDIUM)
		return allocate_medium(whole);
	header = malloc(whole);
	if (!header)
		return NULL;
	*header = (struct header){ .size = whole - sizeof(*header) };
	return header + 1;
}

static void release(JSMallocState *state, void *block)
{
	size_t class;

	(void)state;
	if (!block)
		return;
	class = header_of(block)->class;
	if (class) {
		((struct free_block *)block)->next = host_image.free_lists[class];
		host_image.free_lists[class] = block;
	} else if (!is_in_image(block)) {
		free(header_of(block));
	} else if (!host_image.is_sealed) {
		((struct free_block *)block)->next = spares;
		spares = block;
	}
}

static size_t usable_size(const void *block)
{
	return header_of(block)->size;
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
	if (size <= usable_size(block))
		return block;
	if (header_of(block)->class == 0 && !is_in_image(block) && size <= SIZE_MAX / 512) {
		size_t whole = (size + sizeof(struct header) + STEP - 1) / STEP * STEP;
		struct header *header = realloc(header_of(block), whole);

		if (!header)
			return NULL;
		header->size = whole - sizeof(*header);
		return header + 1;
	}
	moved = allocate(state, size);
	if (!moved)
		return NULL;
	memcpy(moved, block, usable_size(block));
	release(state, block);
	return moved;
}

void host_seal_image(void)
{
	/* New blocks are close together in a chunk, and not scattered over the image. */
	memset(host_image.free_lists, 0, sizeof(host_image.free_lists));
	host_image.cursor = host_image.end = NULL;
	host_image.is_sealed = true;
}

const JSMallocFunctions host_allocator = {
	.js_malloc = allocate,
	.js_free = release,
	.js_realloc = reallocate,
	.js_malloc_usable_size = usable_size,
};
