/* The floor of bridge with host-local: a port of the bridge, and in the pod an address, routes and an announcement. */
#define _GNU_SOURCE
#include "floor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define MAC 6
#define LINK_EXTRA_MASK 8 /* RTEXT_FILTER_SKIP_STATS */

struct names {
	char bridge[IFNAMSIZ], port[IFNAMSIZ];
	unsigned char bridge_mac[MAC], port_mac[MAC], pod_mac[MAC];
};

static void find_names(const struct call *call, struct names *names)
{
	unsigned char random[2 * MAC + 4];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		fail("getrandom", errno);
	memcpy(names->port_mac, random, MAC);
	memcpy(names->pod_mac, random + MAC, MAC);
	names->port_mac[0] = (names->port_mac[0] & ~1) | 2;
	names->pod_mac[0] = (names->pod_mac[0] & ~1) | 2;
	snprintf(names->port, sizeof(names->port), "veth%02x%02x%02x%02x", random[12], random[13], random[14], random[15]);
	find_value(call->text, "bridge", names->bridge, sizeof(names->bridge));
}

/* The number of the bridge, which the first call creates. */
static int require_bridge(int host, struct names *names, uint32_t mtu)
{
	struct batch batch = { .length = 0 };
	struct ifinfomsg any = { .ifi_index = 0 }, up = { .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	struct answer answer;
	unsigned char mac[MAC];
	size_t kind;

	for (;;) {
		add_message(&batch, RTM_GETLINK, NLM_F_ACK, &any, sizeof(any));
		add_string(&batch, IFLA_IFNAME, names->bridge);
		add_u32(&batch, IFLA_EXT_MASK, LINK_EXTRA_MASK);
		answer = exchange(host, &batch, ENODEV);
		if (answer.error)
			fail(names->bridge, answer.error);
		if (answer.length)
			break;
		if (getrandom(mac, sizeof(mac), 0) != sizeof(mac))
			fail("getrandom", errno);
		mac[0] = (mac[0] & ~1) | 2;
		/* With an address of its own, the bridge does not take over that of the newest port. */
		add_message(&batch, RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE, &up, sizeof(up));
		add_attribute(&batch, IFLA_ADDRESS, mac, sizeof(mac));
		add_string(&batch, IFLA_IFNAME, names->bridge);
		add_u32(&batch, IFLA_MTU, mtu);
		kind = begin_nested(&batch, IFLA_LINKINFO);
		add_string(&batch, IFLA_INFO_KIND, "bridge");
		end_nested(&batch, kind);
		commit(host, &batch, names->bridge, EEXIST);
	}
	memcpy(names->bridge_mac, link_attribute(&answer, IFLA_ADDRESS), MAC);
	return link_index(&answer);
}

/* Creates the veth, whose other end is in the pod from the start, and returns the number of that end. */
static int create_veth(int host, const struct call *call, const struct names *names, int bridge, uint32_t mtu, int pod)
{
	struct batch batch = { .length = 0 };
	struct ifinfomsg none = { .ifi_index = 0 };
	struct answer answer;
	size_t info, data, peer;

	add_message(&batch, RTM_NEWLINK, NLM_F_ACK | NLM_F_ECHO | NLM_F_CREATE | NLM_F_EXCL, &none, sizeof(none));
	add_attribute(&batch, IFLA_ADDRESS, names->port_mac, MAC);
	add_string(&batch, IFLA_IFNAME, names->port);
	add_u32(&batch, IFLA_MTU, mtu);
	add_u32(&batch, IFLA_MASTER, bridge);
	info = begin_nested(&batch, IFLA_LINKINFO);
	add_string(&batch, IFLA_INFO_KIND, "veth");
	data = begin_nested(&batch, IFLA_INFO_DATA);
	peer = batch.length;
	add_attribute(&batch, VETH_INFO_PEER, &none, sizeof(none));
	add_attribute(&batch, IFLA_ADDRESS, names->pod_mac, MAC);
	add_string(&batch, IFLA_IFNAME, call->interface);
	add_u32(&batch, IFLA_MTU, mtu);
	add_u32(&batch, IFLA_NET_NS_FD, pod);
	end_nested(&batch, peer);
	end_nested(&batch, data);
	end_nested(&batch, info);
	answer = commit(host, &batch, names->port, 0);
	return *(const int *)link_attribute(&answer, IFLA_LINK);
}

/* Brings the port up in hairpin mode, and gives the bridge the gateway's address. */
static void configure_host(int host, const struct names *names, int bridge, struct address gateway)
{
	struct batch batch = { .length = 0 };
	struct ifinfomsg up = { .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	struct ifaddrmsg address = { .ifa_family = AF_INET, .ifa_prefixlen = gateway.length, .ifa_index = bridge };
	struct in_addr broadcast = network_of(gateway, true);
	size_t info, data;

	add_message(&batch, RTM_NEWLINK, 0, &up, sizeof(up));
	add_string(&batch, IFLA_IFNAME, names->port);
	info = begin_nested(&batch, IFLA_LINKINFO);
	add_string(&batch, IFLA_INFO_SLAVE_KIND, "bridge");
	data = begin_nested(&batch, IFLA_INFO_SLAVE_DATA);
	add_attribute(&batch, IFLA_BRPORT_MODE, &(uint8_t){ 1 }, 1);
	end_nested(&batch, data);
	end_nested(&batch, info);
	add_message(&batch, RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &address, sizeof(address));
	add_attribute(&batch, IFA_LOCAL, &gateway.ip, sizeof(gateway.ip));
	add_attribute(&batch, IFA_ADDRESS, &gateway.ip, sizeof(gateway.ip));
	add_attribute(&batch, IFA_BROADCAST, &broadcast, sizeof(broadcast));
	commit(host, &batch, names->bridge, EEXIST);
}

static void add_route(struct batch *batch, uint16_t flags, struct address to, struct in_addr gateway, int index)
{
	struct rtmsg route = {
		.rtm_family = AF_INET,
		.rtm_dst_len = to.length,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_BOOT,
		.rtm_type = RTN_UNICAST,
	};

	add_message(batch, RTM_NEWROUTE, flags | NLM_F_CREATE, &route, sizeof(route));
	if (to.length)
		add_attribute(batch, RTA_DST, &to.ip, sizeof(to.ip));
	add_u32(batch, RTA_OIF, index);
	add_attribute(batch, RTA_GATEWAY, &gateway, sizeof(gateway));
}

/* Gives the pod its address and routes. The link announces the address when it goes up. */
static void configure_pod(const struct call *call, int index, struct address pod, struct in_addr gateway)
{
	struct batch batch = { .length = 0 };
	struct ifaddrmsg address = { .ifa_family = AF_INET, .ifa_prefixlen = pod.length, .ifa_index = index };
	struct ifinfomsg same = { .ifi_index = index };
	struct ifinfomsg up = { .ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	struct in_addr broadcast = network_of(pod, true);
	struct address to;
	size_t families, family, settings;

	add_message(&batch, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &address, sizeof(address));
	add_attribute(&batch, IFA_LOCAL, &pod.ip, sizeof(pod.ip));
	add_attribute(&batch, IFA_ADDRESS, &pod.ip, sizeof(pod.ip));
	add_attribute(&batch, IFA_BROADCAST, &broadcast, sizeof(broadcast));
	add_message(&batch, RTM_NEWLINK, 0, &same, sizeof(same));
	families = begin_nested(&batch, IFLA_AF_SPEC);
	family = begin_nested(&batch, AF_INET);
	settings = begin_nested(&batch, IFLA_INET_CONF);
	add_u32(&batch, IPV4_DEVCONF_ARP_NOTIFY, 1);
	end_nested(&batch, settings);
	end_nested(&batch, family);
	end_nested(&batch, families);
	add_message(&batch, RTM_NEWLINK, 0, &up, sizeof(up));
	if (find_address(call->text, "dst", &to))
		add_route(&batch, 0, to, gateway, index);
	add_route(&batch, NLM_F_ACK, (struct address){ .length = 0 }, gateway, index);
	commit(open_socket(NETLINK_ROUTE), &batch, "pod", 0);
}

static void print_mac(const char *name, const unsigned char *mac, const char *rest)
{
	printf("{\"name\":\"%s\",\"mac\":\"%02x:%02x:%02x:%02x:%02x:%02x\"%s", name, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], rest);
}

static void print_result(const struct call *call, const struct names *names, struct address pod, struct in_addr gateway)
{
	char address[INET_ADDRSTRLEN], via[INET_ADDRSTRLEN], to[32];

	inet_ntop(AF_INET, &pod.ip, address, sizeof(address));
	inet_ntop(AF_INET, &gateway, via, sizeof(via));
	printf("{\"cniVersion\":\"1.1.0\",\"interfaces\":[");
	print_mac(names->bridge, names->bridge_mac, "},");
	print_mac(names->port, names->port_mac, "},");
	print_mac(call->interface, names->pod_mac, ",\"sandbox\":\"");
	printf("%s\"}],\"ips\":[{\"interface\":2,\"address\":\"%s/%d\",\"gateway\":\"%s\"}],\"routes\":[", call->namespace, address, pod.length, via);
	if (find_value(call->text, "dst", to, sizeof(to)))
		printf("{\"dst\":\"%s\"},", to);
	printf("{\"dst\":\"0.0.0.0/0\",\"gw\":\"%s\"}]}\n", via);
}

static bool wants_masquerade(const struct call *call)
{
	char value[8];

	return find_value(call->text, "ipMasq", value, sizeof(value)) && strcmp(value, "true") == 0;
}

static void add(const struct call *call)
{
	int pod = open_namespace(call), host = open_socket(NETLINK_ROUTE), bridge, index;
	struct address address = reserve(call), gateway = address;
	struct names names;
	char value[16], path[64];
	uint32_t mtu;

	gateway.ip.s_addr = htonl(ntohl(network_of(address, false).s_addr) + 1);
	find_names(call, &names);
	mtu = find_value(call->text, "mtu", value, sizeof(value)) ? atoi(value) : 1500;
	bridge = require_bridge(host, &names, mtu);
	index = create_veth(host, call, &names, bridge, mtu, pod);
	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/accept_ra", names.port);
	write_setting(path, "0");
	configure_host(host, &names, bridge, gateway);
	require_setting("/proc/sys/net/ipv4/ip_forward");
	if (wants_masquerade(call))
		masquerade(&address, false);
	if (setns(pod, CLONE_NEWNET) < 0)
		fail(call->namespace, errno);
	configure_pod(call, index, address, gateway.ip);
	print_result(call, &names, address, gateway.ip);
}

static void del(const struct call *call)
{
	struct batch batch = { .length = 0 };
	struct ifinfomsg any = { .ifi_index = 0 };
	struct address address;

	if (wants_masquerade(call) && find_address(call->previous, "address", &address))
		masquerade(&address, true);
	if (setns(open_namespace(call), CLONE_NEWNET) < 0)
		fail(call->namespace, errno);
	add_message(&batch, RTM_DELLINK, NLM_F_ACK, &any, sizeof(any));
	add_string(&batch, IFLA_IFNAME, call->interface);
	commit(open_socket(NETLINK_ROUTE), &batch, call->interface, ENODEV);
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
