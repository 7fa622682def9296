import { expect, test } from "vitest";
import { parseAddress } from "../../../pkg/ip/address.ts";
import type { Frontend } from "../../../pkg/services/frontend.ts";
import type { Logger } from "../../core/log.ts";
import { Fact } from "../../core/topic.ts";
import type { ProgrammedServices } from "../facts.ts";
import type { ForwarderOptions } from "./forwarder.ts";
import { LIMITS, LocalhostController } from "./localhost.ts";
import { Quota } from "./quota.ts";

const frontend = (port: number, to: string, protocol: 6 | 17 = 6): Frontend => ({
  ...{ kind: "ClusterIP", address: parseAddress(to), protocol, port: 80, nodePort: port, service: `default/s${port}` },
  ...{ portName: "http", policy: "internal", localEndpoints: [], withoutEndpoint: undefined },
  endpoints: [{ address: parseAddress("fd00::2"), port: 8080, isLocal: true }],
  ...{ allowedSources: undefined, affinity: undefined },
});

/** Open ports with their targets. */
function bench(taken: ReadonlySet<number> = new Set()) {
  const programmed = new Fact<ProgrammedServices>("programmed", (a, b) => a === b);
  const opened = new Map<string, { to: string; options: ForwarderOptions }>();
  const events: string[] = [];
  const open = (protocol: number) => async (options: ForwarderOptions) => {
    if (taken.has(options.port)) throw new Error("listen EADDRINUSE");
    const key = `${protocol} ${options.port}`;
    const lead = ({ address }: ForwarderOptions["to"]) => opened.set(key, { to: address.value.toString(16), options });
    lead(options.to);
    return { redirect: lead, close: async () => void opened.delete(key) };
  };
  const controller = new LocalhostController({
    ...{ programmed, open: { 6: open(6), 17: open(17) } },
    events: { report: ({ reason, message }) => events.push(`${reason}: ${message}`) },
    ...{ health: { warns: () => undefined }, log: { warn: () => undefined } as unknown as Logger },
  });
  const serve = (...frontends: readonly Frontend[]) => {
    programmed.publish({ changes: [], hasWritten: true, frontends: () => frontends });
    return controller.run();
  };
  return { controller, serve, opened, events, taken };
}

test("opens, redirects and closes ports as frontends change; stop closes all", async () => {
  const { controller, serve, opened } = bench();
  await controller.run();
  await serve(frontend(30_001, "fd00::a"), frontend(30_001, "fd00::b", 17));
  expect([...opened].map(([key, { to }]) => [key, to.slice(-1)])).toEqual([
    ["6 30001", "a"],
    ["17 30001", "b"],
  ]);
  await serve(frontend(30_001, "fd00::c"), frontend(30_002, "fd00::d"));
  expect([...opened].map(([key, { to }]) => [key, to.slice(-1)])).toEqual([
    ["6 30001", "c"],
    ["6 30002", "d"],
  ]);
  await controller.stop();
  expect(opened.size).toBe(0);
});

test("a port in use does not affect the others, is reported once a pass, and is retried", async () => {
  const taken = new Set([30_001]);
  const { serve, opened, events } = bench(taken);
  const frontends = [frontend(30_001, "fd00::a"), frontend(30_002, "fd00::b")];
  await expect(serve(...frontends)).rejects.toThrow(/default\/s30001 is not served at \[::1\]:30001\/TCP/);
  expect([...opened.keys()]).toEqual(["6 30002"]);
  expect(events).toEqual([expect.stringMatching(/^LocalhostNodePortTaken: .*EADDRINUSE; free the port/)]);
  taken.clear();
  await serve(...frontends);
  expect([...opened.keys()]).toEqual(["6 30002", "6 30001"]);
});

test("the next pass reopens a broken listener", async () => {
  const { serve, opened } = bench();
  await serve(frontend(30_001, "fd00::a"));
  const broken = opened.get("6 30001");
  opened.clear();
  broken?.options.onBroken(new Error("gone"));
  await serve(frontend(30_001, "fd00::a"));
  expect([...opened.keys()]).toEqual(["6 30001"]);
});

test("limits apply to all ports of a protocol together", async () => {
  const { serve, opened } = bench();
  await serve(frontend(30_001, "fd00::a"), frontend(30_002, "fd00::b"), frontend(30_001, "fd00::a", 17));
  const quotas = [...opened.values()].map(({ options }) => options.quota);
  expect(quotas[0]).toBe(quotas[1]);
  expect(quotas.map(({ limit }) => limit)).toEqual([LIMITS[6], LIMITS[6], LIMITS[17]]);
});

test("a quota does not exceed its limit", () => {
  const quota = new Quota(2);
  expect([quota.take(), quota.take(), quota.take()]).toEqual([true, true, false]);
  quota.release();
  expect([quota.take(), quota.used]).toEqual([true, 2]);
});
