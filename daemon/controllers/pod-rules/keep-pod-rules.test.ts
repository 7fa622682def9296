import { expect, test } from "vitest";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import { BaseChains } from "../../../pkg/foreign/base-chains.ts";
import { RepairGate } from "../../../pkg/reconcile/repair-gate.ts";
import { FakeSystem } from "../../../pkg/sys/fake.ts";
import { LastReports } from "../../core/last-reports.ts";
import type { Logger } from "../../core/log.ts";
import { Metrics } from "../../core/metrics.ts";
import { Runner } from "../../core/runner.ts";
import { podRulesController } from "./keep-pod-rules.ts";

const settled = () => new Promise((resolve) => setImmediate(resolve));

test("while comparisons fail, other programs' commits cause no further ones, and the log has one line", async () => {
  const clock = new ManualClock();
  clock.chance = 1;
  const warned: unknown[] = [];
  let looks = 0;
  const refuse = () => {
    looks += 1;
    return Promise.reject(new Error("the socket is busy"));
  };
  const log = { warn: (fields: unknown) => warned.push(fields), info: () => undefined } as unknown as Logger;
  const metrics = new Metrics();
  const kernel = { snapshot: () => Promise.reject(new Error("not asked for")) };
  const runner = new Runner({ clock, kernel, metrics, log });
  const controller = podRulesController({
    clock,
    netlink: { dump: async () => [] },
    nftables: { dump: refuse, exchange: refuse, commit: refuse },
    bases: new BaseChains(),
    files: new FakeSystem(),
    gate: new RepairGate(clock, { onRepair: () => undefined, onContention: () => undefined }),
    health: { warns: () => undefined },
    reports: new LastReports(),
    log,
    backoff: { initialMs: 1000, maxMs: 60_000 },
  });
  runner.start(controller);
  for (let commits = 0; commits < 300; commits++) {
    runner.rulesetChanged();
    clock.advance(100);
    await settled();
  }
  // Half a minute has passes at 0, 1, 3, 7 and 15 seconds.
  expect(looks).toBe(5);
  expect(warned).toHaveLength(1);
  await runner.stop();
});
