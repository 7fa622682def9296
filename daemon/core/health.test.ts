import { expect, test } from "vitest";
import { ManualClock } from "../../pkg/cluster/manual-clock.ts";
import { ControllerState } from "./controller-state.ts";
import { CONDITIONS, Health } from "./health.ts";

test("a new daemon is healthy but not ready, and names each condition that does not hold", () => {
  const health = new Health(new ManualClock());
  const { isGood, text } = health.readiness();
  expect(isGood).toBe(false);
  expect(text).toMatch(/^not ready\n/);
  for (const condition of CONDITIONS) expect(text).toContain(`[-] ${condition}: not tried yet`);
  expect(health.liveness().isGood).toBe(true);
});

test("a daemon is ready while every condition holds", () => {
  const health = new Health(new ManualClock());
  for (const condition of CONDITIONS) {
    expect(health.readiness().isGood).toBe(false);
    health.holds(condition, "fine");
  }
  expect(health.readiness()).toEqual({ isGood: true, text: expect.stringMatching(/^ready\n\[\+\] subnet: fine\n/) });
  health.fails("reconcile", "no buffer space");
  expect(health.readiness()).toEqual({
    isGood: false,
    text: expect.stringContaining("[+] nodes: fine\n[-] reconcile: no buffer space\n"),
  });
});

test("a pass that does not end makes the daemon unhealthy", () => {
  const clock = new ManualClock();
  const health = new Health(clock);
  const state = new ControllerState("peers", clock);
  health.shows(() => [state.report()]);
  state.begins(["nodes"]);
  clock.advance(59_000);
  expect(health.liveness().isGood).toBe(true);
  clock.advance(1000);
  expect(health.liveness()).toEqual({
    isGood: false,
    text: expect.stringContaining("[-] pass: running for 60.0 seconds"),
  });
  state.ends("success");
  expect(health.liveness().isGood).toBe(true);
});

test("a node source that is silent for 15 minutes makes the daemon unhealthy until it reports again", () => {
  const clock = new ManualClock();
  const health = new Health(clock);
  clock.advance(14 * 60_000);
  health.sourceSpoke();
  clock.advance(14 * 60_000);
  expect(health.liveness().isGood).toBe(true);
  clock.advance(60_000);
  expect(health.liveness().text).toContain("[-] watch: last report 900.0 seconds ago");
  health.sourceSpoke();
  expect(health.liveness().isGood).toBe(true);
});

test("warnings are listed after the conditions, do not affect readiness, and end when they are not repeated", () => {
  const health = new Health(new ManualClock());
  for (const condition of CONDITIONS) health.holds(condition, "fine");
  health.warns("peers", ["n3: off the link", ...Array.from({ length: 11 }, (_, at) => `m${at}: no address`)]);
  const { isGood, text } = health.readiness();
  expect(isGood).toBe(true);
  expect(text).toContain("[+] conflist: fine\n[!] peers: n3: off the link\n[!] peers: m0: no address\n");
  expect(text).toMatch(/m8: no address\n\[!\] peers: 2 more\n$/);
  health.warns("peers", []);
  expect(health.readiness().text).not.toContain("[!]");
});

test("an optional condition counts from its first finding", () => {
  const health = new Health(new ManualClock());
  for (const condition of CONDITIONS) health.holds(condition, "fine");
  expect(health.readiness()).toMatchObject({ isGood: true, text: expect.not.stringContaining("services") });
  health.fails("services", "not tried yet");
  expect(health.readiness()).toMatchObject({
    isGood: false,
    text: expect.stringContaining("[-] services: not tried yet"),
  });
});
