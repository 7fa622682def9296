/**
 * `npm run bench -- scale policy`: one weftd with many Nodes, Services, pods and policies. Exits with 1 if a bound is
 * exceeded.
 */
import { readFile } from "node:fs/promises";
import Table from "cli-table3";
import { Command, Option } from "commander";
import { NODE, type PopulationObject, populate } from "../bench/policy/population.ts";
import { eventually } from "../live/harness/process.ts";
import { ServicesScale } from "./services-bed.ts";

const MIB = 2 ** 20;
const SETTLE_MS = 120_000;
/** The share of the manifest's limit that stays free. */
const FREE = 0.2;
/** A bucket of weftd's histogram. */
const RELABEL_LIMIT_SECONDS = 0.025;
const RELABEL_PAUSE_MS = 25;
/** The size of managed fields, statuses of containers and volumes of a real pod: about 4 KiB. */
const BALLAST = { "example.com/ballast": "x".repeat(4000) };

const option = (flags: string, about: string, value: number) =>
  new Option(flags, about).default(value).argParser(Number);
const { nodes, services, policies, pods, local, relabels, heap, output } = new Command("bench scale policy")
  .description(
    "Measures one weftd with Nodes, Services, pods and policies: memory, and the change of one pod's labels.",
  )
  .addOption(option("--nodes <n>", "other Nodes", 1000))
  .addOption(option("--services <n>", "number of Services, of 5 endpoints each", 10_000))
  .addOption(option("--policies <n>", "number of NetworkPolicies", 1000))
  .addOption(option("--pods <n>", "number of pods of the cluster", 10_000))
  .addOption(option("--local <n>", "number of these pods on weftd's node", 110))
  .addOption(option("--relabels <n>", "number of changes of one local pod's labels", 1000))
  .addOption(new Option("--heap <MiB>", "the heap that V8 may use (Node.js: half the memory limit)").argParser(Number))
  .addOption(new Option("-o, --output <form>", "output format").choices(["table", "json"]).default("table"))
  .parse()
  .opts<
    Record<"nodes" | "services" | "policies" | "pods" | "local" | "relabels", number> & {
      readonly heap?: number;
      readonly output: "table" | "json";
    }
  >();

const environment = heap === undefined ? {} : { NODE_OPTIONS: `--max-old-space-size=${heap}` };
const population = populate({ policies, pods, local });
const bed = await ServicesScale.make(nodes, environment);
const figures = await measure().finally(() => bed.close());
const limitMib = await manifestLimitMib();
const bounds = [
  { name: "peak MiB, 80 % of the manifest's limit", measured: figures.peakMib, limit: limitMib * (1 - FREE) },
  {
    ...{ name: `share of label changes above ${1000 * RELABEL_LIMIT_SECONDS} ms` },
    ...{ measured: figures.lateShare, limit: 0.01 },
  },
].map((bound) => ({ ...bound, isKept: bound.measured <= bound.limit }));
print();
process.exitCode = bounds.every(({ isKept }) => isKept) ? 0 : 1;

async function measure() {
  console.error(`scale: ${services} Services, ${pods} pods, ${policies} policies`);
  await bed.populate(services, 5);
  await bed.create(objects());
  await bed.start(true);
  await eventually(async () => {
    const { isSynced, counts } = await bed.policiesPage();
    if (!isSynced || counts.pods < pods || counts.policies < policies) throw new Error(JSON.stringify(counts));
  }, SETTLE_MS);
  const startMib = (await bed.peakBytes()) / MIB;
  await new Promise((resolve) => setTimeout(resolve, 10_000));
  const idleMib = (await bed.residentBytes()) / MIB;
  const before = await latency();
  console.error(`scale: ${relabels} changes of labels`);
  for (let at = 0; at < relabels; at++) {
    const pod = population.local[at % population.local.length] ?? 0;
    const round = Math.floor(at / population.local.length);
    const { metadata } = population.pod(pod, round % 2 === 0 ? "db" : "api");
    await bed.patch(podTarget(metadata), { metadata: { labels: metadata.labels } });
    await new Promise((resolve) => setTimeout(resolve, RELABEL_PAUSE_MS));
  }
  const after = await latency();
  const churnedMib = (await bed.residentBytes()) / MIB;
  const changes = after.count - before.count;
  return {
    ...{ startMib, idleMib, churnedMib, peakMib: (await bed.peakBytes()) / MIB, changes },
    meanMs: (1000 * (after.seconds - before.seconds)) / changes,
    lateShare: 1 - (after.inTime - before.inTime) / changes,
  };
}

function objects() {
  const withBallast = ({ metadata, ...rest }: PopulationObject, kind: string, apiVersion: string) => ({
    ...{ apiVersion, kind, metadata: { ...metadata, annotations: BALLAST } },
    ...rest,
  });
  const ofNode = (pod: PopulationObject): PopulationObject => {
    const spec = pod.spec as { readonly nodeName: string };
    return { ...pod, spec: { ...spec, nodeName: spec.nodeName === NODE ? bed.nodeName : spec.nodeName } };
  };
  return [
    ...population.namespaces.map((body) => ({ target: "/api/v1/namespaces", body })),
    ...population.policies.map((body) => ({
      target: `/apis/networking.k8s.io/v1/namespaces/${body.metadata.namespace}/networkpolicies`,
      body: withBallast(body, "NetworkPolicy", "networking.k8s.io/v1"),
    })),
    ...Array.from({ length: pods }, (_, at) => ofNode(population.pod(at))).map((body) => ({
      target: `/api/v1/namespaces/${body.metadata.namespace}/pods`,
      body: withBallast(body, "Pod", "v1"),
    })),
  ];
}

function podTarget({ namespace, name }: PopulationObject["metadata"]): string {
  return `/api/v1/namespaces/${namespace}/pods/${name}`;
}

/** weftd's histogram of the time from a change to its commit. */
async function latency() {
  const text = await bed.metrics();
  const value = (series: string) => {
    const line = text.split("\n").find((each) => each.startsWith(`weft_policy_programming_latency_seconds_${series} `));
    return Number(line?.split(" ")[1] ?? 0);
  };
  const inTime = value(`bucket{le="${RELABEL_LIMIT_SECONDS}"}`);
  return { count: value("count"), seconds: value("sum"), inTime };
}

async function manifestLimitMib(): Promise<number> {
  const text = await readFile(new URL("../../conf/base/daemonset.yaml", import.meta.url), "utf8");
  const found = /limits:\n +memory: (\d+)Mi/.exec(text.slice(text.lastIndexOf("- name: weftd")));
  if (found?.[1] === undefined) throw new Error("conf/base/daemonset.yaml has no memory limit in Mi");
  return Number(found[1]);
}

function print(): void {
  if (output === "json") {
    console.log(
      JSON.stringify({ nodes, services, policies, pods, local, heap, ...figures, limitMib, bounds }, undefined, 2),
    );
    return;
  }
  const style = { head: [], border: [] };
  const table = new Table({ style, colAligns: ["left", "right"] });
  const mib = (value: number) => `${value.toFixed(0)} MiB`;
  table.push(
    ["peak of the start", mib(figures.startMib)],
    ["idle", mib(figures.idleMib)],
    ["after changes", mib(figures.churnedMib)],
    ["peak", mib(figures.peakMib)],
    ["one pod's labels, mean", `${figures.meanMs.toFixed(2)} ms of ${figures.changes} syncs`],
  );
  const held = new Table({ style, head: ["Bound", "measured", "at most", ""] });
  for (const { name, measured, limit, isKept } of bounds) {
    held.push([name, measured.toFixed(3), limit.toFixed(2), isKept ? "kept" : "exceeded"]);
  }
  console.log(`${table}\n${held}`);
}
