/*
 * traffic serve PORT: answers the requests below, on all addresses of both families, until it is ended.
 * traffic stream ADDRESS PORT COUNT MS: sends over COUNT connections for MS milliseconds. Prints the bits per second that
 *   the server received.
 * traffic ask ADDRESS PORT MS: sends one byte and waits for its echo, over one connection. Prints the median and the 99th
 *   percentile of the time, in nanoseconds.
 * traffic connect ADDRESS PORT MS: opens a connection, sends one byte, waits for its echo and closes the connection, one
 *   after another. Prints the connections per second.
 *
 * The first byte of a connection tells the server what to do: S to count what it receives, E to send it back.
 * All connections use cubic, so that the machine's default does not matter: bbr limits the rate by a timer.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 128 * 1024, MOST = 64, MOST_SAMPLES = 4 * 1024 * 1024 };

static char chunk[CHUNK];

/* What the server reports about a stream: how much it received, and when the first and the last of it came. */
struct received {
	uint64_t bytes, first_ns, last_ns;
};

static uint64_t now(void)
{
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec * 1000000000ULL + at.tv_nsec;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int open_to(const char *address, const char *port, char request)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(atoi(port)) };
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };
	int is_six = inet_pton(AF_INET6, address, &six.sin6_addr) == 1;
	if (!is_six && inet_pton(AF_INET, address, &four.sin_addr) != 1)
		fail(address);
	int fd = socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM, 0), one = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	/* Close with a reset, so that no connection stays in TIME_WAIT. */
	struct linger none = { .l_onoff = 1, .l_linger = 0 };
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
	if (connect(fd, is_six ? (void *)&six : (void *)&four, is_six ? sizeof six : sizeof four) != 0)
		fail(address);
	if (write(fd, &request, 1) != 1)
		fail("write");
	return fd;
}

static void read_all(int fd, void *to, size_t size)
{
	for (size_t got = 0; got < size;) {
		ssize_t count = read(fd, (char *)to + got, size - got);
		if (count <= 0)
			fail("read");
		got += count;
	}
}

/* Serves one readable connection. Returns 0 if it has ended. */
static int serve_one(int fd, char *kind, struct received *stream)
{
	ssize_t count = read(fd, chunk, sizeof chunk);
	if (count <= 0) {
		if (count == 0 && *kind == 'S' && write(fd, stream, sizeof *stream) < 0)
			perror("write");
		return 0;
	}
	if (*kind == 0) {
		*kind = chunk[0];
		stream->bytes = 0;
		stream->first_ns = stream->last_ns = now();
	}
	if (*kind == 'E')
		return write(fd, chunk, count) == count;
	stream->bytes += count;
	stream->last_ns = now();
	return 1;
}

static void serve(const char *port)
{
	static char kinds[1024];
	static struct received streams[1024];
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(atoi(port)) };
	int listener = socket(AF_INET6, SOCK_STREAM, 0), one = 1;
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	setsockopt(listener, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
	if (bind(listener, (void *)&any, sizeof any) != 0 || listen(listener, 1024) != 0)
		fail("listen");
	int epoll = epoll_create1(0);
	struct epoll_event event = { .events = EPOLLIN, .data.fd = listener };
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
	puts("ready");
	fflush(stdout);
	for (;;) {
		struct epoll_event events[MOST];
		int count = epoll_wait(epoll, events, MOST, -1);
		for (int at = 0; at < count; at++) {
			int fd = events[at].data.fd;
			if (fd != listener) {
				if (!serve_one(fd, &kinds[fd], &streams[fd]))
					close(fd);
				continue;
			}
			fd = accept(listener, NULL, NULL);
			if (fd < 0 || fd >= (int)sizeof kinds)
				continue;
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
			kinds[fd] = 0;
			event.data.fd = fd;
			epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
		}
	}
}

static void stream(const char *address, const char *port, int count, int ms)
{
	struct pollfd fds[MOST];
	for (int at = 0; at < count; at++)
		fds[at] = (struct pollfd){ .fd = open_to(address, port, 'S'), .events = POLLOUT };
	uint64_t until = now() + ms * 1000000ULL;
	while (now() < until) {
		if (poll(fds, count, 100) < 0)
			fail("poll");
		for (int at = 0; at < count; at++)
			if (fds[at].revents != 0 && send(fds[at].fd, chunk, sizeof chunk, MSG_DONTWAIT) < 0 && errno != EAGAIN)
				fail("send");
	}
	uint64_t bytes = 0, first = UINT64_MAX, last = 0;
	for (int at = 0; at < count; at++)
		shutdown(fds[at].fd, SHUT_WR);
	for (int at = 0; at < count; at++) {
		struct received one;
		read_all(fds[at].fd, &one, sizeof one);
		bytes += one.bytes;
		first = one.first_ns < first ? one.first_ns : first;
		last = one.last_ns > last ? one.last_ns : last;
	}
	printf("%.0f\n", bytes * 8 * 1e9 / (last - first));
}

static int compare(const void *a, const void *b)
{
	uint32_t one = *(const uint32_t *)a, other = *(const uint32_t *)b;
	return (one > other) - (one < other);
}

static void ask(const char *address, const char *port, int ms)
{
	static uint32_t samples[MOST_SAMPLES];
	int fd = open_to(address, port, 'E'), count = 0;
	char byte;
	read_all(fd, &byte, 1);
	for (uint64_t start = now(), until = start + ms * 1000000ULL; start < until && count < MOST_SAMPLES;) {
		if (write(fd, &byte, 1) != 1)
			fail("write");
		read_all(fd, &byte, 1);
		uint64_t end = now();
		samples[count++] = end - start;
		start = end;
	}
	qsort(samples, count, sizeof *samples, compare);
	printf("%u %u\n", samples[count / 2], samples[(int)(count * 0.99)]);
}

static void connect_often(const char *address, const char *port, int ms)
{
	uint64_t start = now(), until = start + ms * 1000000ULL, end = start;
	int count = 0;
	for (; end < until; end = now(), count++) {
		char byte;
		int fd = open_to(address, port, 'E');
		read_all(fd, &byte, 1);
		close(fd);
	}
	printf("%.1f\n", count * 1e9 / (end - start));
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		serve(argv[2]);
	else if (argc == 6 && strcmp(argv[1], "stream") == 0 && atoi(argv[4]) <= MOST)
		stream(argv[2], argv[3], atoi(argv[4]), atoi(argv[5]));
	else if (argc == 5 && strcmp(argv[1], "ask") == 0)
		ask(argv[2], argv[3], atoi(argv[4]));
	else if (argc == 5 && strcmp(argv[1], "connect") == 0)
		connect_often(argv[2], argv[3], atoi(argv[4]));
	else
		return 2;
	return 0;
}
