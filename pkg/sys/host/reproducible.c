/*
 * Makes images of one script identical. Without this file they would differ, because QuickJS stores stack addresses,
 * which the kernel randomises for each process, and the time, as the seed of Math.random.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>

#include "host.h"

enum { STACK_BYTES = 8 << 20 };

/*
 * Far from the executable and its heap below, and from the kernel's mappings above; within 39 bits, the minimum on
 * arm64.
 */
static void *const stack_address = (void *)0x1000000000;

static struct {
	int (*work)(const char *, const char *);
	const char *first, *second;
	int result;
} call;

static void enter(void)
{
	call.result = call.work(call.first, call.second);
}

int host_on_fixed_stack(int (*work)(const char *, const char *), const char *first, const char *second)
{
	ucontext_t here, there;
	void *stack = mmap(stack_address, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	if (stack == MAP_FAILED || getcontext(&there) < 0) {
		dprintf(2, "weft: a stack at %p: %s\n", stack_address, strerror(errno));
		return 1;
	}
	call.work = work, call.first = first, call.second = second;
	there.uc_stack.ss_sp = stack;
	there.uc_stack.ss_size = STACK_BYTES;
	there.uc_link = &here;
	makecontext(&there, enter, 0);
	return swapcontext(&here, &there) < 0 ? 1 : call.result;
}

int __real_gettimeofday(struct timeval *now, void *zone);
int __wrap_gettimeofday(struct timeval *now, void *zone);

/* Linked instead of libc's function (--wrap). QuickJS calls it once while the image is made. */
int __wrap_gettimeofday(struct timeval *now, void *zone)
{
	if (host_image.is_sealed)
		return __real_gettimeofday(now, zone);
	*now = (struct timeval){ 0 };
	return 0;
}
