import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parseSaved } from "../legacy-xtables.ts";
import { legacyProxyLeftovers } from "./legacy.ts";
import { isProxyChain, XTABLES, type XTable } from "./names.ts";

/** The output of `iptables-save` for one table, after a kube-proxy 1.36 in iptables mode. */
function recorded(table: XTable): string {
  const saved = readFileSync("test/vectors/kube-proxy/iptables-mode-n1.txt", "utf8");
  const section = saved.split("COMMIT").find((part) => part.includes(`\n*${table}\n`));
  if (section === undefined) throw new Error(`no table ${table} in the recording`);
  return section;
}

test("keeps only KUBE-FIREWALL of a recorded kube-proxy's chains", () => {
  const left = XTABLES.flatMap((table) => {
    const { chains } = parseSaved(recorded(table));
    return chains.filter((chain) => chain.startsWith("KUBE-") && !isProxyChain(table, chain));
  });
  expect(left).toEqual(["KUBE-FIREWALL"]);
});

test.each(XTABLES)("the input for %s removes kube-proxy's chains and all jumps to them", (table) => {
  const saved = recorded(table);
  const { chains, rules } = parseSaved(saved);
  const { text, count, kept } = legacyProxyLeftovers(table, saved);
  const own = chains.filter((chain) => isProxyChain(table, chain));
  const jumps = rules.filter(({ chain, target = "" }) => !own.includes(chain) && own.includes(target));
  expect(text).toBe(
    `*${table}\n${[
      ...jumps.map((rule) => `-D ${rule.text}`),
      ...own.map((chain) => `-F ${chain}`),
      ...own.map((chain) => `-X ${chain}`),
    ].join("\n")}\nCOMMIT\n`,
  );
  expect({ count, kept }).toEqual({ count: own.length, kept: [] });
  expect(jumps).toHaveLength({ filter: 9, nat: 3, mangle: 0 }[table]);
});

test("keeps a kubelet's chains", () => {
  const shown =
    "-P OUTPUT ACCEPT\n-N KUBE-KUBELET-CANARY\n-N KUBE-MARK-DROP\n-N KUBE-IPTABLES-HINT\n-N KUBE-SVC-SHORT\n";
  for (const table of XTABLES) expect(legacyProxyLeftovers(table, shown)).toEqual({ count: 0, text: "", kept: [] });
});

test("keeps chains to which another program's rules jump, and their dependencies", () => {
  const { text, kept, count } = legacyProxyLeftovers(
    "nat",
    [
      ...["-P PREROUTING ACCEPT", "-P POSTROUTING ACCEPT", "-N CNI-DN-1", "-N KUBE-MARK-MASQ", "-N KUBE-POSTROUTING"],
      ...["-N KUBE-SERVICES", "-N KUBE-SVC-43MDXZKM3MFYP4GN"],
      '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
      '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
      "-A CNI-DN-1 -s 10.0.0.1/32 -p tcp -j KUBE-MARK-MASQ",
      "-A KUBE-SERVICES -d 10.96.0.1/32 -j KUBE-SVC-43MDXZKM3MFYP4GN",
      "-A KUBE-POSTROUTING -j MASQUERADE",
    ].join("\n"),
  );
  expect(kept).toEqual(["KUBE-MARK-MASQ", "KUBE-POSTROUTING"]);
  expect(count).toBe(2);
  expect(text).not.toContain("POSTROUTING");
  expect(text).toContain('-D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES\n');
});
