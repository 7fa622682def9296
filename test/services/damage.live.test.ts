/** Many kinds of damage to the table of Services: one comparison repairs it, and a second one finds nothing to do. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { ENDPOINT, FrontendBed, frontend } from "./bed/frontend-bed.ts";

let bed: FrontendBed;
beforeAll(async () => {
  bed = await FrontendBed.make();
});
afterAll(() => bed?.close());

const affinity = { seconds: 100, key: "default/sticky:80/6" };
const WANTED = ([4, 6] as const).flatMap((family) => {
  const vip = (at: number) => (family === 4 ? `10.96.0.${at}` : `fd00:96::${at}`);
  const endpoints = (...numbers: number[]) => numbers.map(ENDPOINT[family]);
  const external = { kind: "LoadBalancerIP" } as const;
  return [
    frontend({ address: vip(1), endpoints: endpoints(1, 2, 3) }),
    frontend({ address: vip(2), endpoints: endpoints(1, 2), affinity }),
    frontend({ address: vip(3), withoutEndpoint: "reject" }),
    frontend({
      ...external,
      address: vip(4),
      policy: "local",
      endpoints: endpoints(1, 2),
      localEndpoints: endpoints(1),
      affinity,
    }),
    frontend({
      ...external,
      address: vip(5),
      policy: "cluster",
      endpoints: endpoints(4),
      allowedSources: family === 4 ? ["192.0.2.0/29", "198.18.0.0/16"] : ["2001:db8::/120", "fd99::/16"],
    }),
    frontend({ ...external, address: vip(6), policy: "local", withoutEndpoint: "drop", endpoints: endpoints(2) }),
  ];
});

/** The table, without the kernel's counters, in an order independent of that of chains, sets and elements. */
async function listed(): Promise<readonly string[]> {
  const text = await bed.nft("-s", "list", "table", "inet", "weft-services");
  return text
    .split(/\n|, /)
    .map((line) => line.replace(/elements = |[{}]/g, "").trim())
    .sort();
}

/** Commands for nft, one per line. */
const commandsOf = (text: string) =>
  text.replaceAll("; ", (end, at: number) => (/\{[^}]*$/.test(text.slice(0, at)) ? end : "\n"));

const T = "inet weft-services";
const DAMAGES: readonly (readonly [string, string])[] = [
  ["rule added at the end", `add rule ${T} service4 counter`],
  ["rule inserted", `insert rule ${T} nat-prerouting accept`],
  ["rule twice", `add rule ${T} nat-postrouting meta mark & 0x4000 != 0 counter`],
  ["chain flushed", `flush chain ${T} pick4`],
  ["part flushed", `flush chain ${T} pick4-3`],
  ["all rules flushed", `flush table ${T}`],
  ["set flushed", `flush set ${T} connections4`],
  ["map flushed", `flush map ${T} endpoints6`],
  ["picks flushed", `flush map ${T} picks4`],
  ["remembers flushed", `flush map ${T} remembers6`],
  ["element gone", `delete element ${T} connections4 { 10.96.0.1 . tcp . 80 }`],
  [
    "other data of a gate",
    `delete element ${T} internal-frontends4 { 10.96.0.1 . tcp . 80 }; add element ${T} internal-frontends4 { 10.96.0.1 . tcp . 80 : 2 }`,
  ],
  [
    "size without a part",
    `delete element ${T} internal-frontends4 { 10.96.0.1 . tcp . 80 }; add element ${T} internal-frontends4 { 10.96.0.1 . tcp . 80 : 7 }`,
  ],
  [
    "verdict with another target chain",
    `delete element ${T} picks4 { 3 }; add element ${T} picks4 { 3 : goto pick4-2 }`,
  ],
  ["verdict drop", `delete element ${T} picks4 { 3 }; add element ${T} picks4 { 3 : drop }`],
  ["verdict jump", `delete element ${T} picks4 { 3 }; add element ${T} picks4 { 3 : jump pick4-3 }`],
  ["foreign verdict", `add element ${T} picks4 { 9 : accept }`],
  ["foreign part", `add chain ${T} pick4-77; add element ${T} picks4 { 77 : goto pick4-77 }`],
  [
    "foreign part with an odd rule",
    `add chain ${T} pick4-78; add rule ${T} pick4-78 accept; add element ${T} picks4 { 78 : goto pick4-78 }`,
  ],
  ["foreign empty part", `add chain ${T} pick4-79`],
  ["foreign chain", `add chain ${T} foreign`],
  ["foreign chain with a verdict", `add chain ${T} foreign; add element ${T} picks4 { 11 : goto foreign }`],
  [
    "foreign chain with a rule",
    `add chain ${T} foreign; add rule ${T} foreign drop; add element ${T} picks4 { 12 : goto foreign }`,
  ],
  [
    "foreign base chain with a rule",
    `add chain ${T} foreign { type filter hook forward priority -5; policy drop; }; add rule ${T} foreign accept`,
  ],
  [
    "foreign map of verdicts",
    `add chain ${T} foreign; add rule ${T} foreign drop; add map ${T} verdicts { type mark : verdict; }; add element ${T} verdicts { 1 : goto foreign }; insert rule ${T} filter-forward meta mark vmap @verdicts`,
  ],
  ["foreign base chain", `add chain ${T} foreign { type filter hook forward priority 0; policy drop; }`],
  ["foreign set", `add set ${T} foreign { type ipv4_addr; }`],
  ["foreign counter", `add counter ${T} foreign`],
  ["foreign flow of elements", `add element ${T} external4 { 10.96.0.1 . tcp . 80 }`],
  [
    "another Service in each set",
    `add element ${T} connections4 { 10.96.9.9 . tcp . 80 }; add element ${T} cluster-ips4 { 10.96.9.9 }; add element ${T} hairpin4 { 10.9.9.9 . 10.9.9.9 . tcp . 80 }; add element ${T} dropped6 { fd00:96::1 . tcp . 80 }`,
  ],
  ["foreign local pod", `add element ${T} local-pods4 { 192.0.2.0/24 }`],
  ["local pods flushed", `flush set ${T} local-pods6`],
  [
    "service range split",
    `flush set ${T} service-ranges4; add element ${T} service-ranges4 { 10.96.0.0/17, 10.96.128.0/17 }`,
  ],
  ["foreign source", `add element ${T} allowed-sources4 { 10.96.0.5 . tcp . 80 . 0.0.0.0/1 }`],
  ["sources flushed", `flush set ${T} allowed-sources6`],
  ["dormant", `add table ${T} { flags dormant; }`],
  ["policy", `add chain ${T} filter-forward { policy drop; }`],
  ["affinity forgotten", `flush map ${T} affinity4; flush map ${T} affinity-seconds4; flush map ${T} sticky4`],
  ["deleted", `delete table ${T}`],
  [
    "another set of this name",
    `delete table ${T}; add table ${T}; add chain ${T} pick4-3; add rule ${T} pick4-3 accept`,
  ],
  [
    "set of another type",
    `delete table ${T}; add table ${T}; add set ${T} connections4 { type ipv4_addr; flags interval; }`,
  ],
];

/** Parts stay, whichever frontend they were made for. */
const LEAVES_PARTS = /^foreign part/;

test.each(DAMAGES)("%s", async (name, commands) => {
  await bed.nft("flush", "ruleset");
  await bed.program("compare", ...WANTED);
  expect(await bed.program("compare", ...WANTED)).toEqual([]);
  const before = await listed();
  const { status, stderr } = await bed.hosts.node.run("nft", ["-f", "-"], commandsOf(commands));
  expect([status, stderr]).toEqual([0, ""]);
  await bed.program("compare", ...WANTED);
  expect(await bed.program("compare", ...WANTED)).toEqual([]);
  if (!LEAVES_PARTS.test(name)) expect(await listed()).toEqual(before);
});
