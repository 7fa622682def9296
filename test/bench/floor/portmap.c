/* The floor of portmap: three elements in the node's table. */
#include "floor.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE "floor_portmap"

/* Parts of keys and values take four bytes each. */
struct port {
	uint8_t protocol[4];
	uint16_t number[2];
};

struct source {
	struct port port;
	struct in_addr from;
};

struct target {
	struct in_addr ip;
	uint16_t port[2];
};

static uint16_t find_port(const struct call *call, const char *key)
{
	char value[8];

	if (!find_value(call->text, key, value, sizeof(value)))
		fail(key, EINVAL);
	return htons(atoi(value));
}

static void add_source(struct batch *batch, struct port port, struct address from)
{
	struct source first = { port, network_of(from, false) }, last = { port, network_of(from, true) };

	add_element(batch, &(struct element){ .key = &first, .key_end = &last, .size = sizeof(first), .jump = "mark-13" });
}

static void map_port(const struct call *call, bool remove)
{
	struct batch batch = { .length = 0 };
	struct address pod, loopback = { .ip.s_addr = htonl(INADDR_LOOPBACK), .length = 8 };
	struct port port = { .number = { find_port(call, "hostPort") } };
	struct target target = { .port = { find_port(call, "containerPort") } };
	char protocol[8];
	size_t list;

	if (!find_address(call->previous, "address", &pod))
		fail("prevResult", EINVAL);
	target.ip = pod.ip;
	find_value(call->text, "protocol", protocol, sizeof(protocol));
	port.protocol[0] = strcmp(protocol, "udp") == 0 ? IPPROTO_UDP : IPPROTO_TCP;
	begin_elements(&batch);
	add_elements(&batch, remove, TABLE, "ports4", &list);
	add_element(&batch, &(struct element){ .key = &port, .size = sizeof(port), .value = &target, .value_size = sizeof(target) });
	end_elements(&batch, list);
	add_elements(&batch, remove, TABLE, "masquerade4", &list);
	add_source(&batch, port, pod);
	add_source(&batch, port, loopback);
	end_elements(&batch, list);
	commit_elements(&batch, "port", remove ? ENOENT : 0);
}

int main(void)
{
	struct call call = read_call();
	char bridge[IFNAMSIZ], path[64];

	if (strcmp(call.command, "ADD") == 0) {
		map_port(&call, false);
		find_value(call.previous, "name", bridge, sizeof(bridge));
		snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/route_localnet", bridge);
		require_setting(path);
		print_previous(&call);
	} else if (strcmp(call.command, "DEL") == 0) {
		map_port(&call, true);
	}
	return 0;
}
