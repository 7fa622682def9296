import { HANDED_BACK, type Table } from "../table.ts";

const LIMITS = { ingressRate: 20_000_000, ingressBurst: 1_000_000, egressRate: 30_000_000, egressBurst: 2_000_000 };
const before = [
  {
    ...{ type: "bridge", bridge: "cni0", isGateway: true },
    ipam: { type: "static", addresses: [{ address: "10.22.0.2/24" }] },
  },
];

export const table: Table = {
  plugin: "bandwidth",
  cases: [
    { name: "added by weft, checked and deleted by the reference", conf: LIMITS, before, steps: HANDED_BACK },
    { name: "both directions", conf: LIMITS, before, versions: ["0.3.0", "0.4.0", "1.1.0"] },
    { name: "traffic to the pod", conf: { ingressRate: 8_000_000, ingressBurst: 800_000 }, before },
    { name: "traffic from the pod", conf: { egressRate: 123_456_789, egressBurst: 12_345_678 }, before },
    { name: "the runtime's limits", conf: { runtimeConfig: { bandwidth: LIMITS } }, before },
    {
      name: "the configuration overrides the runtime's limits",
      conf: { runtimeConfig: { bandwidth: LIMITS }, ingressRate: 8_000_000, ingressBurst: 800_000 },
      before,
    },
    {
      name: "faster than 34 Gbit/s",
      conf: { ingressRate: 40_000_000_000, ingressBurst: 8_000_000_000 },
      before,
    },
    {
      name: "containerd's limits",
      conf: { runtimeConfig: { bandwidth: { IngressRate: 10_000_000, IngressBurst: 4294967295 } } },
      before,
    },
    { name: "no limit", conf: {}, before, steps: ["ADD", "DEL"] },
    {
      name: "a pod that is gone",
      conf: LIMITS,
      before,
      steps: ["ADD", { verb: "DEL", pod: "gone" }, { verb: "DEL", pod: "none", remembers: false }],
    },
    {
      name: "a lost bucket",
      conf: LIMITS,
      before,
      steps: [
        "ADD",
        { in: "node", run: "tc qdisc del dev $(ip -br link show type ifb | cut -d ' ' -f 1) root" },
        "CHECK",
        "DEL",
      ],
    },
    {
      name: "a lost redirection",
      conf: LIMITS,
      before,
      steps: [
        "ADD",
        { in: "node", run: "tc qdisc del dev $(ip -br link show type veth | cut -d @ -f 1) ingress" },
        "CHECK",
        "DEL",
      ],
    },
  ],
};
