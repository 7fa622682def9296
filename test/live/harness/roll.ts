/** Changes a cluster's backend node by node, with pings between all its pods meanwhile. */
import type { Cleanup } from "./cleanup.ts";
import type { Cluster, Node } from "./cluster.ts";
import { eventually, PATIENCE, Running } from "./process.ts";
import { type PodPair, podPairs } from "./traffic.ts";

/** The Backend of net-conf.json. */
export interface Backend {
  readonly Type: string;
  readonly VNI?: number;
  readonly Port?: number;
}

/** "restart": by a new weftd, as a DaemonSet's update does. "reload": by the file alone. */
export type Way = "restart" | "reload";

/**
 * Gives every node `backend`, one after another. The next node follows when the API server has the last one's
 * announcement.
 */
export async function roll(cluster: Cluster, backend: Backend, way: Way, onNode?: (node: Node) => void): Promise<void> {
  const announced = backend.Type === "auto" ? "vxlan" : backend.Type;
  for (const node of cluster.nodes) {
    onNode?.(node);
    const reloads = countOf(node, "network configuration changed");
    if (way === "restart") await node.weftd.stop("SIGTERM");
    cluster.configure(node, backend);
    if (way === "restart") cluster.restartWeftd(node);
    else await eventually(() => assert(countOf(node, "network configuration changed") > reloads, node, "reloads"));
    await eventually(async () => {
      const { metadata } = (await cluster.api("GET", `/api/v1/nodes/${node.name}`)) as Announced;
      const data = JSON.parse(Object.entries(metadata.annotations).find(([key]) => isData(key))?.[1] ?? "null");
      const isNew =
        metadata.annotations[`${FLANNEL}backend-type`] === announced &&
        (announced === "host-gw" ? data === null : data?.VNI === (backend.VNI ?? 1)) &&
        (announced === "host-gw" || metadata.annotations["weft/vxlan-port"] === String(backend.Port ?? 8472));
      assert(isNew, node, `announces ${JSON.stringify(backend)}, and not ${JSON.stringify(metadata.annotations)}`);
    });
    await cluster.ready(node);
  }
}

const FLANNEL = "flannel.alpha.coreos.com/";
const isData = (key: string) => key.endsWith("backend-data") || key.endsWith("backend-v6-data");

interface Announced {
  readonly metadata: { readonly annotations: Readonly<Record<string, string>> };
}

function assert(holds: boolean, node: Node, what: string): void {
  if (!holds) throw new Error(`expected that ${node.name} ${what}\n${node.weftd.output}`);
}

function countOf({ weftd }: Node, text: string): number {
  return weftd.output.split(text).length - 1;
}

export interface Loss {
  readonly sent: number;
  readonly lost: number;
  /** The pairs that lost packets, as text. */
  readonly failures: readonly string[];
}

/** Pings between all pods, in both directions and in each family, until stopped. */
export class Pings {
  readonly #pings: readonly (PodPair & { readonly ping: Running })[];

  readonly #intervalMs: number;

  constructor(cluster: Cluster, everyMs: number, cleanup: Cleanup) {
    const intervalMs = everyMs * PATIENCE;
    this.#intervalMs = intervalMs;
    this.#pings = podPairs(cluster.pods).map((pair) => {
      const args = ["-n", "-i", String(intervalMs / 1000), pair.target];
      return { ...pair, ping: new Running(pair.from.namespace, "ping", args, cleanup) };
    });
  }

  async stop(): Promise<Loss> {
    await Promise.all(this.#pings.map(({ ping }) => ping.stop("SIGINT")));
    const results = await Promise.all(
      this.#pings.map(async ({ ping, from, to, target }) => {
        // ping's last output may arrive after it has ended.
        const { sent, lost } = await eventually(() => countLoss(ping.output, this.#intervalMs));
        return { sent, lost, text: `${from.name} -> ${to.name} (${target}): ${lost} of ${sent} lost` };
      }),
    );
    return {
      sent: results.reduce((sum, { sent }) => sum + sent, 0),
      lost: results.reduce((sum, { lost }) => sum + lost, 0),
      failures: results.filter(({ sent, lost }) => lost > 0 || sent === 0).map(({ text }) => text),
    };
  }
}

/** The reply time on a busy machine. Requests that are younger when ping stops count as in flight, not as lost. */
const ON_THE_WAY_MS = 1000 * PATIENCE;

function countLoss(output: string, intervalMs: number): { readonly sent: number; readonly lost: number } {
  const sent = Number(/(\d+) packets transmitted/.exec(output)?.[1] ?? Number.NaN);
  if (Number.isNaN(sent)) throw new Error(`expected ping's summary:\n${output}`);
  const answered = new Set([...output.matchAll(/bytes from .*icmp_seq=(\d+)/g)].map(([, number]) => Number(number)));
  const last = Math.max(0, ...answered);
  const asked = (sent - last) * intervalMs <= ON_THE_WAY_MS ? last : sent;
  return { sent: asked, lost: asked - answered.size };
}
