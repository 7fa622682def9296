import { expect, test } from "vitest";
import type { VxlanPeer } from "../../../pkg/backend/vxlan/peer.ts";
import { ANNOTATION } from "../../../pkg/cluster/node/annotations.ts";
import { parseNode } from "../../../pkg/cluster/node/node.ts";
import { formatAddress } from "../../../pkg/ip/address.ts";
import { formatPrefix } from "../../../pkg/ip/prefix.ts";
import { announcedProblems, peerOf } from "./peer.ts";

const spec = { podCIDRs: ["10.244.2.0/24", "fd00:10:244:2::/64"] };
const status = {
  addresses: [
    { type: "InternalIP", address: "192.0.2.2" },
    { type: "InternalIP", address: "192.0.2.22" },
    { type: "InternalIP", address: "2001:db8::2" },
  ],
};

test("the addresses of a Node without an announcement are its InternalIPs", () => {
  const peer = peerOf(parseNode({ metadata: { name: "n2" }, spec, status }));
  expect(peer.addresses.map(formatAddress)).toEqual(["192.0.2.2", "2001:db8::2"]);
  expect(peer.subnets.map(formatPrefix)).toEqual(spec.podCIDRs);
  expect(peer).toMatchObject({ name: "n2", backendType: undefined });
});

test("announced addresses take precedence, and VTEPs are read by family", () => {
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

const withAnnotations = (annotations: Readonly<Record<string, string>>) =>
  parseNode({ metadata: { name: "n2", annotations }, spec, status });

test("reads a VTEP without a VNI, as old versions of flannel wrote it, and an upper-case MAC", () => {
  const node = withAnnotations({
    [ANNOTATION.backendType]: "vxlan",
    [ANNOTATION.backendData]: '{"VtepMAC":"8E:10:25:BF:B8:BE"}',
  });
  expect(peerOf(node)).toMatchObject({ backendType: "vxlan", vtepMacs: { 4: "8e:10:25:bf:b8:be" } });
  expect(peerOf(node)).toHaveProperty("vni", undefined);
});

const VTEP = '{"VNI":1,"VtepMAC":"8e:10:25:bf:b8:be"}';

test.each([
  ["backendData", "{", "is not JSON"],
  ["backendData", "[]", "VtepMAC is missing"],
  ["backendData", "7", "VtepMAC is missing"],
  ["backendData", '{"VNI":1}', "VtepMAC is missing"],
  ["backendData", '{"VNI":"1","VtepMAC":"8e:10:25:bf:b8:be"}', 'VNI "1" is not a number'],
  ["backendData", '{"VNI":16777216,"VtepMAC":"8e:10:25:bf:b8:be"}', "from 0 to 16777215"],
  ["backendData", '{"VNI":-1,"VtepMAC":"8e:10:25:bf:b8:be"}', "VNI -1"],
  ["backendV6Data", '{"VNI":1,"VtepMAC":"8e:10:25:bf:b8"}', "is not a unicast MAC address"],
  ["backendV6Data", '{"VNI":1,"VtepMAC":"01:00:5e:00:00:01"}', "is not a unicast MAC address"],
  ["backendV6Data", '{"VNI":1,"VtepMAC":"00:00:00:00:00:00"}', "is not a unicast MAC address"],
  ["backendV6Data", '{"VNI":1,"VtepMAC":5}', "VtepMAC 5 is not"],
] as const)("annotation %s %s is a problem that names the annotation, and the rest is kept", (key, value, problem) => {
  const annotation = ANNOTATION[key];
  const data = { [ANNOTATION.backendData]: VTEP, [ANNOTATION.backendV6Data]: VTEP, [annotation]: value };
  const node = withAnnotations({ [ANNOTATION.backendType]: "vxlan", ...data });
  expect(announcedProblems(node)).toHaveLength(1);
  expect(announcedProblems(node)[0]).toContain(annotation);
  expect(announcedProblems(node)[0]).toContain(problem);
  const other = key === "backendData" ? 6 : 4;
  expect(peerOf(node)).toMatchObject({ backendType: "vxlan", vtepMacs: { [other]: "8e:10:25:bf:b8:be" } });
  expect(Object.keys((peerOf(node) as VxlanPeer).vtepMacs)).toEqual([String(other)]);
  expect(peerOf(node).subnets).toHaveLength(2);
});
