/**
 * weft policies, explain, status, doctor and cleanup on real kernels with policies: their output about a connection is compared
 * with a real connection.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { BIN, Cluster, ECHO_PORT, type Node, type Pod } from "./harness/cluster.ts";
import { PolicyObjects } from "./harness/policies.ts";
import { eventually, PATIENCE } from "./harness/process.ts";
import { ServiceObjects } from "./harness/services.ts";

const DONE = 0;
const WARNINGS = 4;
const FAULTS = 5;
/** A connection that takes longer counts as denied. */
const DENIED_AFTER_MS = 150;
const STREAM_PORT = 7009;
const TALK_MS = 2000;
const CLUSTER_IP = "10.96.0.11";
const SERVICE_PORT = 80;

interface Hop {
  readonly at: string;
  readonly state: string;
  readonly text: string;
}

const cleanup = new Cleanup();
let cluster: Cluster;
let objects: PolicyObjects;
let first: Node;
let web: Pod;
let good: Pod;
let bad: Pod;
let far: Pod;

beforeAll(async () => {
  cluster = await Cluster.start("vxlan", cleanup, { families: "dual" });
  cluster.weftdEnvironment = { WEFTD_NETWORK_POLICY: "enforce", WEFTD_SERVICE_PROXY: "nftables" };
  objects = new PolicyObjects(cluster);
  first = await cluster.addNode(1);
  const second = await cluster.addNode(2);
  for (const node of [first, second]) await cluster.ready(node);
  web = await objects.start(first, "web");
  good = await objects.start(first, "good");
  bad = await objects.start(first, "bad");
  far = await objects.start(second, "far");
  await objects.isolate("web-in", "web", ["good"]);
  await objects.isolate("far-in", "far", ["good"]);
  const services = new ServiceObjects(cluster);
  const [family, clusterIP] = ["IPv4", CLUSTER_IP];
  await services.create("web", {
    ...{ clusterIP, clusterIPs: [clusterIP], ipFamilies: [family], type: "ClusterIP" },
    ports: [{ name: "http", protocol: "TCP", port: SERVICE_PORT }],
  });
  await services.createSlice("web", ECHO_PORT, [
    { address: web.address, node: first.name, conditions: { ready: true } },
  ]);
  await eventually(async () => expect((await policies()).json.counts).toMatchObject({ policies: 2, isolatedPods: 1 }));
}, 60_000 * PATIENCE);

afterAll(() => cleanup.run());

const PLACES = () => ["--run-dir", first.runDir, "--cni-conf-dir", first.confDir];

async function weft(...args: string[]) {
  const { status, stdout, stderr } = await first.inside.run(`${BIN}/weft`, [...args, "-o", "json"]);
  expect(stderr).toBe("");
  return { status, json: JSON.parse(stdout) };
}

const policies = (...more: string[]) => weft("policies", ...more);

async function explain(to: string, from: string, port = ECHO_PORT) {
  const destination = to.includes(":") ? `[${to}]:${port}` : `${to}:${port}`;
  const { status, json } = await weft("explain", destination, "--from", from, ...PLACES());
  const { hops, policies: judged } = json as { hops: Hop[]; policies: { egress?: object; ingress?: object } | null };
  return { status, hops, judged, last: hops.at(-1) as Hop };
}

const reaches = (from: Pod, to: string, port = ECHO_PORT) =>
  from.inside.seenBy(to, port, { timeoutMs: DENIED_AFTER_MS }).then(
    () => true,
    () => false,
  );

describe.each([
  ["IPv4", 0],
  ["IPv6", 1],
] as const)("explain, %s", (_family, index) => {
  const at = (pod: Pod) => pod.addresses[index] as string;

  test("an allowed connection arrives, and the policy that allows it is named", async () => {
    expect(await reaches(good, at(web))).toBe(true);
    const { status, judged, hops, last } = await explain(at(web), at(good));
    expect([status, last.state]).toEqual([DONE, "arrives"]);
    expect(hops.filter((hop) => hop.at === "policy").map(({ text }) => text)).toEqual([
      "egress of default/good: allowed, since no policy isolates it",
      "ingress of default/web: allowed by NetworkPolicy default/web-in",
    ]);
    expect(judged).toMatchObject({ mode: "enforce", ingress: { policies: ["default/web-in"], isByRule: true } });
  });

  test("a denied connection ends in the kernel's rules, with the policy", async () => {
    expect(await reaches(bad, at(web))).toBe(false);
    const { status, judged, last } = await explain(at(web), at(bad));
    expect([status, last.at, last.state]).toEqual([FAULTS, "forward", "ends"]);
    expect(last.text).toMatch(
      /^dropped by policy, ingress of default\/web: denied by NetworkPolicy default\/web-in, no rule of which matches: the rule .* of inet weft-policy deny-\d+ \(handle \d+\) drops it$/,
    );
    expect(judged).toMatchObject({ ingress: { verdict: "deny", isAudited: false, tier: "NetworkPolicy" } });
  });

  test("a connection that another node denies ends there", async () => {
    await eventually(async () => expect(await reaches(bad, at(far))).toBe(false));
    const { status, last } = await explain(at(far), at(bad));
    expect([status, last.at, last.state]).toEqual([FAULTS, "policy", "ends"]);
    expect(last.text).toMatch(/^the node of default\/far drops it: .* NetworkPolicy default\/far-in/);
    expect(await reaches(good, at(far))).toBe(true);
    expect(await explain(at(far), at(good))).toMatchObject({ status: DONE, last: { at: "leaves" } });
  });
});

test("a connection to a Service is judged with the endpoint", async () => {
  await eventually(async () => expect(await reaches(good, CLUSTER_IP, SERVICE_PORT)).toBe(true));
  expect(await explain(CLUSTER_IP, good.address, SERVICE_PORT)).toMatchObject({
    ...{ status: DONE, judged: { ingress: { pod: "default/web", verdict: "allow" } } },
  });
  expect(await reaches(bad, CLUSTER_IP, SERVICE_PORT)).toBe(false);
  const { status, last } = await explain(CLUSTER_IP, bad.address, SERVICE_PORT);
  expect([status, last.at]).toEqual([FAULTS, "forward"]);
  expect(last.text).toMatch(/^dropped by policy, ingress of default\/web: denied by NetworkPolicy default\/web-in/);
});

test("policies shows the pods of this node, and counts packets", async () => {
  const packets = async () => {
    const { json } = await policies("default/web-in");
    return json.policies[0] as { allowedPackets: number; deniedPackets: number; pods: string[] };
  };
  const before = await packets();
  expect(before.pods).toEqual(["default/web"]);
  for (let attempt = 0; attempt < 3; attempt++) await reaches(good, web.address);
  await reaches(bad, web.address);
  await eventually(async () => {
    const now = await packets();
    expect(now.allowedPackets).toBe(before.allowedPackets + 3);
    expect(now.deniedPackets).toBeGreaterThan(before.deniedPackets);
  });
  const { status, json } = await policies();
  expect(status).toBe(DONE);
  expect(json).toMatchObject({ source: "weftd", mode: "enforce", modeReason: "flag" });
});

test("the preview lists an established connection that the policy of the moment denies", async () => {
  const late = await objects.start(first, "late");
  await late.inside.echo(STREAM_PORT);
  const { status: quiet } = await policies("--preview", "default/late-in");
  expect(quiet).toBe(DONE);
  const talk = bad.inside.converse(late.address, STREAM_PORT, TALK_MS, 50);
  await eventually(async () => {
    const { stdout } = await first.inside.run("conntrack", ["-L", "-p", "tcp", "--dport", String(STREAM_PORT)]);
    expect(stdout).toContain("ESTABLISHED");
  });
  await objects.isolate("late-in", "late", ["good"]);
  await eventually(async () => {
    const { status, json } = await policies("--preview", "default/late-in");
    expect(status).toBe(WARNINGS);
    expect(json.denied).toMatchObject([
      {
        ...{ fromPod: "default/bad", toPod: "default/late", protocol: "TCP", port: STREAM_PORT, flows: 1 },
        deniedBy: { direction: "ingress", policies: ["default/late-in"] },
      },
    ]);
  });
  await talk;
  await objects.removePolicy("late-in");
});

test("status has a line about policies", async () => {
  const { stdout } = await first.inside.run(`${BIN}/weft`, ["status", "--quiet", ...PLACES()]);
  expect(stdout).toMatch(/^policies +enforce, \d policies, \d of \d pods isolated$/m);
});

describe("doctor", () => {
  const CHECKS =
    "policy-sync,stale-policies,policy-objects,policy-mode,policy-bridge-filter,policy-engines,policy-ipvs";
  const doctor = async () => {
    const { stdout } = await first.inside.run(`${BIN}/weft`, [
      ...["doctor", "--quiet", "--only", `${CHECKS},forward-drop`, "--cni-bin-dir", BIN, ...PLACES()],
    ]);
    return stdout;
  };

  test("finds nothing", async () => {
    expect(await doctor()).toMatch(/is healthy/);
  });

  test("finds other engines and IPVS", async () => {
    await first.inside.succeed("ip", ["link", "add", "kube-ipvs0", "type", "bridge"]);
    await first.inside.succeed("nft", ["add table ip kube-router-filter-ipv4"]);
    const found = await doctor();
    await first.inside.succeed("nft", ["delete table ip kube-router-filter-ipv4"]);
    await first.inside.succeed("ip", ["link", "del", "kube-ipvs0"]);
    expect(found).toMatch(/warning \(policy-engines\): kube-router enforces .*table ip kube-router-filter-ipv4/);
    expect(found).toMatch(/error \(policy-ipvs\): the device kube-ipvs0 exists/);
  });
});

describe("without weftd", () => {
  beforeAll(() => first.weftd.stop("SIGTERM"));

  test("policies says that the kernel keeps the last state, and explain what cannot be told", async () => {
    const { status, stdout } = await first.inside.run(`${BIN}/weft`, ["policies"]);
    expect(status).toBe(FAULTS);
    expect(stdout).toMatch(/^weftd does not answer .* The kernel's table inet weft-policy stays in force/);
    expect(await reaches(bad, web.address)).toBe(false);
    const { hops, last } = await explain(web.address, bad.address);
    expect(hops.find(({ at }) => at === "policy")?.text).toMatch(/^weftd does not answer \(weftd is not running\)/);
    expect(last.text).toMatch(/^dropped by policy: the rule "denied: .*default\/web-in.*" of inet weft-policy/);
  });

  test("cleanup removes the tables of policies and of senders", async () => {
    const before = await first.inside.succeed("nft", ["list", "tables"]);
    expect(before).toContain("table inet weft-policy");
    await first.inside.succeed(`${BIN}/weft`, ["cleanup", "--pods", ...PLACES()]);
    expect(await first.inside.succeed("nft", ["list", "tables"])).not.toMatch(/weft/);
  });
});
