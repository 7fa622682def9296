/** Policies judge connections to Services by the pod that serves them: after the translation of the address. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Cleanup } from "../live/harness/cleanup.ts";
import { PolicyBed } from "./bed.ts";
import { apply, expression, namespaceNamed, podNamed } from "./case.ts";
import type { Action } from "./scene.ts";

const cleanup = new Cleanup();
let bed: PolicyBed;

beforeAll(async () => {
  bed = await PolicyBed.start(cleanup, {
    environment: { WEFTD_NETWORK_POLICY: "enforce", WEFTD_SERVICE_PROXY: "nftables" },
  });
  await bed.createServices();
});
afterAll(() => cleanup.run());

test("without policies, every pod reaches every other by its Service", async () => {
  await bed.scene.reset();
  expect((await bed.probe(undefined, { by: "service" })).mismatches).toEqual([]);
});

test.each<[name: string, actions: Action[]]>([
  ["isolates pods behind a Service", [apply({ ingress: [] })]],
  [
    "allows peers by label at the port of the pod",
    [apply({ ingress: [{ from: [{ namespaceSelector: namespaceNamed("y") }], ports: [{ port: "serve-81-tcp" }] }] })],
  ],
  [
    "allows egress to the pods of a Service by label",
    [apply({ egress: [{ to: [{ namespaceSelector: expression("ns", "NotIn", "y"), podSelector: podNamed("b") }] }] })],
  ],
  [
    "does not match the address of a Service",
    [apply({ egress: [{ to: [{ ipBlock: { cidr: "10.96.0.0/16" } }, { ipBlock: { cidr: "fd00:10:96::/112" } }] }] })],
  ],
  [
    "matches the addresses of pods behind a Service",
    [
      apply({
        egress: [{ to: [{ ipBlock: { cidr: "10.244.2.0/24" } }, { ipBlock: { cidr: "fd00:10:244:1::/64" } }] }],
      }),
    ],
  ],
])("%s", async (_, actions) => {
  await bed.scene.reset();
  for (const action of actions) await bed.scene.perform(action);
  for (const by of ["service", "address"] as const) {
    const { mismatches } = await bed.probe(undefined, { by });
    expect({ by, mismatches }).toEqual({ by, mismatches: [] });
  }
});
