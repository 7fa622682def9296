/*
 * The memory of the process that V8 does not manage, for netlink-addon.ts:
 *
 *   releaseMemory()
 *
 * Source: malloc_trim(3), mallopt(3), dl_iterate_phdr(3), madvise(2).
 */
#include "memory.h"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * glibc raises these limits up to 32 and 64 MiB while large blocks are freed. Then it keeps such blocks, and the end of
 * the heap.
 */
#define LARGE_BLOCK_BYTES (128 << 10)

void keep_malloc_small(void)
{
	mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES);
	mallopt(M_TRIM_THRESHOLD, LARGE_BLOCK_BYTES);
	/* Each further arena, which a thread gets at its first allocation, would keep its own free blocks. */
	mallopt(M_ARENA_MAX, 1);
}

/* Unmaps the pages of an object's code and constants. An access maps them again from the page cache. */
static int unmap_constants(struct dl_phdr_info *object, size_t size, void *data)
{
	(void)size, (void)data;
	size_t page = sysconf(_SC_PAGESIZE);
	for (size_t at = 0; at < object->dlpi_phnum; at++) {
		const ElfW(Phdr) *segment = &object->dlpi_phdr[at];
		/* The dynamic linker writes only to segments that are writable in the file, also to those it protects later. */
		if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W))
			continue;
		ElfW(Addr) start = object->dlpi_addr + segment->p_vaddr;
		ElfW(Addr) first = (start + page - 1) & -page;
		ElfW(Addr) end = (start + segment->p_filesz) & -page;
		if (first < end)
			madvise((void *)first, end - first, MADV_DONTNEED);
	}
	return 0;
}

napi_value release_memory(napi_env env, napi_callback_info info)
{
	(void)env, (void)info;
	malloc_trim(0);
	dl_iterate_phdr(unmap_constants, NULL);
	return NULL;
}
