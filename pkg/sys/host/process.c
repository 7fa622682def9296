/* The process: its command line, environment and standard streams, other programs, random bytes, time. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "host.h"

extern char **environ;

static JSValue arguments(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	JSValue list = JS_NewArray(ctx);

	(void)self, (void)argc, (void)argv;
	for (int i = 0; i < host_argc; i++)
		JS_SetPropertyUint32(ctx, list, (uint32_t)i, JS_NewString(ctx, host_argv[i]));
	return list;
}

static JSValue environment(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	JSValue object = JS_NewObjectProto(ctx, JS_NULL);

	(void)self, (void)argc, (void)argv;
	for (char **entry = environ; *entry; entry++) {
		const char *equals = strchr(*entry, '=');
		JSAtom name;

		if (!equals || equals == *entry)
			continue;
		name = JS_NewAtomLen(ctx, *entry, (size_t)(equals - *entry));
		/* Defined, not set: "__proto__" must be an ordinary name. */
		JS_DefinePropertyValue(ctx, object, name, JS_NewString(ctx, equals + 1), JS_PROP_C_W_E);
		JS_FreeAtom(ctx, name);
	}
	return object;
}

static JSValue executable_path(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	char path[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);

	(void)self, (void)argc, (void)argv;
	if (length < 0)
		return host_fail(ctx, "readlink", "/proc/self/exe", errno);
	return JS_NewStringLen(ctx, path, (size_t)length);
}

static JSValue read_input(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	struct host_buffer buffer = { 0 };
	int error = host_read_all(STDIN_FILENO, &buffer);
	JSValue result = error ? host_fail(ctx, "read", "standard input", error) : host_new_bytes(ctx, buffer.data, buffer.length);

	(void)self, (void)argc, (void)argv;
	host_buffer_free(&buffer);
	return result;
}

/* write(descriptor, bytes) */
static JSValue write_descriptor(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	const uint8_t *bytes;
	size_t length;
	int32_t fd;
	int error;

	(void)self, (void)argc;
	if (JS_ToInt32(ctx, &fd, argv[0]) || !host_get_bytes(ctx, argv[1], &bytes, &length))
		return JS_EXCEPTION;
	error = host_write_all(fd, bytes, length);
	return error ? host_fail(ctx, "write", fd == STDOUT_FILENO ? "standard output" : "standard error", error) : JS_UNDEFINED;
}

enum { MOST_RANDOM_BYTES = 256 };

static JSValue random_bytes(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	/* getrandom(2) returns up to 256 bytes completely and without interruption. */
	uint8_t bytes[MOST_RANDOM_BYTES];
	int32_t length;

	(void)self, (void)argc;
	if (JS_ToInt32(ctx, &length, argv[0]))
		return JS_EXCEPTION;
	if (length < 0 || length > MOST_RANDOM_BYTES)
		return JS_ThrowRangeError(ctx, "randomBytes gives 0 to %d bytes, not %d", MOST_RANDOM_BYTES, length);
	if (getrandom(bytes, (size_t)length, 0) != length)
		return host_fail(ctx, "getrandom", "", errno);
	return host_new_bytes(ctx, bytes, (size_t)length);
}

static JSValue sleep_for(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	double milliseconds;
	struct timespec left;

	(void)self, (void)argc;
	if (JS_ToFloat64(ctx, &milliseconds, argv[0]))
		return JS_EXCEPTION;
	left.tv_sec = (time_t)(milliseconds / 1000);
	left.tv_nsec = (long)((milliseconds - (double)left.tv_sec * 1000) * 1e6);
	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
	return JS_UNDEFINED;
}

/* The parent's ends of a child's three streams. -1 means closed. */
struct child {
	pid_t pid;
	int input, output, error_output;
};

static int spawn(struct child *child, const char *path, char **child_argv, char **environment_list)
{
	int ends[3][2] = { { -1, -1 }, { -1, -1 }, { -1, -1 } };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, defaults;
	int error = posix_spawn_file_actions_init(&actions);

	if (error)
		return error;
	posix_spawnattr_init(&attributes);
	for (int i = 0; i < 3 && !error; i++)
		error = pipe2(ends[i], O_CLOEXEC) < 0 ? errno : 0;
	if (!error) {
		sigemptyset(&none);
		sigemptyset(&defaults);
		sigaddset(&defaults, SIGPIPE);
		posix_spawnattr_setsigmask(&attributes, &none);
		posix_spawnattr_setsigdefault(&attributes, &defaults);
		posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
		posix_spawn_file_actions_adddup2(&actions, ends[0][0], STDIN_FILENO);
		posix_spawn_file_actions_adddup2(&actions, ends[1][1], STDOUT_FILENO);
		posix_spawn_file_actions_adddup2(&actions, ends[2][1], STDERR_FILENO);
		error = posix_spawn(&child->pid, path, &actions, &attributes, child_argv, environment_list);
	}
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	if (error) {
		for (int i = 0; i < 3; i++)
			for (int end = 0; end < 2; end++)
				if (ends[i][end] >= 0)
					close(ends[i][end]);
		return error;
	}
	close(ends[0][0]);
	close(ends[1][1]);
	close(ends[2][1]);
	child->input = ends[0][1];
	child->output = ends[1][0];
	child->error_output = ends[2][0];
	/* A child that reads late must not prevent us from reading its output. */
	fcntl(child->input, F_SETFL, O_NONBLOCK);
	return 0;
}

static void close_stream(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int read_some(int *fd, struct host_buffer *buffer)
{
	ssize_t count;

	if (!host_buffer_reserve(buffer, 4096))
		return ENOMEM;
	count = read(*fd, buffer->data + buffer->length, buffer->capacity - buffer->length);
	if (count > 0)
		buffer->length += (size_t)count;
	else if (count == 0)
		close_stream(fd);
	else if (errno != EINTR)
		return errno;
	return 0;
}

/* Writes the child's input and collects its output until it has closed both output streams. */
static int converse(struct child *child, const uint8_t *bytes, size_t length, struct host_buffer *output, struct host_buffer *errors)
{
	while (child->output >= 0 || child->error_output >= 0) {
		struct pollfd streams[] = {
			{ .fd = child->input, .events = POLLOUT },
			{ .fd = child->output, .events = POLLIN },
			{ .fd = child->error_output, .events = POLLIN },
		};
		int error = 0;

		if (length == 0)
			close_stream(&child->input), streams[0].fd = -1;
		if (poll(streams, 3, -1) < 0) {
			if (errno == EINTR)
				continue;
			return errno;
		}
		if (streams[0].revents) {
			ssize_t count = write(child->input, bytes, length);

			if (count >= 0)
				bytes += count, length -= (size_t)count;
			else if (errno == EPIPE)
				length = 0; /* it does not read the rest */
			else if (errno != EINTR && errno != EAGAIN)
				return errno;
		}
		if (streams[1].revents)
			error = read_some(&child->output, output);
		if (!error && streams[2].revents)
			error = read_some(&child->error_output, errors);
		if (error)
			return error;
	}
	return 0;
}

static char **read_strings(JSContext *ctx, JSValueConst list)
{
	JSValue length = JS_GetPropertyStr(ctx, list, "length");
	uint32_t count;
	char **entries;

	if (JS_ToUint32(ctx, &count, length))
		return NULL;
	entries = calloc((size_t)count + 1, sizeof(*entries));
	for (uint32_t i = 0; entries && i < count; i++) {
		JSValue entry = JS_GetPropertyUint32(ctx, list, i);

		entries[i] = (char *)JS_ToCString(ctx, entry);
		JS_FreeValue(ctx, entry);
		if (!entries[i])
			entries[i] = "";
	}
	return entries;
}

/* execute(path, [path, argument], ["NAME=value"], input): [status, output, error output] */
static JSValue execute(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	struct host_buffer output = { 0 }, errors = { 0 };
	struct child child;
	const uint8_t *bytes;
	size_t length;
	char **words, **entries;
	const char *path;
	int error, outcome, status = 0;
	JSValue result;

	(void)self, (void)argc;
	if (!host_get_bytes(ctx, argv[3], &bytes, &length))
		return JS_EXCEPTION;
	path = host_get_path(ctx, argv[0]);
	words = path ? read_strings(ctx, argv[1]) : NULL;
	entries = words ? read_strings(ctx, argv[2]) : NULL;
	if (!entries) {
		free(words);
		return path ? JS_ThrowOutOfMemory(ctx) : JS_EXCEPTION;
	}
	signal(SIGPIPE, SIG_IGN);
	error = spawn(&child, path, words, entries);
	free(words);
	free(entries);
	if (error)
		return host_fail(ctx, "execute", path, error);
	error = converse(&child, bytes, length, &output, &errors);
	close_stream(&child.input);
	close_stream(&child.output);
	close_stream(&child.error_output);
	do
		outcome = waitpid(child.pid, &status, 0);
	while (outcome < 0 && errno == EINTR);
	if (error || outcome < 0)
		return host_fail(ctx, "execute", path, error ? error : errno);
	JS_FreeCString(ctx, path);
	result = JS_NewArray(ctx);
	JS_SetPropertyUint32(ctx, result, 0, JS_NewInt32(ctx, WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status)));
	JS_SetPropertyUint32(ctx, result, 1, host_new_bytes(ctx, output.data, output.length));
	JS_SetPropertyUint32(ctx, result, 2, host_new_bytes(ctx, errors.data, errors.length));
	host_buffer_free(&output);
	host_buffer_free(&errors);
	return result;
}

static JSValue now(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	struct timespec time;

	(void)self, (void)argc, (void)argv;
	clock_gettime(CLOCK_REALTIME, &time);
	return JS_NewFloat64(ctx, (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6);
}

/* terminalColumns(descriptor): -1 if it is not a terminal */
static JSValue terminal_columns(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	struct winsize size;
	int32_t fd;

	(void)self, (void)argc;
	if (JS_ToInt32(ctx, &fd, argv[0]))
		return JS_EXCEPTION;
	return JS_NewInt32(ctx, ioctl(fd, TIOCGWINSZ, &size) < 0 ? -1 : size.ws_col);
}

void host_add_process(JSContext *ctx, JSValueConst host)
{
	host_add(ctx, host, "arguments", arguments, 0);
	host_add(ctx, host, "environment", environment, 0);
	host_add(ctx, host, "executablePath", executable_path, 0);
	host_add(ctx, host, "readInput", read_input, 0);
	host_add(ctx, host, "write", write_descriptor, 2);
	host_add(ctx, host, "randomBytes", random_bytes, 1);
	host_add(ctx, host, "sleep", sleep_for, 1);
	host_add(ctx, host, "execute", execute, 4);
	host_add(ctx, host, "now", now, 0);
	host_add(ctx, host, "terminalColumns", terminal_columns, 1);
}
