/*
 * Runs the calls listed on standard input, one after another, and prints the result of each. Each line is
 *
 *	EXECUTABLE <tab> CNI_COMMAND <tab> CNI_CONTAINERID <tab> CNI_NETNS <tab> FILE
 *
 * with FILE as the call's standard input. Each result is "STATUS NANOSECONDS KIBIBYTES": the time from before posix_spawn
 * until the process is gone, and the peak resident memory of the process and of those that it waited for. CNI_PATH is set
 * to the executable's folder. The call's output goes to the file named by argv[1], overwritten each time.
 *
 * Linked statically: the peak of a process includes its parent's resident memory at the start, so that must be small.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static long long since(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - start->tv_sec) * 1000000000LL + (now.tv_nsec - start->tv_nsec);
}

struct call {
	char *executable, *command, *container, *namespace, *input;
};

static void run(const struct call *call, const char *output)
{
	char *executable = call->executable;
	char *arguments[] = { executable, NULL };
	posix_spawn_file_actions_t files;
	struct timespec start;
	struct rusage usage;
	char *slash;
	int error, status;
	long long elapsed;
	pid_t pid;

	setenv("CNI_COMMAND", call->command, 1);
	setenv("CNI_CONTAINERID", call->container, 1);
	setenv("CNI_NETNS", call->namespace, 1);
	slash = strrchr(executable, '/');
	*slash = '\0';
	setenv("CNI_PATH", executable, 1);
	*slash = '/';
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, call->input, O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	clock_gettime(CLOCK_MONOTONIC, &start);
	error = posix_spawn(&pid, executable, &files, NULL, arguments, environ);
	if (error) {
		fprintf(stderr, "%s: %s\n", executable, strerror(error));
		exit(1);
	}
	while (wait4(pid, &status, 0, &usage) < 0 && errno == EINTR)
		;
	elapsed = since(&start);
	posix_spawn_file_actions_destroy(&files);
	printf("%d %lld %ld\n", WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status), elapsed, usage.ru_maxrss);
	fflush(stdout);
	if (status != 0)
		exit(1); /* its output is in the output file */
}

int main(int argc, char **argv)
{
	static char line[8192];

	if (argc != 2)
		return 2;
	while (fgets(line, sizeof(line), stdin)) {
		char *rest = line;
		struct call call;

		call.executable = strsep(&rest, "\t");
		call.command = strsep(&rest, "\t");
		call.container = strsep(&rest, "\t");
		call.namespace = strsep(&rest, "\t");
		call.input = strsep(&rest, "\n");
		if (!call.input || !strchr(call.executable, '/'))
			return 2;
		run(&call, argv[1]);
	}
	return 0;
}
