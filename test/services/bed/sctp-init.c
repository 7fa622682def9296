/*
 * Sends SCTP INIT chunks from raw sockets, each from a different port: `sctp-init SOURCE DESTINATION PORT COUNT`. Kernels
 * without SCTP also translate its packets. RFC 9260, sections 3.1 and 3.3.2.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct init {
	uint16_t source, destination;
	uint32_t tag, checksum;
	uint8_t type, flags;
	uint16_t length;
	uint32_t initiate_tag, window;
	uint16_t outbound, inbound;
	uint32_t tsn;
} __attribute__((packed));

/* RFC 9260, appendix A; conntrack drops packets without it. */
static uint32_t crc32c(const uint8_t *bytes, size_t length)
{
	uint32_t crc = ~0u;

	while (length--) {
		crc ^= *bytes++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
	}
	return ~crc;
}

static socklen_t parse(const char *text, struct sockaddr_storage *into)
{
	struct sockaddr_in *four = (struct sockaddr_in *)into;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)into;

	memset(into, 0, sizeof(*into));
	if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		return sizeof(*four);
	}
	if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1) {
		six->sin6_family = AF_INET6;
		return sizeof(*six);
	}
	fprintf(stderr, "no address: %s\n", text);
	exit(2);
}

int main(int argc, char **argv)
{
	struct sockaddr_storage from, to;
	socklen_t length;
	int raw;

	if (argc != 5)
		return 2;
	length = parse(argv[1], &from);
	parse(argv[2], &to);
	raw = socket(to.ss_family, SOCK_RAW, IPPROTO_SCTP);
	if (raw < 0 || bind(raw, (struct sockaddr *)&from, length)) {
		perror(argv[1]);
		return 1;
	}
	for (int at = 0; at < atoi(argv[4]); at++) {
		struct init init = {
			.source = htons(40000 + at), .destination = htons(atoi(argv[3])), .type = 1, .length = htons(20),
			.initiate_tag = htonl(1 + at), .window = htonl(65536), .outbound = htons(1), .inbound = htons(1),
			.tsn = htonl(1),
		};

		/* The checksum is the one field in little-endian order. */
		init.checksum = htole32(crc32c((uint8_t *)&init, sizeof(init)));
		if (sendto(raw, &init, sizeof(init), 0, (struct sockaddr *)&to, length) < 0) {
			perror(argv[2]);
			return 1;
		}
	}
	return 0;
}
