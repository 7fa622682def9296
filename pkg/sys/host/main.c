/*
 * Selects the plugin by the name of the call, and calls it in the image. For any other name the file is the `weft`
 * command, which is loaded from bytecode. Its few milliseconds do not matter to a person, and without it the image,
 * which every plugin maps, is smaller. Nothing is freed at the end; process exit frees everything.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host.h"

int host_argc;
char **host_argv;

JSValue host_fail(JSContext *ctx, const char *call, const char *subject, int error)
{
	JSValue arguments[] = { JS_NewString(ctx, call), JS_NewString(ctx, subject), JS_NewInt32(ctx, error) };
	JSValue failure;

	failure = JS_Call(ctx, host_image.failure_factory, JS_UNDEFINED, 3, arguments);
	for (int i = 0; i < 3; i++)
		JS_FreeValue(ctx, arguments[i]);
	return JS_IsException(failure) ? failure : JS_Throw(ctx, failure);
}

static JSValue set_failure_factory(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	(void)self, (void)argc;
	host_image.failure_factory = JS_DupValue(ctx, argv[0]);
	return JS_UNDEFINED;
}

/* provide(name, function): registers the function for calls of the executable by this name */
static JSValue provide(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	const char *name = JS_ToCString(ctx, argv[0]);

	(void)self, (void)argc;
	if (!name)
		return JS_EXCEPTION;
	JS_SetPropertyStr(ctx, host_image.programs, name, JS_DupValue(ctx, argv[1]));
	JS_FreeCString(ctx, name);
	return JS_UNDEFINED;
}

JSValue host_new_bytes(JSContext *ctx, const void *bytes, size_t length)
{
	JSValue buffer = JS_NewArrayBufferCopy(ctx, bytes, length);
	/* The constructor reads all three of its arguments: buffer, offset, length. */
	JSValue arguments[] = { buffer, JS_UNDEFINED, JS_UNDEFINED };
	JSValue array;

	if (JS_IsException(buffer))
		return buffer;
	array = JS_NewTypedArray(ctx, 3, arguments, JS_TYPED_ARRAY_UINT8);
	JS_FreeValue(ctx, buffer);
	return array;
}

bool host_get_bytes(JSContext *ctx, JSValueConst value, const uint8_t **bytes, size_t *length)
{
	size_t offset, view_length, element, size;
	JSValue buffer = JS_GetTypedArrayBuffer(ctx, value, &offset, &view_length, &element);
	const uint8_t *data;

	if (JS_IsException(buffer))
		return false;
	data = JS_GetArrayBuffer(ctx, &size, buffer);
	JS_FreeValue(ctx, buffer);
	if (!data && view_length > 0)
		return false;
	*bytes = data ? data + offset : NULL;
	*length = view_length;
	return true;
}

const char *host_get_path(JSContext *ctx, JSValueConst value)
{
	size_t length;
	const char *path = JS_ToCStringLen(ctx, &length, value);

	if (!path || strlen(path) == length)
		return path;
	host_fail(ctx, "use a path with a zero byte", path, EINVAL);
	JS_FreeCString(ctx, path);
	return NULL;
}

bool host_buffer_reserve(struct host_buffer *buffer, size_t more)
{
	size_t capacity = buffer->capacity ? buffer->capacity : 4096;
	uint8_t *data;

	while (capacity - buffer->length < more) {
		if (capacity > SIZE_MAX / 2)
			return false;
		capacity *= 2;
	}
	if (capacity == buffer->capacity)
		return true;
	data = host_allocator.js_realloc(NULL, buffer->data, capacity);
	if (!data)
		return false;
	buffer->data = data;
	buffer->capacity = capacity;
	return true;
}

void host_buffer_free(struct host_buffer *buffer)
{
	host_allocator.js_free(NULL, buffer->data);
}

int host_read_all(int fd, struct host_buffer *buffer)
{
	for (;;) {
		ssize_t count;

		if (!host_buffer_reserve(buffer, 512))
			return ENOMEM;
		count = read(fd, buffer->data + buffer->length, buffer->capacity - buffer->length);
		if (count == 0)
			return 0;
		if (count > 0)
			buffer->length += (size_t)count;
		else if (errno != EINTR)
			return errno;
	}
}

int host_write_all(int fd, const uint8_t *bytes, size_t length)
{
	while (length > 0) {
		ssize_t count = write(fd, bytes, length);

		if (count < 0) {
			if (errno == EINTR)
				continue;
			return errno;
		}
		bytes += count;
		length -= (size_t)count;
	}
	return 0;
}

/* Makes a context with only what the plugins use: no modules, no promises, no event loop, no compiler. */
static JSContext *new_context(void)
{
	JSRuntime *runtime = JS_NewRuntime2(&host_allocator, NULL);
	JSContext *ctx = runtime ? JS_NewContextRaw(runtime) : NULL;

	if (!ctx)
		return NULL;
	/*
	 * A call lives for milliseconds and uses kilobytes, so garbage collection would only cost time. Reference counts still
	 * free memory.
	 */
	JS_SetGCThreshold(runtime, (size_t)-1);
	JS_AddIntrinsicBaseObjects(ctx);
	JS_AddIntrinsicRegExpCompiler(ctx);
	JS_AddIntrinsicRegExp(ctx);
	JS_AddIntrinsicJSON(ctx);
	JS_AddIntrinsicMapSet(ctx);
	JS_AddIntrinsicTypedArrays(ctx);
	host_image.context = ctx;
	host_image.runtime = runtime;
	host_image.programs = JS_NewObjectProto(ctx, JS_NULL);
	host_image.failure_factory = JS_UNDEFINED;
	return ctx;
}

/*
 * Math.random's state would be part of the image, so every process would generate the same numbers.
 * weftHost.randomBytes uses the kernel's generator.
 */
static void remove_math_random(JSContext *ctx, JSValueConst global)
{
	JSValue math = JS_GetPropertyStr(ctx, global, "Math");
	JSAtom name = JS_NewAtom(ctx, "random");

	JS_DeleteProperty(ctx, math, name, 0);
	JS_FreeAtom(ctx, name);
	JS_FreeValue(ctx, math);
}

static JSValue plugin_names(JSContext *ctx)
{
	JSValue names = JS_NewArray(ctx);

	for (uint32_t i = 0; host_program_names[i]; i++)
		JS_SetPropertyUint32(ctx, names, i, JS_NewString(ctx, host_program_names[i]));
	return names;
}

static void add_host(JSContext *ctx)
{
	JSValue global = JS_GetGlobalObject(ctx);
	JSValue host = JS_NewObject(ctx);

	host_add(ctx, host, "setFailureFactory", set_failure_factory, 1);
	host_add(ctx, host, "provide", provide, 2);
	JS_SetPropertyStr(ctx, host, "version", JS_NewString(ctx, host_version));
	JS_SetPropertyStr(ctx, host, "buildId", JS_NewString(ctx, host_build_id));
	JS_SetPropertyStr(ctx, host, "commit", JS_NewString(ctx, host_commit));
	JS_SetPropertyStr(ctx, host, "pluginNames", plugin_names(ctx));
	host_add_files(ctx, host);
	host_add_network(ctx, host);
	host_add_reach(ctx, host);
	host_add_tap(ctx, host);
	host_add_process(ctx, host);
	host_add_text(ctx, global);
	remove_math_random(ctx, global);
	JS_SetPropertyStr(ctx, global, "weftHost", host);
	JS_FreeValue(ctx, global);
}

/* The last resort: a plugin's own loop catches everything, so this reports an error in weft. */
static int report_exception(JSContext *ctx)
{
	JSValue exception = JS_GetException(ctx);
	const char *text = JS_ToCString(ctx, exception);
	JSValue stack = JS_GetPropertyStr(ctx, exception, "stack");
	const char *where = JS_IsString(stack) ? JS_ToCString(ctx, stack) : NULL;

	dprintf(STDERR_FILENO, "weft: %s\n%s", text ? text : "exception", where ? where : "");
	return 1;
}

/* Evaluates bytecode from qjsc. */
static JSValue load(JSContext *ctx, const uint8_t *bytecode, size_t length)
{
	JSValue function = JS_ReadObject(ctx, bytecode, length, JS_READ_OBJ_BYTECODE);

	return JS_IsException(function) ? function : JS_EvalFunction(ctx, function);
}

/*
 * Makes the image: seed SCRIPT IMAGE, where SCRIPT is bytecode from qjsc. Writes host_image as the build inserts it
 * into this executable, and prints the number of used bytes of its memory.
 */
static int seed(const char *script, const char *image)
{
	struct stat status = { 0 };
	const uint8_t *bytecode = NULL;
	int from = open(script, O_RDONLY | O_CLOEXEC), to = open(image, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int error = from < 0 || to < 0 || fstat(from, &status) < 0 ? errno : 0;
	JSContext *ctx;
	size_t used;

	/* Mapped, since a buffer would become a part of the image. */
	if (!error)
		bytecode = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, from, 0);
	if (bytecode == MAP_FAILED)
		error = errno;
	if (error) {
		dprintf(STDERR_FILENO, "weft: seed %s %s: %s\n", script, image, strerror(error));
		return 1;
	}
	if ((uintptr_t)&host_image != JS_IMMORTAL_START) {
		dprintf(STDERR_FILENO, "weft: seed: the image is at %p: expected %p\n", (void *)&host_image, (void *)JS_IMMORTAL_START);
		return 1;
	}
	ctx = new_context();
	if (!ctx) {
		dprintf(STDERR_FILENO, "weft: seed: out of memory\n");
		return 1;
	}
	add_host(ctx);
	if (JS_IsException(load(ctx, bytecode, (size_t)status.st_size)))
		return report_exception(ctx);
	used = (size_t)(host_image.cursor - host_image.memory);
	host_seal_image();
	error = host_write_all(to, (const uint8_t *)&host_image, sizeof(host_image));
	if (error)
		dprintf(STDERR_FILENO, "weft: write %s: %s\n", image, strerror(error));
	dprintf(STDOUT_FILENO, "%zu\n", used);
	return error ? 1 : 0;
}

/* Returns the exit status of the program with this name; -1 if it threw an exception. */
static int call(JSContext *ctx, const char *name)
{
	JSValue function = JS_GetPropertyStr(ctx, host_image.programs, name);
	JSValue result = JS_Call(ctx, function, JS_UNDEFINED, 0, NULL);
	int32_t status;

	return JS_IsException(result) || JS_ToInt32(ctx, &status, result) ? -1 : status;
}

static int run_plugin(const char *name)
{
	int status = call(host_image.context, name);

	if (status >= 0)
		return status;
	dprintf(STDOUT_FILENO, "{\"cniVersion\": \"1.1.0\", \"code\": 999, \"msg\": \"%s failed before it could answer; see its standard error\"}\n", name);
	return report_exception(host_image.context);
}

/* The command's script registers itself under this name, which no plugin has. */
static int run_command(void)
{
	JSContext *ctx = host_image.context;
	uint8_t *bytecode = malloc(host_command_size);
	int status;

	if (!bytecode || !host_unpack(host_command, host_command_length, bytecode, host_command_size)) {
		dprintf(STDERR_FILENO, bytecode ? "weft: the command in this executable is damaged\n" : "weft: out of memory\n");
		return 1;
	}
	status = JS_IsException(load(ctx, bytecode, host_command_size)) ? -1 : call(ctx, "weft");
	return status >= 0 ? status : report_exception(ctx);
}

static const char *find_program(const char *name)
{
	for (const char *const *known = host_program_names; *known; known++)
		if (strcmp(*known, name) == 0)
			return *known;
	return NULL;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* If the caller has closed one of the three, its answer would go to the next opened file, such as a netlink socket. */
static void ensure_standard_streams(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			_exit(1);
}

int main(int argc, char **argv)
{
	const char *program = find_program(argc > 0 ? base_name(argv[0]) : "weft");

	host_argc = argc;
	host_argv = argv;
	ensure_standard_streams();
	if (!host_image.is_sealed)
		_exit(argc == 3 ? host_on_fixed_stack(seed, argv[1], argv[2]) : 1);
	js_immortal_bytes = sizeof(host_image);
	/* The image was made on another stack. */
	JS_UpdateStackTop(host_image.runtime);
	if (!program && argc > 1)
		program = find_program(argv[1]);
	_exit(program ? run_plugin(program) : run_command());
}
