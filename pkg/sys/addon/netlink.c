/*
 * A netlink socket on Node.js's event loop (Node-API and libuv), for netlink-addon.ts:
 *
 *   open(protocol, receiveBufferBytes, onMessages, onError, isSlow) -> { handle, port }
 *   send(handle, bytes) -> errno, addMembership(handle, group) -> errno, setReceiveBufferBytes(handle, size) -> errno,
 *   ignorePort(handle, port) -> errno, close(handle)
 *
 * onMessages receives many messages at once; onError receives the name of the system call and its errno. If the kernel
 * drops a message (ENOBUFS), libuv reports the socket's poll as failed and stops it, so the addon restarts it.
 *
 * The kernel computes its answers during send and recv, which takes many milliseconds for some requests (a walk of the
 * conntrack table). A socket with isSlow makes these calls in libuv's thread pool, so that the event loop is not
 * blocked. Each send is a job that also reads the available data, and further jobs read more. While a job runs, nothing
 * else uses the socket.
 */
#include "memory.h"

#include <errno.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <node_api.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

/* The kernel's datagrams have at most 32 KiB. Data that does not fit the buffer is read in the next turn. */
#define DATAGRAM_BYTES (64 << 10)
#define ROOM_BYTES (512 << 10)
/* The buffer of a job. Handling more messages at once would block the event loop for long again. */
#define JOB_ROOM_BYTES (128 << 10)

struct netlink_socket {
	uv_poll_t poll;
	int fd;
	napi_env env;
	napi_async_context context;
	napi_ref resource;
	napi_ref on_messages;
	napi_ref on_error;
	/* For slow sockets only. */
	char *job_room;
	uv_work_t job;
	int is_busy;
	int is_closing;
	/* The datagram that the job sends first; NULL: none. */
	char *outgoing;
	size_t outgoing_length;
	/* The results of the job. */
	size_t got;
	int error;
	const char *failed_call;
};

/* A failure of Node-API itself is fatal. */
#define MUST(call)                                                             \
	do {                                                                   \
		if ((call) != napi_ok)                                         \
			napi_fatal_error(__FILE__, NAPI_AUTO_LENGTH, #call,    \
					 NAPI_AUTO_LENGTH);                    \
	} while (0)

static char room[ROOM_BYTES];

static void call(struct netlink_socket *s, napi_ref function, size_t argc, napi_value *argv)
{
	napi_value resource, callee;
	MUST(napi_get_reference_value(s->env, s->resource, &resource));
	MUST(napi_get_reference_value(s->env, function, &callee));
	if (napi_make_callback(s->env, s->context, resource, callee, argc, argv, NULL) != napi_pending_exception)
		return;
	napi_value error;
	MUST(napi_get_and_clear_last_exception(s->env, &error));
	napi_fatal_exception(s->env, error);
}

static void tell_error(struct netlink_socket *s, const char *name, int number)
{
	napi_value argv[2];
	MUST(napi_create_string_utf8(s->env, name, NAPI_AUTO_LENGTH, &argv[0]));
	MUST(napi_create_int32(s->env, number, &argv[1]));
	call(s, s->on_error, 2, argv);
}

static void tell_messages(struct netlink_socket *s, const char *from, size_t length)
{
	napi_value buffer, array;
	void *bytes;
	MUST(napi_create_arraybuffer(s->env, length, &bytes, &buffer));
	memcpy(bytes, from, length);
	MUST(napi_create_typedarray(s->env, napi_uint8_array, length, buffer, 0, &array));
	call(s, s->on_messages, 1, &array);
}

/* Reads available data while the buffer has space. Returns the errno that ended it, or 0 if the buffer is full. */
static int receive(int fd, char *to, size_t size, size_t *length)
{
	while (*length + DATAGRAM_BYTES <= size) {
		ssize_t got = recv(fd, to + *length, DATAGRAM_BYTES, MSG_DONTWAIT | MSG_TRUNC);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno;
		/* This cannot happen; if it does, data was lost. */
		if (got > DATAGRAM_BYTES)
			return ENOBUFS;
		/* Each message starts at a multiple of four. */
		size_t padded = NLMSG_ALIGN((size_t)got);
		memset(to + *length + got, 0, padded - (size_t)got);
		*length += padded;
	}
	return 0;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	(void)events;
	struct netlink_socket *s = poll->data;
	napi_handle_scope scope;
	MUST(napi_open_handle_scope(s->env, &scope));
	size_t length = 0;
	int error = receive(s->fd, room, ROOM_BYTES, &length);
	if (length > 0)
		tell_messages(s, room, length);
	if (error != 0 && error != EAGAIN && s->fd >= 0)
		tell_error(s, "recv", error);
	/* The npm package for netlink passes libuv's status on as an error without a name, which ends the process. */
	if (status < 0 && s->fd >= 0)
		uv_poll_start(&s->poll, UV_READABLE, on_poll);
	MUST(napi_close_handle_scope(s->env, scope));
}

static void arguments(napi_env env, napi_callback_info info, size_t count, napi_value *argv)
{
	MUST(napi_get_cb_info(env, info, &count, argv, NULL, NULL));
}

static int integer(napi_env env, napi_value value)
{
	int32_t number;
	MUST(napi_get_value_int32(env, value, &number));
	return number;
}

static struct netlink_socket *socket_of(napi_env env, napi_value value)
{
	void *s;
	MUST(napi_get_value_external(env, value, &s));
	return s;
}

static napi_value number(napi_env env, int64_t value)
{
	napi_value made;
	MUST(napi_create_int64(env, value, &made));
	return made;
}

/* Sets the receive buffer, beyond the system's limit if the process has the privilege, otherwise up to the limit. */
static int set_receive_buffer(int fd, int size)
{
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) == 0)
		return 0;
	return setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) == 0 ? 0 : errno;
}

/*
 * True if the send buffer has become larger. It must have space for the complete datagram, because a transaction cannot
 * be split.
 */
static int grow_send_buffer(int fd, size_t length)
{
	int before, after;
	socklen_t size = sizeof(before);
	int wanted = length < INT_MAX / 4 ? (int)length : INT_MAX / 4;
	if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &before, &size) < 0)
		return 0;
	/* Without CAP_NET_ADMIN in the initial user namespace, net.core.wmem_max is the limit. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &wanted, sizeof(wanted)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof(wanted));
	return getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &after, &size) == 0 && after > before;
}

static napi_value fail(napi_env env, const char *name, int error)
{
	napi_value text, object;
	MUST(napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &text));
	MUST(napi_create_error(env, NULL, text, &object));
	MUST(napi_set_named_property(env, object, "errno", number(env, error)));
	MUST(napi_throw(env, object));
	return NULL;
}

static napi_value open_socket(napi_env env, napi_callback_info info)
{
	napi_value argv[5], name, made, handle;
	bool is_slow;
	arguments(env, info, 5, argv);
	MUST(napi_get_value_bool(env, argv[4], &is_slow));
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, integer(env, argv[0]));
	if (fd < 0)
		return fail(env, "socket", errno);
	int on = 1;
	/* Without these options, errors lack the kernel's message or repeat the complete request. */
	setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	struct sockaddr_nl address = { .nl_family = AF_NETLINK };
	socklen_t size = sizeof(address);
	if (set_receive_buffer(fd, integer(env, argv[1])) != 0 || bind(fd, (struct sockaddr *)&address, size) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &size) < 0) {
		int error = errno;
		close(fd);
		return fail(env, "bind", error);
	}
	struct netlink_socket *s = calloc(1, sizeof(*s));
	if (s != NULL && is_slow)
		s->job_room = malloc(JOB_ROOM_BYTES);
	uv_loop_t *loop;
	if (s == NULL || (is_slow && s->job_room == NULL) || napi_get_uv_event_loop(env, &loop) != napi_ok || uv_poll_init(loop, &s->poll, fd) != 0) {
		if (s != NULL)
			free(s->job_room);
		free(s);
		close(fd);
		return fail(env, "poll", ENOMEM);
	}
	s->fd = fd;
	s->env = env;
	s->poll.data = s;
	MUST(napi_create_object(env, &made));
	MUST(napi_create_string_utf8(env, "weft:netlink", NAPI_AUTO_LENGTH, &name));
	MUST(napi_async_init(env, made, name, &s->context));
	MUST(napi_create_reference(env, made, 1, &s->resource));
	MUST(napi_create_reference(env, argv[2], 1, &s->on_messages));
	MUST(napi_create_reference(env, argv[3], 1, &s->on_error));
	MUST(napi_create_external(env, s, NULL, NULL, &handle));
	MUST(napi_set_named_property(env, made, "handle", handle));
	MUST(napi_set_named_property(env, made, "port", number(env, address.nl_pid)));
	uv_poll_start(&s->poll, UV_READABLE, on_poll);
	return made;
}

/* Returns an errno, or 0 for success. */
static int send_datagram(int fd, const void *bytes, size_t length)
{
	ssize_t sent;
	do
		sent = send(fd, bytes, length, 0);
	while (sent < 0 && (errno == EINTR || (errno == EMSGSIZE && grow_send_buffer(fd, length))));
	return sent < 0 ? errno : 0;
}

static void on_close(uv_handle_t *handle)
{
	struct netlink_socket *s = handle->data;
	napi_handle_scope scope;
	MUST(napi_open_handle_scope(s->env, &scope));
	napi_delete_reference(s->env, s->on_messages);
	napi_delete_reference(s->env, s->on_error);
	napi_delete_reference(s->env, s->resource);
	napi_async_destroy(s->env, s->context);
	MUST(napi_close_handle_scope(s->env, scope));
	free(s->job_room);
	free(s);
}

static void end_socket(struct netlink_socket *s)
{
	uv_poll_stop(&s->poll);
	close(s->fd);
	s->fd = -1;
	uv_close((uv_handle_t *)&s->poll, on_close);
}

/* Runs in a thread of the pool, where Node-API is not available. */
static void do_job(uv_work_t *job)
{
	struct netlink_socket *s = job->data;
	s->got = 0;
	s->failed_call = "send";
	s->error = s->outgoing == NULL ? 0 : send_datagram(s->fd, s->outgoing, s->outgoing_length);
	if (s->error != 0)
		return;
	s->failed_call = "recv";
	s->error = receive(s->fd, s->job_room, JOB_ROOM_BYTES, &s->got);
}

static void on_job_done(uv_work_t *job, int status);

static void begin_job(struct netlink_socket *s)
{
	s->is_busy = 1;
	s->job.data = s;
	uv_poll_stop(&s->poll);
	uv_queue_work(s->poll.loop, &s->job, do_job, on_job_done);
}

static void on_job_done(uv_work_t *job, int status)
{
	(void)status;
	struct netlink_socket *s = job->data;
	int error = s->error;
	s->is_busy = 0;
	free(s->outgoing);
	s->outgoing = NULL;
	if (s->is_closing) {
		end_socket(s);
		return;
	}
	napi_handle_scope scope;
	MUST(napi_open_handle_scope(s->env, &scope));
	/* The listener may send again or close the socket. */
	if (s->got > 0)
		tell_messages(s, s->job_room, s->got);
	if (error != 0 && error != EAGAIN && s->fd >= 0)
		tell_error(s, s->failed_call, error);
	/* No error means that the buffer was full. */
	if (s->fd >= 0 && !s->is_busy) {
		if (error == 0)
			begin_job(s);
		else
			uv_poll_start(&s->poll, UV_READABLE, on_poll);
	}
	MUST(napi_close_handle_scope(s->env, scope));
}

static napi_value send_bytes(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	void *bytes;
	size_t length;
	arguments(env, info, 2, argv);
	struct netlink_socket *s = socket_of(env, argv[0]);
	MUST(napi_get_typedarray_info(env, argv[1], NULL, &length, &bytes, NULL, NULL));
	if (s->job_room == NULL)
		return number(env, send_datagram(s->fd, bytes, length));
	if (s->is_busy)
		return number(env, EBUSY);
	s->outgoing = malloc(length);
	if (s->outgoing == NULL)
		return number(env, ENOMEM);
	memcpy(s->outgoing, bytes, length);
	s->outgoing_length = length;
	begin_job(s);
	return number(env, 0);
}

static napi_value add_membership(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	arguments(env, info, 2, argv);
	int group = integer(env, argv[1]);
	int result = setsockopt(socket_of(env, argv[0])->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group));
	return number(env, result < 0 ? errno : 0);
}

static napi_value set_receive_buffer_bytes(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	arguments(env, info, 2, argv);
	return number(env, set_receive_buffer(socket_of(env, argv[0])->fd, integer(env, argv[1])));
}

/* Drops messages whose nlmsg_pid is `port` before they use any buffer space. */
static napi_value ignore_port(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	uint32_t port;
	arguments(env, info, 2, argv);
	MUST(napi_get_value_uint32(env, argv[1], &port));
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_pid)),
		/* BPF loads convert from network byte order. */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __builtin_bswap32(port), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
	};
	struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };
	int fd = socket_of(env, argv[0])->fd;
	int result = setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
	return number(env, result < 0 ? errno : 0);
}

/* The caller must not use the handle again. */
static napi_value close_socket(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	arguments(env, info, 1, argv);
	struct netlink_socket *s = socket_of(env, argv[0]);
	if (s->is_busy)
		s->is_closing = 1;
	else
		end_socket(s);
	return NULL;
}

NAPI_MODULE_INIT()
{
	keep_malloc_small();
	const struct {
		const char *name;
		napi_callback function;
	} functions[] = {
		{ "open", open_socket },
		{ "send", send_bytes },
		{ "addMembership", add_membership },
		{ "setReceiveBufferBytes", set_receive_buffer_bytes },
		{ "ignorePort", ignore_port },
		{ "close", close_socket },
		{ "releaseMemory", release_memory },
	};
	for (size_t at = 0; at < sizeof(functions) / sizeof(functions[0]); at++) {
		napi_value made;
		const char *name = functions[at].name;
		MUST(napi_create_function(env, name, NAPI_AUTO_LENGTH, functions[at].function, NULL, &made));
		MUST(napi_set_named_property(env, exports, name, made));
	}
	return exports;
}
