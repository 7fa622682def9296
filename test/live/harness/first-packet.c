/*
 * Sends packets as early as a pod can.
 *
 *	first-packet spin PORT ADDRESS...	sends UDP datagrams to every address without a pause, from before the interface
 *		eth0 exists, and brings eth0 up itself as soon as it exists. Runs until it gets a signal.
 *	first-packet once PORT ADDRESS...	sends one UDP datagram and opens one TCP connection to each address, and prints
 *		"ADDRESS RETRANSMITTED MICROSECONDS": the retransmitted SYNs, and the time until the connection was open.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 16 };

struct target {
	const char *text;
	struct sockaddr_storage address;
	socklen_t length;
	int fd;
};

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void parse(struct target *target, const char *text, int port)
{
	struct sockaddr_in *four = (struct sockaddr_in *)&target->address;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&target->address;

	memset(target, 0, sizeof(*target));
	target->text = text;
	if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons(port);
		target->length = sizeof(*four);
	} else if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons(port);
		target->length = sizeof(*six);
	} else {
		fprintf(stderr, "%s is not an address\n", text);
		exit(1);
	}
	target->fd = socket(target->address.ss_family, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	if (target->fd < 0)
		fail("socket");
}

static int send_one(const struct target *target)
{
	return sendto(target->fd, "1", 1, 0, (const struct sockaddr *)&target->address, target->length) == 1;
}

static void bring_up(int fd)
{
	struct ifreq request = { .ifr_name = "eth0" };

	if (ioctl(fd, SIOCGIFFLAGS, &request) < 0 || request.ifr_flags & IFF_UP)
		return;
	request.ifr_flags |= IFF_UP;
	ioctl(fd, SIOCSIFFLAGS, &request);
}

static void dial(const struct target *target)
{
	struct timespec before, after;
	struct tcp_info info;
	socklen_t length = sizeof(info);
	int fd = socket(target->address.ss_family, SOCK_STREAM, 0);

	clock_gettime(CLOCK_MONOTONIC, &before);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&target->address, target->length) < 0)
		fail(target->text);
	clock_gettime(CLOCK_MONOTONIC, &after);
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
		fail("TCP_INFO");
	printf("%s %u %ld\n", target->text, info.tcpi_total_retrans,
	       (after.tv_sec - before.tv_sec) * 1000000L + (after.tv_nsec - before.tv_nsec) / 1000);
	close(fd);
}

int main(int argc, char **argv)
{
	struct target targets[MOST];
	int count = argc - 3;

	if (count < 1 || count > MOST)
		return 2;
	for (int at = 0; at < count; at++)
		parse(&targets[at], argv[3 + at], atoi(argv[2]));
	if (strcmp(argv[1], "spin") == 0) {
		printf("spinning\n");
		fflush(stdout);
		for (;;) {
			bring_up(targets[0].fd);
			for (int at = 0; at < count; at++)
				send_one(&targets[at]);
		}
	}
	for (int at = 0; at < count; at++) {
		if (!send_one(&targets[at]))
			fail(targets[at].text);
		dial(&targets[at]);
	}
	return 0;
}
