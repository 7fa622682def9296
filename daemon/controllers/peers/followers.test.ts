import { expect, test } from "vitest";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import { Fact } from "../../core/topic.ts";
import { Followers } from "./followers.ts";

const settled = () => new Promise((resolve) => setImmediate(resolve));

function bench() {
  const clock = new ManualClock();
  const followers = new Followers(clock);
  const fact = new Fact<string>("followed");
  const wait = (choice: string) => {
    const waiting = { isOver: false };
    void followers.caughtUp(fact, choice).then(() => {
      waiting.isOver = true;
    });
    return waiting;
  };
  return { clock, fact, wait };
}

test("waits until the follower has caught up, and not at all if it already has", async () => {
  const { clock, fact, wait } = bench();
  const first = wait("a");
  fact.publish("something else");
  await settled();
  expect(first.isOver).toBe(false);
  fact.publish("a");
  await settled();
  expect(first.isOver).toBe(true);
  const second = wait("a");
  await settled();
  expect([second.isOver, clock.pendingMs()]).toEqual([true, []]);
});

test("a hanging follower delays one pass, and is waited for again after it has caught up", async () => {
  const { clock, fact, wait } = bench();
  const first = wait("a");
  clock.advance(500);
  await settled();
  expect(first.isOver).toBe(true);
  const second = wait("b");
  await settled();
  expect(second.isOver).toBe(true);
  fact.publish("b");
  await wait("b");
  await settled();
  const third = wait("c");
  await settled();
  expect(third.isOver).toBe(false);
  fact.publish("c");
  await settled();
  expect(third.isOver).toBe(true);
});

test("a follower that was late once and continues is waited for, even if the next choice arrived in the meantime", async () => {
  const { clock, fact, wait } = bench();
  wait("a");
  clock.advance(500);
  await settled();
  fact.publish("a");
  const second = wait("b");
  await settled();
  expect(second.isOver).toBe(false);
  fact.publish("b");
  await settled();
  expect(second.isOver).toBe(true);
});
