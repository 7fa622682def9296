#define _GNU_SOURCE
#include "floor.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void random_mac(unsigned char *mac)
{
	if (getrandom(mac, MAC, 0) != MAC)
		fail("getrandom", errno);
	mac[0] = (mac[0] & ~1) | 2;
}

static void fill(const struct call *call, struct veth *veth)
{
	uint32_t suffix;
	char value[16];

	if (getrandom(&suffix, sizeof(suffix), 0) != sizeof(suffix))
		fail("getrandom", errno);
	snprintf(veth->host, sizeof(veth->host), "veth%08x", suffix);
	random_mac(veth->host_mac);
	random_mac(veth->pod_mac);
	veth->mtu = find_value(call->text, "mtu", value, sizeof(value)) ? atoi(value) : 1500;
}

struct veth create_veth(int host, const struct call *call, int master, int pod)
{
	struct batch batch = { .length = 0 };
	struct ifinfomsg none = { .ifi_index = 0 };
	struct answer answer;
	struct veth veth;
	size_t info, data, peer;
	char path[64];

	fill(call, &veth);
	add_message(&batch, RTM_NEWLINK, NLM_F_ACK | NLM_F_ECHO | NLM_F_CREATE | NLM_F_EXCL, &none, sizeof(none));
	add_attribute(&batch, IFLA_ADDRESS, veth.host_mac, MAC);
	add_string(&batch, IFLA_IFNAME, veth.host);
	add_u32(&batch, IFLA_MTU, veth.mtu);
	if (master)
		add_u32(&batch, IFLA_MASTER, master);
	info = begin_nested(&batch, IFLA_LINKINFO);
	add_string(&batch, IFLA_INFO_KIND, "veth");
	data = begin_nested(&batch, IFLA_INFO_DATA);
	peer = batch.length;
	add_attribute(&batch, VETH_INFO_PEER, &none, sizeof(none));
	add_attribute(&batch, IFLA_ADDRESS, veth.pod_mac, MAC);
	add_string(&batch, IFLA_IFNAME, call->interface);
	add_u32(&batch, IFLA_MTU, veth.mtu);
	add_u32(&batch, IFLA_NET_NS_FD, pod);
	end_nested(&batch, peer);
	end_nested(&batch, data);
	end_nested(&batch, info);
	answer = commit(host, &batch, veth.host, 0);
	veth.host_index = link_index(&answer);
	veth.pod_index = *(const int *)link_attribute(&answer, IFLA_LINK);
	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/accept_ra", veth.host);
	write_setting(path, "0");
	return veth;
}

void delete_veth(const struct call *call)
{
	struct batch batch = { .length = 0 };
	struct ifinfomsg any = { .ifi_index = 0 };

	if (setns(open_namespace(call), CLONE_NEWNET) < 0)
		fail(call->namespace, errno);
	add_message(&batch, RTM_DELLINK, NLM_F_ACK, &any, sizeof(any));
	add_string(&batch, IFLA_IFNAME, call->interface);
	commit(open_socket(NETLINK_ROUTE), &batch, call->interface, ENODEV);
}

void add_address(struct batch *batch, uint16_t flags, int index, struct address own, uint32_t kind)
{
	struct ifaddrmsg header = { .ifa_family = AF_INET, .ifa_prefixlen = own.length, .ifa_index = index };
	struct in_addr broadcast = network_of(own, true);

	add_message(batch, RTM_NEWADDR, flags | NLM_F_CREATE | NLM_F_EXCL, &header, sizeof(header));
	add_attribute(batch, IFA_LOCAL, &own.ip, sizeof(own.ip));
	add_attribute(batch, IFA_ADDRESS, &own.ip, sizeof(own.ip));
	if (own.length < 31)
		add_attribute(batch, IFA_BROADCAST, &broadcast, sizeof(broadcast));
	if (kind)
		add_u32(batch, IFA_FLAGS, kind);
}

void add_route(struct batch *batch, uint16_t flags, const struct route *route)
{
	struct rtmsg header = {
		.rtm_family = AF_INET,
		.rtm_dst_len = route->to.length,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_BOOT,
		.rtm_scope = route->scope,
		.rtm_type = RTN_UNICAST,
	};

	add_message(batch, RTM_NEWROUTE, flags | NLM_F_CREATE, &header, sizeof(header));
	if (route->to.length)
		add_attribute(batch, RTA_DST, &route->to.ip, sizeof(route->to.ip));
	add_u32(batch, RTA_OIF, route->index);
	if (route->gateway.s_addr)
		add_attribute(batch, RTA_GATEWAY, &route->gateway, sizeof(route->gateway));
	if (route->source.s_addr)
		add_attribute(batch, RTA_PREFSRC, &route->source, sizeof(route->source));
}

void add_up_with_announcement(struct batch *batch, int index)
{
	struct ifinfomsg same = { .ifi_index = index };
	struct ifinfomsg up = { .ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	size_t families, family, settings;

	add_message(batch, RTM_NEWLINK, 0, &same, sizeof(same));
	families = begin_nested(batch, IFLA_AF_SPEC);
	family = begin_nested(batch, AF_INET);
	settings = begin_nested(batch, IFLA_INET_CONF);
	add_u32(batch, IPV4_DEVCONF_ARP_NOTIFY, 1);
	end_nested(batch, settings);
	end_nested(batch, family);
	end_nested(batch, families);
	add_message(batch, RTM_NEWLINK, 0, &up, sizeof(up));
}

struct address gateway_of(struct address pod)
{
	pod.ip.s_addr = htonl(ntohl(network_of(pod, false).s_addr) + 1);
	return pod;
}

void print_interface(const char *name, const unsigned char *mac)
{
	printf("{\"name\":\"%s\",\"mac\":\"%02x:%02x:%02x:%02x:%02x:%02x\"", name, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}
