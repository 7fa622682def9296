import { describe, expect, test } from "vitest";
import { KubernetesError } from "../../pkg/cluster/errors.ts";
import { ManualClock } from "../../pkg/cluster/manual-clock.ts";
import type { NodeEvent } from "../../pkg/cluster/node/node-api.ts";
import { openLog } from "../core/log.ts";
import { Events, type Happening } from "./events.ts";

const settled = () => new Promise((resolve) => setImmediate(resolve));
const undone: Happening = { type: "Warning", reason: "RepairUndone", message: "the route 10.244.2.0/24 was removed" };

function bench() {
  const clock = new ManualClock();
  const created: NodeEvent[] = [];
  const counted: (readonly [string, number])[] = [];
  const state = { failure: undefined as Error | undefined };
  const events = new Events({
    nodeName: "n1",
    nodeUid: () => "u1",
    clock,
    dateMs: () => Date.UTC(2026, 10, 21) + clock.nowMs(),
    log: openLog("fatal", "n1"),
    api: {
      createEvent: async (event) => {
        if (state.failure !== undefined) throw state.failure;
        created.push(event);
        return `e${created.length}`;
      },
      countEvent: async (name, { count }) => {
        if (state.failure !== undefined) throw state.failure;
        counted.push([name, count]);
      },
    },
  });
  const pass = async (ms: number) => {
    for (let left = ms; left >= 0; left -= 1000) {
      clock.advance(Math.min(left, 1000));
      await settled();
    }
  };
  return { clock, created, counted, state, events, pass };
}

describe("Events", () => {
  test("an event is created once, about this Node", async () => {
    const { created, events, pass } = bench();
    events.report(undone);
    expect(created).toEqual([]);
    await pass(0);
    const time = "2026-11-21T00:00:00Z";
    expect(created).toEqual([
      { node: "n1", uid: "u1", ...undone, firstTimestamp: time, lastTimestamp: time, count: 1 },
    ]);
  });

  test("a repeated event is counted, and the count is updated at most once a minute", async () => {
    const { created, counted, events, pass } = bench();
    for (let second = 0; second < 150; second++) {
      events.report(undone);
      await pass(1000);
    }
    expect(created).toHaveLength(1);
    expect(counted.length).toBe(2);
    expect(counted.every(([name, count]) => name === "e1" && count > 50)).toBe(true);
    await pass(60_000);
    expect(counted.at(-1)).toEqual(["e1", 150]);
  });

  test("a flood is rate-limited, the rest is sent later, and the oldest of more than a hundred is dropped", async () => {
    const { created, events, pass } = bench();
    for (let n = 0; n < 150; n++) events.report({ ...undone, message: `number ${n}` });
    await pass(0);
    expect(created).toHaveLength(20);
    expect(created[0]?.message).toBe("number 50");
    await pass(60_000);
    expect(created.length).toBe(24);
  });

  test("a refused event is retried with back-off, and none is lost", async () => {
    const { created, state, events, pass } = bench();
    state.failure = new Error("403");
    events.report(undone);
    events.report({ ...undone, reason: "TakenOver" });
    await pass(10_000);
    expect(created).toEqual([]);
    state.failure = undefined;
    await pass(60_000);
    expect(created.map(({ reason }) => reason)).toEqual(["RepairUndone", "TakenOver"]);
  });

  test("an expired Event is created again with the full count", async () => {
    const { created, state, events, pass } = bench();
    events.report(undone);
    await pass(0);
    await pass(61_000);
    state.failure = new KubernetesError("refused", "404", { status: 404 });
    events.report(undone);
    await pass(0);
    state.failure = undefined;
    await pass(61_000);
    expect(created.map(({ count }) => count)).toEqual([1, 2]);
  });
});
