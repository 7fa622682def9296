/* Files: the implementation of pkg/sys/system.ts, with one system call each if possible. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "host.h"

enum { WRITE_EXCLUSIVE = 1, WRITE_EXISTING = 2 };

static JSValue read_file(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	const char *path = host_get_path(ctx, argv[0]);
	struct host_buffer buffer = { 0 };
	JSValue result;
	int fd, error;

	(void)self, (void)argc;
	if (!path)
		return JS_EXCEPTION;
	/* Do not wait for a FIFO. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		result = host_fail(ctx, "open", path, errno);
	} else {
		error = host_read_all(fd, &buffer);
		close(fd);
		result = error ? host_fail(ctx, "read", path, error) : host_new_bytes(ctx, buffer.data, buffer.length);
		host_buffer_free(&buffer);
	}
	JS_FreeCString(ctx, path);
	return result;
}

/* writeFile(path, bytes, mode, flags) */
static JSValue write_file(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	const char *path;
	const uint8_t *bytes;
	size_t length;
	int32_t mode, flags;
	int fd, error, open_flags = O_WRONLY | O_CLOEXEC | O_TRUNC;
	JSValue result = JS_UNDEFINED;

	(void)self, (void)argc;
	if (!host_get_bytes(ctx, argv[1], &bytes, &length) || JS_ToInt32(ctx, &mode, argv[2]) || JS_ToInt32(ctx, &flags, argv[3]))
		return JS_EXCEPTION;
	path = host_get_path(ctx, argv[0]);
	if (!path)
		return JS_EXCEPTION;
	if (!(flags & WRITE_EXISTING))
		open_flags |= O_CREAT;
	if (flags & WRITE_EXCLUSIVE)
		open_flags |= O_EXCL;
	fd = open(path, open_flags, (mode_t)mode);
	if (fd < 0) {
		result = host_fail(ctx, "open", path, errno);
	} else {
		error = host_write_all(fd, bytes, length);
		if (close(fd) < 0 && !error && errno != EINTR)
			error = errno;
		if (error)
			result = host_fail(ctx, "write", path, error);
	}
	JS_FreeCString(ctx, path);
	return result;
}

static JSValue read_directory(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	const char *path = host_get_path(ctx, argv[0]);
	JSValue names;
	uint32_t count = 0;
	DIR *directory;

	(void)self, (void)argc;
	if (!path)
		return JS_EXCEPTION;
	directory = opendir(path);
	if (!directory) {
		names = host_fail(ctx, "opendir", path, errno);
		JS_FreeCString(ctx, path);
		return names;
	}
	names = JS_NewArray(ctx);
	for (;;) {
		struct dirent *entry;

		errno = 0;
		entry = readdir(directory);
		if (!entry) {
			if (errno) {
				JS_FreeValue(ctx, names);
				names = host_fail(ctx, "readdir", path, errno);
			}
			break;
		}
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			JS_SetPropertyUint32(ctx, names, count++, JS_NewString(ctx, entry->d_name));
	}
	closedir(directory);
	JS_FreeCString(ctx, path);
	return names;
}

static int make_directory_at(const char *path, mode_t mode)
{
	struct stat status;

	if (mkdir(path, mode) == 0)
		return 0;
	if (errno == EEXIST)
		return stat(path, &status) < 0 ? errno : S_ISDIR(status.st_mode) ? 0 : EEXIST;
	return errno;
}

static int make_directories(const char *path, mode_t mode)
{
	char prefix[PATH_MAX];
	size_t length = strlen(path);
	int error = make_directory_at(path, mode);

	if (error != ENOENT)
		return error;
	if (length >= sizeof(prefix))
		return ENAMETOOLONG;
	for (size_t at = 1; at < length; at++) {
		if (path[at] != '/')
			continue;
		memcpy(prefix, path, at);
		prefix[at] = '\0';
		error = make_directory_at(prefix, mode);
		if (error)
			return error;
	}
	return make_directory_at(path, mode);
}

/* makeDirectory(path, mode) */
static JSValue make_directory(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	const char *path;
	int32_t mode;
	int error;
	JSValue result;

	(void)self, (void)argc;
	if (JS_ToInt32(ctx, &mode, argv[1]))
		return JS_EXCEPTION;
	path = host_get_path(ctx, argv[0]);
	if (!path)
		return JS_EXCEPTION;
	error = make_directories(path, (mode_t)mode);
	result = error ? host_fail(ctx, "mkdir", path, error) : JS_UNDEFINED;
	JS_FreeCString(ctx, path);
	return result;
}

static JSValue with_two_paths(JSContext *ctx, JSValueConst *argv, const char *call, int (*function)(const char *, const char *))
{
	const char *from = host_get_path(ctx, argv[0]);
	const char *to = from ? host_get_path(ctx, argv[1]) : NULL;
	JSValue result = JS_UNDEFINED;
	char subject[2 * PATH_MAX];

	if (!to) {
		JS_FreeCString(ctx, from);
		return JS_EXCEPTION;
	}
	if (function(from, to) < 0) {
		int error = errno;

		snprintf(subject, sizeof(subject), "%s -> %s", from, to);
		result = host_fail(ctx, call, subject, error);
	}
	JS_FreeCString(ctx, from);
	JS_FreeCString(ctx, to);
	return result;
}

static JSValue link_file(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	(void)self, (void)argc;
	return with_two_paths(ctx, argv, "link", link);
}

static JSValue rename_file(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	(void)self, (void)argc;
	return with_two_paths(ctx, argv, "rename", rename);
}

static JSValue unlink_file(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	const char *path = host_get_path(ctx, argv[0]);
	JSValue result;

	(void)self, (void)argc;
	if (!path)
		return JS_EXCEPTION;
	result = unlink(path) < 0 ? host_fail(ctx, "unlink", path, errno) : JS_UNDEFINED;
	JS_FreeCString(ctx, path);
	return result;
}

static const char *kind_of(mode_t mode)
{
	if (S_ISREG(mode))
		return "file";
	if (S_ISDIR(mode))
		return "directory";
	if (S_ISLNK(mode))
		return "symlink";
	return S_ISSOCK(mode) ? "socket" : "other";
}

static JSValue status_of(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	const char *path = host_get_path(ctx, argv[0]);
	struct stat status;
	JSValue result;

	(void)self, (void)argc;
	if (!path)
		return JS_EXCEPTION;
	if (stat(path, &status) < 0) {
		bool is_absent = errno == ENOENT || errno == ENOTDIR;

		result = is_absent ? JS_UNDEFINED : host_fail(ctx, "stat", path, errno);
	} else {
		result = JS_NewObject(ctx);
		JS_SetPropertyStr(ctx, result, "kind", JS_NewString(ctx, kind_of(status.st_mode)));
		JS_SetPropertyStr(ctx, result, "device", JS_NewFloat64(ctx, (double)status.st_dev));
		JS_SetPropertyStr(ctx, result, "inode", JS_NewFloat64(ctx, (double)status.st_ino));
		JS_SetPropertyStr(ctx, result, "sizeBytes", JS_NewInt64(ctx, status.st_size));
		JS_SetPropertyStr(ctx, result, "mode", JS_NewInt32(ctx, status.st_mode & 07777));
		JS_SetPropertyStr(ctx, result, "modifiedMs",
				  JS_NewFloat64(ctx, (double)status.st_mtim.tv_sec * 1e3 + (double)status.st_mtim.tv_nsec / 1e6));
	}
	JS_FreeCString(ctx, path);
	return result;
}

/* setModified(path, milliseconds) */
static JSValue set_modified(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT } };
	const char *path;
	double milliseconds, seconds;
	JSValue result;

	(void)self, (void)argc;
	if (JS_ToFloat64(ctx, &milliseconds, argv[1]))
		return JS_EXCEPTION;
	path = host_get_path(ctx, argv[0]);
	if (!path)
		return JS_EXCEPTION;
	seconds = (double)(time_t)(milliseconds / 1e3);
	times[1].tv_sec = (time_t)seconds;
	times[1].tv_nsec = (long)((milliseconds - seconds * 1e3) * 1e6);
	result = utimensat(AT_FDCWD, path, times, 0) < 0 ? host_fail(ctx, "utimensat", path, errno) : JS_UNDEFINED;
	JS_FreeCString(ctx, path);
	return result;
}

static JSValue sync_file(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	const char *path = host_get_path(ctx, argv[0]);
	JSValue result = JS_UNDEFINED;
	int fd;

	(void)self, (void)argc;
	if (!path)
		return JS_EXCEPTION;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		result = host_fail(ctx, "open", path, errno);
	} else {
		if (fsync(fd) < 0)
			result = host_fail(ctx, "fsync", path, errno);
		close(fd);
	}
	JS_FreeCString(ctx, path);
	return result;
}

/* setMode(path, mode) */
static JSValue set_mode(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	const char *path;
	int32_t mode;
	JSValue result;

	(void)self, (void)argc;
	if (JS_ToInt32(ctx, &mode, argv[1]))
		return JS_EXCEPTION;
	path = host_get_path(ctx, argv[0]);
	if (!path)
		return JS_EXCEPTION;
	result = chmod(path, (mode_t)mode) < 0 ? host_fail(ctx, "chmod", path, errno) : JS_UNDEFINED;
	JS_FreeCString(ctx, path);
	return result;
}

/* readLink(path): undefined if there is no symbolic link */
static JSValue read_link(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	const char *path = host_get_path(ctx, argv[0]);
	char target[PATH_MAX];
	ssize_t length;
	JSValue result;

	(void)self, (void)argc;
	if (!path)
		return JS_EXCEPTION;
	length = readlink(path, target, sizeof(target));
	if (length >= 0)
		result = JS_NewStringLen(ctx, target, (size_t)length);
	else if (errno == EINVAL || errno == ENOENT || errno == ENOTDIR)
		result = JS_UNDEFINED;
	else
		result = host_fail(ctx, "readlink", path, errno);
	JS_FreeCString(ctx, path);
	return result;
}

static JSValue remove_directory(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	const char *path = host_get_path(ctx, argv[0]);
	JSValue result;

	(void)self, (void)argc;
	if (!path)
		return JS_EXCEPTION;
	result = rmdir(path) < 0 ? host_fail(ctx, "rmdir", path, errno) : JS_UNDEFINED;
	JS_FreeCString(ctx, path);
	return result;
}

/* Returns a descriptor that holds the lock, or -1 if another process holds it. */
static JSValue lock_path(JSContext *ctx, JSValueConst path_value, int flags, mode_t mode, bool wait)
{
	const char *path = host_get_path(ctx, path_value);
	int fd, outcome;
	JSValue result;

	if (!path)
		return JS_EXCEPTION;
	fd = open(path, flags | O_CLOEXEC, mode);
	if (fd < 0) {
		result = host_fail(ctx, "open", path, errno);
	} else {
		do
			outcome = flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB));
		while (outcome < 0 && errno == EINTR);
		if (outcome == 0) {
			result = JS_NewInt32(ctx, fd);
		} else {
			int error = errno;

			close(fd);
			result = error == EWOULDBLOCK ? JS_NewInt32(ctx, -1) : host_fail(ctx, "flock", path, error);
		}
	}
	JS_FreeCString(ctx, path);
	return result;
}

/* lockFile(path, mode, wait) */
static JSValue lock_file(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	int32_t mode;

	(void)self, (void)argc;
	if (JS_ToInt32(ctx, &mode, argv[1]))
		return JS_EXCEPTION;
	/* Opened read-only, because the file may be a namespace's file, which can be locked but not written. */
	return lock_path(ctx, argv[0], O_RDONLY | O_CREAT, (mode_t)mode, JS_ToBool(ctx, argv[2]));
}

/* lockDirectory(path, wait) */
static JSValue lock_directory(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	(void)self, (void)argc;
	return lock_path(ctx, argv[0], O_RDONLY | O_DIRECTORY, 0, JS_ToBool(ctx, argv[1]));
}

static JSValue close_descriptor(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	int32_t fd;

	(void)self, (void)argc;
	if (JS_ToInt32(ctx, &fd, argv[0]))
		return JS_EXCEPTION;
	host_hand_over(fd);
	close(fd);
	return JS_UNDEFINED;
}

void host_add_files(JSContext *ctx, JSValueConst host)
{
	host_add(ctx, host, "readFile", read_file, 1);
	host_add(ctx, host, "writeFile", write_file, 4);
	host_add(ctx, host, "readDirectory", read_directory, 1);
	host_add(ctx, host, "makeDirectory", make_directory, 2);
	host_add(ctx, host, "link", link_file, 2);
	host_add(ctx, host, "rename", rename_file, 2);
	host_add(ctx, host, "unlink", unlink_file, 1);
	host_add(ctx, host, "status", status_of, 1);
	host_add(ctx, host, "setModified", set_modified, 2);
	host_add(ctx, host, "sync", sync_file, 1);
	host_add(ctx, host, "setMode", set_mode, 2);
	host_add(ctx, host, "readLink", read_link, 1);
	host_add(ctx, host, "removeDirectory", remove_directory, 1);
	host_add(ctx, host, "lockFile", lock_file, 3);
	host_add(ctx, host, "lockDirectory", lock_directory, 2);
	host_add(ctx, host, "close", close_descriptor, 1);
}
