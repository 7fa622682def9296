import { expect, test } from "vitest";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import { parseSubnet } from "../../../pkg/ip/prefix.ts";
import { OPEN_GATE } from "../../../pkg/reconcile/repair-gate.ts";
import { Health } from "../../core/health.ts";
import { openLog } from "../../core/log.ts";
import { Metrics } from "../../core/metrics.ts";
import { Facts } from "../../core/topic.ts";
import { PEER_ADDRESSES } from "../facts.ts";
import { Firewall } from "./firewall.ts";
import { FirewallController } from "./firewall-controller.ts";

const CHOICE = {
  node: {
    name: "n1",
    subnets: [parseSubnet("10.244.1.0/24")],
    underlay: { index: 2, mtu: 1500, local: {}, networks: [] },
  },
  ...{ underlayName: "eth0", executable: undefined, networks: [parseSubnet("10.244.0.0/16")], podMtu: 1500 },
  ...{ devices: [], tunnels: [], takenSubnets: [], former: [] },
};

test("a failure to change chains stays reported while the next check of them is postponed", async () => {
  const clock = new ManualClock();
  const health = new Health(clock);
  const facts = new Facts();
  let error: Error | undefined;
  const programmer = {
    replaceTable: async () => false,
    commit: async () => undefined,
    acceptForwarded: async () => {
      clock.advance(50);
      if (error !== undefined) throw error;
      return { sent: [], blocked: [] };
    },
  };
  const gate = { ...OPEN_GATE, nextMs: () => undefined };
  const controller = new FirewallController({
    options: { nonMasqueradeCidrs: [], vxlanFrom: "nodes", outsideHosts: [] },
    firewall: new Firewall({ clock, programmer, gate, onBlocked: () => undefined }),
    ...{ facts, gate, health, metrics: new Metrics(), log: openLog("fatal", "n1") },
  });
  const pass = async () => {
    const kernel = { snapshot: () => Promise.reject(new Error("not read")) };
    try {
      await controller.run({ reasons: ["a test"], kernel, later: () => undefined });
      controller.succeeded();
    } catch (failure) {
      controller.failed(failure, 100);
    }
    return health.readiness().text.match(/reconcile: .*/)?.[0];
  };
  facts.of(PEER_ADDRESSES).publish({ choice: CHOICE, senders: [], unmasqueraded: [] });
  await pass();
  error = new Error("nft: no buffer space");
  expect(await pass()).toContain("no buffer space");
  clock.advance(100);
  expect(await pass()).toContain("no buffer space");
  error = undefined;
  clock.advance(500);
  expect(await pass()).not.toContain("no buffer space");
});
