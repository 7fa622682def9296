import { expect, test } from "vitest";
import { ManualClock } from "../../pkg/cluster/manual-clock.ts";
import { Fact, FactKey, Facts, reached, Topic } from "./topic.ts";

test("subscribers receive each change with its request until they unsubscribe", () => {
  const topic = new Topic("nodes");
  const heard: unknown[] = [];
  const end = topic.subscribe((request) => heard.push(request));
  topic.notify();
  topic.notify({ delayMs: 10, isPatient: true });
  end();
  topic.notify();
  expect(heard).toEqual([{}, { delayMs: 10, isPatient: true }]);
});

test("publish notifies only if the value differs, and otherwise keeps the same object", () => {
  const fact = new Fact<{ readonly mtu: number }>("mtu");
  const heard: number[] = [];
  fact.subscribe(() => heard.push(fact.value?.mtu ?? 0));
  const first = { mtu: 1450 };
  fact.publish(first);
  fact.publish({ mtu: 1450 });
  expect(fact.value).toBe(first);
  fact.publish({ mtu: 1400 });
  expect(heard).toEqual([1450, 1400]);
});

test("a key identifies one fact for all callers and may define equality", () => {
  const facts = new Facts();
  const KEY = new FactKey<readonly number[]>("numbers", (a, b) => a.length === b.length);
  const heard: unknown[] = [];
  facts.of(KEY).subscribe(() => heard.push(facts.of(KEY).value));
  facts.of(KEY).publish([1]);
  facts.of(KEY).publish([2]);
  facts.of(KEY).publish([2, 3]);
  expect(heard).toEqual([[1], [2, 3]]);
  expect(facts.of(new FactKey<readonly number[]>("numbers")).value).toBeUndefined();
});

test("waiting for a value ends when it is published or at the time limit", async () => {
  const clock = new ManualClock();
  const fact = new Fact<string>("choice");
  const [soon, late] = [reached(fact, "a", clock, 100), reached(fact, "b", clock, 100)];
  fact.publish("a");
  clock.advance(100);
  expect([await soon, await late, await reached(fact, "a", clock, 100)]).toEqual([true, false, true]);
  expect(clock.pendingMs()).toEqual([]);
});
