/* The floor of ptp with host-local: a veth, and on both ends an address and routes. */
#define _GNU_SOURCE
#include "floor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

static void configure_host(int host, const struct veth *veth, struct address pod, struct address gateway)
{
	struct batch batch = { .length = 0 };
	struct ifinfomsg up = { .ifi_index = veth->host_index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	struct route route = { .to = { pod.ip, 32 }, .scope = RT_SCOPE_HOST, .index = veth->host_index };

	gateway.length = 32;
	add_message(&batch, RTM_NEWLINK, 0, &up, sizeof(up));
	add_address(&batch, 0, veth->host_index, gateway, 0);
	add_route(&batch, NLM_F_ACK, &route);
	commit(host, &batch, veth->host, 0);
}

static void configure_pod(const struct call *call, int index, struct address pod, struct in_addr gateway)
{
	struct batch batch = { .length = 0 };
	struct route to_gateway = { .to = { gateway, 32 }, .source = pod.ip, .scope = RT_SCOPE_LINK, .index = index };
	struct route network = { .to = { network_of(pod, false), pod.length }, .gateway = gateway, .source = pod.ip, .index = index };
	struct route first = { .gateway = gateway, .index = index };

	add_address(&batch, 0, index, pod, IFA_F_NOPREFIXROUTE);
	add_up_with_announcement(&batch, index);
	add_route(&batch, 0, &to_gateway);
	if (find_address(call->text, "dst", &first.to))
		add_route(&batch, 0, &first);
	add_route(&batch, NLM_F_ACK, &network);
	commit(open_socket(NETLINK_ROUTE), &batch, "pod", 0);
}

static void print_result(const struct call *call, const struct veth *veth, struct address pod, struct in_addr gateway)
{
	char address[INET_ADDRSTRLEN], via[INET_ADDRSTRLEN], to[32];

	inet_ntop(AF_INET, &pod.ip, address, sizeof(address));
	inet_ntop(AF_INET, &gateway, via, sizeof(via));
	printf("{\"cniVersion\":\"1.1.0\",\"interfaces\":[");
	print_interface(veth->host, veth->host_mac);
	printf("},");
	print_interface(call->interface, veth->pod_mac);
	printf(",\"sandbox\":\"%s\"}],\"ips\":[{\"interface\":1,\"address\":\"%s/%d\",\"gateway\":\"%s\"}]", call->namespace, address, pod.length, via);
	if (find_value(call->text, "dst", to, sizeof(to)))
		printf(",\"routes\":[{\"dst\":\"%s\"}]", to);
	printf("}\n");
}

static void add(const struct call *call)
{
	int pod = open_namespace(call), host = open_socket(NETLINK_ROUTE);
	struct address address = reserve(call), gateway = gateway_of(address);
	struct veth veth = create_veth(host, call, 0, pod);

	configure_host(host, &veth, address, gateway);
	require_setting("/proc/sys/net/ipv4/ip_forward");
	if (setns(pod, CLONE_NEWNET) < 0)
		fail(call->namespace, errno);
	configure_pod(call, veth.pod_index, address, gateway.ip);
	print_result(call, &veth, address, gateway.ip);
}

int main(void)
{
	struct call call = read_call();

	if (strcmp(call.command, "ADD") == 0) {
		add(&call);
	} else if (strcmp(call.command, "DEL") == 0) {
		delete_veth(&call);
		release(&call);
	}
	return 0;
}
