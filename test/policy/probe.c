/*
 * Probes connections between all endpoints (pods and nodes) of a cluster on one machine. One process holds sockets in the
 * network namespaces of all endpoints and sends all probes of a table at once.
 *
 * Requests on standard input, one a line; each gets one line as its answer:
 *
 *	pod INDEX NETNS IPV4 IPV6	adds or replaces the endpoint INDEX
 *	node INDEX NETNS IPV4 IPV6	the same for a node, which may send from any of its addresses
 *	gone INDEX			closes the sockets of an endpoint
 *	service INDEX IPV4 IPV6		sets the addresses of a Service whose endpoint this is
 *	table SETTLE LIMIT SIZE PROBES	probes; times in milliseconds
 *	services SETTLE LIMIT SIZE PROBES	the same, sent to the addresses of the Services
 *
 * PROBES has a character for each probe: "-" none, "0" expected to be dropped, "1" expected to be answered. The index of a
 * probe is (class * SIZE + source) * SIZE + destination, with the classes TCP 80, TCP 81, UDP 80, UDP 81, SCTP 80, SCTP 81,
 * ICMP of IPv4, then those of IPv6. The answer to a table is
 *
 *	table MILLISECONDS REPEATED STRANGE RESULTS
 *
 * RESULTS has a character for each probe: "-" none, "0" nothing arrived, "1" the first packet arrived at the destination,
 * "2" the source got the reply, too. REPEATED is the number of packets sent again. STRANGE is the number of arrivals with
 * an unknown source address.
 *
 * A table ends SETTLE milliseconds after the last expected reply has arrived, or after LIMIT milliseconds. If an unexpected
 * packet arrives, the limit is 100 * SETTLE.
 *
 * Each table uses its own source ports, so each probe is a new connection. TCP probes are connections of the kernel, UDP
 * probes are datagrams of sockets. SCTP probes are INIT chunks of raw sockets, since the kernel may have no SCTP (RFC 9260).
 * Raw sockets see arrivals after the input hook of the destination.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 16, CLASSES = 14, PROBES = CLASSES * MOST * MOST, REPEAT_MS = 200, BATCH = 32 };
/* Source ports below the range of ephemeral ports. Pods use the first port of a table, nodes the next ones. */
enum { FIRST_PORT = 10000, PORTS_PER_TABLE = 8, TABLES = 2750 };
enum { TCP, UDP, SCTP, ICMP, PROTOCOLS };
enum { RAW_TCP, RAW_SCTP, RAW_ICMP, RAW_KINDS };
enum { LISTEN, ACCEPTED, DATAGRAMS, RAW, CONNECTING, REPLIES };

struct endpoint {
	bool exists, is_node;
	/* By family; IPv4 as mapped addresses. */
	struct in6_addr address[2], service[2];
	int namespace, listener[2], datagrams[2], raw[RAW_KINDS][2], sender, number;
};

struct probe {
	char expected, result;
	int socket; /* of a TCP connection; -1: none */
};

struct init {
	uint16_t source, destination;
	uint32_t tag, checksum;
	uint8_t type, flags;
	uint16_t length;
	uint32_t initiate_tag, window;
	uint16_t outbound, inbound;
	uint32_t tsn;
} __attribute__((packed));

static struct endpoint endpoints[MOST];
static struct probe probes[PROBES];
static bool is_by_service;
static int size, poller, accepted[PROBES], accepted_count, missing, unexpected, strange;
static long generation;

static void fail(const char *what)
{
	fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
	exit(1);
}

static long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

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

static struct sockaddr_in6 at(const struct in6_addr *address, int port)
{
	return (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_addr = *address, .sin6_port = htons(port) };
}

static void watch(int fd, uint32_t events, int kind, int endpoint, int detail)
{
	struct epoll_event event = { .events = events,
		.data.u64 = (uint64_t)kind << 48 | (uint64_t)endpoint << 32 | (uint32_t)detail };

	if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event))
		fail("epoll_ctl");
}

static int open_socket(int family, int type, int protocol)
{
	int most = 1 << 22, fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);

	if (fd < 0)
		fail("socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &most, sizeof(most));
	return fd;
}

static int open_bound(int type, int port)
{
	static const int on = 1, off = 0;
	struct sockaddr_in6 any = at(&in6addr_any, port);
	int fd = open_socket(AF_INET6, type, 0);

	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (type == SOCK_STREAM)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)))
		fail("bind");
	return fd;
}

static void enter(int namespace)
{
	if (setns(namespace, CLONE_NEWNET))
		fail("setns");
}

static void open_endpoint(struct endpoint *it, int index)
{
	static const int protocols[RAW_KINDS][2] = {
		[RAW_TCP] = { IPPROTO_TCP, IPPROTO_TCP },
		[RAW_SCTP] = { IPPROTO_SCTP, IPPROTO_SCTP },
		[RAW_ICMP] = { IPPROTO_ICMP, IPPROTO_ICMPV6 },
	};

	enter(it->namespace);
	for (int port = 0; port < 2; port++) {
		it->listener[port] = open_bound(SOCK_STREAM, 80 + port);
		if (listen(it->listener[port], 1024))
			fail("listen");
		watch(it->listener[port], EPOLLIN, LISTEN, index, port);
		it->datagrams[port] = open_bound(SOCK_DGRAM, 80 + port);
		watch(it->datagrams[port], EPOLLIN, DATAGRAMS, index, port);
	}
	for (int kind = 0; kind < RAW_KINDS; kind++) {
		for (int family = 0; family < 2; family++) {
			int fd = open_socket(family ? AF_INET6 : AF_INET, SOCK_RAW, protocols[kind][family]);

			it->raw[kind][family] = fd;
			watch(fd, EPOLLIN, RAW, index, kind * 2 + family);
		}
	}
	it->sender = -1;
	it->exists = true;
}

static void close_endpoint(struct endpoint *it)
{
	if (!it->exists)
		return;
	for (int port = 0; port < 2; port++) {
		close(it->listener[port]);
		close(it->datagrams[port]);
	}
	for (int kind = 0; kind < RAW_KINDS; kind++)
		for (int family = 0; family < 2; family++)
			close(it->raw[kind][family]);
	close(it->namespace);
	it->exists = false;
}

static int source_port(const struct endpoint *source)
{
	return FIRST_PORT + generation % TABLES * PORTS_PER_TABLE + source->number;
}

/* The endpoint with the address, or the node with the source port; -1: none. */
static int source_of(const struct in6_addr *address, int port)
{
	for (int index = 0; index < MOST; index++) {
		const struct endpoint *it = &endpoints[index];

		if (!it->exists || port != source_port(it))
			continue;
		for (int family = 0; family < 2; family++)
			if (it->is_node || !memcmp(address, &it->address[family], sizeof(*address)))
				return index;
	}
	return -1;
}

/* The addresses to which probes of an endpoint are sent. */
static const struct in6_addr *target(int index, int family)
{
	return is_by_service ? &endpoints[index].service[family] : &endpoints[index].address[family];
}

static int endpoint_at(const struct in6_addr *address)
{
	for (int index = 0; index < MOST; index++)
		for (int family = 0; family < 2; family++)
			if (endpoints[index].exists && !memcmp(address, target(index, family), sizeof(*address)))
				return index;
	return -1;
}

static int class_of(int family, int protocol, int port)
{
	return family * 7 + (protocol == ICMP ? 6 : protocol * 2 + port);
}

static void raise_to(char result, int source, int destination, int class)
{
	struct probe *it;

	if (source < 0 || destination < 0 || source >= size || destination >= size)
		return;
	it = &probes[(class * size + source) * size + destination];
	if (it->expected == '-' || it->result >= result)
		return;
	if (it->expected == '0')
		unexpected++;
	else if (result == '2')
		missing--;
	it->result = result;
}

static void arrived(int destination, const struct in6_addr *from, int from_port, int class)
{
	int first = FIRST_PORT + generation % TABLES * PORTS_PER_TABLE, source = source_of(from, from_port);

	if (source >= 0)
		raise_to('1', source, destination, class);
	else if (from_port >= first && from_port < first + PORTS_PER_TABLE)
		strange++;
}

static int family_of(const struct in6_addr *address)
{
	return !IN6_IS_ADDR_V4MAPPED(address);
}

/* Raw IPv6 sockets take the protocol in place of the port, so the port is 0. */
static void send_raw(int fd, const struct in6_addr *to, const void *data, size_t length)
{
	struct sockaddr_in6 six = at(to, 0);
	struct sockaddr_in four = { .sin_family = AF_INET };

	memcpy(&four.sin_addr, &to->s6_addr[12], 4);
	/* A packet that the kernel drops on output does not arrive: the result says so. */
	if (family_of(to))
		sendto(fd, data, length, 0, (struct sockaddr *)&six, sizeof(six));
	else
		sendto(fd, data, length, 0, (struct sockaddr *)&four, sizeof(four));
}

static void send_sctp(struct endpoint *from, const struct in6_addr *to, int source, int destination, int type, uint32_t tag)
{
	struct init init = {
		.source = htons(source), .destination = htons(destination), .tag = tag, .type = type, .length = htons(20),
		.initiate_tag = htonl(1 + generation), .window = htonl(65536), .outbound = htons(1), .inbound = htons(1),
		.tsn = htonl(1),
	};

	/* The checksum is the one field in little-endian order. */
	init.checksum = htole32(crc32c((uint8_t *)&init, sizeof(init)));
	send_raw(from->raw[RAW_SCTP][family_of(to)], to, &init, sizeof(init));
}

static void send_echo(struct endpoint *from, const struct in6_addr *to)
{
	int family = family_of(to);
	uint16_t id = htons(source_port(from)), words[4] = { family ? htons(128 << 8) : htons(8 << 8), 0, id, htons(1) };
	uint32_t sum = words[0] + words[2] + words[3];

	/* The kernel computes the checksum of ICMPv6. */
	if (!family) {
		sum = (sum & 0xffff) + (sum >> 16);
		words[1] = ~(sum + (sum >> 16));
	}
	send_raw(from->raw[RAW_ICMP][family], to, words, sizeof(words));
}

static void connect_to(struct endpoint *from, const struct in6_addr *to, int port, struct probe *probe, int index)
{
	static const struct linger at_once = { .l_onoff = 1 };
	struct sockaddr_in6 address = at(to, port);
	int fd;

	enter(from->namespace);
	fd = open_bound(SOCK_STREAM, source_port(from));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	probe->socket = fd;
	connect(fd, (struct sockaddr *)&address, sizeof(address));
	watch(fd, EPOLLOUT, CONNECTING, 0, index);
}

static void send_probe(int index)
{
	int class = index / (size * size), kind = class % 7;
	struct endpoint *from = &endpoints[index / size % size];
	const struct in6_addr *to = target(index % size, class / 7);
	struct sockaddr_in6 address;

	switch (kind) {
	case 0:
	case 1:
		/* The kernel repeats the SYN of a connection. */
		if (probes[index].socket < 0)
			connect_to(from, to, 80 + kind, &probes[index], index);
		break;
	case 2:
	case 3:
		address = at(to, 80 + kind - 2);
		sendto(from->sender, "probe", 5, 0, (struct sockaddr *)&address, sizeof(address));
		break;
	case 4:
	case 5:
		send_sctp(from, to, source_port(from), 80 + kind - 4, 1, 0);
		break;
	default:
		send_echo(from, to);
	}
}

static void read_datagrams(int index, int port)
{
	struct sockaddr_in6 from;
	socklen_t length = sizeof(from);
	char data[64];
	ssize_t got;

	while ((got = recvfrom(endpoints[index].datagrams[port], data, sizeof(data), 0, (struct sockaddr *)&from, &length)) >= 0) {
		arrived(index, &from.sin6_addr, ntohs(from.sin6_port), class_of(family_of(&from.sin6_addr), UDP, port));
		sendto(endpoints[index].datagrams[port], data, got, 0, (struct sockaddr *)&from, length);
		length = sizeof(from);
	}
}

static void read_replies(int index)
{
	struct sockaddr_in6 from;
	socklen_t length = sizeof(from);
	char data[64];

	while (recvfrom(endpoints[index].sender, data, sizeof(data), 0, (struct sockaddr *)&from, &length) >= 0) {
		int port = ntohs(from.sin6_port) - 80;

		if (port == 0 || port == 1)
			raise_to('2', index, endpoint_at(&from.sin6_addr), class_of(family_of(&from.sin6_addr), UDP, port));
		length = sizeof(from);
	}
}

static void read_segment(int index, const uint8_t *data, size_t length, int family, const struct in6_addr *from)
{
	const struct tcphdr *tcp = (const void *)data;
	int port = ntohs(tcp->dest) - 80;

	if (length >= sizeof(*tcp) && tcp->syn && !tcp->ack && (port == 0 || port == 1))
		arrived(index, from, ntohs(tcp->source), class_of(family, TCP, port));
}

static void read_chunk(int index, const uint8_t *data, size_t length, int family, const struct in6_addr *from)
{
	const struct init *init = (const void *)data;
	int source = ntohs(init->source), destination = ntohs(init->destination);

	if (length < sizeof(*init))
		return;
	if (init->type == 1 && (destination == 80 || destination == 81)) {
		arrived(index, from, source, class_of(family, SCTP, destination - 80));
		send_sctp(&endpoints[index], from, destination, source, 2, init->initiate_tag);
	} else if (init->type == 2 && (source == 80 || source == 81) && destination == source_port(&endpoints[index])) {
		raise_to('2', index, endpoint_at(from), class_of(family, SCTP, source - 80));
	}
}

static void read_echo(int index, const uint8_t *data, size_t length, int family, const struct in6_addr *from)
{
	int id = length < 8 ? -1 : data[4] << 8 | data[5], class = class_of(family, ICMP, 0);

	if (id >= 0 && data[0] == (family ? 128 : 8))
		arrived(index, from, id, class);
	else if (data[0] == (family ? 129 : 0) && id == source_port(&endpoints[index]))
		raise_to('2', index, endpoint_at(from), class);
}

static void read_raw(int index, int kind, int family)
{
	static void (*const readers[])(int, const uint8_t *, size_t, int, const struct in6_addr *) = {
		[RAW_TCP] = read_segment, [RAW_SCTP] = read_chunk, [RAW_ICMP] = read_echo,
	};
	struct sockaddr_in6 from;
	socklen_t length = sizeof(from);
	uint8_t data[256];
	ssize_t got;

	while ((got = recvfrom(endpoints[index].raw[kind][family], data, sizeof(data), 0, (struct sockaddr *)&from, &length)) >= 0) {
		int header = family ? 0 : (data[0] & 15) * 4;
		struct in6_addr source = from.sin6_addr;

		if (!family) {
			memset(&source, 0, sizeof(source));
			source.s6_addr[10] = source.s6_addr[11] = 0xff;
			memcpy(&source.s6_addr[12], &((struct sockaddr_in *)&from)->sin_addr, 4);
		}
		if (got >= header)
			readers[kind](index, data + header, got - header, family, &source);
		length = sizeof(from);
	}
}

static void connected(int index)
{
	int fd = probes[index].socket;
	struct sockaddr_in6 peer;
	socklen_t length = sizeof(peer);

	if (fd < 0)
		return;
	/* SO_ERROR may be an earlier ICMP error that did not end the attempt. */
	if (!getpeername(fd, (struct sockaddr *)&peer, &length)) {
		raise_to('2', index / size % size, index % size, index / (size * size));
		epoll_ctl(poller, EPOLL_CTL_DEL, fd, NULL);
		return;
	}
	/* A refused connection is tried again, if it is expected. */
	close(fd);
	probes[index].socket = -1;
}

static void take(int index, int port)
{
	int fd;

	/* The connection stays open until the client closes it: a reset before that would look like a refusal. */
	while ((fd = accept4(endpoints[index].listener[port], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		if (accepted_count < PROBES)
			accepted[accepted_count++] = fd;
		else
			close(fd);
	}
}

/* Waits for at most `milliseconds`, then reads everything that has arrived. */
static void receive(int milliseconds)
{
	struct epoll_event events[256];
	int count = epoll_wait(poller, events, 256, milliseconds);

	for (int number = 0; number < count; number++) {
		uint64_t data = events[number].data.u64;
		int index = data >> 32 & 0xffff, detail = (uint32_t)data;

		switch (data >> 48) {
		case LISTEN: take(index, detail); break;
		case DATAGRAMS: read_datagrams(index, detail); break;
		case RAW: read_raw(index, detail / 2, detail % 2); break;
		case CONNECTING: connected(detail); break;
		case REPLIES: read_replies(index); break;
		}
	}
}

static void send_all(char expected)
{
	int sent = 0;

	for (int index = 0; index < CLASSES * size * size; index++) {
		if (probes[index].expected != expected)
			continue;
		send_probe(index);
		/* Queues of the kernel are shorter than a table. */
		if (++sent % BATCH == 0)
			receive(0);
	}
}

static int repeat(void)
{
	int repeated = 0;

	for (int index = 0; index < CLASSES * size * size; index++) {
		if (probes[index].expected != '1' || probes[index].result == '2' || probes[index].socket >= 0)
			continue;
		send_probe(index);
		if (++repeated % BATCH == 0)
			receive(0);
	}
	return repeated;
}

static void finish(void)
{
	for (int index = 0; index < CLASSES * size * size; index++)
		if (probes[index].socket >= 0)
			close(probes[index].socket);
	while (accepted_count > 0)
		close(accepted[--accepted_count]);
	for (int index = 0; index < MOST; index++) {
		if (endpoints[index].exists && endpoints[index].sender >= 0) {
			close(endpoints[index].sender);
			endpoints[index].sender = -1;
		}
	}
}

static void probe_table(int settle, int limit, const char *wanted)
{
	long long start = now_ms(), repeat_at = start + REPEAT_MS, quiet_at = 0;
	int repeated = 0;

	generation++;
	for (int index = 0; index < MOST; index++) {
		if (!endpoints[index].exists)
			continue;
		enter(endpoints[index].namespace);
		endpoints[index].sender = open_bound(SOCK_DGRAM, source_port(&endpoints[index]));
		watch(endpoints[index].sender, EPOLLIN, REPLIES, index, 0);
	}
	missing = unexpected = strange = 0;
	for (int index = 0; index < CLASSES * size * size; index++) {
		probes[index] = (struct probe){ wanted[index], wanted[index] == '-' ? '-' : '0', -1 };
		missing += wanted[index] == '1';
	}
	/* An arrival of the last group shows that all earlier packets have been judged, too. */
	send_all('0');
	send_all('1');
	for (;;) {
		long long now = now_ms();

		if (now - start >= limit || (unexpected > 0 && now - start >= 100 * settle))
			break;
		if (missing == 0) {
			if (quiet_at == 0)
				quiet_at = now + settle;
			if (now >= quiet_at)
				break;
		} else if (now >= repeat_at) {
			repeated += repeat();
			repeat_at = now + REPEAT_MS;
		}
		receive(missing == 0 ? 2 : 20);
	}
	printf("table %lld %d %d ", now_ms() - start, repeated, strange);
	for (int index = 0; index < CLASSES * size * size; index++)
		putchar(probes[index].result);
	putchar('\n');
	finish();
}

static struct in6_addr parse_address(const char *text)
{
	struct in6_addr address;
	char mapped[64];

	snprintf(mapped, sizeof(mapped), strchr(text, ':') ? "%s" : "::ffff:%s", text);
	if (inet_pton(AF_INET6, mapped, &address) != 1) {
		errno = EINVAL;
		fail(text);
	}
	return address;
}

static void add_endpoint(int index, bool is_node, const char *path, const char *four, const char *six)
{
	struct endpoint *it = &endpoints[index];
	int number = 0;

	close_endpoint(it);
	for (int other = 0; other < MOST && is_node; other++)
		number += endpoints[other].exists && endpoints[other].is_node;
	*it = (struct endpoint){ .is_node = is_node, .number = is_node ? number + 1 : 0 };
	it->address[0] = parse_address(four);
	it->address[1] = parse_address(six);
	it->namespace = open(path, O_RDONLY | O_CLOEXEC);
	if (it->namespace < 0)
		fail(path);
	open_endpoint(it, index);
}

int main(void)
{
	struct rlimit files;
	char *line = NULL;
	size_t capacity = 0;

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	poller = epoll_create1(EPOLL_CLOEXEC);
	while (getline(&line, &capacity, stdin) > 0) {
		char verb[16] = "", path[256], four[64], six[64];
		int index, settle, limit, offset = 0;

		sscanf(line, "%15s", verb);
		if ((!strcmp(verb, "pod") || !strcmp(verb, "node")) &&
		    sscanf(line, "%*s %d %255s %63s %63s", &index, path, four, six) == 4 && index >= 0 && index < MOST) {
			add_endpoint(index, verb[0] == 'n', path, four, six);
			puts("added");
		} else if (!strcmp(verb, "gone") && sscanf(line, "%*s %d", &index) == 1 && index >= 0 && index < MOST) {
			close_endpoint(&endpoints[index]);
			puts("gone");
		} else if (!strcmp(verb, "service") && sscanf(line, "%*s %d %63s %63s", &index, four, six) == 3 && index >= 0 &&
			   index < MOST) {
			endpoints[index].service[0] = parse_address(four);
			endpoints[index].service[1] = parse_address(six);
			puts("service");
		} else if ((!strcmp(verb, "table") || !strcmp(verb, "services")) && sscanf(line, "%*s %d %d %d %n", &settle, &limit, &size, &offset) == 3 &&
			   size > 0 && size <= MOST && strspn(line + offset, "-01") == (size_t)(CLASSES * size * size)) {
			is_by_service = verb[0] == 's';
			probe_table(settle, limit, line + offset);
		} else {
			fprintf(stderr, "probe: not a request: %.40s\n", line);
			return 2;
		}
		fflush(stdout);
	}
	return 0;
}
