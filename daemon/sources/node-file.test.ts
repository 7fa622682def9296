import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { parseNetConf } from "../../pkg/backend/net-conf.ts";
import { formatVtep } from "../../pkg/backend/vxlan/announcement.ts";
import { ManualClock } from "../../pkg/cluster/manual-clock.ts";
import { parseNode } from "../../pkg/cluster/node/node.ts";
import type { SourceEvent } from "../../pkg/cluster/node/source.ts";
import { differencesOf } from "./cluster-side.ts";
import { NodeFileSource } from "./node-file.ts";
import { parseNodeFile } from "./node-file-format.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "weftd-nodes-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const entry = (n: number) => ({ name: `n${n}`, podCIDRs: [`10.244.${n}.0/24`], addresses: [`192.0.2.${n}`] });
const fileWith = (...numbers: number[]) => JSON.stringify({ nodes: numbers.map(entry) });
const conf = (type: string) => parseNetConf(`{"Network":"10.244.0.0/16","Backend":{"Type":"${type}"}}`);

function bench() {
  const path = join(folder, "nodes.yaml");
  const clock = new ManualClock();
  const events: SourceEvent[] = [];
  const state = { conf: conf("vxlan") };
  const source = new NodeFileSource({ path, clock, netConf: () => state.conf });
  const start = () => source.start((event) => events.push(event));
  const of = <Type extends SourceEvent["type"]>(type: Type) =>
    events.filter((event): event is Extract<SourceEvent, { type: Type }> => event.type === type);
  /** Advances the clock until the expectation holds. A change may be noticed by inotify or by the clock. */
  const until = (check: () => void) =>
    vi.waitFor(() => {
      clock.advance(60_000);
      check();
    });
  return { path, events, state, source, start, of, until };
}

test("reports all nodes at the start, and again after the file or this node's backend has changed", async () => {
  const { path, events, state, source, start, of, until } = bench();
  writeFileSync(path, fileWith(1, 2));
  start();
  await until(() => expect(of("connected").length).toBeGreaterThan(3));
  expect(of("sync")).toHaveLength(1);
  writeFileSync(path, fileWith(1, 2, 3));
  await until(() => expect(of("sync")).toHaveLength(2));
  expect(of("sync")[1]?.nodes.map(({ name }) => name)).toEqual(["n1", "n2", "n3"]);
  state.conf = conf("host-gw");
  await until(() => expect(of("sync")).toHaveLength(3));
  await source.stop();
  const before = events.length;
  writeFileSync(path, fileWith(1));
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(events).toHaveLength(before);
});

test("Services follow the file, and stay unchanged while it is invalid", async () => {
  const { path, source, start, until } = bench();
  const web = { name: "web", clusterIPs: ["10.96.0.10"], ports: [{ port: 80 }], endpoints: ["10.244.1.5"] };
  const write = (...services: object[]) =>
    writeFileSync(path, JSON.stringify({ nodes: [entry(1)], services, serviceCIDRs: ["10.96.0.0/16"] }));
  const { services, slices, cidrs } = source.services;
  const heard: string[] = [];
  services.subscribe(({ changes, status }) => {
    heard.push(`${status.phase} ${changes.map(({ key, after }) => `${after === undefined ? "-" : "+"}${key}`)}`);
  });
  expect([services.hasSynced, services.status.phase]).toEqual([false, "listing"]);
  write(web);
  start();
  await until(() => expect(heard).toEqual(["watching +default/web"]));
  expect(slices.get("default/web-ipv4")?.value.endpoints).toMatchObject([{ nodeName: "n1", isReady: true }]);
  expect(cidrs.list()).toHaveLength(1);
  writeFileSync(path, "nodes: 1");
  await until(() => expect(heard.at(-1)).toBe("stale "));
  expect(services.size).toBe(1);
  write(web, { ...web, name: "shop/api", clusterIPs: ["10.96.0.11"] });
  await until(() => expect(heard.at(-1)).toBe("watching +shop/api"));
  write({ ...web, name: "shop/api", clusterIPs: ["10.96.0.11"] });
  await until(() => expect(heard.at(-1)).toMatch(/^watching -default\/web/));
  expect([slices.size, services.get("shop/api")?.namespace]).toEqual([1, "shop"]);
  await source.services.stop();
  await source.stop();
});

test("an invalid or missing file is reported, with the line, and changes nothing", async () => {
  const { path, source, start, of, until } = bench();
  start();
  await until(() => expect(of("stale")).not.toEqual([]));
  expect(of("stale")[0]).toMatchObject({ reason: expect.stringContaining("ENOENT"), retryMs: 5000 });
  writeFileSync(path, fileWith(1));
  await until(() => expect(of("connected")).not.toEqual([]));
  writeFileSync(path, "nodes:\n  - name: n1\n");
  await until(() => {
    const pattern = /^nodes file .*nodes\.yaml: line 2: nodes\[0\]\.podCIDRs: expected a list/;
    expect(of("stale").at(-1)?.reason).toMatch(pattern);
  });
  const { length } = of("connected");
  writeFileSync(path, fileWith(1));
  await until(() => expect(of("connected").length).toBeGreaterThan(length));
  // The view did not change in the meantime.
  expect(of("sync")).toHaveLength(1);
  await source.stop();
});

test("compares the file's entry for this node with the actual state", () => {
  const [own] = parseNodeFile(fileWith(1), conf("vxlan")).nodes;
  if (own === undefined) throw new Error("no node");
  const { backend, publicIp } = own;
  if (backend === undefined || publicIp === undefined) throw new Error("no announcement");
  expect(differencesOf({ backend, publicIp }, own)).toEqual([]);
  const data = { 4: formatVtep({ vni: 1, mac: "0a:00:00:00:00:99" }) };
  expect(differencesOf({ backend: { ...backend, data }, publicIp }, own)).toEqual([
    expect.stringMatching(/backend-data: .*0a:00:00:00:00:99.*, but in the file: .*VtepMAC/),
  ]);
  expect(differencesOf({ backend, publicIp }, parseNode({ metadata: { name: "n1" } }))).not.toEqual([]);
});
