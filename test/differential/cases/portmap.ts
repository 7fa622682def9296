import type { Case, Script, Step, Table } from "../table.ts";
import { VERSIONS } from "../table.ts";

const SINGLE = {
  ...{ type: "bridge", bridge: "cni0", isDefaultGateway: true, hairpinMode: true },
  ipam: { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }]] },
};
const DUAL = {
  ...SINGLE,
  ipam: { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]] },
};
const port = (more: object = {}) => ({ hostPort: 8080, containerPort: 80, protocol: "tcp", ...more });
const mapped = (...portMappings: object[]) => ({ runtimeConfig: { portMappings } });

/** Runs in the pod during the case: tells each client by TCP the client's address as seen by the server. */
const SERVER: Script = {
  in: "pod",
  run: `perl -e 'alarm 60; $SIG{HUP} = "IGNORE"; socket(my $s, 10, 1, 6); bind($s, pack("SnNa16N", 10, 80, 0, "", 0)) or die;
    listen($s, 9); while (my $from = accept(my $c, $s)) { syswrite($c, unpack("H32", substr($from, 8)) . "\\n") }' \\
    </dev/null >/dev/null 2>&1 &`,
};

const ask = (place: Script["in"], ...addresses: string[]): Script => ({
  in: place,
  run: addresses
    .map((address) => `timeout 1 bash -c 'read -r seen </dev/tcp/${address}/8080 && echo $seen' || echo nobody`)
    .join("\n"),
});
const FROM_EVERYWHERE: readonly Step[] = [
  ask("outside", "198.51.100.1", "2001:db8:1::1"),
  ask("node", "198.51.100.1", "127.0.0.1", "2001:db8:1::1"),
  ask("other", "198.51.100.1", "10.22.0.1", "2001:db8:1::1"),
  ask("pod", "198.51.100.1", "10.22.0.1", "2001:db8:1::1"),
];
/** A neighbour on the same bridge, without ports. */
const NEIGHBOUR: Step = { verb: "ADD", pod: "other", conf: { runtimeConfig: undefined } };

const ASK_FAMILIES = ask("outside", "198.51.100.1", "2001:db8:1::1");
const LEFT: Script = {
  in: "node",
  run: "nft list ruleset | grep -qE 'CNI-DN|c1|10[.]22[.]0[.]2' && echo rules are left; exit 0",
};
/** A chain like kube-proxy's. */
const FOREIGN_CHAIN: Script = {
  in: "node",
  run: ["iptables", "ip6tables"]
    .map(
      (program) => `${program} -t nat -N KUBE-MARK-MASQ; ${program} -t nat -A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
${program} -t nat -A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE`,
    )
    .join("\n"),
};

const traffic = (name: string, conf: Case["conf"], more: Partial<Case> = {}): Case => ({
  ...{ name, conf, before: [DUAL], uplink: true, setup: [SERVER] },
  steps: ["ADD", NEIGHBOUR, "CHECK", ...FROM_EVERYWHERE, "DEL", ...FROM_EVERYWHERE, "DEL"],
  ...more,
});
const refusal = (name: string, conf: Case["conf"]): Case => ({ name, conf, before: [SINGLE], steps: ["ADD"] });

export const table: Table = {
  plugin: "portmap",
  cases: [
    { name: "plain", conf: mapped(port()), before: [SINGLE], versions: VERSIONS },
    { name: "no ports", conf: {}, before: [SINGLE], steps: ["ADD", "CHECK", "DEL", "STATUS", "VERSION"] },
    traffic("traffic", mapped(port(), port({ protocol: "udp" }))),
    traffic("traffic, the reference with nftables", { ...mapped(port()), backend: "nftables" }),
    traffic("traffic, all clients masqueraded", { ...mapped(port()), masqAll: true }),
    traffic("traffic, no client masqueraded", { ...mapped(port()), snat: false }),
    traffic("traffic to one address", mapped(port({ hostIP: "198.51.100.1" }))),
    traffic("traffic to all IPv4 addresses", mapped(port({ hostIP: "0.0.0.0" }))),
    {
      ...{ name: "a DEL without ports", conf: mapped(port()), before: [SINGLE] },
      steps: [
        "ADD",
        { verb: "DEL", conf: { runtimeConfig: undefined } },
        { in: "node", run: "nft list ruleset | grep -q 10.22.0.2 && echo rules are left" },
      ],
    },
    ...(["iptables", "nftables"] as const).flatMap((backend): Case[] => {
      const conf = { ...mapped(port(), port({ hostPort: 8081, hostIP: "198.51.100.1", protocol: "udp" })), backend };
      const handedOver = { before: [DUAL], uplink: true, setup: [SERVER], conf };
      return [
        {
          ...{ ...handedOver, name: `attached by the reference with ${backend}` },
          steps: [{ verb: "ADD", by: "reference" }, "CHECK", ASK_FAMILIES, "DEL", ASK_FAMILIES, LEFT, "DEL"],
        },
        {
          ...{ ...handedOver, name: `attached by the reference with ${backend}, and damaged` },
          steps: [{ verb: "ADD", by: "reference" }, { in: "node", run: "nft flush ruleset" }, "CHECK", "DEL"],
        },
        {
          ...{ ...handedOver, name: `attached by the reference with ${backend}, with another pod's ports` },
          steps: [
            { verb: "ADD", by: "reference" },
            { verb: "ADD", pod: "other", conf: mapped(port({ hostPort: 9090 })) },
            ...["CHECK" as const, { verb: "CHECK", pod: "other", conf: mapped(port({ hostPort: 9090 })) } as const],
            ...["DEL" as const, ASK_FAMILIES],
          ],
        },
      ];
    }),
    {
      ...{ name: "a port in use", conf: mapped(port()), before: [SINGLE] },
      steps: ["ADD", { verb: "ADD", pod: "other" }],
    },
    {
      ...{ name: "a port of one address and of all", conf: mapped(port({ hostIP: "198.51.100.1" })), before: [DUAL] },
      ...{ uplink: true, setup: [SERVER] },
      steps: [
        ...["ADD" as const, { verb: "ADD", pod: "other", conf: mapped(port({ containerPort: 81 })) } as const],
        ...["CHECK" as const, ask("outside", "198.51.100.1", "2001:db8:1::1"), "DEL" as const],
        ...[ask("outside", "198.51.100.1"), { verb: "DEL", pod: "other", conf: mapped(port()) } as const],
      ],
    },
    traffic("traffic, backend iptables", { ...mapped(port()), backend: "iptables" }),
    traffic(
      "traffic, marked by a foreign chain",
      { ...mapped(port()), externalSetMarkChain: "KUBE-MARK-MASQ" },
      { setup: [SERVER, FOREIGN_CHAIN] },
    ),
    ...(
      [
        ["-s", ["-s", "198.51.100.2,10.22.0.0/24"], ["--source", "2001:db8:1::/64"]],
        ["! -s", ["!", "-s", "198.51.100.0/24"], ["!", "--src", "2001:db8:1::2"]],
        ["-d", ["-d", "198.51.100.1/32"], ["--dst", "2001:db8:1::1"]],
        ["! -d", ["!", "-d", "10.22.0.0/24"], ["!", "-d", "fd00:22::/64"]],
        ["-i", ["-i", "up+"], ["--in-interface", "cni0"]],
        ["! -i", ["!", "-i", "up0"], ["!", "-i", "cni+"]],
      ] as const
    ).map(([name, conditionsV4, conditionsV6]) =>
      traffic(`traffic for ${name} only`, { ...mapped(port()), conditionsV4, conditionsV6 }),
    ),
    ...(
      [
        ["saddr", ["ip saddr { 198.51.100.2, 10.22.0.0/24 }"], ["ip6 saddr 2001:db8:1::/64"]],
        ["saddr !=", ["ip", "saddr", "!=", "198.51.100.0/24"], ["ip6 saddr != 2001:db8:1::2"]],
        ["iifname", ['iifname "up*"'], ["iifname != up0"]],
      ] as const
    ).map(([name, conditionsV4, conditionsV6]) =>
      traffic(`traffic for ${name} only, the reference with nftables`, {
        ...{ ...mapped(port()), backend: "nftables", conditionsV4, conditionsV6 },
      }),
    ),
    refusal("a host port of 0", mapped(port({ hostPort: 0 }))),
    refusal("a container port of 0", mapped(port({ containerPort: 0 }))),
    refusal("a host port too large", mapped(port({ hostPort: 70_000 }))),
    refusal("a protocol without ports", mapped(port({ protocol: "icmp" }))),
    refusal("an invalid hostIP", mapped(port({ hostIP: "garbage" }))),
    refusal("another backend", { ...mapped(port()), backend: "pf" }),
    refusal("conditions that nftables cannot express", {
      ...mapped(port()),
      conditionsV4: ["-m", "ttl", "--ttl-gt", "1"],
    }),
    refusal("conditions of the other backend", {
      ...mapped(port()),
      backend: "nftables",
      conditionsV4: ["-s", "10.0.0.0/8"],
    }),
    refusal("a condition given twice", { ...mapped(port()), conditionsV4: ["-s", "10.0.0.0/8", "-s", "10.0.0.0/9"] }),
    refusal("a foreign chain and a bit", { ...mapped(port()), externalSetMarkChain: "X", markMasqBit: 13 }),
    refusal("a foreign chain with nftables", { ...mapped(port()), externalSetMarkChain: "X", backend: "nftables" }),
    refusal("a bit of the mark too high", { ...mapped(port()), markMasqBit: 32 }),
    {
      ...{ name: "not chained", conf: mapped(port()), steps: ["ADD", "CHECK", "DEL"] },
    },
  ],
};
