/*
 * Sends the first packets of connections from raw sockets. Each line of the input is a packet: `SOURCE DESTINATION
 * PROTOCOL NUMBER PORT`. PROTOCOL is 6 (a SYN), 17, 132 (an INIT), 1 or 58 (an echo request). NUMBER is the source port,
 * or the identifier of the echo request.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* RFC 9260, appendix A; conntrack ignores packets without it. */
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

/* RFC 1071: adds bytes to a sum. */
static uint32_t sum(uint32_t total, const void *data, size_t length)
{
	const uint8_t *bytes = data;

	for (size_t at = 0; at + 1 < length; at += 2)
		total += bytes[at] << 8 | bytes[at + 1];
	return total;
}

static uint16_t folded(uint32_t total)
{
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return htons(~total & 0xffff);
}

static socklen_t parse(const char *text, struct sockaddr_storage *into, const void **address, size_t *length)
{
	struct sockaddr_in *four = (struct sockaddr_in *)into;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)into;

	memset(into, 0, sizeof(*into));
	if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		*address = &four->sin_addr;
		*length = 4;
		return sizeof(*four);
	}
	if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1) {
		six->sin6_family = AF_INET6;
		*address = &six->sin6_addr;
		*length = 16;
		return sizeof(*six);
	}
	fprintf(stderr, "no address: %s\n", text);
	exit(2);
}

/* Fills `packet`, and returns its length. `pseudo` is the sum of the pseudo-header. */
static size_t fill(uint8_t *packet, int protocol, int number, int port, uint32_t pseudo)
{
	uint16_t *words = (uint16_t *)packet;
	size_t length = protocol == 6 ? 20 : protocol == 132 ? 32 : 8;

	memset(packet, 0, length);
	if (protocol == 1 || protocol == 58) {
		packet[0] = protocol == 1 ? 8 : 128;
		words[2] = htons(number);
		words[1] = folded(sum(protocol == 1 ? 0 : pseudo + length + protocol, packet, length));
		return length;
	}
	words[0] = htons(number);
	words[1] = htons(port);
	if (protocol == 6) {
		packet[12] = 5 << 4;
		packet[13] = 2;
		words[7] = htons(65535);
		words[8] = folded(sum(pseudo + length + protocol, packet, length));
	} else if (protocol == 17) {
		words[2] = htons(length);
		words[3] = folded(sum(pseudo + length + protocol, packet, length));
	} else {
		uint32_t checksum;

		packet[12] = 1;
		words[7] = htons(20);
		packet[19] = 1;
		packet[22] = 1;
		packet[25] = packet[27] = packet[31] = 1;
		/* The checksum is the one field in little-endian order. */
		checksum = htole32(crc32c(packet, length));
		memcpy(packet + 8, &checksum, sizeof(checksum));
	}
	return length;
}

int main(void)
{
	char source[64], destination[64];
	int protocol, number, port;

	while (scanf("%63s %63s %d %d %d", source, destination, &protocol, &number, &port) == 5) {
		struct sockaddr_storage from, to;
		const void *from_bytes, *to_bytes;
		uint8_t packet[64];
		size_t bytes;
		socklen_t length = parse(source, &from, &from_bytes, &bytes);
		int raw;

		parse(destination, &to, &to_bytes, &bytes);
		raw = socket(to.ss_family, SOCK_RAW, protocol);
		if (raw < 0 || bind(raw, (struct sockaddr *)&from, length)) {
			perror(source);
			return 1;
		}
		bytes = fill(packet, protocol, number, port, sum(sum(0, from_bytes, bytes), to_bytes, bytes));
		if (sendto(raw, packet, bytes, 0, (struct sockaddr *)&to, length) < 0) {
			perror(destination);
			return 1;
		}
		close(raw);
	}
	return 0;
}
