/*
 * Makes images of one script identical. Without this file they would differ, because QuickJS stores stack addresses,
 * which the kernel randomises for each process, and the time, as the seed of Math.random.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host.h"

enum { STACK_BYTES = 8 << 20 };

/*
 * Far from the executable and its heap below, and from the kernel's mappings above; within 39 bits, the minimum on
 * arm64.
 */
static void *const stack_address = (void *)0x1000000000;

struct call {
	int (*work)(const char *, const char *);
	const char *first, *second;
};

static int enter(void *argument)
{
	const struct call *call = argument;

	return call->work(call->first, call->second);
}

int host_on_fixed_stack(int (*work)(const char *, const char *), const char *first, const char *second)
{
	struct call call = { work, first, second };
	uint8_t *stack = mmap(stack_address, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	int status;
	pid_t child;

	if (stack == MAP_FAILED) {
		dprintf(STDERR_FILENO, "weft: a stack at %p: %s\n", stack_address, strerror(errno));
		return 1;
	}
	/* A child process, since the C library has no portable way to change the stack of the process itself. */
	child = clone(enter, stack + STACK_BYTES, CLONE_VM | CLONE_VFORK | SIGCHLD, &call);
	if (child < 0 || waitpid(child, &status, 0) < 0) {
		dprintf(STDERR_FILENO, "weft: a process with its own stack: %s\n", strerror(errno));
		return 1;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
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
