/** Truth tables of enforcement while weftd does not run, and of the other modes. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { POLICY_TABLE } from "../../pkg/footprint.ts";
import { Cleanup } from "../live/harness/cleanup.ts";
import { eventually } from "../live/harness/process.ts";
import { PolicyBed } from "./bed.ts";
import { apply, labelNamespace, namespaceNamed, podNamed } from "./case.ts";
import { NODES } from "./scene.ts";

/** x/a accepts y at port 80; z accepts nothing and may connect to pods a. */
const POLICIES = [
  apply({
    pods: podNamed("a"),
    ingress: [{ from: [{ namespaceSelector: namespaceNamed("y") }], ports: [{ port: 80 }] }],
  }),
  apply({
    ...{ namespace: "z", ingress: [] },
    egress: [{ to: [{ namespaceSelector: {}, podSelector: podNamed("a") }] }],
  }),
];

/** The first table must be right: nothing has to take effect. */
const AT_ONCE = { effectMs: 0 };

async function startBed(mode: string, cleanup: Cleanup): Promise<PolicyBed> {
  const bed = await PolicyBed.start(cleanup, { environment: { WEFTD_NETWORK_POLICY: mode } });
  for (const action of POLICIES) await bed.scene.perform(action);
  return bed;
}

describe("enforce", () => {
  const cleanup = new Cleanup();
  let bed: PolicyBed;
  beforeAll(async () => {
    bed = await startBed("enforce", cleanup);
    expect((await bed.probe()).mismatches).toEqual([]);
  });
  afterAll(() => cleanup.run());

  test("policies stay enforced while weftd is killed, and during its start", async () => {
    for (const name of NODES) await bed.killWeftd(name);
    expect((await bed.probe(undefined, AT_ONCE)).mismatches).toEqual([]);
    const starting = Promise.all(NODES.map((name) => bed.startWeftd(name)));
    let isReady = false;
    const ready = starting.then(() => {
      isReady = true;
    });
    let tables = 0;
    do {
      expect((await bed.probe(undefined, AT_ONCE)).mismatches).toEqual([]);
      tables++;
    } while (!isReady);
    await ready;
    expect(tables).toBeGreaterThan(1);
    expect((await bed.probe(undefined, AT_ONCE)).mismatches).toEqual([]);
  });

  test("changes made while weftd did not run take effect at its start, and nothing else opens", async () => {
    const { expected: before } = await bed.probe(undefined, AT_ONCE);
    for (const name of NODES) await bed.killWeftd(name);
    await bed.scene.perform(labelNamespace("y", { ns: "other" }));
    await Promise.all(NODES.map((name) => bed.startWeftd(name)));
    expect((await bed.probe(undefined, { before })).mismatches).toEqual([]);
    await bed.scene.perform(labelNamespace("y", { ns: "y" }));
    expect((await bed.probe()).mismatches).toEqual([]);
  });
});

test("audit drops nothing, and counts what enforcement would drop", async () => {
  const cleanup = new Cleanup();
  try {
    const bed = await startBed("audit", cleanup);
    const pages = () => Promise.all(NODES.map((name) => bed.page(name)));
    await eventually(async () => {
      expect((await pages()).map(({ mode, counts }) => [mode, counts.policies])).toEqual(NODES.map(() => ["audit", 2]));
    });
    expect((await bed.probe(() => true, AT_ONCE)).mismatches).toEqual([]);
    await eventually(async () => {
      const counted = (await pages()).flatMap(({ policies }) => policies.map(({ deniedPackets }) => deniedPackets));
      expect(Math.max(...counted)).toBeGreaterThan(0);
    });
  } finally {
    await cleanup.run();
  }
});

test("off drops nothing", async () => {
  const cleanup = new Cleanup();
  try {
    const bed = await startBed("off", cleanup);
    for (const name of NODES) expect(await bed.page(name)).toMatchObject({ mode: "off" });
    const tables = await Promise.all(
      NODES.map((name) => bed.node(name).inside.run("nft", ["list", "table", "inet", POLICY_TABLE])),
    );
    expect(tables.map(({ status }) => status)).toEqual([1, 1]);
    expect((await bed.probe(() => true, AT_ONCE)).mismatches).toEqual([]);
  } finally {
    await cleanup.run();
  }
});
