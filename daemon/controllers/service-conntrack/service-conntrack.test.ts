import { expect, test } from "vitest";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import { parseAddress } from "../../../pkg/ip/address.ts";
import type { FrontendPlace } from "../../../pkg/services/conntrack/review.ts";
import type { Search } from "../../../pkg/services/conntrack/search.ts";
import type { Endpoint, Frontend } from "../../../pkg/services/frontend.ts";
import type { Logger } from "../../core/log.ts";
import { Metrics } from "../../core/metrics.ts";
import { Runner } from "../../core/runner.ts";
import { Fact } from "../../core/topic.ts";
import type { ConntrackSweep, ProgrammedServices } from "../facts.ts";
import { serviceConntrackController } from "./service-conntrack.ts";

const settled = () => new Promise((resolve) => setImmediate(resolve));
const endpoint = (address: string): Endpoint => ({ address: parseAddress(address), port: 53, isLocal: false });
const frontend = (address: string, ...endpoints: readonly string[]): Frontend => ({
  ...{ kind: "ClusterIP", address: parseAddress(address), protocol: 17, port: 53, service: "a/b", portName: "dns" },
  ...{ policy: "internal", endpoints: endpoints.map(endpoint), localEndpoints: [], withoutEndpoint: undefined },
  ...{ allowedSources: undefined, affinity: undefined },
});

function bench(clean: (search: Search) => Promise<number>, held: readonly FrontendPlace[] = []) {
  const clock = new ManualClock();
  clock.chance = 1;
  const passesMs: number[] = [];
  const log = { warn: () => undefined, info: () => undefined } as unknown as Logger;
  const committed = new Fact<ProgrammedServices>("committed", (a, b) => a === b);
  const sweep = new Fact<ConntrackSweep>("sweep", (a, b) => a === b);
  const sweeps: ConntrackSweep[] = [];
  sweep.subscribe(() => sweep.value && sweeps.push(sweep.value));
  const runner = new Runner({
    clock,
    metrics: new Metrics(),
    log,
    kernel: { snapshot: () => Promise.reject(new Error()) },
  });
  const cleaner = {
    clean: (search: Search) => {
      passesMs.push(clock.nowMs());
      return clean(search);
    },
  };
  runner.start(serviceConntrackController({ clock, log, cleaner, committed, sweep, held }));
  const commit = (before: Frontend | undefined, after: Frontend | undefined) =>
    committed.publish({ changes: [{ before, after }], hasWritten: true, frontends: () => [] });
  const advance = async (ms: number) => {
    for (let left = ms; left > 0; left -= 10) {
      clock.advance(10);
      await settled();
    }
  };
  return { committed, commit, advance, passesMs, sweeps };
}

const [A, B] = [frontend("10.96.0.1", "10.244.0.1"), frontend("10.96.0.1", "10.244.0.2")];

test("reviews a change after it is programmed, and the next ones once a second", async () => {
  const { commit, advance, passesMs, sweeps } = bench(async () => 3);
  commit(A, B);
  await advance(50);
  for (const [before, after] of [
    [B, A],
    [A, B],
    [B, undefined],
  ] as const) {
    commit(before, after);
    await advance(100);
  }
  await advance(3000);
  expect(passesMs).toEqual([10, 1010]);
  expect(sweeps.map(({ family, deleted }) => [family, deleted])).toEqual([
    [4, 3],
    [4, 3],
  ]);
});

test("a change that makes no flow stale causes no dump", async () => {
  const { commit, advance, passesMs } = bench(async () => 0);
  commit(A, frontend("10.96.0.1", "10.244.0.1", "10.244.0.2"));
  await advance(3000);
  expect(passesMs).toEqual([]);
});

test("a failed pass is retried with everything that was due, and a failing family does not affect the other", async () => {
  const asked: string[] = [];
  let isBroken = true;
  const { commit, advance } = bench(async ({ selector }) => {
    asked.push(`${selector.family} ${selector.destination?.value}`);
    if (selector.family === 4 && isBroken) throw new Error("no buffer space");
    return 0;
  });
  commit(A, undefined);
  commit(frontend("fd00::1", "fd00::2"), undefined);
  await advance(500);
  const [four, six] = [`4 ${A.address.value}`, `6 ${parseAddress("fd00::1").value}`];
  expect(asked).toEqual([four, six]);
  isBroken = false;
  await advance(5000);
  expect(asked).toEqual([four, six, four]);
});

test("reviews flows to all frontends when weftd starts", async () => {
  const searches: Search[] = [];
  const { committed, advance } = bench(async (search) => {
    searches.push(search);
    return 0;
  });
  committed.publish({ changes: undefined, hasWritten: false, frontends: () => [A, frontend("10.96.0.2")] });
  await advance(100);
  expect(searches.map(({ selector, exact }) => [selector.destinationPort, exact !== undefined])).toEqual([
    [53, false],
    [53, true],
  ]);
});

test("a comparison without changes causes no dump; removed frontends are reviewed, and all of them after a repair", async () => {
  const searches: Search[] = [];
  const { committed, advance } = bench(async (search) => {
    searches.push(search);
    return 0;
  });
  const other = frontend("10.96.0.3", "10.244.0.3");
  const compared = async (hasWritten: boolean, ...frontends: readonly Frontend[]) => {
    searches.length = 0;
    committed.publish({ changes: undefined, hasWritten, frontends: () => frontends });
    await advance(1100);
    return searches.map(({ selector }) => selector.destination);
  };
  expect(await compared(false, A, other)).toEqual([A.address, other.address]);
  expect(await compared(false, A, other)).toEqual([]);
  expect(await compared(false, A)).toEqual([other.address]);
  expect(await compared(true, A)).toEqual([A.address]);
});

test("deletes flows of frontends that were removed while no weftd ran", async () => {
  const searches: Search[] = [];
  const clean = async (search: Search) => {
    searches.push(search);
    return 0;
  };
  const { committed, advance } = bench(clean, [A, frontend("10.96.0.9")]);
  committed.publish({ changes: undefined, hasWritten: true, frontends: () => [A] });
  await advance(100);
  expect(searches.map(({ exact }) => exact?.destination)).toEqual([undefined, parseAddress("10.96.0.9")]);
});
