/** Random changes in a kernel: after each, a weftd at its start finds nothing to write. */
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { ENDPOINT, FrontendBed, frontend } from "./bed/frontend-bed.ts";
import type { FrontendText } from "./bed/frontend-child.ts";

let bed: FrontendBed;
beforeAll(async () => {
  bed = await FrontendBed.make();
});
afterAll(() => bed?.close());
beforeEach(async () => {
  await bed.nft("flush", "ruleset");
});

/** Prefixes that overlap, touch and contain each other. */
const SOURCES = {
  4: [
    "0.0.0.0/0",
    "192.0.2.0/24",
    "192.0.2.0/25",
    "192.0.2.128/25",
    "192.0.2.7/32",
    "198.18.0.0/15",
    "255.255.255.255/32",
  ],
  6: ["::/0", "2001:db8::/32", "2001:db8::/33", "2001:db8:8000::/33", "2001:db8::7/128", "fd00::/8", "ff00::/8"],
} as const;

function frontendOf(family: 4 | 6): fc.Arbitrary<FrontendText> {
  const endpoints = fc
    .uniqueArray(fc.integer({ min: 1, max: 9 }), { maxLength: 6 })
    .map((numbers) => numbers.sort().map(ENDPOINT[family]));
  return fc
    .record({
      at: fc.integer({ min: 1, max: 3 }),
      port: fc.constantFrom(80, 81),
      protocol: fc.constantFrom(6 as const, 17 as const, 132 as const),
      kind: fc.constantFrom("ClusterIP" as const, "LoadBalancerIP" as const),
      isLocal: fc.boolean(),
      endpoints,
      localEndpoints: endpoints,
      isDropped: fc.boolean(),
      seconds: fc.option(fc.constantFrom(1, 10_800, 86_400), { nil: undefined }),
      sources: fc.option(fc.uniqueArray(fc.constantFrom(...SOURCES[family]), { minLength: 1 }), { nil: undefined }),
    })
    .map(({ at, port, protocol, kind, isLocal, endpoints, localEndpoints, isDropped, seconds, sources }) => {
      const isExternal = kind === "LoadBalancerIP";
      const policy = isExternal ? (isLocal ? "local" : "cluster") : "internal";
      const decisive = policy === "local" ? localEndpoints : endpoints;
      return frontend({
        ...{ kind, port, protocol, policy, endpoints, localEndpoints: policy === "local" ? localEndpoints : [] },
        address: family === 4 ? `10.96.0.${at}` : `fd00:96::${at}`,
        withoutEndpoint: decisive.length > 0 ? undefined : isDropped ? "drop" : "reject",
        allowedSources: isExternal ? sources : undefined,
        affinity: seconds === undefined ? undefined : { seconds, key: `${at} ${port}` },
      });
    });
}

const place = ({ address, protocol, port }: FrontendText) => `${address} ${protocol} ${port}`;
const FRONTENDS = fc.uniqueArray(fc.oneof(frontendOf(4), frontendOf(6)), { maxLength: 12, selector: place });

test("a start finds nothing to write", async () => {
  await bed.program("compare");
  await fc.assert(
    fc.asyncProperty(FRONTENDS, async (frontends) => {
      await bed.program("change", ...frontends);
      expect(await bed.program("compare", ...frontends)).toEqual([]);
    }),
    { numRuns: 30, endOnFailure: true },
  );
});

test("the maximum number of allowed sources is programmed, and adopted", async () => {
  const ranges = Array.from(
    { length: 5000 },
    (_, at) => `172.${16 + (at >> 12)}.${(at >> 4) & 255}.${(at & 15) * 16}/30`,
  );
  const lb = frontend({
    kind: "LoadBalancerIP",
    policy: "cluster",
    endpoints: [ENDPOINT[4](1)],
    allowedSources: ranges,
  });
  await bed.program("compare");
  await bed.program("change", lb);
  expect(await bed.program("compare", lb)).toEqual([]);
  await bed.program("change", { ...lb, allowedSources: ranges.slice(1) });
  expect(await bed.program("compare", { ...lb, allowedSources: ranges.slice(1) })).toEqual([]);
});

test("a list of thousands of endpoints shrinks, empties and grows", async () => {
  const endpoints = Array.from({ length: 5000 }, (_, at) => `10.245.${at >> 8}.${at & 255}:8080`);
  const web = (all: readonly string[]) => frontend({ endpoints: all, affinity: { seconds: 60, key: "web" } });
  await bed.program("compare");
  for (const all of [endpoints, endpoints.slice(1), endpoints.slice(0, 300), [], endpoints.slice(4000), endpoints]) {
    const wanted = { ...web(all), withoutEndpoint: all.length > 0 ? undefined : ("reject" as const) };
    await bed.program("change", wanted);
    expect(await bed.program("compare", wanted)).toEqual([]);
  }
});
