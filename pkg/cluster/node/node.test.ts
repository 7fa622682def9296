import { describe, expect, test } from "vitest";
import { type Address, formatAddress, parseAddress } from "../../ip/address.ts";
import { formatPrefix } from "../../ip/prefix.ts";
import { ANNOTATION, differingAnnotations, formatAnnotations } from "./annotations.ts";
import { type ClusterNode, essentialNode, type KubeNode, nodeFingerprint, parseNode } from "./node.ts";

/** As flannel 0.28.9 wrote it on a dual-stack vxlan cluster, without unused fields. */
const DUAL_STACK = {
  metadata: {
    name: "n1",
    uid: "4c23f130-eabd-40c4-8532-647e6a857b7e",
    annotations: {
      "flannel.alpha.coreos.com/backend-data": '{"VNI":1,"VtepMAC":"8e:10:25:bf:b8:be"}',
      "flannel.alpha.coreos.com/backend-type": "vxlan",
      "flannel.alpha.coreos.com/backend-v6-data": '{"VNI":1,"VtepMAC":"ce:41:b7:d1:b7:42"}',
      "flannel.alpha.coreos.com/kube-subnet-manager": "true",
      "flannel.alpha.coreos.com/public-ip": "192.168.77.11",
      "flannel.alpha.coreos.com/public-ipv6": "fd00:77::11",
      "node.alpha.kubernetes.io/ttl": "0",
    },
  },
  spec: { podCIDR: "10.244.0.0/24", podCIDRs: ["10.244.0.0/24", "fd00:10:244::/64"] },
  status: {
    addresses: [
      { type: "InternalIP", address: "192.168.77.11" },
      { type: "InternalIP", address: "fd00:77::11" },
      { type: "Hostname", address: "n1" },
    ],
  },
} as const satisfies KubeNode;

/** As flannel 0.28.9 wrote it on a host-gw cluster. */
const HOST_GW = {
  metadata: {
    name: "n2",
    uid: "u2",
    annotations: {
      "flannel.alpha.coreos.com/backend-data": "null",
      "flannel.alpha.coreos.com/backend-type": "host-gw",
      "flannel.alpha.coreos.com/kube-subnet-manager": "true",
      "flannel.alpha.coreos.com/public-ip": "192.168.77.12",
    },
  },
  spec: { podCIDR: "10.244.1.0/24", podCIDRs: ["10.244.1.0/24"] },
} as const satisfies KubeNode;

function withAnnotations(annotations: { [key: string]: string }): KubeNode {
  return { ...DUAL_STACK, metadata: { ...DUAL_STACK.metadata, annotations } };
}

function text(address: Address | undefined): string | undefined {
  return address === undefined ? undefined : formatAddress(address);
}

describe("parseNode", () => {
  test("parses a dual-stack vxlan node of flannel", () => {
    const node = parseNode(DUAL_STACK);
    expect(node).toMatchObject({
      name: "n1",
      uid: "4c23f130-eabd-40c4-8532-647e6a857b7e",
      managed: true,
      backend: {
        type: "vxlan",
        data: {
          4: '{"VNI":1,"VtepMAC":"8e:10:25:bf:b8:be"}',
          6: '{"VNI":1,"VtepMAC":"ce:41:b7:d1:b7:42"}',
        },
      },
      problems: [],
    });
    expect(node.podCidrs.map(formatPrefix)).toEqual(["10.244.0.0/24", "fd00:10:244::/64"]);
    expect(node.internalAddresses.map(formatAddress)).toEqual(["192.168.77.11", "fd00:77::11"]);
    expect([text(node.publicIp), text(node.publicIpv6)]).toEqual(["192.168.77.11", "fd00:77::11"]);
  });

  test("parses a host-gw node of flannel, whose backend data is null", () => {
    const node = parseNode(HOST_GW);
    expect(node.backend).toEqual({ type: "host-gw" });
    expect([node.internalAddresses, node.problems]).toEqual([[], []]);
  });

  test("returns no data and no problems for a Node with only a name", () => {
    const expected = { name: "n", uid: "", managed: false, podCidrs: [], internalAddresses: [], problems: [] };
    expect(parseNode({ metadata: { name: "n" } })).toEqual({ ...expected, hasRefusedClaim: false });
  });

  test("reads podCIDR if podCIDRs is missing or empty", () => {
    for (const spec of [{ podCIDR: "10.1.0.0/24" }, { podCIDR: "10.1.0.0/24", podCIDRs: [] }]) {
      expect(parseNode({ metadata: { name: "n" }, spec }).podCidrs.map(formatPrefix)).toEqual(["10.1.0.0/24"]);
    }
  });

  test("reads no subnet from an annotation", () => {
    const annotations = { "flannel.alpha.coreos.com/pod-cidr": "10.9.0.0/24", "flannel.alpha.coreos.com/subnet": "x" };
    const node: KubeNode = { metadata: { name: "n", annotations } };
    expect(parseNode(node).podCidrs).toEqual([]);
  });

  test.each([
    ["publicIp", "203.0.113.1", "192.168.77.11"],
    ["publicIpv6", "2001:db8::1", "fd00:77::11"],
  ] as const)("refuses %s %s, which is not the Node's, and names it", (key, claimed, own) => {
    const annotation = ANNOTATION[key];
    const node = parseNode(withAnnotations({ ...DUAL_STACK.metadata.annotations, [annotation]: claimed }));
    expect([node[key], node.hasRefusedClaim]).toEqual([undefined, true]);
    expect(node.problems).toEqual([
      expect.stringContaining(
        `annotation ${annotation}: ${claimed} is not one of the Node's addresses (${own}) and is ignored`,
      ),
    ]);
  });

  test.each([
    ["an ExternalIP", {}, [{ type: "ExternalIP", address: "203.0.113.1" }]],
    ["the administrator's overwrite annotation", { [ANNOTATION.publicIpOverwrite]: "203.0.113.1" }, []],
  ])("accepts an announced address that is %s", (_what, annotations, more) => {
    const node = parseNode({
      ...withAnnotations({ [ANNOTATION.publicIp]: "203.0.113.1", ...annotations }),
      status: { addresses: [...DUAL_STACK.status.addresses, ...more] },
    });
    expect([text(node.publicIp), node.problems]).toEqual(["203.0.113.1", []]);
  });

  test("reads the administrator's overwrite annotations", () => {
    const node = parseNode(
      withAnnotations({
        [ANNOTATION.publicIp]: "192.168.77.11",
        [ANNOTATION.publicIpOverwrite]: "203.0.113.1",
        [ANNOTATION.publicIpv6Overwrite]: "2001:db8::1",
      }),
    );
    const { publicIp, publicIpOverwrite, publicIpv6Overwrite } = node;
    expect([publicIp, publicIpOverwrite, publicIpv6Overwrite].map(text)).toEqual([
      "192.168.77.11",
      "203.0.113.1",
      "2001:db8::1",
    ]);
  });

  test.each([
    ["publicIp", "192.168.77", '"192.168.77" is not an IP address'],
    ["publicIp", "fd00::1", "fd00::1 is not an IPv4 address"],
    ["publicIpv6", "192.168.77.11", "192.168.77.11 is not an IPv6 address"],
    ["publicIpOverwrite", "host.example", "is not an IP address"],
  ] as const)("annotation %s %s is reported as a problem, and the rest is kept", (key, value, problem) => {
    const annotation = ANNOTATION[key];
    const node = parseNode(withAnnotations({ ...DUAL_STACK.metadata.annotations, [annotation]: value }));
    expect(node.problems).toHaveLength(1);
    expect(node.problems[0]).toContain(annotation);
    expect(node.problems[0]).toContain(problem);
    expect(node[key]).toBeUndefined();
    expect(node.backend?.type).toBe("vxlan");
    expect(node.podCidrs).toHaveLength(2);
  });

  test.each([
    [["10.244.0.0/24", "nonsense"], ["10.244.0.0/24"], 'spec.podCIDRs: "nonsense" is not a prefix'],
    [["10.244.0.7/24"], ["10.244.0.0/24"], "10.244.0.7/24 has host bits set: using 10.244.0.0/24"],
  ])("podCIDRs %j are parsed to %j with a problem", (podCIDRs, expected, problem) => {
    const node = parseNode({ ...DUAL_STACK, spec: { podCIDRs } });
    expect(node.podCidrs.map(formatPrefix)).toEqual(expected);
    expect(node.problems[0]).toContain(problem);
  });

  test("an invalid internal address is a problem", () => {
    const addresses = [{ type: "InternalIP", address: "n1.example" }];
    const node = parseNode({ ...DUAL_STACK, status: { addresses } });
    expect(node.internalAddresses).toEqual([]);
    expect(node.problems[0]).toMatch(/^status.addresses: "n1.example" is not an IP address/);
  });
});

describe("nodeFingerprint", () => {
  const fingerprint = nodeFingerprint(DUAL_STACK);
  const { metadata, spec, status } = DUAL_STACK;

  test("is equal for changes that do not concern the network", () => {
    const annotations = { ...metadata.annotations, "node.alpha.kubernetes.io/ttl": "15" };
    const later = { ...DUAL_STACK, metadata: { ...metadata, resourceVersion: "999", annotations } };
    expect(nodeFingerprint(later)).toBe(fingerprint);
  });

  test.each<[string, KubeNode]>([
    ["uid", { ...DUAL_STACK, metadata: { ...metadata, uid: "another" } }],
    ["podCIDRs", { ...DUAL_STACK, spec: { podCIDRs: spec.podCIDRs.toReversed() } }],
    ["addresses", { ...DUAL_STACK, status: { addresses: status.addresses.slice(1) } }],
    ...Object.values(ANNOTATION).map((key): [string, KubeNode] => [
      key,
      withAnnotations({ ...metadata.annotations, [key]: "changed" }),
    ]),
  ])("differs by %s", (_what, changed) => {
    expect(nodeFingerprint(changed)).not.toBe(fingerprint);
  });
});

describe("formatAnnotations", () => {
  const announced = (node: ClusterNode) => {
    const { backend = { type: "none" }, publicIp, publicIpv6 } = node;
    return formatAnnotations({ backend, ...(publicIp && { publicIp }), ...(publicIpv6 && { publicIpv6 }) });
  };

  test.each([DUAL_STACK, HOST_GW])("writes the same annotations as flannel on $metadata.name", (node) => {
    const wanted = announced(parseNode(node));
    expect(differingAnnotations(node.metadata.annotations, wanted)).toBeUndefined();
  });

  test("removes the annotations of a family that is no longer used", () => {
    const backend = { type: "vxlan", data: { 4: '{"VNI":1,"VtepMAC":"8e:10:25:bf:b8:be"}' } };
    const wanted = formatAnnotations({ backend, publicIp: parseAddress("192.168.77.11") });
    expect(differingAnnotations(DUAL_STACK.metadata.annotations, wanted)).toEqual({
      [ANNOTATION.backendV6Data]: null,
      [ANNOTATION.publicIpv6]: null,
    });
  });

  test("differs from a Node without annotations only in annotations that must exist", () => {
    const wanted = formatAnnotations({ backend: { type: "host-gw" }, publicIpv6: parseAddress("fd00:77::11") });
    expect(differingAnnotations({}, wanted)).toEqual({
      [ANNOTATION.subnetManager]: "true",
      [ANNOTATION.backendType]: "host-gw",
      [ANNOTATION.backendV6Data]: "null",
      [ANNOTATION.publicIpv6]: "fd00:77::11",
    });
  });
});

test.each([
  ["that is being deleted", { metadata: { name: "n1", deletionTimestamp: "2026-11-30T03:00:00Z" } }, true],
  [
    "that the cluster autoscaler removes",
    { metadata: { name: "n1" }, spec: { taints: [{ key: "other" }, { key: "ToBeDeletedByClusterAutoscaler" }] } },
    true,
  ],
  [
    "with another taint",
    { metadata: { name: "n1" }, spec: { taints: [{ key: "node.kubernetes.io/unschedulable" }] } },
    undefined,
  ],
])("isLeaving is right for a Node %s, also after essentialNode", (_name, node, isLeaving) => {
  expect(parseNode(node).isLeaving).toBe(isLeaving);
  expect(parseNode(essentialNode(node)).isLeaving).toBe(isLeaving);
  const isSame = nodeFingerprint(node) === nodeFingerprint({ metadata: { name: "n1" } });
  expect(isSame).toBe(isLeaving === undefined);
});
