import { expect, test } from "vitest";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import { parseAddress } from "../../../pkg/ip/address.ts";
import { parseSubnet } from "../../../pkg/ip/prefix.ts";
import { Health } from "../../core/health.ts";
import { openLog } from "../../core/log.ts";
import type { Happening } from "../../sources/events.ts";
import { OutsidePods } from "./outside-pods.ts";

function bench() {
  const health = new Health(new ManualClock());
  const told: Happening[] = [];
  const events = { report: (happening: Happening) => told.push(happening) };
  const outsidePods = new OutsidePods({ nodeName: "n1", health, events, log: openLog("fatal", "n1") });
  const report = (...addresses: readonly string[]) =>
    outsidePods.report(
      [parseSubnet("10.244.5.0/24")],
      addresses.map((address) => ({ address: parseAddress(address), mark: "", isBridged: true })),
    );
  const warnings = () =>
    health
      .readiness()
      .text.split("\n")
      .filter((line) => line.startsWith("[!]"));
  return { report, told, warnings };
}

test("warns of the addresses and names the remedy while the pods exist", () => {
  const { report, warnings } = bench();
  report();
  expect(warnings()).toEqual([]);
  report("10.244.1.7", "10.244.1.8");
  expect(warnings()).toEqual([
    expect.stringMatching(/^\[!\] pods: .*\(10\.244\.5\.0\/24\): 10\.244\.1\.7, 10\.244\.1\.8; .*spec\.nodeName=n1$/),
  ]);
  report();
  expect(warnings()).toEqual([]);
});

test("reports each address in one Event: not when pods are deleted, and again when another is found", () => {
  const { report, told } = bench();
  for (let pass = 0; pass < 3; pass++) report("10.244.1.7", "10.244.1.8");
  report("10.244.1.8");
  expect(told.map(({ type, reason }) => `${type} ${reason}`)).toEqual(["Warning PodsOutsideSubnet"]);
  expect(told[0]?.message).toContain("10.244.1.7, 10.244.1.8;");
  report("10.244.1.8", "10.244.1.9");
  expect(told).toHaveLength(2);
});

test("the message for a full node fits into an Event", () => {
  const { report, told } = bench();
  report(...[...Array(110).keys()].map((at) => `fd00:1234:5678:9abc:def0:1234:5678:${(at + 0x1000).toString(16)}`));
  expect(told[0]?.message.length).toBeLessThanOrEqual(1024);
  expect(told[0]?.message).toContain("and 94 more");
});
