import { expect, test } from "vitest";
import type { StoreChange, StoreEntry } from "./indexer.ts";
import { ManualClock } from "./manual-clock.ts";
import { Subscription } from "./subscription.ts";

function entry(name: string, value: number, uid = "u1"): StoreEntry<number> {
  return { key: name, namespace: "", name, uid, value };
}

function start(fails = 0) {
  const clock = new ManualClock();
  const calls: string[][] = [];
  const failures: number[] = [];
  let remaining = fails;
  const subscription = new Subscription<number>({
    clock,
    coalesceMs: 20,
    backoff: { initialMs: 100, maxMs: 1000 },
    isSameEntry: (a, b) => a?.uid === b?.uid && a?.value === b?.value,
    deliver: (changes) => {
      calls.push(changes.map(({ key, before, after }) => `${key} ${before?.value}>${after?.value}`));
      if (remaining-- > 0) throw new Error("listener failed");
    },
    onFailure: (_error, retryMs) => failures.push(retryMs),
  });
  const note = (key: string, before?: StoreEntry<number>, after?: StoreEntry<number>) =>
    subscription.note({ key, before, after } satisfies StoreChange<number>);
  return { clock, calls, failures, subscription, note };
}

test("merges changes into one call with the first and last state of each object", () => {
  const { clock, calls, note } = start();
  note("a", undefined, entry("a", 1));
  clock.advance(10);
  note("a", entry("a", 1), entry("a", 2));
  note("b", entry("b", 1), undefined);
  clock.advance(9);
  expect(calls).toEqual([]);
  clock.advance(1);
  expect(calls).toEqual([["a undefined>2", "b 1>undefined"]]);
  note("a", entry("a", 2), entry("a", 3));
  clock.advance(20);
  expect(calls.slice(1)).toEqual([["a 2>3"]]);
  expect(clock.pendingMs()).toEqual([]);
});

test("ignores an object that returned to its known state, but reports a recreated object", () => {
  const { clock, calls, note } = start();
  note("a", entry("a", 1), entry("a", 2));
  note("a", entry("a", 2), entry("a", 1));
  note("b", undefined, entry("b", 1));
  note("b", entry("b", 1), undefined);
  note("c", entry("c", 1, "u1"), undefined);
  note("c", undefined, entry("c", 1, "u2"));
  clock.advance(20);
  expect(calls).toEqual([["c 1>1"]]);
});

test("calls a listener that threw again after a delay, with old and new changes", () => {
  const { clock, calls, failures, note } = start(2);
  note("a", undefined, entry("a", 1));
  clock.advance(20);
  expect(failures).toEqual([50]);
  note("a", entry("a", 1), entry("a", 2));
  note("b", undefined, entry("b", 1));
  clock.advance(50);
  clock.advance(100);
  expect(failures).toEqual([50, 100]);
  expect(calls.slice(1)).toEqual([
    ["a undefined>2", "b undefined>1"],
    ["a undefined>2", "b undefined>1"],
  ]);
  expect(clock.pendingMs()).toEqual([]);
});

test("repeats changes to a listener that threw, even if they were reverted meanwhile", () => {
  const { clock, calls, note } = start(1);
  note("a", entry("a", 1), entry("a", 2));
  note("b", undefined, entry("b", 1));
  clock.advance(20);
  note("a", entry("a", 2), entry("a", 1));
  note("b", entry("b", 1), undefined);
  note("c", undefined, entry("c", 1));
  note("c", entry("c", 1), undefined);
  clock.advance(50);
  expect(calls.slice(1)).toEqual([["a 1>1", "b undefined>undefined"]]);
  note("a", entry("a", 1), entry("a", 2));
  note("a", entry("a", 2), entry("a", 1));
  clock.advance(20);
  expect(calls.slice(2)).toEqual([[]]);
});

test("can be woken without a change, but not after close", () => {
  const { clock, calls, subscription, note } = start();
  subscription.wake();
  clock.advance(20);
  expect(calls).toEqual([[]]);
  note("a", undefined, entry("a", 1));
  subscription.close();
  note("a", entry("a", 1), entry("a", 2));
  subscription.wake();
  expect(clock.pendingMs()).toEqual([]);
  expect(calls).toHaveLength(1);
});
