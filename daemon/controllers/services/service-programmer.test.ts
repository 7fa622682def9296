import { expect, test } from "vitest";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import { lateRequest, type ObjectKind, type Request } from "../../../pkg/netlink/message.ts";
import { NFT_MSG_DELSETELEM, NFT_MSG_NEWSETELEM } from "../../../pkg/netlink/nftables.ts";
import { RepairGate } from "../../../pkg/reconcile/repair-gate.ts";
import type { Transaction } from "../../../pkg/services/mode.ts";
import { openLog } from "../../core/log.ts";
import { ServiceProgrammer } from "./service-programmer.ts";

const SETTINGS = { localPods: [], serviceRanges: [], masqueradeAll: false, masqueradeBit: 14 };

const change = (kind: ObjectKind, key: string): Request =>
  lateRequest(
    NFT_MSG_NEWSETELEM,
    () => ({ kind, key }),
    () => `${kind} ${key}`,
    () => [{}, {}],
  );
const removal = (key: string): Request =>
  lateRequest(
    NFT_MSG_DELSETELEM,
    () => ({ kind: "element", key }),
    () => `no element ${key}`,
    () => [{}, {}],
  );
const element = (key: string) => change("element", key);

function bench(transactions: readonly Transaction[]) {
  const clock = new ManualClock();
  const repaired: string[] = [];
  const contended: string[] = [];
  const gate = new RepairGate(clock, {
    onRepair: ({ kind, key }) => repaired.push(`${kind} ${key}`),
    onContention: ({ kind, key }) => contended.push(`${kind} ${key}`),
  });
  const committed: string[][] = [];
  const programmer = new ServiceProgrammer({
    mode: {
      // biome-ignore lint/correctness/useYield: this fake sends no queries to the kernel.
      *compare() {
        return transactions;
      },
      change: () => transactions,
      removal: () => [],
    },
    nftables: { dump: async () => [], exchange: async () => [] },
    programmer: { commit: async (requests) => void committed.push(requests.map(({ text }) => text)) },
    ...{ gate, log: openLog("fatal", "n1") },
  });
  return { clock, gate, programmer, repaired, contended, committed };
}

test("transactions are committed separately and in order", async () => {
  const { programmer, committed, repaired } = bench([[element("a"), element("b")], [element("c")]]);
  expect(await programmer.change([])).toEqual({ transactions: 2, requests: 3, resting: 0 });
  expect(await programmer.compare([], SETTINGS, "none")).toMatchObject({ transactions: 2 });
  expect(committed).toEqual([["element a", "element b"], ["element c"], ["element a", "element b"], ["element c"]]);
  expect(repaired).toEqual([]);
});

test("each restored element counts as one repair; a chain, a set or a rule counts as one of the table", async () => {
  const transaction = [element("a"), element("b")];
  const { programmer, repaired } = bench([transaction]);
  await programmer.compare([], SETTINGS, "objects");
  expect(repaired.splice(0)).toEqual(["element a", "element b"]);
  await programmer.compare([], SETTINGS, "table");
  expect(repaired.splice(0)).toEqual(["table inet weft-services"]);
  transaction.push(change("rule", "nat"));
  await programmer.compare([], SETTINGS, "objects");
  expect(repaired).toEqual(["table inet weft-services"]);
});

test("very many elements count as one repair of the table", async () => {
  const { programmer, repaired } = bench([[...Array(500).keys()].map((n) => element(String(n)))]);
  await programmer.compare([], SETTINGS, "objects");
  expect(repaired).toEqual(["table inet weft-services"]);
});

/** Repairs until the gate holds the repair back. */
async function fight({ programmer, contended }: ReturnType<typeof bench>): Promise<void> {
  for (let n = 0; contended.length === 0 && n < 100; n++) await programmer.compare([], SETTINGS, "objects");
}

test("a contended element is held back, and the others of its transaction are not", async () => {
  const transaction = [element("fought")];
  const at = bench([transaction]);
  await fight(at);
  transaction.push(element("other"));
  at.committed.length = 0;
  expect(await at.programmer.compare([], SETTINGS, "objects")).toEqual({ transactions: 1, requests: 1, resting: 1 });
  expect(at.committed).toEqual([["element other"]]);
  expect(at.gate.assertNothingRests.bind(at.gate)).toThrow(/another program keeps undoing/);
  at.clock.advance(at.gate.nextMs() ?? 0);
  expect(await at.programmer.compare([], SETTINGS, "objects")).toMatchObject({ requests: 2, resting: 0 });
});

test("a removal is held back together with the addition that replaces it", async () => {
  const at = bench([[removal("old"), element("new")]]);
  await fight(at);
  at.committed.length = 0;
  expect(await at.programmer.compare([], SETTINGS, "objects")).toMatchObject({ resting: 2 });
  expect(at.committed).toEqual([]);
});

test("a contended table is held back as a whole, and restored as a whole after its back-off", async () => {
  const at = bench([[change("table", "t"), change("chain", "nat"), element("a")], [element("b")]]);
  await fight(at);
  at.committed.length = 0;
  for (let n = 0; n < 3; n++) {
    expect(await at.programmer.compare([], SETTINGS, "objects")).toMatchObject({ transactions: 0, resting: 4 });
    expect(at.gate.assertNothingRests.bind(at.gate)).toThrow(/table inet weft-services/);
    at.clock.advance(at.gate.nextMs() ?? 0);
    expect(await at.programmer.compare([], SETTINGS, "objects")).toMatchObject({ transactions: 2, resting: 0 });
  }
});
