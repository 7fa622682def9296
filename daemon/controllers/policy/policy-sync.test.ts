import { expect, test } from "vitest";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import type { SentTransactions } from "../../core/drivers/table-programmer.ts";
import { PolicySync, type SyncReport } from "./policy-sync.ts";

test("the time of the damage is reported with the sync that completes the repair", async () => {
  const clock = new ManualClock();
  const reports: SyncReport[] = [];
  let resting = 0;
  const sent = (): Promise<SentTransactions> => Promise.resolve({ transactions: 1, requests: 1, resting });
  let changes = 0;
  const sync = new PolicySync({
    map: {
      hasPolicies: true,
      changes: () => (changes-- > 0 ? [{ kind: "blocks", number: 1, group: undefined }] : []),
    },
    programmer: { compare: sent, change: sent, remove: sent },
    settings: () => Promise.resolve({ isAudit: false, hasLog: false }),
    clock,
    log: { info: () => undefined, warn: () => undefined },
    onSync: (report) => reports.push(report),
  });
  await sync.sync([]);
  const damagedMs = clock.nowMs();
  sync.damaged();
  resting = 1;
  await sync.sync([]);
  clock.advance(1000);
  changes = 1;
  await sync.sync([]);
  sync.damaged();
  resting = 0;
  await sync.sync([]);
  expect(reports.map(({ damagedSinceMs }) => damagedSinceMs)).toEqual([undefined, undefined, undefined, damagedMs]);
  expect(reports.map(({ kind }) => kind)).toEqual(["full", "full", "partial", "full"]);
});
