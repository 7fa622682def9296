#include "floor.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

int open_socket(int protocol)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);

	if (fd < 0)
		fail("netlink", errno);
	return fd;
}

/* Appends zeros to the next multiple of four bytes, and returns where they start. */
static char *append(struct batch *batch, const void *data, size_t size)
{
	char *at = batch->bytes + batch->length;
	size_t padded = NLMSG_ALIGN(size);

	if (batch->length + padded > sizeof(batch->bytes))
		fail("batch", ENOBUFS);
	memcpy(at, data, size);
	memset(at + size, 0, padded - size);
	batch->length += padded;
	((struct nlmsghdr *)(batch->bytes + batch->last))->nlmsg_len = batch->length - batch->last;
	return at;
}

void add_message(struct batch *batch, uint16_t type, uint16_t flags, const void *header, size_t size)
{
	struct nlmsghdr message = { .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags, .nlmsg_seq = ++batch->sequence };

	batch->last = batch->length;
	append(batch, &message, sizeof(message));
	append(batch, header, size);
}

void add_attribute(struct batch *batch, uint16_t type, const void *data, size_t size)
{
	struct rtattr attribute = { .rta_len = RTA_LENGTH(size), .rta_type = type };

	append(batch, &attribute, sizeof(attribute));
	append(batch, data, size);
}

void add_string(struct batch *batch, uint16_t type, const char *text)
{
	add_attribute(batch, type, text, strlen(text) + 1);
}

void add_u32(struct batch *batch, uint16_t type, uint32_t value)
{
	add_attribute(batch, type, &value, sizeof(value));
}

size_t begin_nested(struct batch *batch, uint16_t type)
{
	size_t at = batch->length;

	add_attribute(batch, type | NLA_F_NESTED, NULL, 0);
	return at;
}

void end_nested(struct batch *batch, size_t at)
{
	((struct rtattr *)(batch->bytes + at))->rta_len = batch->length - at;
}

/* The number of the last request that asked for an acknowledgement. */
static uint32_t last_acknowledged(const struct batch *batch)
{
	uint32_t sequence = 0;

	for (size_t at = 0; at < batch->length;) {
		const struct nlmsghdr *message = (const struct nlmsghdr *)(batch->bytes + at);

		if (message->nlmsg_flags & NLM_F_ACK)
			sequence = message->nlmsg_seq;
		at += NLMSG_ALIGN(message->nlmsg_len);
	}
	return sequence;
}

struct answer exchange(int fd, struct batch *batch, int tolerated)
{
	struct answer answer = { .length = 0, .error = 0 };
	uint32_t awaited = last_acknowledged(batch);
	char buffer[8192];

	if (send(fd, batch->bytes, batch->length, 0) < 0)
		fail("send", errno);
	for (;;) {
		ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
		const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;

		if (got < 0)
			fail("receive", errno);
		for (int left = got; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
			if (message->nlmsg_type == NLMSG_ERROR) {
				int error = -((const struct nlmsgerr *)NLMSG_DATA(message))->error;

				if (error && error != tolerated && !answer.error)
					answer.error = error;
				if (message->nlmsg_seq == awaited) {
					batch->length = 0;
					return answer;
				}
			} else if (!answer.length) {
				answer.length = message->nlmsg_len;
				memcpy(answer.bytes, message, message->nlmsg_len);
			}
		}
	}
}

struct answer commit(int fd, struct batch *batch, const char *what, int tolerated)
{
	struct answer answer = exchange(fd, batch, tolerated);

	if (answer.error)
		fail(what, answer.error);
	return answer;
}

const void *link_attribute(const struct answer *answer, uint16_t type)
{
	const struct nlmsghdr *message = (const struct nlmsghdr *)answer->bytes;
	const struct rtattr *attribute = IFLA_RTA(NLMSG_DATA(message));

	if (!answer->length)
		return NULL;
	for (int left = IFLA_PAYLOAD(message); RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left))
		if (attribute->rta_type == type)
			return RTA_DATA(attribute);
	return NULL;
}

int link_index(const struct answer *answer)
{
	return ((const struct ifinfomsg *)NLMSG_DATA(answer->bytes))->ifi_index;
}
