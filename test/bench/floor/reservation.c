#include "floor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* Opens the network's directory and takes its lock, which ends with the process. */
static int lock_directory(const struct call *call)
{
	char directory[4096], name[256], path[4400];
	int fd, lock;

	find_value(call->text, "dataDir", directory, sizeof(directory));
	find_value(call->text, "name", name, sizeof(name));
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		fail(path, errno);
	lock = openat(fd, "lock", O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		fail("lock", errno);
	return fd;
}

static void write_file(int fd, const char *text)
{
	if (write(fd, text, strlen(text)) < 0)
		fail("reservation", errno);
	close(fd);
}

/* The owner as the files have it: "CONTAINER\r\nINTERFACE". */
static void owner_of(const struct call *call, char *owner, size_t size)
{
	snprintf(owner, size, "%s\r\n%s", call->container, call->interface);
}

struct address reserve(const struct call *call)
{
	struct address subnet;
	int directory = lock_directory(call), fd;
	char last[INET_ADDRSTRLEN] = "", owner[256];
	uint32_t first, end, at;

	if (!find_address(call->text, "subnet", &subnet))
		fail("subnet", EINVAL);
	first = ntohl(network_of(subnet, false).s_addr) + 2;
	end = ntohl(network_of(subnet, true).s_addr);
	at = first;
	fd = openat(directory, "last_reserved_ip.0", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || pread(fd, last, sizeof(last) - 1, 0) < 0)
		fail("last_reserved_ip.0", errno);
	if (inet_pton(AF_INET, last, &subnet.ip) == 1)
		at = ntohl(subnet.ip.s_addr) + 1;
	owner_of(call, owner, sizeof(owner));
	for (;; at++) {
		int file;

		if (at >= end)
			at = first;
		subnet.ip.s_addr = htonl(at);
		inet_ntop(AF_INET, &subnet.ip, last, sizeof(last));
		file = openat(directory, last, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (file < 0 && errno == EEXIST)
			continue;
		if (file < 0)
			fail(last, errno);
		write_file(file, owner);
		break;
	}
	if (ftruncate(fd, 0) < 0)
		fail("last_reserved_ip.0", errno);
	write_file(fd, last);
	return subnet;
}

void release(const struct call *call)
{
	struct address pod;
	int directory, fd;
	char name[INET_ADDRSTRLEN], owner[256], found[256] = "";

	if (!find_address(call->previous, "address", &pod))
		return;
	inet_ntop(AF_INET, &pod.ip, name, sizeof(name));
	directory = lock_directory(call);
	fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	owner_of(call, owner, sizeof(owner));
	if (read(fd, found, sizeof(found) - 1) > 0 && strcmp(found, owner) == 0)
		unlinkat(directory, name, 0);
	close(fd);
}
