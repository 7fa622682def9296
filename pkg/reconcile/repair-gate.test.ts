import { expect, test } from "vitest";
import { parsePrefix } from "../ip/prefix.ts";
import { addRoute, replaceRoute } from "../kernel/route.ts";
import { ContentionError, RepairGate, repairOf } from "./repair-gate.ts";

/** A clock that is moved by hand. */
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
  /** How many of `count` attempts, one each `everyMs`, are allowed. */
  const allowed = (count: number, everyMs: number) =>
    Array.from({ length: count }, () => {
      clock.advance(everyMs);
      return contention.mayPutBack(route, ROUTE);
    }).filter((may) => may).length;
  return { clock, contention, said, repaired, allowed };
}

test("damage now and then is put back at once, however often over the day", () => {
  const { allowed, said, repaired } = bench();
  expect(allowed(500, 2000)).toBe(500);
  expect(said).toEqual([]);
  expect(repaired).toHaveLength(500);
});

test("what is undone at once, again and again, rests longer and longer, and is said once", () => {
  const { allowed, said, repaired } = bench();
  expect(allowed(21, 10)).toBe(21);
  expect(said).toEqual([ROUTE]);
  expect(allowed(99, 10)).toBe(0);
  expect(repaired).toHaveLength(21);
  expect(allowed(1, 10)).toBe(1);
  expect(allowed(199, 10)).toBe(0);
  expect(allowed(1, 10)).toBe(1);
  expect(said).toHaveLength(1);
  // An hour of it: the longest rest is a minute.
  expect(allowed(36_000, 100)).toBeLessThan(70);
});

test("the end of a rest is known once something has asked for what rests", () => {
  const { allowed, contention, clock } = bench();
  allowed(21, 10);
  expect(contention.nextMs()).toBeUndefined();
  clock.advance(400);
  contention.mayPutBack(route, ROUTE);
  expect(() => contention.assertNothingRests()).toThrow(ContentionError);
  expect(contention.nextMs()).toBe(600);
  // The same pass asks again, for objects of which none rests.
  contention.assertNothingRests();
  expect(contention.nextMs()).toBe(600);
  clock.advance(700);
  expect(contention.nextMs()).toBeUndefined();
  contention.mayPutBack(route, ROUTE);
  contention.assertNothingRests();
  expect(contention.nextMs()).toBeUndefined();
});

test("another object does not wait with it", () => {
  const { allowed, contention } = bench();
  allowed(40, 10);
  expect(contention.mayPutBack(link, "ip link add flannel.1")).toBe(true);
});

test("what has stood for a while is forgiven, and said again when it begins anew", () => {
  const { clock, allowed, said } = bench();
  allowed(40, 10);
  clock.advance(60_000);
  expect(allowed(21, 10)).toBe(21);
  expect(said).toHaveLength(2);
});

test("what rests is an error that names it, and the time of the next attempt, until it is asked for no more", () => {
  const { allowed, contention } = bench();
  contention.assertNothingRests();
  allowed(22, 10);
  expect(() => contention.assertNothingRests()).toThrow(ContentionError);
  allowed(1, 10);
  expect(() => contention.assertNothingRests()).toThrow(
    /undoes again and again.*ip route add 10\.244\.2\.0\/24.*in 1\.0 seconds/,
  );
  contention.assertNothingRests();
});

test("what the kernel refuses is undone by nobody", () => {
  const { clock, contention, said } = bench();
  for (let at = 0; at < 100; at++) {
    clock.advance(10);
    expect(contention.mayPutBack(route, ROUTE)).toBe(true);
    contention.refused(route);
  }
  expect(said).toEqual([]);
});

test("words do not tell objects apart", () => {
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

test("equal words do not make two objects one", () => {
  const { clock, contention } = bench();
  const verdicts = Array.from({ length: 60 }, (_, at) => {
    clock.advance(10);
    return contention.mayPutBack({ kind: "route", key: `10.244.${at % 3}.0/24` }, "the same words");
  });
  expect(verdicts).not.toContain(false);
});

test("words that are late are not formed for an object that may be put back", () => {
  const { contention } = bench();
  let formed = 0;
  const gate = new RepairGate(new Hands(), { onRepair: () => undefined, onContention: () => undefined });
  for (let at = 0; at < 20; at++) gate.mayPutBack(route, () => `${++formed}`);
  expect(formed).toBe(0);
  expect(contention.nextMs()).toBeUndefined();
});

test("several changes of one object in one repair are one repair of it", () => {
  const { contention, repaired } = bench();
  const destination = parsePrefix("fd00:2::/64");
  const changes = [addRoute({ destination, outputIndex: 7 }), replaceRoute({ destination, outputIndex: 7, mtu: 1400 })];
  for (let at = 0; at < 21; at++) expect(changes.map(repairOf(contention))).toEqual([true, true]);
  expect(repaired).toHaveLength(21);
  // The next repair rests as a whole: no half of it is sent.
  expect(changes.map(repairOf(contention))).toEqual([false, false]);
});
