import { expect, test } from "vitest";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import type { Request } from "../../../pkg/netlink/message.ts";
import { FakeNftables } from "../../../pkg/nft/fake-nftables.ts";
import { FakeNftablesSocket } from "../../../pkg/nft/fake-nftables-socket.ts";
import { createTable } from "../../../pkg/nft/table.ts";
import { cutTable } from "../../../pkg/policy/cut-table.ts";
import { NftablesPolicies } from "../../../pkg/policy/nftables/nftables-policies.ts";
import { PolicyTables } from "../../../pkg/policy/tables.ts";
import { OPEN_GATE } from "../../../pkg/reconcile/repair-gate.ts";
import { openLog } from "../../core/log.ts";
import { Facts } from "../../core/topic.ts";
import { POLICY_STATE } from "../facts.ts";
import { policyOff } from "./policy-off.ts";
import { PolicyProgrammer } from "./policy-programmer.ts";

function bench() {
  const nftables = new FakeNftables();
  const netlink = new EventedNetlink(new FakeNftablesSocket(nftables, 42), "a test", new ManualClock());
  const committed: (readonly Request[])[] = [];
  const programmer = new PolicyProgrammer({
    ...{ program: new NftablesPolicies(), nftables: netlink, gate: OPEN_GATE, log: openLog("fatal", "n1") },
    programmer: {
      commit: async (requests) => {
        committed.push(requests);
        await netlink.commit(requests);
      },
    },
  });
  const facts = new Facts();
  const recorded: unknown[] = [];
  const controller = policyOff({
    ...{ reason: "flag", programmer, facts, log: openLog("fatal", "n1") },
    announcer: { recordPolicyMode: (mode) => void recorded.push(mode) },
  });
  const run = () =>
    controller.run({ reasons: [], kernel: { snapshot: () => Promise.reject(new Error()) }, later: () => undefined });
  return { nftables, netlink, programmer, committed, facts, recorded, controller, run };
}

test("the tables of an earlier weftd are removed, and nothing is committed without one", async () => {
  const { nftables, netlink, programmer, committed, run } = bench();
  await run();
  expect(committed).toEqual([]);
  await programmer.compare(new PolicyTables(), { isAudit: false, hasLog: false }, "none");
  await netlink.commit(createTable(cutTable([])));
  expect(nftables.list().join("\n")).toMatch(/^inet weft-policy .*^inet weft-policy-cut /ms);
  await run();
  expect(nftables.list().join("\n")).not.toContain("weft-policy");
  await programmer.compare(new PolicyTables(), { isAudit: false, hasLog: false }, "none");
  expect(nftables.list().join("\n")).toContain("weft-policy");
});

test("the record on the Node is removed, and the conflist and the page get the mode", () => {
  const { facts, recorded, controller } = bench();
  expect(recorded).toEqual([undefined]);
  expect(facts.of(POLICY_STATE).value).toEqual({ mode: "off", hasPolicies: false, fail: "open" });
  const page = [...(controller.pages?.policies?.(new URLSearchParams()) ?? [])].join("");
  expect(JSON.parse(page)).toMatchObject({ mode: "off", modeReason: "flag", policies: [] });
});
