import { expect, test } from "vitest";
import { parsePrefix } from "../ip/prefix.ts";
import { addRoute, replaceRoute } from "../kernel/route.ts";
import { ContentionError, RepairGate, repairOf } from "./repair-gate.ts";

/** A clock that the test moves. */
class Hands {
  #nowMs = 0;

  nowMs(): number {
    return this.#nowMs;
  }

  advance(ms: number): void {
    this.#nowMs += ms;
  }
}

const ROUTE = "ip route add 10.244.2.0/24 via 192.0.2.2";
const route = { kind: "route", key: "10.244.2.0/24" } as const;
const link = { kind: "link", key: "flannel.1" } as const;

function bench() {
  const clock = new Hands();
  const said: string[] = [];
  const repaired: string[] = [];
  const contention = new RepairGate(clock, {
    onRepair: (_object, text) => repaired.push(text()),
    onContention: (_object, text) => said.push(text),
  });
  /** The number of allowed repairs among `count` attempts, one every `everyMs`. */
  const allowed = (count: number, everyMs: number) =>
    Array.from({ length: count }, () => {
      clock.advance(everyMs);
      return contention.mayPutBack(route, ROUTE);
    }).filter((may) => may).length;
  return { clock, contention, said, repaired, allowed };
}

test("occasional damage is repaired at once, without a limit per day", () => {
  const { allowed, said, repaired } = bench();
  expect(allowed(500, 2000)).toBe(500);
  expect(said).toEqual([]);
  expect(repaired).toHaveLength(500);
});

test("backs off longer each time if repairs are undone at once, and reports it once", () => {
  const { allowed, said, repaired } = bench();
  expect(allowed(21, 10)).toBe(21);
  expect(said).toEqual([ROUTE]);
  expect(allowed(99, 10)).toBe(0);
  expect(repaired).toHaveLength(21);
  expect(allowed(1, 10)).toBe(1);
  expect(allowed(199, 10)).toBe(0);
  expect(allowed(1, 10)).toBe(1);
  expect(said).toHaveLength(1);
  // One hour of attempts: the longest back-off is a minute.
  expect(allowed(36_000, 100)).toBeLessThan(70);
});

test("knows the end of a back-off after a repair has been refused", () => {
  const { allowed, contention, clock } = bench();
  allowed(21, 10);
  expect(contention.nextMs()).toBeUndefined();
  clock.advance(400);
  contention.mayPutBack(route, ROUTE);
  expect(() => contention.assertNothingRests()).toThrow(ContentionError);
  expect(contention.nextMs()).toBe(600);
  // A pass asserts this more than once. A later call, about objects that are not backing off, must not change the end.
  contention.assertNothingRests();
  expect(contention.nextMs()).toBe(600);
  clock.advance(700);
  expect(contention.nextMs()).toBeUndefined();
  contention.mayPutBack(route, ROUTE);
  contention.assertNothingRests();
  expect(contention.nextMs()).toBeUndefined();
});

test("does not delay another object", () => {
  const { allowed, contention } = bench();
  allowed(40, 10);
  expect(contention.mayPutBack(link, "ip link add flannel.1")).toBe(true);
});

test("resets the back-off after the object has survived, and reports new contention again", () => {
  const { clock, allowed, said } = bench();
  allowed(40, 10);
  clock.advance(60_000);
  expect(allowed(21, 10)).toBe(21);
  expect(said).toHaveLength(2);
});

test("throws an error with the objects and the time of the next attempt while repairs are refused", () => {
  const { allowed, contention } = bench();
  contention.assertNothingRests();
  allowed(22, 10);
  expect(() => contention.assertNothingRests()).toThrow(ContentionError);
  allowed(1, 10);
  expect(() => contention.assertNothingRests()).toThrow(
    /keeps undoing.*ip route add 10\.244\.2\.0\/24.*in 1\.0 seconds/,
  );
  contention.assertNothingRests();
});

test("does not count changes that the kernel refused", () => {
  const { clock, contention, said } = bench();
  for (let at = 0; at < 100; at++) {
    clock.advance(10);
    expect(contention.mayPutBack(route, ROUTE)).toBe(true);
    contention.refused(route);
  }
  expect(said).toEqual([]);
});

test("objects with different texts and equal identities are one object", () => {
  const { clock, contention, said } = bench();
  const verdicts = Array.from({ length: 22 }, (_, at) => {
    clock.advance(10);
    return contention.mayPutBack(route, `words of attempt ${at}`);
  });
  expect(verdicts.filter((verdict) => !verdict)).toHaveLength(1);
  expect(said).toEqual(["words of attempt 20"]);
  expect(() => contention.assertNothingRests()).toThrow(
    expect.objectContaining({ objects: [{ identity: route, text: "words of attempt 21" }] }),
  );
});

test("objects with equal texts and different identities are different objects", () => {
  const { clock, contention } = bench();
  const verdicts = Array.from({ length: 60 }, (_, at) => {
    clock.advance(10);
    return contention.mayPutBack({ kind: "route", key: `10.244.${at % 3}.0/24` }, "the same words");
  });
  expect(verdicts).not.toContain(false);
});

test("does not form the text of an object that may be repaired", () => {
  const { contention } = bench();
  let formed = 0;
  const gate = new RepairGate(new Hands(), { onRepair: () => undefined, onContention: () => undefined });
  for (let at = 0; at < 20; at++) gate.mayPutBack(route, () => `${++formed}`);
  expect(formed).toBe(0);
  expect(contention.nextMs()).toBeUndefined();
});

test("several changes of one object in one repair count as one repair", () => {
  const { contention, repaired } = bench();
  const destination = parsePrefix("fd00:2::/64");
  const changes = [addRoute({ destination, outputIndex: 7 }), replaceRoute({ destination, outputIndex: 7, mtu: 1400 })];
  for (let at = 0; at < 21; at++) expect(changes.map(repairOf(contention))).toEqual([true, true]);
  expect(repaired).toHaveLength(21);
  // The next repair is refused completely: neither change is sent.
  expect(changes.map(repairOf(contention))).toEqual([false, false]);
});
