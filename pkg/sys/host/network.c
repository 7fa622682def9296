/* Network namespaces, netlink sockets, and Unix sockets. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/netlink.h>
#include <linux/nsfs.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "host.h"

static const char own_namespace[] = "/proc/self/ns/net";

/* The process's own namespace, opened once, to return to. */
static int home = -1;

static int enter(int namespace)
{
	if (home < 0)
		home = open(own_namespace, O_RDONLY | O_CLOEXEC);
	if (home < 0)
		return errno;
	return setns(namespace, CLONE_NEWNET) < 0 ? errno : 0;
}

/* Continuing in the wrong namespace would change another namespace's network, so the process must abort. */
static void come_back(void)
{
	if (setns(home, CLONE_NEWNET) < 0) {
		perror("weft: cannot return to the host's network namespace");
		abort();
	}
}

/* openNamespace(path): [descriptor, "device:inode"] */
static JSValue open_namespace(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	const char *path = host_get_path(ctx, argv[0]);
	struct stat status;
	char identity[48];
	JSValue result;
	int fd, error = 0;

	(void)self, (void)argc;
	if (!path)
		return JS_EXCEPTION;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		error = errno;
	} else if (ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET) {
		error = EINVAL;
	} else if (fstat(fd, &status) < 0) {
		error = errno;
	}
	if (error) {
		if (fd >= 0)
			close(fd);
		result = host_fail(ctx, "open network namespace", path, error);
	} else {
		snprintf(identity, sizeof(identity), "%llu:%llu", (unsigned long long)status.st_dev, (unsigned long long)status.st_ino);
		result = JS_NewArray(ctx);
		JS_SetPropertyUint32(ctx, result, 0, JS_NewInt32(ctx, fd));
		JS_SetPropertyUint32(ctx, result, 1, JS_NewString(ctx, identity));
	}
	JS_FreeCString(ctx, path);
	return result;
}

/* inNamespace(descriptor, work): the result of work */
static JSValue in_namespace(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	int32_t namespace;
	int error;
	JSValue result;

	(void)self, (void)argc;
	if (JS_ToInt32(ctx, &namespace, argv[0]))
		return JS_EXCEPTION;
	error = enter(namespace);
	if (error)
		return host_fail(ctx, "setns", "the container's network namespace", error);
	result = JS_Call(ctx, argv[1], JS_UNDEFINED, 0, NULL);
	come_back();
	return result;
}

static int open_socket(int protocol, int namespace)
{
	int fd, error = 0;

	if (namespace >= 0) {
		error = enter(namespace);
		if (error) {
			errno = error;
			return -1;
		}
	}
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	if (fd < 0)
		error = errno;
	if (namespace >= 0)
		come_back();
	if (error)
		errno = error;
	return fd;
}

/*
 * When an nfnetlink socket is closed, the kernel waits until everything that was deleted from nftables in the namespace
 * is freed (nft_rcv_nl_event): a grace period of RCU, about 10 ms after a DEL. The deletion itself has long taken effect.
 * Therefore the socket goes into a message to one end of a Unix socket pair, together with that end. No process can
 * receive the message, so the kernel's garbage collection of Unix sockets closes both, in a thread of its own.
 */
void host_hand_over(int fd)
{
	char control[CMSG_SPACE(2 * sizeof(int))] = { 0 };
	struct iovec byte = { .iov_base = "", .iov_len = 1 };
	struct msghdr message = { .msg_iov = &byte, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
	int protocol = 0, pair[2];
	socklen_t length = sizeof(protocol);

	if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) < 0 || protocol != NETLINK_NETFILTER)
		return;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return;
	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(2 * sizeof(int));
	memcpy(CMSG_DATA(rights), (int[]){ fd, pair[0] }, 2 * sizeof(int));
	/* If this fails, the process closes the socket, and waits. */
	sendmsg(pair[1], &message, MSG_NOSIGNAL);
	close(pair[0]);
	close(pair[1]);
}

/* A batch of nftables changes is one datagram, and its answers wait in the receive buffer. */
enum { SOCKET_BUFFER_BYTES = 4 << 20 };

/* openNetlink(protocol, namespace descriptor or -1): descriptor */
static JSValue open_netlink(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	static const int on = 1, size = SOCKET_BUFFER_BYTES;
	int32_t protocol, namespace;
	int fd;

	(void)self, (void)argc;
	if (JS_ToInt32(ctx, &protocol, argv[0]) || JS_ToInt32(ctx, &namespace, argv[1]))
		return JS_EXCEPTION;
	fd = open_socket(protocol, namespace);
	if (fd < 0)
		return host_fail(ctx, "socket", "netlink", errno);
	/* Older kernels may not have these options; without them answers are only less detailed. */
	setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	if (protocol == NETLINK_ROUTE)
		setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	return JS_NewInt32(ctx, fd);
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

static JSValue netlink_send(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	const uint8_t *bytes;
	size_t length;
	int32_t fd;
	ssize_t count;

	(void)self, (void)argc;
	if (JS_ToInt32(ctx, &fd, argv[0]) || !host_get_bytes(ctx, argv[1], &bytes, &length))
		return JS_EXCEPTION;
	do
		count = sendto(fd, bytes, length, 0, (struct sockaddr *)&kernel, sizeof(kernel));
	while (count < 0 && (errno == EINTR || (errno == EMSGSIZE && grow_send_buffer(fd, length))));
	return count < 0 ? host_fail(ctx, "send", "netlink", errno) : JS_UNDEFINED;
}

/*
 * Receives the next datagram from the kernel; ignores datagrams from other processes, which can send to the socket,
 * too.
 */
static ssize_t receive_from_kernel(int fd, uint8_t *buffer, size_t size, int flags)
{
	for (;;) {
		struct sockaddr_nl sender = { 0 };
		socklen_t length = sizeof(sender);
		ssize_t count = recvfrom(fd, buffer, size, flags | MSG_TRUNC, (struct sockaddr *)&sender, &length);

		if (count < 0 ? errno != EINTR : sender.nl_pid == 0)
			return count;
	}
}

/* netlinkReceive(descriptor, timeoutMs): one datagram from the kernel */
static JSValue netlink_receive(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	/*
	 * A datagram of a dump has at most 32 KiB; single answers are far smaller. Pages of the buffer that are not used cost
	 * nothing.
	 */
	static uint8_t buffer[1 << 20];
	struct timeval timeout;
	int32_t fd, milliseconds;
	ssize_t count;

	(void)self, (void)argc;
	if (JS_ToInt32(ctx, &fd, argv[0]) || JS_ToInt32(ctx, &milliseconds, argv[1]))
		return JS_EXCEPTION;
	timeout = (struct timeval){ .tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * 1000 };
	/* The kernel usually answers during the send, so the timeout is set only if it has not. */
	count = receive_from_kernel(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
	/* For the kernel, a timeout of zero means no timeout. */
	if (count < 0 && errno == EAGAIN && milliseconds > 0) {
		if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0)
			return host_fail(ctx, "setsockopt", "netlink", errno);
		count = receive_from_kernel(fd, buffer, sizeof(buffer), 0);
	}
	if (count < 0)
		return host_fail(ctx, "receive", "netlink", errno == EAGAIN ? ETIMEDOUT : errno);
	if ((size_t)count > sizeof(buffer))
		return host_fail(ctx, "receive", "netlink", EMSGSIZE);
	return host_new_bytes(ctx, buffer, (size_t)count);
}

/* Connects to the Unix socket at `path`. Returns a negative errno on failure. The kernel rounds the time up to ticks. */
static int connect_to(const char *path, int flags, int milliseconds)
{
	/* For the kernel, a timeout of zero means no timeout. */
	int wait = milliseconds > 0 ? milliseconds : 1;
	struct timeval patience = { .tv_sec = wait / 1000, .tv_usec = wait % 1000 * 1000 };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, error;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	if (fd < 0)
		return -errno;
	/* If the listener accepts no connections, its queue fills up, and connect would block forever. */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	error = errno == EAGAIN && !(flags & SOCK_NONBLOCK) ? ETIMEDOUT : errno;
	close(fd);
	return -error;
}

/* isSocketAlive(path): true if connecting succeeds, or would succeed after the listener accepts */
static JSValue is_socket_alive(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	const char *path = host_get_path(ctx, argv[0]);
	JSValue result;
	int fd;

	(void)self, (void)argc;
	if (!path)
		return JS_EXCEPTION;
	fd = connect_to(path, SOCK_NONBLOCK, 0);
	if (fd >= 0)
		close(fd);
	if (fd >= 0 || fd == -EAGAIN || fd == -EINPROGRESS)
		result = JS_TRUE;
	else if (fd == -ENOENT || fd == -ECONNREFUSED || fd == -ENOTDIR)
		result = JS_FALSE;
	else
		result = host_fail(ctx, "connect", path, -fd);
	JS_FreeCString(ctx, path);
	return result;
}

/* connectUnix(path, timeoutMs): descriptor */
static JSValue connect_unix(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	const char *path;
	int32_t milliseconds;
	JSValue result;
	int fd;

	(void)self, (void)argc;
	if (JS_ToInt32(ctx, &milliseconds, argv[1]))
		return JS_EXCEPTION;
	path = host_get_path(ctx, argv[0]);
	if (!path)
		return JS_EXCEPTION;
	fd = connect_to(path, 0, milliseconds);
	result = fd < 0 ? host_fail(ctx, "connect", path, -fd) : JS_NewInt32(ctx, fd);
	JS_FreeCString(ctx, path);
	return result;
}

/* streamSend(descriptor, bytes) */
static JSValue stream_send(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	const uint8_t *bytes;
	size_t length;
	int32_t fd;

	(void)self, (void)argc;
	if (JS_ToInt32(ctx, &fd, argv[0]) || !host_get_bytes(ctx, argv[1], &bytes, &length))
		return JS_EXCEPTION;
	while (length > 0) {
		ssize_t count = send(fd, bytes, length, MSG_NOSIGNAL);

		if (count < 0 && errno != EINTR)
			return host_fail(ctx, "send", "a Unix socket", errno);
		if (count > 0)
			bytes += count, length -= (size_t)count;
	}
	return JS_UNDEFINED;
}

/* streamReceive(descriptor, timeoutMs): the available bytes; none at the end */
static JSValue stream_receive(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	uint8_t buffer[1 << 14];
	struct pollfd stream = { .events = POLLIN };
	int32_t milliseconds;
	ssize_t count;
	int ready;

	(void)self, (void)argc;
	if (JS_ToInt32(ctx, &stream.fd, argv[0]) || JS_ToInt32(ctx, &milliseconds, argv[1]))
		return JS_EXCEPTION;
	do
		ready = poll(&stream, 1, milliseconds);
	while (ready < 0 && errno == EINTR);
	if (ready <= 0)
		return host_fail(ctx, "receive", "a Unix socket", ready == 0 ? ETIMEDOUT : errno);
	do
		count = recv(stream.fd, buffer, sizeof(buffer), 0);
	while (count < 0 && errno == EINTR);
	/* A peer that closes with unread data resets the connection. Treat it as a normal end. */
	if (count < 0 && errno != ECONNRESET)
		return host_fail(ctx, "receive", "a Unix socket", errno);
	return host_new_bytes(ctx, buffer, count < 0 ? 0 : (size_t)count);
}

void host_add_network(JSContext *ctx, JSValueConst host)
{
	host_add(ctx, host, "openNamespace", open_namespace, 1);
	host_add(ctx, host, "inNamespace", in_namespace, 2);
	host_add(ctx, host, "openNetlink", open_netlink, 2);
	host_add(ctx, host, "netlinkSend", netlink_send, 2);
	host_add(ctx, host, "netlinkReceive", netlink_receive, 2);
	host_add(ctx, host, "isSocketAlive", is_socket_alive, 1);
	host_add(ctx, host, "connectUnix", connect_unix, 2);
	host_add(ctx, host, "streamSend", stream_send, 2);
	host_add(ctx, host, "streamReceive", stream_receive, 2);
}
