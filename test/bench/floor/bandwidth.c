/* The floor of bandwidth: a bucket on the host's end of the veth, and one on an ifb device behind it. */
#include "floor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/netlink.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ticks of the packet schedulers in a microsecond. */
#define TICKS 15.625
#define LATENCY_S 0.025
#define HANDLE_1 (1 << 16)

/* A name that DEL finds again: a hash (FNV-1a) of the container and its interface. */
static void name_ifb(const struct call *call, char *name, size_t size)
{
	const char *parts[] = { call->container, call->interface };
	uint64_t hash = 14695981039346656037ULL;

	for (int part = 0; part < 2; part++)
		for (const char *at = parts[part]; *at; at++)
			hash = (hash ^ (unsigned char)*at) * 1099511628211ULL;
	snprintf(name, size, "bwp%012llx", (unsigned long long)(hash & 0xffffffffffffULL));
}

/* The rate or burst of the configuration, in bytes. */
static double find_bytes(const struct call *call, const char *key)
{
	char value[24];

	if (!find_value(call->text, key, value, sizeof(value)))
		fail(key, EINVAL);
	return atof(value) / 8;
}

static void add_qdisc(struct batch *batch, uint16_t flags, int index, uint32_t handle, uint32_t parent, const char *kind)
{
	struct tcmsg header = { .tcm_ifindex = index, .tcm_handle = handle, .tcm_parent = parent };

	add_message(batch, RTM_NEWQDISC, flags | NLM_F_CREATE | NLM_F_EXCL, &header, sizeof(header));
	add_string(batch, TCA_KIND, kind);
}

static void add_bucket(struct batch *batch, int index, double rate, double burst)
{
	struct tc_tbf_qopt bucket = {
		.rate = { .linklayer = TC_LINKLAYER_UNAWARE, .rate = rate },
		.limit = rate * LATENCY_S + burst,
		.buffer = burst / rate * 1e6 * TICKS,
	};
	size_t options;

	add_qdisc(batch, 0, index, HANDLE_1, TC_H_ROOT, "tbf");
	options = begin_nested(batch, TCA_OPTIONS);
	add_attribute(batch, TCA_TBF_PARMS, &bucket, sizeof(bucket));
	end_nested(batch, options);
}

/* Redirects all packets that the port receives to the ifb device. */
static void add_redirection(struct batch *batch, int port, int ifb)
{
	struct tcmsg header = {
		.tcm_ifindex = port,
		.tcm_parent = TC_H_MAKE(TC_H_INGRESS, 0),
		.tcm_info = TC_H_MAKE(1 << 16, htons(ETH_P_ALL)),
	};
	struct {
		struct tc_u32_sel selector;
		struct tc_u32_key key;
	} all = { .selector = { .flags = TC_U32_TERMINAL, .nkeys = 1 } };
	struct tc_mirred redirection = { .action = TC_ACT_STOLEN, .eaction = TCA_EGRESS_REDIR, .ifindex = ifb };
	size_t options, actions, action, parameters;

	add_message(batch, RTM_NEWTFILTER, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &header, sizeof(header));
	add_string(batch, TCA_KIND, "u32");
	options = begin_nested(batch, TCA_OPTIONS);
	add_u32(batch, TCA_U32_CLASSID, HANDLE_1 | 1);
	add_attribute(batch, TCA_U32_SEL, &all, sizeof(all));
	actions = begin_nested(batch, TCA_U32_ACT);
	action = begin_nested(batch, 1);
	add_string(batch, TCA_ACT_KIND, "mirred");
	parameters = begin_nested(batch, TCA_ACT_OPTIONS);
	add_attribute(batch, TCA_MIRRED_PARMS, &redirection, sizeof(redirection));
	end_nested(batch, parameters);
	end_nested(batch, action);
	end_nested(batch, actions);
	end_nested(batch, options);
}

/* Creates the device with the address, and returns its number. */
static int create_ifb(int fd, const char *name, const unsigned char *mac, uint32_t mtu)
{
	struct batch batch = { .length = 0 };
	struct ifinfomsg up = { .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	struct answer answer;
	size_t info;

	add_message(&batch, RTM_NEWLINK, NLM_F_ACK | NLM_F_ECHO | NLM_F_CREATE | NLM_F_EXCL, &up, sizeof(up));
	add_string(&batch, IFLA_IFNAME, name);
	add_attribute(&batch, IFLA_ADDRESS, mac, MAC);
	add_u32(&batch, IFLA_MTU, mtu);
	info = begin_nested(&batch, IFLA_LINKINFO);
	add_string(&batch, IFLA_INFO_KIND, "ifb");
	end_nested(&batch, info);
	answer = commit(fd, &batch, name, 0);
	return link_index(&answer);
}

/* The port's link: the second interface of the previous result. */
static struct answer find_port(int fd, const struct call *call)
{
	struct batch batch = { .length = 0 };
	struct ifinfomsg any = { .ifi_index = 0 };
	char name[IFNAMSIZ];
	const char *second = strchr(call->previous, '}');

	if (!find_value(second, "name", name, sizeof(name)))
		fail("prevResult", EINVAL);
	add_message(&batch, RTM_GETLINK, NLM_F_ACK, &any, sizeof(any));
	add_string(&batch, IFLA_IFNAME, name);
	return commit(fd, &batch, name, 0);
}

/* The previous result with the ifb device as its last interface. */
static void print_result(const struct call *call, const char *name, const unsigned char *mac)
{
	const char *end = strchr(call->previous, ']');

	fwrite(call->previous, 1, end - call->previous, stdout);
	putchar(',');
	print_interface(name, mac);
	putchar('}');
	fwrite(end, 1, strrchr(end, '}') - end, stdout);
}

static void add(const struct call *call, const char *name)
{
	int fd = open_socket(NETLINK_ROUTE), port, ifb;
	struct batch batch = { .length = 0 };
	struct answer answer = find_port(fd, call);
	unsigned char mac[MAC];
	size_t options;

	port = link_index(&answer);
	random_mac(mac);
	ifb = create_ifb(fd, name, mac, *(const uint32_t *)link_attribute(&answer, IFLA_MTU));
	add_bucket(&batch, ifb, find_bytes(call, "egressRate"), find_bytes(call, "egressBurst"));
	add_bucket(&batch, port, find_bytes(call, "ingressRate"), find_bytes(call, "ingressBurst"));
	add_qdisc(&batch, 0, port, TC_H_MAKE(TC_H_INGRESS, 0), TC_H_INGRESS, "ingress");
	options = begin_nested(&batch, TCA_OPTIONS);
	end_nested(&batch, options);
	add_redirection(&batch, port, ifb);
	commit(fd, &batch, "bandwidth", 0);
	print_result(call, name, mac);
}

static void del(const char *name)
{
	struct batch batch = { .length = 0 };
	struct ifinfomsg any = { .ifi_index = 0 };

	add_message(&batch, RTM_DELLINK, NLM_F_ACK, &any, sizeof(any));
	add_string(&batch, IFLA_IFNAME, name);
	commit(open_socket(NETLINK_ROUTE), &batch, name, ENODEV);
}

int main(void)
{
	struct call call = read_call();
	char name[IFNAMSIZ];

	name_ifb(&call, name, sizeof(name));
	if (strcmp(call.command, "ADD") == 0)
		add(&call, name);
	else if (strcmp(call.command, "DEL") == 0)
		del(name);
	return 0;
}
