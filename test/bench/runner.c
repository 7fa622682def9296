/*
 * Runs the calls listed on standard input, as a container runtime does, and prints the result of each. Each line is
 *
 *	NODE <tab> EXECUTABLE <tab> CNI_COMMAND <tab> CNI_CONTAINERID <tab> CNI_NETNS <tab> CONFIGURATION <tab> PREVIOUS <tab> OUTPUT
 *
 * NODE is the network namespace in which the executable runs. CONFIGURATION is a file. If PREVIOUS is not "-", the JSON in
 * that file becomes the configuration's prevResult. If OUTPUT is not "-", what the call prints is kept in that file.
 * CNI_PATH is set to the executable's folder. Standard input and output of the call are pipes.
 *
 * Each result is "NANOSECONDS KIBIBYTES MICROSECONDS": the time from before posix_spawn until the process is gone, and
 * the peak resident memory and the processor time of the process and of those that it waited for. With the argument N, N
 * calls run at the same time; results come as calls end, and at the end the line "all NANOSECONDS" has the time from the
 * first start to the last end.
 *
 * If a call fails, the runner prints the call's output on standard error, and exits with 1.
 *
 * Linked statically: the peak of a process includes its parent's resident memory at the start, so that must be small.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST_AT_ONCE 64
#define TEXT 65536 /* what a pipe holds */

extern char **environ;

struct call {
	char *node, *executable, *command, *container, *namespace, *configuration, *previous, *output;
};

struct child {
	pid_t pid; /* 0 if there is none */
	int from_child;
	struct timespec start;
	char output[4096];
};

static struct child children[MOST_AT_ONCE];

static _Noreturn void fail(const char *what)
{
	perror(what);
	exit(1);
}

static long long since(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - start->tv_sec) * 1000000000LL + (now.tv_nsec - start->tv_nsec);
}

static long long microseconds(const struct timeval *time)
{
	return time->tv_sec * 1000000LL + time->tv_usec;
}

static size_t read_all(int fd, char *text, size_t size)
{
	size_t length = 0;
	ssize_t got;

	while ((got = read(fd, text + length, size - 1 - length)) > 0)
		length += got;
	text[length] = '\0';
	return length;
}

static size_t read_file(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t length;

	if (fd < 0)
		fail(path);
	length = read_all(fd, text, size);
	close(fd);
	return length;
}

static void write_file(const char *path, const char *text, size_t length)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, text, length) < 0)
		fail(path);
	close(fd);
}

/* The configuration with prevResult in place of its last brace. */
static size_t make_input(const struct call *call, char *text)
{
	static const char key[] = ",\"prevResult\":";
	size_t length = read_file(call->configuration, text, TEXT);
	char *end = strrchr(text, '}');

	if (strcmp(call->previous, "-") == 0)
		return length;
	if (!end) {
		fprintf(stderr, "%s: no JSON\n", call->configuration);
		exit(1);
	}
	memcpy(end, key, sizeof(key) - 1);
	length = end + sizeof(key) - 1 - text;
	length += read_file(call->previous, text + length, TEXT - length);
	text[length++] = '}';
	return length;
}

static void enter(const char *node)
{
	static char entered[4096];
	int fd;

	if (strcmp(node, entered) == 0)
		return;
	fd = open(node, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		fail(node);
	close(fd);
	snprintf(entered, sizeof(entered), "%s", node);
}

static void start(struct child *child, const struct call *call)
{
	static char text[TEXT + 1];
	char *executable = call->executable;
	char *arguments[] = { executable, NULL };
	posix_spawn_file_actions_t files;
	size_t length = make_input(call, text);
	int input[2], output[2], error;
	char *slash;

	enter(call->node);
	setenv("CNI_COMMAND", call->command, 1);
	setenv("CNI_CONTAINERID", call->container, 1);
	setenv("CNI_NETNS", call->namespace, 1);
	slash = strrchr(executable, '/');
	*slash = '\0';
	setenv("CNI_PATH", executable, 1);
	*slash = '/';
	snprintf(child->output, sizeof(child->output), "%s", call->output);
	if (pipe2(input, O_CLOEXEC) < 0 || pipe2(output, O_CLOEXEC) < 0)
		fail("pipe");
	if (write(input[1], text, length) != (ssize_t)length)
		fail("pipe");
	close(input[1]);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, input[0], STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&files, output[1], STDOUT_FILENO);
	clock_gettime(CLOCK_MONOTONIC, &child->start);
	error = posix_spawn(&child->pid, executable, &files, NULL, arguments, environ);
	if (error) {
		fprintf(stderr, "%s: %s\n", executable, strerror(error));
		exit(1);
	}
	posix_spawn_file_actions_destroy(&files);
	close(input[0]);
	close(output[1]);
	child->from_child = output[0];
}

static struct child *wait_for_one(int count)
{
	static char text[TEXT];
	struct child *child = children;
	struct rusage usage;
	long long elapsed;
	int status;
	size_t length;
	pid_t pid;

	while ((pid = wait4(-1, &status, 0, &usage)) < 0)
		if (errno != EINTR)
			fail("wait4");
	while (child < children + count - 1 && child->pid != pid)
		child++;
	elapsed = since(&child->start);
	length = read_all(child->from_child, text, sizeof(text));
	close(child->from_child);
	child->pid = 0;
	if (status != 0) {
		fprintf(stderr, "%s", text);
		exit(1);
	}
	if (strcmp(child->output, "-") != 0)
		write_file(child->output, text, length);
	printf("%lld %ld %lld\n", elapsed, usage.ru_maxrss, microseconds(&usage.ru_utime) + microseconds(&usage.ru_stime));
	fflush(stdout);
	return child;
}

static int parse(char *line, struct call *call)
{
	char **fields[] = { &call->node,      &call->executable,    &call->command,  &call->container,
			    &call->namespace, &call->configuration, &call->previous, &call->output };

	for (size_t at = 0; at < sizeof(fields) / sizeof(*fields); at++)
		*fields[at] = strsep(&line, "\t\n");
	return call->output && strchr(call->executable, '/');
}

int main(int argc, char **argv)
{
	static char line[8192];
	int at_once = argc == 2 ? atoi(argv[1]) : 1, running = 0;
	struct timespec first;

	if (argc > 2 || at_once < 1 || at_once > MOST_AT_ONCE)
		return 2;
	clock_gettime(CLOCK_MONOTONIC, &first);
	while (fgets(line, sizeof(line), stdin)) {
		struct child *child = children + running;
		struct call call;

		if (!parse(line, &call))
			return 2;
		if (running == at_once)
			child = wait_for_one(at_once);
		else
			running++;
		start(child, &call);
		if (at_once == 1) {
			wait_for_one(1);
			running = 0;
		}
	}
	while (running-- > 0)
		wait_for_one(at_once);
	if (argc == 2)
		printf("all %lld\n", since(&first));
	return 0;
}
