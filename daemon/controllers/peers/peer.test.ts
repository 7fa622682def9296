import { expect, test } from "vitest";
import { ANNOTATION } from "../../../pkg/cluster/node/annotations.ts";
import { parseNode } from "../../../pkg/cluster/node/node.ts";
import { formatAddress } from "../../../pkg/ip/address.ts";
import { formatPrefix } from "../../../pkg/ip/prefix.ts";
import { peerOf } from "./peer.ts";

const spec = { podCIDRs: ["10.244.2.0/24", "fd00:10:244:2::/64"] };
const status = {
  addresses: [
    { type: "InternalIP", address: "192.0.2.2" },
    { type: "InternalIP", address: "192.0.2.22" },
    { type: "InternalIP", address: "2001:db8::2" },
  ],
};

test("a Node that has announced nothing is reached by its InternalIPs", () => {
  const peer = peerOf(parseNode({ metadata: { name: "n2" }, spec, status }));
  expect(peer.addresses.map(formatAddress)).toEqual(["192.0.2.2", "2001:db8::2"]);
  expect(peer.subnets.map(formatPrefix)).toEqual(spec.podCIDRs);
  expect(peer).toMatchObject({ name: "n2", backendType: undefined, vtepMacs: {} });
});

test("what a Node announces comes first, and its VTEPs go by family", () => {
  const annotations = {
    [ANNOTATION.publicIp]: "192.0.2.22",
    [ANNOTATION.backendType]: "vxlan",
    [ANNOTATION.backendData]: '{"VNI":1,"VtepMAC":"0a:00:00:00:00:02"}',
    [ANNOTATION.backendV6Data]: '{"VNI":1,"VtepMAC":"0a:00:00:00:00:62"}',
    [ANNOTATION.vxlanPort]: "4789",
  };
  const peer = peerOf(parseNode({ metadata: { name: "n2", annotations }, spec, status }));
  expect(peer.addresses.map(formatAddress)).toEqual(["192.0.2.22", "2001:db8::2"]);
  expect(peer).toMatchObject({
    ...{ backendType: "vxlan", vni: 1, port: 4789 },
    vtepMacs: { 4: "0a:00:00:00:00:02", 6: "0a:00:00:00:00:62" },
  });
});
