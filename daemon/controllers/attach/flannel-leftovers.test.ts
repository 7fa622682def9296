import { expect, test } from "vitest";
import { FakeFiles } from "../../../pkg/sys/fake-files.ts";
import { removeFlannelRules } from "./flannel-leftovers.ts";

const nftables = { dump: async () => [], exchange: async () => [], commit: async () => [] };

/** `shown` is what iptables-legacy prints of its table nat; undefined: there is no iptables-legacy. */
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

test("chains in legacy tables go with the rule that leads there", async () => {
  const { run, remove } = bench(`-P POSTROUTING ACCEPT\n${CHAIN}\n${JUMP}\n`);
  expect(await remove()).toEqual([
    'iptables-legacy -t nat -D POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG',
    "iptables-legacy -t nat -F FLANNEL-POSTRTG",
    "iptables-legacy -t nat -X FLANNEL-POSTRTG",
  ]);
  expect(run).toHaveLength(4);
});

test("a chain that nothing leads to goes, too", async () => {
  expect(await bench(`${CHAIN}\n`).remove()).toHaveLength(2);
});

test.each([
  ["without flanneld's chain", "-P POSTROUTING ACCEPT\n", "nat\n", 1],
  ["that is not in use", undefined, "mangle\n", 0],
])("a table %s is left alone", async (_name, shown, names, calls) => {
  const { run, remove } = bench(shown, names);
  expect(await remove()).toEqual([]);
  expect(run).toHaveLength(calls);
});

test("where nobody can look, the message says what to run", async () => {
  await expect(bench(undefined).remove()).rejects.toThrow(
    /no iptables-legacy here .* iptables-legacy -t nat -F FLANNEL-POSTRTG/,
  );
});
