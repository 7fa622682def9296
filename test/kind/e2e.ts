/** The end-to-end test: pods on every node connect to each other, with each backend. */
import Table from "cli-table3";
import type { Cluster } from "./cluster.ts";
import { type Answer, type Bed, complaintOf, type Node, type Pod, type Question, questionsOf } from "./questions.ts";

const NAMESPACE = "weft-e2e";
const OWN_ROUTES = ["-json", "route", "show", "proto", "119"];
/** weftd's routes on a node, as `ip -j` prints them. */
type Route = { readonly dst?: string; readonly dev?: string; readonly gateway?: string };

interface Overlay {
  readonly name: string;
  /** True if a route to a peer's pods belongs to this backend. */
  readonly isOwn: (route: Route) => boolean;
}

const isEncapsulated = ({ dev = "" }: Route) => dev.startsWith("flannel.") || dev.startsWith("weft.");
const VXLAN: Overlay = { name: "vxlan", isOwn: isEncapsulated };
const HOST_GW: Overlay = { name: "host-gw", isOwn: (route) => !isEncapsulated(route) && route.gateway !== undefined };
/** All nodes of kind are on one link, so the backend `auto` uses plain routes. */
const DUAL_STACK: Overlay = { ...HOST_GW, name: "dual-stack" };

/** Returns the failures; empty if all is well. Routes may take `patienceMs` to become the backend's. */
export function endToEnd(cluster: Cluster, root: string, patienceMs = 60_000): string[] {
  cluster.kubectl("apply", "--kustomize", `${root}/test/kind/pods`);
  for (const set of ["first", "second"])
    cluster.kubectl(`--namespace=${NAMESPACE}`, "rollout", "status", `daemonset/${set}`, "--timeout=180s");
  const isDual = nodesOf(cluster).every(({ podCidrs }) => podCidrs.length > 1);
  const overlays = isDual ? [DUAL_STACK] : [VXLAN, HOST_GW];
  const failures = overlays.flatMap((overlay) => {
    cluster.apply(overlay.name);
    return [...routeFailures(cluster, overlay, patienceMs), ...talk(cluster, overlay)];
  });
  if (failures.length > 0) tellMore(cluster);
  return failures;
}

function talk(cluster: Cluster, overlay: Overlay): string[] {
  const questions = questionsOf(bedOf(cluster));
  const complaints = askAll(cluster, questions).map((answer, at) => complaintOf(questions[at] as Question, answer));
  const table = new Table({ head: [overlay.name, "answered"], style: { head: [], border: [] } });
  for (const what of new Set(questions.map((question) => question.what))) {
    const outcomes = complaints.filter((_, at) => questions[at]?.what === what);
    table.push([what, `${outcomes.filter((complaint) => complaint === undefined).length} of ${outcomes.length}`]);
  }
  console.log(table.toString());
  return complaints.flatMap((complaint) => (complaint === undefined ? [] : [`${overlay.name}: ${complaint}`]));
}

/** In the order of the questions. Each source makes all its requests by one command. */
function askAll(cluster: Cluster, questions: readonly Question[]): Answer[] {
  const answers = new Map<string, Answers>();
  for (const { asker, from } of questions) {
    if (answers.has(asker)) continue;
    const urls = questions.filter((question) => question.asker === asker).map(({ url }) => url);
    const ask = from === "pod" ? askFromPod : askFromNode;
    answers.set(
      asker,
      attempt(() => ask(cluster, asker, urls), {}),
    );
  }
  return questions.map(({ asker, url }) => answers.get(asker)?.[url] ?? {});
}

/** By URL. */
type Answers = Readonly<Record<string, Answer>>;

function askFromPod(cluster: Cluster, pod: string, urls: readonly string[]): Answers {
  const command = ["/opt/weft/bin/node", "/scripts/ask.mjs", ...urls];
  return JSON.parse(cluster.askKubectl(`--namespace=${NAMESPACE}`, "exec", pod, "--", ...command)) as Answers;
}

/** kind's nodes have curl. Prints a line for each URL: the URL and its answer, or nothing. */
const ASK = `for url; do
  printf '%s ' "$url"
  curl --silent --show-error --globoff --max-time 5 --retry 4 --retry-connrefused "$url"
  echo
done`;

function askFromNode(cluster: Cluster, node: string, urls: readonly string[]): Answers {
  const lines = cluster
    .askNode(node, "sh", "-c", ASK, "sh", ...urls)
    .trim()
    .split("\n");
  return Object.fromEntries(
    lines.map((line) => {
      const [url = "", said = ""] = line.split(" ", 2);
      return [url, attempt(() => JSON.parse(said) as Answer, {})];
    }),
  );
}

/** A failed command counts as a missing answer. */
function attempt<T>(work: () => T, otherwise: T): T {
  try {
    return work();
  } catch (error) {
    console.error(String(error));
    return otherwise;
  }
}

/** Peers change one after another, and each node sends as its peers announce. */
function routeFailures(cluster: Cluster, overlay: Overlay, patienceMs: number): string[] {
  const until = Date.now() + patienceMs;
  for (;;) {
    const failures = lookAtRoutes(cluster, overlay);
    if (failures.length === 0 || Date.now() >= until) return failures;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2_000);
  }
}

function lookAtRoutes(cluster: Cluster, { name, isOwn }: Overlay): string[] {
  const nodes = nodesOf(cluster);
  const wanted = nodes.length - 1;
  return nodes.flatMap(({ name: node, podCidrs }) =>
    podCidrs.flatMap((cidr) => {
      const family = cidr.includes(":") ? "-6" : "-4";
      const routes = JSON.parse(cluster.askNode(node, "ip", family, ...OWN_ROUTES)) as Route[];
      const { length } = routes.filter((route) => isToPods(route) && isOwn(route));
      return length === wanted
        ? []
        : [`${name}: ${node} has ${length} routes of this backend (ip ${family}), expected ${wanted}`];
    }),
  );
}

/** False for a route to a single address, such as a VTEP's. */
function isToPods({ dst = "" }: Route): boolean {
  return dst.includes("/");
}

function nodesOf(cluster: Cluster): Node[] {
  const { items } = JSON.parse(cluster.askKubectl("get", "nodes", "--output=json")) as {
    items: {
      metadata: { name: string };
      spec: { podCIDRs?: string[] };
      status: { addresses: { type: string; address: string }[] };
    }[];
  };
  return items.map(({ metadata, spec, status }) => ({
    name: metadata.name,
    podCidrs: spec.podCIDRs ?? [],
    addresses: status.addresses.filter(({ type }) => type === "InternalIP").map(({ address }) => address),
  }));
}

function bedOf(cluster: Cluster): Bed {
  const { items } = JSON.parse(
    cluster.askKubectl(
      `--namespace=${NAMESPACE}`,
      "get",
      "pods",
      "--field-selector=status.phase=Running",
      "--output=json",
    ),
  ) as {
    items: {
      metadata: { name: string };
      spec: { nodeName: string; containers: { ports?: { hostPort?: number }[] }[] };
      status: { podIPs: { ip: string }[] };
    }[];
  };
  const { spec } = JSON.parse(
    cluster.askKubectl(`--namespace=${NAMESPACE}`, "get", "service", "echo", "--output=json"),
  ) as {
    spec: { clusterIPs: string[] };
  };
  const pods = items.map(
    ({ metadata, spec: { nodeName, containers }, status }): Pod => ({
      name: metadata.name,
      node: nodeName,
      addresses: status.podIPs.map(({ ip }) => ip),
      hostPort: containers[0]?.ports?.[0]?.hostPort,
    }),
  );
  const nodes = nodesOf(cluster);
  // Two on each node: with fewer, some pairs would not be tested.
  if (pods.length !== 2 * nodes.length)
    throw new Error(`there are ${pods.length} pods: expected two on each of ${nodes.length} nodes`);
  return { nodes, pods, service: { name: `echo.${NAMESPACE}.svc.cluster.local`, addresses: spec.clusterIPs } };
}

/** Additional information for readers of a failed run's log. */
function tellMore(cluster: Cluster): void {
  const looks = [
    ["get", "nodes,pods", "--all-namespaces", "--output=wide"],
    ["--namespace=weft", "logs", "--selector=app.kubernetes.io/name=weft", "--tail=100", "--prefix"],
    ["--namespace=default", "get", "events", "--sort-by=.lastTimestamp"],
  ];
  for (const look of looks) attempt(() => cluster.kubectl(...look), undefined);
}
