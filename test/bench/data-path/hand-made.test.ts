import { expect, test } from "vitest";
import { type End, handMade, type Mode, podAddress } from "./hand-made.ts";

const four: End = {
  ...{ family: 4, node: "192.0.2.1", otherNode: "192.0.2.2" },
  ...{ subnet: "10.244.1.0/24", otherSubnet: "10.244.2.0/24" },
};
const six: End = {
  ...{ family: 6, node: "2001:db8::1", otherNode: "2001:db8::2" },
  ...{ subnet: "fd00:10:244:1::/64", otherSubnet: "fd00:10:244:2::/64" },
};
const commands = (mode: Mode, hasRules = true) =>
  handMade({ mode, number: 1, otherNumber: 2, pod: "pod-1", ends: [four, six], hasRules });

test("the pod has the second address of its subnet", () => {
  expect([four, six].map(podAddress)).toEqual(["10.244.1.2", "fd00:10:244:1::2"]);
});

test("with vxlan, both nodes use the hardware address of the node and family", () => {
  const text = commands("vxlan").join("\n");
  expect(text).toContain("ip link add flannel.1 address 02:00:00:00:04:01 mtu 1450 type vxlan id 1 dstport 8472");
  expect(text).toContain("bridge fdb add 02:00:00:00:04:02 dev flannel.1 dst 192.0.2.2");
  expect(text).toContain("ip neigh add fd00:10:244:2:: lladdr 02:00:00:00:06:02 dev flannel-v6.1");
  expect(text).toContain("ip -6 route add fd00:10:244:2::/64 via fd00:10:244:2:: dev flannel-v6.1 onlink");
  expect(text).toContain("veth peer name eth0 mtu 1430 netns pod-1");
});

test("with host-gw, the other node is the gateway and the MTU is the link's", () => {
  const text = commands("host-gw").join("\n");
  expect(text).toContain("ip -4 route add 10.244.2.0/24 via 192.0.2.2");
  expect(text).toContain("mtu 1500 type veth");
  expect(text).not.toContain("vxlan");
});

test("without rules, nothing is masqueraded and bridged packets pass no IP rules", () => {
  expect(commands("vxlan").join("\n")).toMatch(/masquerade[\s\S]*accept/);
  const bare = commands("vxlan", false).join("\n");
  expect(bare).not.toContain("nft");
  expect(bare).toContain("bridge-nf-call-iptables=0");
});
