#include "floor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void fail(const char *what, int error)
{
	dprintf(STDERR_FILENO, "floor: %s: %s\n", what, strerror(error));
	exit(1);
}

static const char *environment(const char *name)
{
	const char *value = getenv(name);

	return value ? value : "";
}

struct call read_call(void)
{
	static char text[65536];
	size_t length = 0;
	ssize_t got;
	struct call call = {
		.command = environment("CNI_COMMAND"),
		.container = environment("CNI_CONTAINERID"),
		.namespace = environment("CNI_NETNS"),
		.interface = environment("CNI_IFNAME"),
		.text = text,
	};

	while ((got = read(STDIN_FILENO, text + length, sizeof(text) - 1 - length)) > 0)
		length += got;
	if (got < 0)
		fail("standard input", errno);
	call.previous = strstr(text, "\"prevResult\":");
	if (call.previous)
		call.previous += strlen("\"prevResult\":");
	return call;
}

bool find_value(const char *text, const char *key, char *value, size_t size)
{
	size_t length = strlen(key), at = 0;

	while (text && (text = strchr(text, '"'))) {
		text++;
		if (strncmp(text, key, length) || text[length] != '"' || text[length + 1] != ':')
			continue;
		text += length + 2;
		text += strspn(text, " \"");
		while (at + 1 < size && text[at] && !strchr("\",}] \n", text[at])) {
			value[at] = text[at];
			at++;
		}
		value[at] = '\0';
		return true;
	}
	return false;
}

void print_previous(const struct call *call)
{
	const char *end = strrchr(call->previous, '}');

	if (write(STDOUT_FILENO, call->previous, end - call->previous) < 0)
		fail("standard output", errno);
}

void write_setting(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		fail(path, errno);
	close(fd);
}

void require_setting(const char *path)
{
	char value = '0';
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, &value, 1) < 0)
		fail(path, errno);
	close(fd);
	if (value != '1')
		write_setting(path, "1");
}

int open_namespace(const struct call *call)
{
	int fd = open(call->namespace, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		fail(call->namespace, errno);
	return fd;
}

bool find_address(const char *text, const char *key, struct address *address)
{
	char value[32], *slash;

	if (!find_value(text, key, value, sizeof(value)) || !(slash = strchr(value, '/')))
		return false;
	*slash = '\0';
	address->length = atoi(slash + 1);
	return inet_pton(AF_INET, value, &address->ip) == 1;
}

struct in_addr network_of(struct address address, bool last)
{
	uint32_t mask = address.length ? htonl(~0U << (32 - address.length)) : 0;

	address.ip.s_addr = (address.ip.s_addr & mask) | (last ? ~mask : 0);
	return address.ip;
}
