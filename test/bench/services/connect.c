/*
 * connect ROUNDS ADDRESS...: opens a TCP connection to port 80 of each address in turn, ROUNDS times. Prints for each
 * connection the index of its address and the nanoseconds from SYN to SYN-ACK. Every second round is in reverse order,
 * because a connection through the same node as the previous one finds that node's rules in the processor's caches.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec * 1000000000LL + at.tv_nsec;
}

int main(int argc, char **argv)
{
	/* Close with a reset, so that no connection stays in TIME_WAIT. */
	struct linger none = { .l_onoff = 1, .l_linger = 0 };
	int rounds = argc > 2 ? atoi(argv[1]) : 0;
	for (int round = 0; round < rounds; round++)
		for (int turn = 2; turn < argc; turn++) {
			int at = round % 2 == 0 ? turn : argc + 1 - turn;
			struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(80) };
			if (inet_pton(AF_INET, argv[at], &to.sin_addr) != 1)
				return 2;
			int fd = socket(AF_INET, SOCK_STREAM, 0);
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
			long long start = now();
			if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
				perror(argv[at]);
				return 1;
			}
			printf("%d %lld\n", at - 2, now() - start);
			close(fd);
		}
	return 0;
}
