import { describe, expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import { parsePrefix } from "../ip/prefix.ts";
import { hostPortChain, masqueradeChain } from "./legacy-names.ts";
import { filterAddition, natAddition } from "./reference-iptables.ts";
import type { ReferenceFirewall, ReferenceMasquerade, ReferencePorts } from "./reference-state.ts";

const attachment = { network: "net", containerId: "c1", ifName: "eth0" };
const CHAIN = masqueradeChain(attachment);
const PORTS = hostPortChain(attachment);
const masquerade: ReferenceMasquerade = {
  ...{ part: "masquerade", attachment, backend: "iptables" },
  addresses: [parsePrefix("10.22.0.2/24"), parsePrefix("fd00:22::2/64")],
};
const ports: ReferencePorts = {
  ...{ part: "portmap", attachment, backend: "iptables", addresses: [parsePrefix("10.22.0.2/24")] },
  ...{ snat: true, masqAll: false, markBit: 13, setMarkChain: undefined, conditions: { 4: [], 6: [] } },
  ports: [{ protocol: "tcp", hostPort: 8080, containerPort: 80, hostAddress: undefined }],
};
const firewall: ReferenceFirewall = {
  ...{ part: "firewall", attachment, addresses: [parseAddress("10.22.0.2")], adminChain: "CNI-ADMIN" },
  policy: { bridge: "cni0", kind: "isolated" },
};
const linesOf = (text: string) => text.split("\n").slice(1, -2);
const EMPTY = "*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\nCOMMIT\n";

test("computes the names of the reference 1.9.1", () => {
  expect([CHAIN, PORTS]).toEqual(["CNI-623e1c388032b20529218ecc", "CNI-DN-623e1c388032b20529218"]);
});

test("masquerade has a chain, its rules and a jump to it", () => {
  const comment = '-m comment --comment "name: \\"net\\" id: \\"c1\\""';
  expect(linesOf(natAddition(EMPTY, [masquerade], 6))).toEqual([
    `-N ${CHAIN}`,
    `-A ${CHAIN} -d fd00:22::2/64 ${comment} -j ACCEPT`,
    `-A ${CHAIN} ! -d ff00::/8 ${comment} -j MASQUERADE`,
    `-A POSTROUTING -s fd00:22::2 ${comment} -j ${CHAIN}`,
  ]);
});

test("masquerade by nftables needs only the empty chain", () => {
  expect(linesOf(natAddition(EMPTY, [{ ...masquerade, backend: "nftables" }], 4))).toEqual([`-N ${CHAIN}`]);
});

describe("ports", () => {
  test("come with the shared chains, before masquerading", () => {
    const lines = linesOf(natAddition(EMPTY, [ports], 4));
    expect(lines.slice(0, 3)).toEqual(["-N CNI-HOSTPORT-DNAT", "-N CNI-HOSTPORT-SETMARK", "-N CNI-HOSTPORT-MASQ"]);
    expect(lines).toContain("-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE");
    expect(lines.find((line) => line.startsWith("-I POSTROUTING 1"))).toMatch(/-j CNI-HOSTPORT-MASQ$/);
    expect(lines.at(-2)).toBe(`-A ${PORTS} -p tcp --dport 8080 -j DNAT --to-destination 10.22.0.2:80`);
    expect(lines.at(-1)).toMatch(new RegExp(`^-A CNI-HOSTPORT-DNAT .*--destination-ports 8080 -j ${PORTS}$`));
  });

  test("without an address of the family are left out", () => {
    expect(natAddition(EMPTY, [ports], 6)).toBe("");
  });

  test("are grouped by fifteen in a rule, ordered by protocol name", () => {
    const many = Array.from({ length: 16 }, (_, at) => ({
      protocol: "udp",
      hostPort: 100 + at,
      containerPort: 1,
      hostAddress: undefined,
    }));
    const lines = linesOf(natAddition(EMPTY, [{ ...ports, ports: [...many, ...ports.ports] }], 4));
    const entries = lines.filter((line) => line.startsWith("-A CNI-HOSTPORT-DNAT"));
    expect(entries.map((line) => /-p (\w+) --destination-ports (\S+)/.exec(line)?.slice(1, 3))).toEqual([
      ["tcp", "8080"],
      [
        "udp",
        many
          .slice(0, 15)
          .map(({ hostPort }) => hostPort)
          .join(","),
      ],
      ["udp", "115"],
    ]);
  });

  test("of one address precede those of all addresses", () => {
    const single = {
      ...ports.ports[0],
      protocol: "tcp",
      hostPort: 8080,
      containerPort: 80,
      hostAddress: parseAddress("10.1.1.1"),
    };
    const other = { ...attachment, containerId: "c2" };
    const narrow: ReferencePorts = { ...ports, attachment: other, ports: [single] };
    const entries = linesOf(natAddition(EMPTY, [ports, narrow], 4)).filter((line) =>
      line.startsWith("-A CNI-HOSTPORT-DNAT"),
    );
    expect(entries.map((line) => line.replace(/.* -j /, ""))).toEqual([hostPortChain(other), PORTS]);
  });

  test("are marked by another program's chain if configured", () => {
    const text = natAddition(EMPTY, [{ ...ports, setMarkChain: "KUBE-MARK-MASQ" }], 4);
    expect(text).toContain("-j KUBE-MARK-MASQ");
    expect(text).not.toContain("CNI-HOSTPORT-SETMARK");
  });
});

test("an existing chain is refilled, with one jump to it", () => {
  const saved = [
    ...["*nat", ":POSTROUTING ACCEPT [0:0]", `:${CHAIN} - [0:0]`],
    ...[`-A POSTROUTING -s 10.22.0.2/32 -j ${CHAIN}`, `-A ${CHAIN} -d 10.0.0.0/8 -j ACCEPT`, "COMMIT", ""],
  ].join("\n");
  const lines = linesOf(natAddition(saved, [masquerade], 4));
  expect(lines.slice(0, 2)).toEqual([`-D POSTROUTING -s 10.22.0.2/32 -j ${CHAIN}`, `-F ${CHAIN}`]);
  expect(lines.filter((line) => line.startsWith("-A POSTROUTING"))).toHaveLength(1);
});

test("bridges' policies precede CNI-FORWARD and are not written twice", () => {
  const text = filterAddition("*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n", [firewall], 4);
  const insertions = linesOf(text).filter((line) => line.startsWith("-I FORWARD"));
  expect(insertions.map((line) => line.replace(/.* -j /, ""))).toEqual(["CNI-FORWARD", "CNI-ISOLATION-STAGE-1"]);
  const made = linesOf(text).filter((line) => /^-[AI]/.test(line));
  const chains = linesOf(text).flatMap((line) => /^-N (.*)/.exec(line)?.[1] ?? []);
  const rules = made.map((line) => line.replace(/^-I (\S+) 1/, "-A $1").replace(/10\.22\.0\.2(?!\/)/, "10.22.0.2/32"));
  const saved = ["*filter", ...chains.map((chain) => `:${chain} - [0:0]`), ...rules, "COMMIT", ""].join("\n");
  expect(filterAddition(saved, [firewall], 4)).toBe("");
});
