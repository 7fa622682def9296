import { expect, test } from "vitest";
import { FakeFiles } from "../../../pkg/sys/fake-files.ts";
import { removeFlannelRules } from "./flannel-leftovers.ts";

const nftables = { dump: async () => [], exchange: async () => [], commit: async () => [] };

/** `shown` is the output of iptables-legacy for its table nat. If undefined, iptables-legacy does not exist. */
function bench(shown: string | undefined, names = "nat\n") {
  const files = new FakeFiles();
  files.makeDirectory("/proc/net");
  files.writeFile("/proc/net/ip_tables_names", new TextEncoder().encode(names));
  const run: string[] = [];
  const execute = async (program: string, args: readonly string[]) => {
    run.push([program, ...args].join(" "));
    return shown;
  };
  return { run, remove: () => removeFlannelRules({ nftables, files, execute }) };
}

const CHAIN = "-N FLANNEL-POSTRTG";
const JUMP = '-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG';

test("removes chains in legacy tables together with the rule that jumps to them", async () => {
  const { run, remove } = bench(`-P POSTROUTING ACCEPT\n${CHAIN}\n${JUMP}\n`);
  expect(await remove()).toEqual([
    'iptables-legacy -t nat -D POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG',
    "iptables-legacy -t nat -F FLANNEL-POSTRTG",
    "iptables-legacy -t nat -X FLANNEL-POSTRTG",
  ]);
  expect(run).toHaveLength(4);
});

test("removes a chain without a rule that jumps to it", async () => {
  expect(await bench(`${CHAIN}\n`).remove()).toHaveLength(2);
});

test.each([
  ["without flanneld's chain", "-P POSTROUTING ACCEPT\n", "nat\n", 1],
  ["that is not in use", undefined, "mangle\n", 0],
])("does not change a table %s", async (_name, shown, names, calls) => {
  const { run, remove } = bench(shown, names);
  expect(await remove()).toEqual([]);
  expect(run).toHaveLength(calls);
});

test("without iptables-legacy, the error names the commands to run", async () => {
  await expect(bench(undefined).remove()).rejects.toThrow(
    /iptables-legacy is not available .* iptables-legacy -t nat -F FLANNEL-POSTRTG/,
  );
});
