/*
 * Sends and captures Ethernet frames (AF_PACKET), as a program in a pod with CAP_NET_RAW can. The tests that need this
 * program compile it.
 *
 *   frames send INTERFACE HEX...          sends each frame
 *   frames capture INTERFACE TEXT MS      prints received frames in hexadecimal, one per line, until one contains TEXT
 *                                         or MS milliseconds have passed; prints "ready" first
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static unsigned char frame[65536];

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int send_frames(int fd, int count, char **hex)
{
	for (int at = 0; at < count; at++) {
		size_t length = strlen(hex[at]) / 2;

		for (size_t byte = 0; byte < length; byte++)
			sscanf(hex[at] + 2 * byte, "%2hhx", &frame[byte]);
		if (send(fd, frame, length, 0) < 0)
			return fail("send");
	}
	return 0;
}

static int capture(int fd, const char *text, long limit_ms)
{
	long end_ms = now_ms() + limit_ms;

	puts("ready");
	fflush(stdout);
	for (;;) {
		long left_ms = end_ms - now_ms();
		struct pollfd waiting = { .fd = fd, .events = POLLIN };
		struct sockaddr_ll from;
		socklen_t size = sizeof(from);
		ssize_t length;

		if (left_ms <= 0 || poll(&waiting, 1, left_ms) <= 0)
			return 0;
		length = recvfrom(fd, frame, sizeof(frame), 0, (struct sockaddr *)&from, &size);
		if (length < 0)
			return fail("recvfrom");
		if (from.sll_pkttype == PACKET_OUTGOING)
			continue;
		for (ssize_t byte = 0; byte < length; byte++)
			printf("%02x", frame[byte]);
		putchar('\n');
		if (memmem(frame, length, text, strlen(text)))
			return 0;
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_ll on = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	int fd;

	if (argc < 3 || !(on.sll_ifindex = if_nametoindex(argv[2])))
		return 2;
	fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
	if (fd < 0 || bind(fd, (struct sockaddr *)&on, sizeof(on)))
		return fail("socket");
	if (!strcmp(argv[1], "send"))
		return send_frames(fd, argc - 3, argv + 3);
	if (!strcmp(argv[1], "capture") && argc == 5)
		return capture(fd, argv[3], atol(argv[4]));
	return 2;
}
