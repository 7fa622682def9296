import { expect, test } from "vitest";
import { parseSubnet } from "../../../pkg/ip/prefix.ts";
import { FakeFiles } from "../../../pkg/sys/fake-files.ts";
import { drops, LegacyForward, LegacyForwardError } from "./legacy-forward.ts";

const RANGES = [parseSubnet("10.244.0.0/16"), parseSubnet("fd00::/48")];
const SOURCE = '-A FORWARD -s 10.244.0.0/16 -m comment --comment "weft: pods" -j ACCEPT';
const DESTINATION = '-A FORWARD -d 10.244.0.0/16 -m comment --comment "weft: pods" -j ACCEPT';

/** `shown` is the output of iptables-legacy for FORWARD. If undefined, iptables-legacy does not exist. */
function bench(shown: string | undefined, names = "nat\nfilter\n") {
  const files = new FakeFiles();
  files.makeDirectory("/proc/net");
  if (names !== "") files.writeFile("/proc/net/ip_tables_names", new TextEncoder().encode(names));
  const clock = { ms: 0, nowMs: () => clock.ms };
  const run: string[] = [];
  const options = {
    files,
    clock,
    execute: async (program: string, args: readonly string[]) => {
      if (shown !== undefined) run.push([program, ...args].join(" "));
      return shown;
    },
  };
  return { legacy: new LegacyForward(options), options, run, clock };
}

test.each<[boolean, string]>([
  [true, "-P FORWARD DROP"],
  [true, "-P FORWARD ACCEPT\n-A FORWARD -j REJECT --reject-with icmp-host-prohibited"],
  [true, "-P FORWARD ACCEPT\n-A FORWARD -j DROP"],
  [false, "-P FORWARD ACCEPT"],
  [false, "-P FORWARD ACCEPT\n-A FORWARD -s 192.0.2.1/32 -j DROP"],
  [false, "-P FORWARD ACCEPT\n-A FORWARD -j DROPPING"],
])("drops returns %s for %j", (expected, shown) => {
  expect(drops(shown)).toBe(expected);
});

test("inserts the missing rules at the start of a dropping chain", async () => {
  const { legacy, run } = bench(`-P FORWARD DROP\n${SOURCE}\n`);
  const rule = "-I FORWARD -d 10.244.0.0/16 -m comment --comment weft: pods -j ACCEPT";
  expect(await legacy.ensure(RANGES)).toEqual([`iptables-legacy ${rule}`]);
  expect(run).toEqual(["iptables-legacy -w 5 -S FORWARD", `iptables-legacy -w 5 ${rule}`]);
});

test.each([
  ["accepts", "-P FORWARD ACCEPT\n"],
  ["has our rules", `-P FORWARD DROP\n${SOURCE}\n${DESTINATION}\n`],
])("does not change a chain that %s", async (_name, shown) => {
  const { legacy, run } = bench(shown);
  expect(await legacy.ensure(RANGES)).toEqual([]);
  expect(run).toEqual(["iptables-legacy -w 5 -S FORWARD"]);
});

test.each([
  ["no legacy tables", ""],
  ["no legacy filter table", "nat\n"],
])("runs nothing on a node with %s", async (_name, names) => {
  const { legacy, run } = bench("-P FORWARD DROP", names);
  expect(await legacy.ensure(RANGES)).toEqual([]);
  expect(run).toEqual([]);
});

test("checks periodically instead of in each pass, and again at once after a failure", async () => {
  const { legacy, run, clock } = bench("-P FORWARD ACCEPT");
  await legacy.ensure(RANGES);
  clock.ms += 29_000;
  await legacy.ensure(RANGES);
  expect(run).toHaveLength(1);
  clock.ms += 1000;
  await legacy.ensure(RANGES);
  expect(run).toHaveLength(2);
});

test("without the program, each call fails with an error that names the command to run", async () => {
  const { legacy } = bench(undefined);
  for (let n = 0; n < 2; n++) {
    const failure = legacy.ensure(RANGES);
    await expect(failure).rejects.toThrow(LegacyForwardError);
    await expect(failure).rejects.toThrow(/on the host run iptables-legacy -I FORWARD -s 10\.244\.0\.0\/16/);
  }
});

test("if the program fails, the error has the reason and what a container needs", async () => {
  const { options } = bench("-P FORWARD DROP");
  const execute = () => Promise.reject(new Error("iptables-legacy -w 5 -S FORWARD: Permission denied"));
  const failure = new LegacyForward({ ...options, execute }).ensure(RANGES);
  await expect(failure).rejects.toThrow(LegacyForwardError);
  await expect(failure).rejects.toThrow(
    /cannot be read from here: .*Permission denied; in a container weftd needs NET_RAW/,
  );
});
