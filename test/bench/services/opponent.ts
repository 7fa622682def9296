/**
 * The ruleset that kube-proxy 1.36 writes in nftables mode (a recorded `nft list ruleset` is in test/vectors), for the
 * benchmark's Services, as text for `nft -f`: a chain and an anonymous map for each Service.
 */
import { createHash } from "node:crypto";
import { ENDPOINT_PORT, endpointAddresses, OTHER_CLUSTER_IPS, otherClusterIp } from "./population.ts";

/** kube-proxy's names: eight characters of a hash, then the Service, its protocol and the name of its port. */
function chainOf(n: number): string {
  const hash = createHash("sha256").update(String(n)).digest("hex").slice(0, 8).toUpperCase();
  return `service-${hash}-default/service-${n}/tcp/`;
}

export function kubeProxyRuleset(services: number, endpoints: number): string {
  const numbers = Array.from({ length: services }, (_, n) => n);
  const addresses = numbers.map(otherClusterIp);
  return `table ip kube-proxy {
	comment "rules for kube-proxy"
	set hairpin-connections { type ipv4_addr . ipv4_addr . inet_proto . inet_service; }
	set cluster-ips { type ipv4_addr; elements = { ${addresses.join(", ")} }; }
	set nodeport-ips { type ipv4_addr; }
	map no-endpoint-services { type ipv4_addr . inet_proto . inet_service : verdict; }
	map no-endpoint-nodeports { type inet_proto . inet_service : verdict; }
	map firewall-ips { type ipv4_addr . inet_proto . inet_service : verdict; }
	map service-nodeports { type inet_proto . inet_service : verdict; }
	chain nodeport-endpoints-check {
		ip daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports
	}
	chain service-endpoints-check {
		ip daddr . meta l4proto . th dport vmap @no-endpoint-services
	}
	chain firewall-check {
		ip daddr . meta l4proto . th dport vmap @firewall-ips
	}
	chain cluster-ips-check {
		ip daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"
		ip daddr ${OTHER_CLUSTER_IPS} drop comment "Drop traffic to unallocated ClusterIPs"
	}
	chain masquerading {
		meta mark & 0x00004000 != 0x00000000 meta mark set meta mark ^ 0x00004000 masquerade fully-random
		ct status dnat ip saddr . ip daddr . meta l4proto . th dport @hairpin-connections masquerade fully-random
	}
${numbers.map((n) => serviceChain(n, endpoints)).join("\n")}
	map service-ips {
		type ipv4_addr . inet_proto . inet_service : verdict
		elements = { ${numbers.map((n) => `${otherClusterIp(n)} . tcp . 80 : goto ${chainOf(n)}`).join(",\n")} }
	}
	chain services {
		ip daddr @cluster-ips ip saddr != 10.244.0.0/16 meta mark set meta mark | 0x00004000
		ip daddr . meta l4proto . th dport vmap @service-ips
		ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
	}
	chain filter-prerouting-pre-dnat {
		type filter hook prerouting priority -110; policy accept;
		ct state new jump firewall-check
	}
	chain filter-output-pre-dnat {
		type filter hook output priority -110; policy accept;
		ct state new jump firewall-check
	}
	chain filter-input {
		type filter hook input priority 0; policy accept;
		ct state new jump nodeport-endpoints-check
		ct state new jump service-endpoints-check
	}
	chain filter-forward {
		type filter hook forward priority 0; policy accept;
		ct state new jump service-endpoints-check
		ct state new jump cluster-ips-check
	}
	chain filter-output {
		type filter hook output priority 0; policy accept;
		ct state new jump service-endpoints-check
		ct state new jump cluster-ips-check
	}
	chain nat-prerouting {
		type nat hook prerouting priority -100; policy accept;
		jump services
	}
	chain nat-output {
		type nat hook output priority -100; policy accept;
		jump services
	}
	chain nat-postrouting {
		type nat hook postrouting priority 100; policy accept;
		jump masquerading
	}
}
`;
}

function serviceChain(n: number, endpoints: number): string {
  const slots = endpointAddresses(n, endpoints).map((address, at) => `${at} : ${address} . ${ENDPOINT_PORT}`);
  return `	chain ${chainOf(n)} {
		meta l4proto tcp dnat ip to numgen random mod ${endpoints} map { ${slots.join(", ")} }
	}`;
}
