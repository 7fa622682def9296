/*
 * Runs a plugin instruction by instruction, and counts the instructions of each JavaScript function in its context (the
 * functions that called it). Instructions of the kernel are not counted.
 *
 *	stepper OUTPUT PROGRAM [ARGUMENT...]
 *
 * The program must be the executable for which this file was compiled: the build passes the addresses and offsets of
 * QuickJS's structures as macros (layout.ts). OUTPUT has one line for each
 *
 *	function	f js NAME LINE COLUMN, or f c ADDRESS; f main is the first
 *	context		n PARENT FUNCTION CALLS INSTRUCTIONS
 *	address		a ADDRESS INSTRUCTIONS
 *
 * in the order of the numbers of functions and contexts, from 0. Lines and columns begin with 1. The exit status is the program's.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_FUNCTIONS = 1 << 14, MOST_CONTEXTS = 1 << 18, DEEPEST = 1 << 12, LONGEST_NAME = 200 };

struct function {
	uint64_t identity;
	bool is_c;
};

struct context {
	int parent, function, first_child, next_sibling;
	uint64_t calls, instructions;
};

struct frame {
	uint64_t address;
	int context;
};

static struct function functions[MOST_FUNCTIONS];
static struct context contexts[MOST_CONTEXTS];
static struct frame frames[DEEPEST];
static int function_count, context_count, depth;
static uint32_t counts[TEXT_END - TEXT_START];
static pid_t child;
static FILE *output;

static void fail(const char *what)
{
	fprintf(stderr, "stepper: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void copy(uint64_t address, void *to, size_t size)
{
	struct iovec local = { to, size }, remote = { (void *)address, size };

	if (process_vm_readv(child, &local, 1, &remote, 1, 0) != (ssize_t)size)
		fail("process_vm_readv");
}

static uint64_t word(uint64_t address)
{
	uint64_t value;

	copy(address, &value, sizeof(value));
	return value;
}

static uint32_t half(uint64_t address)
{
	uint32_t value;

	copy(address, &value, sizeof(value));
	return value;
}

static int unsigned_leb128(const uint8_t **at)
{
	int value = 0, shift = 0;
	uint8_t byte;

	do {
		byte = *(*at)++;
		value |= (byte & 0x7f) << shift;
		shift += 7;
	} while (byte & 0x80);
	return value;
}

/* The function's name, and the position of its definition: the first two numbers of pc2line_buf. */
static void write_javascript(uint64_t bytecode)
{
	uint32_t atom = half(bytecode + BYTECODE_NAME);
	uint64_t string = word(word(RUNTIME_ATOMS) + 8 * (uint64_t)atom);
	uint32_t length = half(string + STRING_LENGTH);
	uint8_t position[16];
	const uint8_t *at = position;
	char name[LONGEST_NAME + 1];

	/* The highest bit: characters of two bytes. */
	if (length >> 31 || length > LONGEST_NAME)
		length = 0;
	copy(string + STRING_TEXT, name, length);
	name[length] = '\0';
	copy(word(bytecode + BYTECODE_POSITIONS), position, sizeof(position));
	fprintf(output, "f js %s", length ? name : "-");
	fprintf(output, " %d", unsigned_leb128(&at) + 1);
	fprintf(output, " %d\n", unsigned_leb128(&at) + 1);
}

/* Returns the number of the function object, which is the same for all closures of one function. */
static int function_of(uint64_t object)
{
	uint16_t class;
	struct function found;

	copy(object + OBJECT_CLASS, &class, sizeof(class));
	found.is_c = class == CLASS_C_FUNCTION;
	found.identity = word(object + (found.is_c ? OBJECT_C_FUNCTION : OBJECT_BYTECODE));
	for (int i = 0; i < function_count; i++)
		if (functions[i].identity == found.identity)
			return i;
	if (function_count == MOST_FUNCTIONS)
		errno = ENOMEM, fail("functions");
	functions[function_count] = found;
	if (found.is_c)
		fprintf(output, "f c %llu\n", (unsigned long long)found.identity);
	else
		write_javascript(found.identity);
	return function_count++;
}

static int child_of(int parent, int function)
{
	int at;

	for (at = contexts[parent].first_child; at; at = contexts[at].next_sibling)
		if (contexts[at].function == function)
			return at;
	if (context_count == MOST_CONTEXTS)
		errno = ENOMEM, fail("contexts");
	at = context_count++;
	contexts[at] = (struct context){ .parent = parent, .function = function, .next_sibling = contexts[parent].first_child };
	contexts[parent].first_child = at;
	return at;
}

/* QuickJS's current frame has changed: the function has returned, or called another. */
static void follow(uint64_t address)
{
	int at;

	for (at = depth; at > 0 && frames[at].address != address; at--)
		;
	if (at > 0 || address == 0) {
		depth = at;
		return;
	}
	follow(word(address + FRAME_PREVIOUS));
	if (depth + 1 == DEEPEST)
		errno = ENOMEM, fail("frames");
	at = child_of(frames[depth].context, function_of(word(address + FRAME_FUNCTION)));
	contexts[at].calls++;
	frames[++depth] = (struct frame){ address, at };
}

static int run(void)
{
	uint64_t current = 0;
	int status;

	for (;;) {
		uint64_t address, frame;

		if (waitpid(child, &status, 0) < 0)
			fail("waitpid");
		if (!WIFSTOPPED(status))
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		address = (uint64_t)ptrace(PTRACE_PEEKUSER, child, offsetof(struct user_regs_struct, rip), 0);
		frame = (uint64_t)ptrace(PTRACE_PEEKDATA, child, RUNTIME_FRAME, 0);
		if (frame != current)
			follow(frame), current = frame;
		contexts[frames[depth].context].instructions++;
		if (address >= TEXT_START && address < TEXT_END)
			counts[address - TEXT_START]++;
		if (ptrace(PTRACE_SINGLESTEP, child, 0, WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status)) < 0)
			fail("PTRACE_SINGLESTEP");
	}
}

static void write_counts(void)
{
	for (int i = 0; i < context_count; i++)
		fprintf(output, "n %d %d %llu %llu\n", contexts[i].parent, contexts[i].function,
			(unsigned long long)contexts[i].calls, (unsigned long long)contexts[i].instructions);
	for (uint64_t i = 0; i < TEXT_END - TEXT_START; i++)
		if (counts[i])
			fprintf(output, "a %llu %u\n", (unsigned long long)(TEXT_START + i), counts[i]);
}

int main(int argc, char **argv)
{
	cpu_set_t first;
	int status;

	if (argc < 3)
		return 2;
	output = fopen(argv[1], "we");
	if (!output)
		fail(argv[1]);
	/* On one processor, changing between the two processes takes half the time. */
	CPU_ZERO(&first);
	CPU_SET(sched_getcpu(), &first);
	sched_setaffinity(0, sizeof(first), &first);
	function_count = context_count = 1;
	fprintf(output, "f main\n");
	child = fork();
	if (child < 0)
		fail("fork");
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		execv(argv[2], argv + 2);
		fail(argv[2]);
	}
	if (waitpid(child, &status, 0) < 0 || !WIFSTOPPED(status))
		fail("exec");
	ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_EXITKILL);
	ptrace(PTRACE_SINGLESTEP, child, 0, 0);
	status = run();
	write_counts();
	return fclose(output) ? 1 : status;
}
