/**
 * The program that `memory.ts` runs, bundled like weftd: lists with real stores, computes frontends and the desired
 * state of nftables, and prints a table.
 */
import { connectKubernetes } from "../../pkg/cluster/kubeconfig.ts";
import { ENDPOINT_SLICE_PARSER } from "../../pkg/cluster/service/endpoint-slice.ts";
import { SERVICE_PARSER, SERVICE_SELECTION } from "../../pkg/cluster/service/service.ts";
import { Store } from "../../pkg/cluster/store.ts";
import { answered } from "../../pkg/netlink/look.ts";
import type { NodeSettings } from "../../pkg/services/frontend.ts";
import { NftablesMode } from "../../pkg/services/nftables/nftables-mode.ts";
import { ServiceMap } from "../../pkg/services/service-map.ts";
import { nodeFacts } from "./core-bed.ts";

const FLIPS = 10_000;
const NO_SETTINGS: NodeSettings = { localPods: [], serviceRanges: [], masqueradeAll: false, masqueradeBit: 14 };

interface Use {
  readonly rssMiB: number;
  readonly heapMiB: number;
}

/**
 * CPU time of this process, which other load on the machine does not change. Includes the garbage collector's threads.
 */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** The process's resident memory, and the reachable part of its heap. */
function use(): Use {
  const { rss } = process.memoryUsage();
  globalThis.gc?.();
  const { heapUsed } = process.memoryUsage();
  const mebibytes = (bytes: number) => Number((bytes / 2 ** 20).toFixed(1));
  return { rssMiB: mebibytes(rss), heapMiB: mebibytes(heapUsed) };
}

async function follow(file: string): Promise<void> {
  const rows: Record<string, Use & { readonly cpuMs?: number }> = { "nothing held": use() };
  const connection = connectKubernetes({ kubeconfig: file });
  const services = new Store(connection, SERVICE_PARSER, { selection: SERVICE_SELECTION });
  const slices = new Store(connection, ENDPOINT_SLICE_PARSER, { selection: SERVICE_SELECTION });
  const ofService = slices.addIndex(({ value }) => value.service);
  let begun = cpuMs();
  services.start();
  slices.start();
  while (!services.hasSynced || !slices.hasSynced) await new Promise((resolve) => setTimeout(resolve, 10));
  const listedMs = cpuMs() - begun;
  rows.stores = { ...use(), cpuMs: Math.round(listedMs) };
  const map = new ServiceMap();
  begun = cpuMs();
  map.setNode(nodeFacts());
  for (const { key, value } of services.list()) {
    map.setService(key, value);
    map.setSlices(
      key,
      ofService.get(key).map((entry) => entry.value),
    );
  }
  const count = map.changes().length;
  const computedMs = cpuMs() - begun;
  rows[`core, ${count} frontends`] = { ...use(), cpuMs: Math.round(computedMs) };
  begun = cpuMs();
  const mode = new NftablesMode();
  const comparison = mode.compare(map.frontends(), NO_SETTINGS);
  const transactions = answered(comparison, () => []).length;
  rows[`mode, ${transactions} transactions`] = { ...use(), cpuMs: Math.round(cpuMs() - begun) };
  const keys = services.list().map(({ key }) => key);
  begun = cpuMs();
  for (let n = 0; n < FLIPS; n++) {
    const key = keys[n % keys.length] ?? "";
    const all = ofService.get(key).map(({ value }) => value);
    // Removes each endpoint in turn, then adds each again.
    const isOut = Math.floor(n / keys.length) % 2 === 0;
    map.setSlices(
      key,
      all.map((slice) => ({ ...slice, endpoints: isOut ? slice.endpoints.slice(1) : slice.endpoints })),
    );
    mode.change(map.changes());
  }
  rows[`each of ${FLIPS} flips`] = { ...use(), cpuMs: (cpuMs() - begun) / FLIPS };
  begun = cpuMs();
  map.setNode(nodeFacts({ name: "n2" }));
  mode.change(map.changes());
  rows["another node's facts"] = { ...use(), cpuMs: Math.round(cpuMs() - begun) };
  console.table(rows);
  await Promise.all([services.stop(), slices.stop()]);
  connection.close();
}

follow(process.argv[2] ?? "").catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
