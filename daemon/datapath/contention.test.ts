import { expect, test } from "vitest";
import { ManualClock } from "../../pkg/cluster/manual-clock.ts";
import { Contention, ContentionError } from "./contention.ts";

const ROUTE = "ip route add 10.244.2.0/24 via 192.0.2.2";

function bench() {
  const clock = new ManualClock();
  const said: string[] = [];
  const repaired: string[] = [];
  const contention = new Contention(clock, {
    onRepair: (object) => repaired.push(object),
    onContention: (object) => said.push(object),
  });
  /** How many of `count` attempts, one each `everyMs`, are allowed. */
  const allowed = (count: number, everyMs: number) =>
    Array.from({ length: count }, () => {
      clock.advance(everyMs);
      return contention.mayPutBack(ROUTE);
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
  contention.mayPutBack(ROUTE);
  expect(() => contention.assertNothingRests()).toThrow(ContentionError);
  expect(contention.nextMs()).toBe(600);
  // The same pass asks again, for objects of which none rests.
  contention.assertNothingRests();
  expect(contention.nextMs()).toBe(600);
  clock.advance(700);
  expect(contention.nextMs()).toBeUndefined();
  contention.mayPutBack(ROUTE);
  contention.assertNothingRests();
  expect(contention.nextMs()).toBeUndefined();
});

test("another object does not wait with it", () => {
  const { allowed, contention } = bench();
  allowed(40, 10);
  expect(contention.mayPutBack("ip link add flannel.1")).toBe(true);
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
    expect(contention.mayPutBack(ROUTE)).toBe(true);
    contention.refused(ROUTE);
  }
  expect(said).toEqual([]);
});
