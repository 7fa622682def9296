/*
 * The parts that the floors share. A floor is the program that issues just the kernel requests of one benchmark case: it
 * leads to the same state for the pod as the plugin, and it neither checks its input nor undoes, repairs or explains
 * anything. Its time is the least time of the case on this machine.
 *
 * Each program exits with status 1 and one line on standard error if a request fails.
 */
#ifndef FLOOR_H
#define FLOOR_H

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* call.c: the call as the runtime makes it */

struct call {
	const char *command, *container, *namespace, *interface;
	/* The configuration, and the part of it that follows "prevResult", or NULL. */
	char *text, *previous;
};

struct call read_call(void);
/* Copies the string or the number that follows the first "KEY": of the text. The text may be NULL. False if there is none. */
bool find_value(const char *text, const char *key, char *value, size_t size);
/* Prints the previous result: that of a chained plugin that adds nothing to it. */
void print_previous(const struct call *call);
void write_setting(const char *path, const char *value);
/* Writes 1 unless the setting is 1. */
void require_setting(const char *path);
int open_namespace(const struct call *call);
_Noreturn void fail(const char *what, int error);

/* An IPv4 address with the length of its network's prefix. */
struct address {
	struct in_addr ip;
	int length;
};

/* Parses the "ADDRESS/LENGTH" that follows the first "KEY":. */
bool find_address(const char *text, const char *key, struct address *address);
/* The first or the last address of the network. */
struct in_addr network_of(struct address address, bool last);

/* reservation.c: the files of host-local */

struct address reserve(const struct call *call);
void release(const struct call *call);

/* netlink.c: several requests in one datagram */

struct batch {
	char bytes[4096];
	size_t length;
	/* Where the last message starts. */
	size_t last;
	uint32_t sequence;
};

int open_socket(int protocol);
/* Begins a request. The header follows that of netlink. */
void add_message(struct batch *batch, uint16_t type, uint16_t flags, const void *header, size_t size);
void add_attribute(struct batch *batch, uint16_t type, const void *data, size_t size);
void add_string(struct batch *batch, uint16_t type, const char *text);
void add_u32(struct batch *batch, uint16_t type, uint32_t value);
size_t begin_nested(struct batch *batch, uint16_t type);
void end_nested(struct batch *batch, size_t at);

struct answer {
	/* The first message that is not an acknowledgement, or nothing. */
	char bytes[8192];
	size_t length;
	/* The first error that is not the tolerated one. */
	int error;
};

/* Sends the requests and waits for the answer to the last one that asked for an acknowledgement. */
struct answer exchange(int fd, struct batch *batch, int tolerated);
/* As exchange(), and fails on errors. */
struct answer commit(int fd, struct batch *batch, const char *what, int tolerated);
/* An attribute of a message about a link, or NULL. */
const void *link_attribute(const struct answer *answer, uint16_t type);
int link_index(const struct answer *answer);

/* veth.c: a pod's link, its addresses and its routes */

#define MAC 6

struct veth {
	char host[IFNAMSIZ];
	unsigned char host_mac[MAC], pod_mac[MAC];
	int host_index, pod_index;
	uint32_t mtu;
};

struct route {
	struct address to;
	/* 0 if there is none. */
	struct in_addr gateway, source;
	uint8_t scope;
	int index;
};

void random_mac(unsigned char *mac);
/* Creates a veth whose other end is in the pod from the start. Both ends are down. The master may be 0. */
struct veth create_veth(int host, const struct call *call, int master, int pod);
/* Deletes the pod's link, and stays in the pod's namespace. */
void delete_veth(const struct call *call);
/* Kind: IFA_F_*, or 0. */
void add_address(struct batch *batch, uint16_t flags, int index, struct address own, uint32_t kind);
void add_route(struct batch *batch, uint16_t flags, const struct route *route);
/* The link goes up, and announces the addresses that it has. */
void add_up_with_announcement(struct batch *batch, int index);
/* The first address of the pod's network. */
struct address gateway_of(struct address pod);
/* Prints an interface of a result, without the brace at its end. */
void print_interface(const char *name, const unsigned char *mac);

/* nftables.c: elements of sets and maps, all of one transaction */

struct element {
	const void *key;
	/* The end of the interval, or NULL. */
	const void *key_end;
	size_t size;
	/* What a map leads to: a value, or a chain to jump to. */
	const void *value;
	size_t value_size;
	const char *jump;
};

void begin_elements(struct batch *batch);
void add_elements(struct batch *batch, bool remove, const char *table, const char *set, size_t *list);
void add_element(struct batch *batch, const struct element *element);
void end_elements(struct batch *batch, size_t list);
void commit_elements(struct batch *batch, const char *what, int tolerated);

bool wants_masquerade(const struct call *call);
/* Lets the pod's packets to outside its network leave with an address of the node, or no longer. */
void masquerade(const struct address *pod, bool remove);

#endif
