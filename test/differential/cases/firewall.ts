import type { Script, Step, Table } from "../table.ts";

const IPAM = { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]] };
const BRIDGE = { type: "bridge", bridge: "cni0", isDefaultGateway: true, ipam: IPAM };

const node = (run: string): Script => ({ in: "node", run });
/** The outside has a route to pods: a missing answer was dropped. */
const WAY_BACK: Script = {
  in: "outside",
  run: "ip route add 10.22.0.0/24 via 198.51.100.1 && ip route add fd00:22::/64 via 2001:db8:1::1",
};
const DROP = node("iptables-nft -P FORWARD DROP && ip6tables-nft -P FORWARD DROP");

const asks = (from: "pod" | "other" | "outside", ...targets: string[]): Script => ({
  in: from,
  run: `for target in ${targets.join(" ")}; do ping -n -c 1 -W 1 $target >/dev/null || ping -n -c 1 -W 2 $target >/dev/null && echo "$target answers" || echo "$target is silent"; done`,
});
const OUT = asks("pod", "198.51.100.2", "2001:db8:1::2");
const IN = asks("outside", "10.22.0.2", "fd00:22::2");
/** Counts the remaining rules for pods. */
const RULES = node("iptables-nft-save -t filter | grep -c '^-A CNI-FORWARD -[sd]'");
const STORY: readonly Step[] = [OUT, "ADD", OUT, IN, "CHECK", "DEL", OUT, "DEL"];

export const table: Table = {
  plugin: "firewall",
  cases: [
    { name: "plain", conf: {}, before: [BRIDGE], versions: ["0.4.0", "1.0.0", "1.1.0"] },
    { name: "an unsupported CNI version", conf: {}, before: [BRIDGE], versions: ["0.3.1"], steps: ["ADD"] },
    {
      name: "under a FORWARD that drops",
      conf: {},
      before: [BRIDGE],
      uplink: true,
      setup: [WAY_BACK, DROP],
      steps: STORY,
    },
    {
      name: "with rules of the administrator",
      conf: {},
      before: [BRIDGE],
      uplink: true,
      setup: [WAY_BACK, DROP, node("iptables-nft -N CNI-ADMIN && iptables-nft -A CNI-ADMIN -d 198.51.100.2 -j DROP")],
      steps: STORY,
    },
    {
      name: "with another name of the administrator's chain",
      conf: { iptablesAdminChainName: "SITE" },
      before: [BRIDGE],
      uplink: true,
      setup: [WAY_BACK, DROP],
      steps: ["ADD", node("iptables-nft -A SITE -d 198.51.100.2 -j DROP"), OUT, "DEL"],
    },
    {
      name: "two pods under a FORWARD that drops",
      conf: {},
      before: [BRIDGE],
      uplink: true,
      setup: [WAY_BACK, DROP],
      steps: [
        "ADD",
        { verb: "ADD", pod: "other" },
        OUT,
        asks("other", "198.51.100.2"),
        "DEL",
        OUT,
        asks("other", "198.51.100.2"),
        { verb: "DEL", pod: "other" },
      ],
    },
    { name: "no prevResult", conf: {}, steps: ["ADD", "DEL"] },
    { name: "a lost result", conf: {}, before: [BRIDGE], steps: ["ADD", { verb: "DEL", remembers: false }] },
    {
      name: "a container's namespace that is gone",
      conf: {},
      before: [BRIDGE],
      steps: ["ADD", { verb: "DEL", pod: "gone" }],
    },
    ...["iptables", "ebpf"].map((backend) => ({
      name: `backend ${backend}, and a FORWARD that starts to drop`,
      conf: { backend, iptablesAdminChainName: "NOMAD-ADMIN" },
      before: [BRIDGE],
      uplink: true,
      setup: [WAY_BACK],
      steps: ["ADD", DROP, OUT, IN, "CHECK", "DEL", OUT, "DEL"] as const,
    })),
    {
      name: "rules of the administrator without rules that drop",
      conf: {},
      before: [BRIDGE],
      uplink: true,
      setup: [WAY_BACK],
      steps: ["ADD", node("iptables-nft -I CNI-ADMIN -d 198.51.100.2 -j DROP"), OUT, "CHECK", "DEL"],
    },
    ...["open", "same-bridge"].map((ingressPolicy) => ({
      name: `added by the reference, deleted by weft, ingressPolicy ${ingressPolicy}`,
      conf: { ingressPolicy },
      before: [BRIDGE],
      uplink: true,
      setup: [WAY_BACK, DROP],
      steps: [{ verb: "ADD", by: "reference" }, "CHECK", OUT, "DEL", RULES, "DEL"] as const,
    })),
    {
      name: "added by weft under a FORWARD that drops, deleted by the reference",
      conf: {},
      before: [BRIDGE],
      uplink: true,
      setup: [WAY_BACK, DROP],
      steps: ["ADD", { verb: "CHECK", by: "reference" }, OUT, { verb: "DEL", by: "reference" }, RULES],
    },
    { name: "an unknown policy", conf: { ingressPolicy: "closed" }, before: [BRIDGE], steps: ["ADD"] },
    ...["open", "same-bridge", "isolated"].map((ingressPolicy) => ({
      name: `ingressPolicy ${ingressPolicy}`,
      conf: { ingressPolicy },
      before: [BRIDGE],
      uplink: true,
      setup: [WAY_BACK],
      steps: ["ADD", "CHECK", OUT, IN, "DEL"] as const,
    })),
    { name: "STATUS", conf: {}, steps: ["STATUS"] },
    { name: "VERSION", conf: {}, steps: ["VERSION"] },
  ],
};
