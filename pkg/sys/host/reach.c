/*
 * Reachability of other hosts: datagrams to closed ports, connections with a timeout. Also the free space of a file
 * system.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "host.h"

/* The largest UDP payload (RFC 768). */
enum { LARGEST_DATAGRAM = 65507, LONGEST_ADDRESS = 16 };

/* Makes a socket address from 4 or 16 bytes and a port. Returns 0 if the bytes are not an address. */
static socklen_t socket_address(struct sockaddr_storage *to, const uint8_t *bytes, size_t length, uint16_t port)
{
	memset(to, 0, sizeof(*to));
	if (length == 4) {
		struct sockaddr_in *address = (struct sockaddr_in *)to;

		address->sin_family = AF_INET;
		address->sin_port = htons(port);
		memcpy(&address->sin_addr, bytes, length);
		return sizeof(*address);
	}
	if (length == LONGEST_ADDRESS) {
		struct sockaddr_in6 *address = (struct sockaddr_in6 *)to;

		address->sin6_family = AF_INET6;
		address->sin6_port = htons(port);
		memcpy(&address->sin6_addr, bytes, length);
		return sizeof(*address);
	}
	return 0;
}

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

struct udp_probe {
	int error;
	int64_t sent_us, answered_us;
};

/* Opens a connected socket that reports ICMP errors. Returns a negative errno on failure. */
static int open_datagram(const struct sockaddr_storage *to, const struct sockaddr_storage *from, socklen_t length, bool is_whole)
{
	static const int on = 1, probe4 = IP_PMTUDISC_PROBE, probe6 = IPV6_PMTUDISC_PROBE;
	bool is_ipv4 = to->ss_family == AF_INET;
	int fd = socket(to->ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int error = 0;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, is_ipv4 ? IPPROTO_IP : IPPROTO_IPV6, is_ipv4 ? IP_RECVERR : IPV6_RECVERR, &on, sizeof(on)) < 0)
		error = errno;
	/* Send the datagram unfragmented or not at all, whatever path MTU the kernel has learned. */
	if (!error && is_whole && is_ipv4 && setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &probe4, sizeof(probe4)) < 0)
		error = errno;
	if (!error && is_whole && !is_ipv4 && setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &probe6, sizeof(probe6)) < 0)
		error = errno;
	if (!error && from && bind(fd, (const struct sockaddr *)from, length) < 0)
		error = errno;
	if (!error && connect(fd, (const struct sockaddr *)to, length) < 0)
		error = errno;
	if (!error)
		return fd;
	close(fd);
	return -error;
}

/* Reads element `at` of a question as a number. */
static bool get_number(JSContext *ctx, JSValueConst question, uint32_t at, int32_t *number)
{
	JSValue value = JS_GetPropertyUint32(ctx, question, at);
	bool is_number = !JS_ToInt32(ctx, number, value);

	JS_FreeValue(ctx, value);
	return is_number;
}

/* Reads element `at` of a question as an address; `*length` is 0 if it contains no bytes. */
static bool get_address(JSContext *ctx, JSValueConst question, uint32_t at, uint8_t *to, size_t *length)
{
	JSValue value = JS_GetPropertyUint32(ctx, question, at);
	const uint8_t *bytes;
	bool is_read = host_get_bytes(ctx, value, &bytes, length);

	if (is_read && *length <= LONGEST_ADDRESS)
		memcpy(to, bytes, *length);
	JS_FreeValue(ctx, value);
	return is_read;
}

/* Sends the probe of a question, [to, from, port, bytes, isWhole]. False if it has thrown. */
static bool send_probe(JSContext *ctx, JSValueConst question, struct udp_probe *probe, struct pollfd *socket)
{
	static const uint8_t payload[LARGEST_DATAGRAM];
	uint8_t to_bytes[LONGEST_ADDRESS], from_bytes[LONGEST_ADDRESS];
	struct sockaddr_storage to, from;
	size_t to_length, from_length;
	int32_t port, bytes, is_whole;
	socklen_t length;

	socket->fd = -1;
	if (!get_address(ctx, question, 0, to_bytes, &to_length) || !get_address(ctx, question, 1, from_bytes, &from_length))
		return false;
	if (!get_number(ctx, question, 2, &port) || !get_number(ctx, question, 3, &bytes) || !get_number(ctx, question, 4, &is_whole))
		return false;
	length = socket_address(&to, to_bytes, to_length, (uint16_t)port);
	if (!length || bytes < 0 || bytes > LARGEST_DATAGRAM || (from_length && socket_address(&from, from_bytes, from_length, 0) != length)) {
		probe->error = EINVAL;
		return true;
	}
	socket->fd = open_datagram(&to, from_length ? &from : NULL, length, is_whole != 0);
	probe->sent_us = now_us();
	if (socket->fd >= 0 && send(socket->fd, payload, (size_t)bytes, MSG_NOSIGNAL) < 0) {
		probe->error = errno;
		close(socket->fd);
		socket->fd = -1;
	} else if (socket->fd < 0) {
		probe->error = -socket->fd;
		socket->fd = -1;
	}
	return true;
}

/* Waits until all answers have arrived or the time is over. */
static void await_answers(struct udp_probe *probes, struct pollfd *sockets, uint32_t count, int64_t timeout_us)
{
	int64_t deadline = now_us() + timeout_us;
	uint32_t open = 0;

	for (uint32_t i = 0; i < count; i++)
		open += sockets[i].fd >= 0;
	while (open > 0) {
		int64_t left = deadline - now_us();
		int ready = left <= 0 ? 0 : poll(sockets, count, (int)((left + 999) / 1000));

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready <= 0)
			return;
		for (uint32_t i = 0; i < count; i++) {
			int error = 0;
			socklen_t size = sizeof(error);

			if (sockets[i].fd < 0 || !sockets[i].revents)
				continue;
			getsockopt(sockets[i].fd, SOL_SOCKET, SO_ERROR, &error, &size);
			probes[i].error = error;
			probes[i].answered_us = now_us();
			close(sockets[i].fd);
			sockets[i].fd = -1;
			open--;
		}
	}
}

/*
 * probeUdp([[to, from, port, bytes, isWhole], ...], timeoutMs): [[errno, microseconds], ...]; ETIMEDOUT for no answer
 */
static JSValue probe_udp(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	JSValue result = JS_EXCEPTION, length = JS_GetPropertyStr(ctx, argv[0], "length");
	struct udp_probe *probes = NULL;
	struct pollfd *sockets = NULL;
	uint32_t count = 0, sent = 0;
	int32_t milliseconds;
	bool is_sent = !JS_ToUint32(ctx, &count, length) && !JS_ToInt32(ctx, &milliseconds, argv[1]);

	(void)self, (void)argc;
	JS_FreeValue(ctx, length);
	if (!is_sent)
		return JS_EXCEPTION;
	probes = calloc(count + 1, sizeof(*probes));
	sockets = calloc(count + 1, sizeof(*sockets));
	if (!probes || !sockets) {
		is_sent = false;
		JS_ThrowOutOfMemory(ctx);
	}
	for (; is_sent && sent < count; sent++) {
		JSValue question = JS_GetPropertyUint32(ctx, argv[0], sent);

		is_sent = send_probe(ctx, question, &probes[sent], &sockets[sent]);
		sockets[sent].events = POLLIN;
		JS_FreeValue(ctx, question);
	}
	if (is_sent) {
		await_answers(probes, sockets, count, (int64_t)milliseconds * 1000);
		result = JS_NewArray(ctx);
		for (uint32_t i = 0; i < count; i++) {
			bool is_silent = sockets[i].fd >= 0;
			int64_t us = probes[i].answered_us ? probes[i].answered_us - probes[i].sent_us : 0;
			JSValue answer = JS_NewArray(ctx);

			JS_SetPropertyUint32(ctx, answer, 0, JS_NewInt32(ctx, is_silent ? ETIMEDOUT : probes[i].error));
			JS_SetPropertyUint32(ctx, answer, 1, JS_NewInt64(ctx, us));
			JS_SetPropertyUint32(ctx, result, i, answer);
		}
	}
	for (uint32_t i = 0; sockets && i < sent; i++)
		if (sockets[i].fd >= 0)
			close(sockets[i].fd);
	free(probes);
	free(sockets);
	return result;
}

/* connectTcp(address, port, timeoutMs): descriptor */
static JSValue connect_tcp(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	static const char subject[] = "a TCP connection";
	struct sockaddr_storage to;
	struct pollfd stream = { .events = POLLOUT };
	const uint8_t *bytes;
	size_t size;
	int32_t port, milliseconds;
	socklen_t length, error_size = sizeof(int);
	int error = 0, ready;

	(void)self, (void)argc;
	if (!host_get_bytes(ctx, argv[0], &bytes, &size) || JS_ToInt32(ctx, &port, argv[1]) || JS_ToInt32(ctx, &milliseconds, argv[2]))
		return JS_EXCEPTION;
	length = socket_address(&to, bytes, size, (uint16_t)port);
	if (!length)
		return host_fail(ctx, "connect", subject, EINVAL);
	stream.fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (stream.fd < 0)
		return host_fail(ctx, "socket", subject, errno);
	if (connect(stream.fd, (struct sockaddr *)&to, length) < 0 && errno != EINPROGRESS)
		error = errno;
	if (!error) {
		do
			ready = poll(&stream, 1, milliseconds);
		while (ready < 0 && errno == EINTR);
		if (ready <= 0)
			error = ready == 0 ? ETIMEDOUT : errno;
		else if (getsockopt(stream.fd, SOL_SOCKET, SO_ERROR, &error, &error_size) < 0)
			error = errno;
	}
	if (error) {
		close(stream.fd);
		return host_fail(ctx, "connect", subject, error);
	}
	return JS_NewInt32(ctx, stream.fd);
}

/* room(path): [bytes, bytes free, inodes, inodes free]; free means available to the calling user */
static JSValue room(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	const char *path = host_get_path(ctx, argv[0]);
	struct statvfs status;
	JSValue result;

	(void)self, (void)argc;
	if (!path)
		return JS_EXCEPTION;
	if (statvfs(path, &status) < 0) {
		result = host_fail(ctx, "statvfs", path, errno);
	} else {
		const uint64_t numbers[] = {
			(uint64_t)status.f_blocks * status.f_frsize,
			(uint64_t)status.f_bavail * status.f_frsize,
			status.f_files,
			status.f_favail,
		};

		result = JS_NewArray(ctx);
		for (uint32_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
			JS_SetPropertyUint32(ctx, result, i, JS_NewFloat64(ctx, (double)numbers[i]));
	}
	JS_FreeCString(ctx, path);
	return result;
}

void host_add_reach(JSContext *ctx, JSValueConst host)
{
	host_add(ctx, host, "probeUdp", probe_udp, 2);
	host_add(ctx, host, "connectTcp", connect_tcp, 3);
	host_add(ctx, host, "room", room, 1);
}
