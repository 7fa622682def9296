import { expect, test } from "vitest";
import { parseAddress } from "../../pkg/ip/address.ts";
import { ownerMark } from "../../pkg/kernel/owner.ts";
import { FakeSystem } from "../../pkg/sys/fake.ts";
import { FakeFiles } from "../../pkg/sys/fake-files.ts";
import { parseMountedNamespaces } from "../node/namespaces.ts";
import type { Dated } from "./reservations.ts";
import { CachedResults } from "./results.ts";
import { type Evidence, judge } from "./verdict.ts";

const NOW = 1_000_000_000;
const reservation: Dated = {
  address: parseAddress("10.22.0.5"),
  containerId: "c1",
  ifName: "eth0",
  modifiedMs: NOW - 3_600_000,
};
const nothing: Evidence = {
  addresses: [],
  isComplete: true,
  marks: new Map(),
  resultOf: () => undefined,
  nowMs: NOW,
  graceMs: 600_000,
};
const mark = (ifName: string, containerId = "c1") => ownerMark({ network: "net", containerId, ifName });
const result = { path: "/var/lib/cni/results/net-c1-eth0", netns: "/run/netns/a", isNetnsGone: false };

test.each<[expected: string, what: string, reservation: Partial<Dated>, evidence: Partial<Evidence>]>([
  ["leaked", "nothing uses it", {}, {}],
  [
    "used",
    "an interface has it",
    {},
    { addresses: [{ address: "10.22.0.5", ifName: "eth0", namespace: "/run/netns/a" }] },
  ],
  [
    "leaked",
    "an interface has another address",
    {},
    { addresses: [{ address: "10.22.0.50", ifName: "eth0", namespace: "/a" }] },
  ],
  ["used", "a link has its mark", {}, { marks: new Map([[mark("eth0"), "veth1"]]) }],
  ["leaked", "a link has the mark of another interface", {}, { marks: new Map([[mark("eth1"), "veth1"]]) }],
  [
    "used",
    "of the old format, and a link has a mark of its container",
    { ifName: undefined },
    { marks: new Map([[mark("eth7"), "veth1"]]) },
  ],
  [
    "manual",
    "names no interface, and a link has the mark of another container",
    { ifName: undefined },
    { marks: new Map([[mark("eth0", "c12"), "veth1"]]) },
  ],
  ["remembered", "the runtime has a cached result", {}, { resultOf: () => result }],
  ["remembered", "the cached result names no namespace", {}, { resultOf: () => ({ ...result, netns: undefined }) }],
  [
    "leaked",
    "the cached result names a namespace that is gone",
    {},
    { resultOf: () => ({ ...result, isNetnsGone: true }) },
  ],
  ["young", "reserved less than the grace time ago", { modifiedMs: NOW - 599_000 }, {}],
  ["young", "the clock was set back", { modifiedMs: NOW + 5000 }, {}],
  ["unknown", "some namespaces cannot be read", {}, { isComplete: false }],
  ["manual", "the file names no container", { containerId: "", ifName: undefined }, { resultOf: () => result }],
  ["manual", "the file names no container and is new", { containerId: "", ifName: undefined, modifiedMs: NOW }, {}],
])("%s: %s", (expected, _what, reserved, evidence) => {
  expect(judge("net", { ...reservation, ...reserved }, { ...nothing, ...evidence }).state).toBe(expected);
});

test("finds results by network, container and interface in each directory", () => {
  const files = new FakeFiles();
  files.makeDirectory("/results");
  files.makeDirectory("/older");
  files.makeDirectory("/run/netns/live");
  const write = (path: string, content: string) => files.writeFile(path, new TextEncoder().encode(content));
  write("/results/net-c1-eth0", '{"kind":"cniCacheV1","netns":"/run/netns/live"}');
  write("/results/net-c2-eth0", '{"kind":"cniCacheV1","netns":"/run/netns/gone"}');
  write("/older/net-c3-eth0", '{"cniVersion":"0.3.1"}');
  write("/older/net-c4-eth0", '{"cniVer');
  write("/older/net-c5-eth0", "null");
  files.makeDirectory("/older/net-c6-eth0");
  const results = new CachedResults(new FakeSystem({ files }), {
    ...{ directories: ["/older", "/absent"], own: "/results", views: [] },
  });
  const find = (containerId: string, ifName?: string) => results.find({ network: "net", containerId, ifName });
  expect(find("c1", "eth0")).toEqual({ path: "/results/net-c1-eth0", netns: "/run/netns/live", isNetnsGone: false });
  expect(find("c1", "eth1")).toBeUndefined();
  expect(find("c2")).toMatchObject({ isNetnsGone: true });
  expect(find("c3", "eth0")).toMatchObject({ netns: undefined, isNetnsGone: false });
  for (const containerId of ["c4", "c5", "c6"]) {
    expect(find(containerId, "eth0")).toMatchObject({ netns: undefined, isNetnsGone: false });
  }
});

test("finds results in other mount namespaces, and ignores files that may not be read", () => {
  const files = new FakeFiles();
  for (const [root, containerId] of [
    ["", "own"],
    ["/proc/30/root", "open"],
    ["/proc/31/root", "closed"],
  ]) {
    files.makeDirectory(`${root}/results`);
    files.writeFile(`${root}/results/net-${containerId}-eth0`, new TextEncoder().encode("{}"));
  }
  files.fault = (_call, path) => (path.startsWith("/proc/31") ? 13 : undefined);
  const view = (isOwn: boolean, pid: string) => ({ isOwn, mounts: `mnt:[${pid}]`, pids: [pid] });
  const results = new CachedResults(new FakeSystem({ files }), {
    ...{ directories: ["/results"], own: undefined },
    views: [view(true, "29"), view(false, "31"), view(false, "30")],
  });
  const find = (containerId: string) => results.find({ network: "net", containerId, ifName: "eth0" })?.path;
  expect(["own", "open", "closed"].map(find)).toEqual([
    "/results/net-own-eth0",
    "/proc/30/root/results/net-open-eth0",
    undefined,
  ]);
});

test("parses mounted namespaces from mountinfo, with escaped names", () => {
  const lines = [
    "22 1 0:21 / /proc rw,nosuid - proc proc rw",
    "350 25 0:4 net:[4026532281] /run/netns/a rw shared:1 - nsfs nsfs rw",
    "351 25 0:4 net:[4026532282] /run/netns/two\\040words rw - nsfs nsfs rw",
    "352 25 0:4 mnt:[4026532283] /run/snapd/ns/x rw - nsfs nsfs rw",
    "",
  ];
  expect(parseMountedNamespaces(lines.join("\n"))).toEqual([
    { identity: "net:[4026532281]", path: "/run/netns/a" },
    { identity: "net:[4026532282]", path: "/run/netns/two words" },
  ]);
});
