import { describe, expect, test } from "vitest";
import { deriveMac } from "../../pkg/backend/derived-mac.ts";
import { parseNetConf } from "../../pkg/backend/net-conf.ts";
import type { NodeBackend } from "../../pkg/cluster/node/annotations.ts";
import type { ClusterNode } from "../../pkg/cluster/node/node.ts";
import { formatAddress } from "../../pkg/ip/address.ts";
import { formatPrefix } from "../../pkg/ip/prefix.ts";
import { parseNodeFile } from "./node-file-format.ts";
import { NodeFileError } from "./yaml-reader.ts";

const netConf = (backend: object) => parseNetConf(JSON.stringify({ Network: "10.244.0.0/16", Backend: backend }));
/** The announcement as its backend parses it. */
const said = ({ backend }: ClusterNode) => ({ type: backend?.type, port: backend?.port, ...vtepsIn(backend) });
const vtepsIn = (backend: NodeBackend | undefined) => {
  const [vtep, vtepV6] = ([4, 6] as const).map((family) => {
    const { VNI: vni, VtepMAC: mac } = JSON.parse(backend?.data?.[family] ?? "{}");
    return mac === undefined ? undefined : { vni, mac };
  });
  return { ...(vtep && { vtep }), ...(vtepV6 && { vtepV6 }) };
};
const VXLAN = netConf({ Type: "vxlan", VNI: 7, Port: 4789 });
const HOST_GW = netConf({ Type: "host-gw" });

const WHOLE = `# all nodes
nodes:
  - name: n1
    podCIDRs: [10.244.1.0/24, "fd00:10:244:1::/64"]
    addresses: [192.0.2.1, "2001:db8::1"]
    backend: vxlan
    vtepMAC: 0A:00:00:00:00:01
  - name: n2
    podCIDRs:
      - 10.244.2.0/24
    addresses:
      - 192.0.2.2
`;

describe("parseNodeFile", () => {
  test("reads the announcements of nodes", () => {
    const [first, second] = parseNodeFile(WHOLE, VXLAN).nodes;
    expect(first && { ...first, backend: said(first) }).toMatchObject({
      name: "n1",
      managed: true,
      backend: {
        type: "vxlan",
        port: 4789,
        vtep: { vni: 7, mac: "0a:00:00:00:00:01" },
        vtepV6: { vni: 7, mac: deriveMac("n1", "flannel-v6.7") },
      },
      problems: [],
    });
    expect(first?.podCidrs.map(formatPrefix)).toEqual(["10.244.1.0/24", "fd00:10:244:1::/64"]);
    expect([first?.publicIp, first?.publicIpv6].map((one) => one && formatAddress(one))).toEqual([
      "192.0.2.1",
      "2001:db8::1",
    ]);
    expect(second && said(second)).toEqual({
      type: "vxlan",
      port: 4789,
      vtep: { vni: 7, mac: deriveMac("n2", "flannel.7") },
    });
  });

  test("a missing backend means the reader's own backend", () => {
    expect(parseNodeFile(WHOLE, HOST_GW).nodes.map(({ backend }) => backend?.type)).toEqual(["vxlan", "host-gw"]);
  });

  test("accepts JSON, which is YAML", () => {
    const nodes = [{ name: "n1", podCIDRs: ["10.244.1.0/24"], addresses: ["192.0.2.1"] }];
    expect(parseNodeFile(JSON.stringify({ nodes }), HOST_GW).nodes).toHaveLength(1);
  });

  const entry = "nodes:\n  - name: n1\n    podCIDRs: [10.244.1.0/24]\n    addresses: [192.0.2.1]\n";
  test.each([
    ["", /line 1: the file: expected nodes/],
    ["[]", /line 1: the file: expected nodes/],
    ["nodes: []", /line 1: nodes: expected a list with at least one entry/],
    ["nodes:\n  - n1\n", /line 2: nodes\[0\]: expected name, podCIDRs/],
    ["nodes:\n\t- name: n1\n", /line 2: .*[Tt]ab/],
    [`${entry}extra: 1\n`, /line 5: the file: unknown key extra: known are nodes/],
    [`${entry}    mac: x\n`, /line 5: nodes\[0\]: unknown key mac: known are name, /],
    [`${entry}    backend: wireguard\n`, /line 5: nodes\[0\].backend: wireguard is neither vxlan nor host-gw/],
    [`${entry}    vtepMAC: none\n`, /line 5: nodes\[0\].vtepMAC: "none" is not a MAC address/],
    [entry.replace("/24]", "/24, 10.244.9.7/24]"), /line 3: nodes\[0\].podCIDRs\[1\]: .*10\.244\.9\.7\/24/],
    [entry.replace("192.0.2.1", "192.0.2"), /line 4: nodes\[0\].addresses\[0\]: "?192\.0\.2/],
    [entry.replace("[192.0.2.1]", "192.0.2.1"), /line 4: nodes\[0\].addresses: expected a list/],
    [
      "nodes:\n  - name: 7\n    podCIDRs: [10.244.1.0/24]\n    addresses: [192.0.2.1]\n",
      /line 2: .*name: expected text/,
    ],
    [
      `${entry}  - name: n1\n    podCIDRs: [10.244.2.0/24]\n    addresses: [192.0.2.2]\n`,
      /line 5: nodes\[1\].name: n1 is/,
    ],
  ])("rejects %j and names line and field", (text, message) => {
    expect(() => parseNodeFile(text, VXLAN)).toThrow(NodeFileError);
    expect(() => parseNodeFile(text, VXLAN)).toThrow(message);
  });

  test("the error lists all mistakes", () => {
    const text = entry.replace("10.244.1.0/24", "x").replace("192.0.2.1", "y");
    expect(() => parseNodeFile(text, VXLAN)).toThrow(/line 3: .*; line 4: /);
  });
});
