/* The floor of bridge with host-local: a port of the bridge, and in the pod an address, routes and an announcement. */
#define _GNU_SOURCE
#include "floor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#define LINK_EXTRA_MASK 8 /* RTEXT_FILTER_SKIP_STATS */

struct bridge {
	char name[IFNAMSIZ];
	unsigned char mac[MAC];
	int index;
};

/* With an address of its own, the bridge does not take over that of its newest port. */
static void create_bridge(int host, const char *name)
{
	struct batch batch = { .length = 0 };
	struct ifinfomsg up = { .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	unsigned char mac[MAC];
	char path[64];
	size_t info;

	random_mac(mac);
	add_message(&batch, RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE, &up, sizeof(up));
	add_attribute(&batch, IFLA_ADDRESS, mac, sizeof(mac));
	add_string(&batch, IFLA_IFNAME, name);
	info = begin_nested(&batch, IFLA_LINKINFO);
	add_string(&batch, IFLA_INFO_KIND, "bridge");
	end_nested(&batch, info);
	commit(host, &batch, name, EEXIST);
	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/accept_ra", name);
	write_setting(path, "0");
}

/* The bridge, which the first call creates. */
static struct bridge require_bridge(int host, const struct call *call)
{
	struct batch batch = { .length = 0 };
	struct ifinfomsg any = { .ifi_index = 0 };
	struct answer answer;
	struct bridge bridge;

	find_value(call->text, "bridge", bridge.name, sizeof(bridge.name));
	for (;;) {
		add_message(&batch, RTM_GETLINK, NLM_F_ACK, &any, sizeof(any));
		add_string(&batch, IFLA_IFNAME, bridge.name);
		add_u32(&batch, IFLA_EXT_MASK, LINK_EXTRA_MASK);
		answer = commit(host, &batch, bridge.name, ENODEV);
		if (answer.length)
			break;
		create_bridge(host, bridge.name);
	}
	memcpy(bridge.mac, link_attribute(&answer, IFLA_ADDRESS), MAC);
	bridge.index = link_index(&answer);
	return bridge;
}

/* Brings the port up in hairpin mode, and gives the bridge the gateway's address. */
static void configure_host(int host, const struct bridge *bridge, const struct veth *veth, struct address gateway)
{
	struct batch batch = { .length = 0 };
	struct ifinfomsg up = { .ifi_index = veth->host_index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	size_t info, data;

	add_message(&batch, RTM_NEWLINK, 0, &up, sizeof(up));
	info = begin_nested(&batch, IFLA_LINKINFO);
	add_string(&batch, IFLA_INFO_SLAVE_KIND, "bridge");
	data = begin_nested(&batch, IFLA_INFO_SLAVE_DATA);
	add_attribute(&batch, IFLA_BRPORT_MODE, &(uint8_t){ 1 }, 1);
	end_nested(&batch, data);
	end_nested(&batch, info);
	add_address(&batch, NLM_F_ACK, bridge->index, gateway, 0);
	commit(host, &batch, bridge->name, EEXIST);
}

static void configure_pod(const struct call *call, int index, struct address pod, struct in_addr gateway)
{
	struct batch batch = { .length = 0 };
	struct route route = { .gateway = gateway, .index = index }, first = route;

	add_address(&batch, 0, index, pod, 0);
	add_up_with_announcement(&batch, index);
	if (find_address(call->text, "dst", &first.to))
		add_route(&batch, 0, &first);
	add_route(&batch, NLM_F_ACK, &route);
	commit(open_socket(NETLINK_ROUTE), &batch, "pod", 0);
}

static void print_result(const struct call *call, const struct bridge *bridge, const struct veth *veth, struct address pod,
			 struct in_addr gateway)
{
	char address[INET_ADDRSTRLEN], via[INET_ADDRSTRLEN], to[32];

	inet_ntop(AF_INET, &pod.ip, address, sizeof(address));
	inet_ntop(AF_INET, &gateway, via, sizeof(via));
	printf("{\"cniVersion\":\"1.1.0\",\"interfaces\":[");
	print_interface(bridge->name, bridge->mac);
	printf("},");
	print_interface(veth->host, veth->host_mac);
	printf("},");
	print_interface(call->interface, veth->pod_mac);
	printf(",\"sandbox\":\"%s\"}],\"ips\":[{\"interface\":2,\"address\":\"%s/%d\",\"gateway\":\"%s\"}],\"routes\":[", call->namespace,
	       address, pod.length, via);
	if (find_value(call->text, "dst", to, sizeof(to)))
		printf("{\"dst\":\"%s\"},", to);
	printf("{\"dst\":\"0.0.0.0/0\",\"gw\":\"%s\"}]}\n", via);
}

static void add(const struct call *call)
{
	int pod = open_namespace(call), host = open_socket(NETLINK_ROUTE);
	struct address address = reserve(call), gateway = gateway_of(address);
	struct bridge bridge = require_bridge(host, call);
	struct veth veth = create_veth(host, call, bridge.index, pod);

	configure_host(host, &bridge, &veth, gateway);
	require_setting("/proc/sys/net/ipv4/ip_forward");
	if (wants_masquerade(call))
		masquerade(&address, false);
	if (setns(pod, CLONE_NEWNET) < 0)
		fail(call->namespace, errno);
	configure_pod(call, veth.pod_index, address, gateway.ip);
	print_result(call, &bridge, &veth, address, gateway.ip);
}

static void del(const struct call *call)
{
	struct address address;

	/* First, so that the kernel frees the elements while it deletes the link: closing the socket waits for that. */
	if (wants_masquerade(call) && find_address(call->previous, "address", &address))
		masquerade(&address, true);
	delete_veth(call);
	release(call);
}

int main(void)
{
	struct call call = read_call();

	if (strcmp(call.command, "ADD") == 0)
		add(&call);
	else if (strcmp(call.command, "DEL") == 0)
		del(&call);
	return 0;
}
