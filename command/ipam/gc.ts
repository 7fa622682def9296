/** `weft ipam gc`: frees reserved addresses that no pod uses. */

import { formatAddress } from "../../pkg/ip/address.ts";
import { ReservationStore } from "../../pkg/ipam/store.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { System } from "../../pkg/sys/system.ts";
import type { Obstacle } from "../node/namespaces.ts";
import { type Block, CommandError, ExitStatus, text } from "../outcome.ts";
import { declareSubcommand } from "../subcommand.ts";
import { askedFor, CACHE_DIR, DATA_DIR, type JudgedNetwork, lookAtReservations } from "./look.ts";
import type { Dated } from "./reservations.ts";
import type { Verdict } from "./verdict.ts";

export const ipamGc = declareSubcommand({
  name: "ipam gc",
  group: "Change this node",
  summary: "free reserved addresses that no pod uses",
  description: [
    "Frees addresses of pods that are gone without a DEL. Without --yes, only lists the addresses and the reasons.",
    "Keeps an address if an interface in any network namespace of this node has it, if a link has its attachment's mark, if the runtime has a cached result of the attachment (unless the result names a namespace that is gone), and for ten minutes after it was reserved.",
    "Keeps files that name no container and interface: an administrator created them to exclude the address from pods.",
    "Checks each address again under host-local's own lock before it removes the file, so addresses that were reserved again meanwhile are kept.",
  ],
  arguments: {},
  options: {
    yes: { kind: "flag", about: "free the addresses; without it, nothing is changed" },
    dataDir: DATA_DIR,
    cacheDir: CACHE_DIR,
    network: { kind: "text", value: "NAME", about: "only this network" },
    graceSeconds: {
      kind: "number",
      value: "SECONDS",
      about: "keep addresses reserved less than this time ago",
      default: 600,
      minimum: 0,
      maximum: 31_536_000,
    },
  },
  examples: [
    { line: "ipam gc", about: "list the addresses that would be freed, and why" },
    { line: "ipam gc --yes", about: "free these addresses" },
  ],
  printsData: true,
  run({ system, options: { yes, dataDir, cacheDir, network, graceSeconds }, progress }) {
    progress("reading all network namespaces ...");
    const look = lookAtReservations(system, { dataDir, confDir: "" }, { graceMs: graceSeconds * 1000, cacheDir });
    const networks = askedFor(look.networks, { dataDir, name: network }, system);
    if (look.obstacle !== undefined) throw refusal(look.obstacle);
    const outcomes = networks.flatMap((each) => collect(each, dataDir, yes, system));
    const kept = networks.flatMap(({ judged }) => judged).length - outcomes.length;
    return {
      status: outcomes.some(({ failure }) => failure !== undefined) ? ExitStatus.failed : ExitStatus.done,
      blocks: blocksOf(outcomes, { kept, yes, dataDir, namespaceCount: look.namespaceCount }),
      data: {
        dataDir,
        changed: yes && outcomes.some(({ done }) => done === "freed"),
        kept,
        addresses: outcomes.map(dataOf),
      },
    };
  },
});

function refusal(obstacle: Obstacle): CommandError {
  const { problem, remedy } = explain(obstacle);
  return new CommandError(`some of the node's network namespaces cannot be read from here: ${problem}`, {
    status: ExitStatus.refused,
    remedy: `Nothing was changed. ${remedy}`,
  });
}

function explain(obstacle: Obstacle): { problem: string; remedy: string } {
  const onNode =
    "Run the command as root on the node itself, or in a privileged pod with hostPID: true and hostNetwork: true.";
  switch (obstacle.kind) {
    case "container":
      return {
        problem: "weft runs in a container that sees only its own processes",
        remedy: `${onNode} If the node is itself a container, as with kind, run the command as root on its host, with --data-dir /proc/PID/root/var/lib/cni/networks --cache-dir /proc/PID/root/var/lib/cni/results, where PID is the host's id of any process of the node.`,
      };
    case "process":
      return { problem: `weft may not inspect process ${obstacle.pid}`, remedy: onNode };
    case "rights":
      return { problem: `weft may not enter ${obstacle.path} (it needs CAP_SYS_ADMIN)`, remedy: onNode };
    case "namespace":
      return {
        problem: `${obstacle.identity} cannot be opened at ${obstacle.path}`,
        remedy:
          "Another mount hides it. Unmount that, or run the command in the mount namespace of the container runtime.",
      };
  }
}

interface Freed {
  readonly network: string;
  readonly reservation: Dated & Verdict;
  readonly done: "freed" | "would be freed" | "released meanwhile" | "reserved again meanwhile" | "not freed";
  readonly failure?: string;
}

function collect(
  { name, directory, judged }: JudgedNetwork,
  dataDir: string,
  isToBeFreed: boolean,
  system: System,
): Freed[] {
  const leaked = judged.filter(({ state }) => state === "leaked");
  if (!isToBeFreed || leaked.length === 0) {
    return leaked.map((reservation) => ({ network: name, reservation, done: "would be freed" }));
  }
  const store = ReservationStore.openExisting(system, dataDir, name);
  try {
    const atOpening = new Set(store?.releasedAtOpening.map(({ address }) => formatAddress(address)));
    // The first program that opens the store after a boot releases all reservations of earlier boots.
    return judged.flatMap((reservation): Freed[] => {
      if (atOpening.has(formatAddress(reservation.address))) {
        const reason = "reserved before the last boot";
        return [{ network: name, reservation: { ...reservation, reason }, done: "freed" }];
      }
      if (reservation.state !== "leaked") return [];
      return [{ network: name, reservation, ...free(reservation, store, directory, system) }];
    });
  } finally {
    store?.close();
  }
}

/** Frees the address under the lock, if the reservation is still the one that was judged. */
function free(
  judged: Dated,
  store: ReservationStore | undefined,
  directory: string,
  system: System,
): Pick<Freed, "done" | "failure"> {
  const now = store?.find(judged.address);
  if (store === undefined || now === undefined) return { done: "released meanwhile" };
  const status = system.status(`${directory}/${formatAddress(judged.address)}`);
  const isSame =
    now.containerId === judged.containerId && now.ifName === judged.ifName && status?.modifiedMs === judged.modifiedMs;
  if (!isSame) return { done: "reserved again meanwhile" };
  try {
    store.release(judged);
    return { done: "freed" };
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return { done: "not freed", failure: error.message };
  }
}

function blocksOf(
  outcomes: readonly Freed[],
  { kept, yes, dataDir, namespaceCount }: { kept: number; yes: boolean; dataDir: string; namespaceCount: number },
): Block[] {
  const looked = `read ${namespaceCount} network namespace${namespaceCount === 1 ? "" : "s"}`;
  if (outcomes.length === 0) return [text(`No address is leaked in ${dataDir}: ${kept} reserved, ${looked}.`)];
  const rows = outcomes.map(({ network, reservation, done, failure }) => [
    network,
    formatAddress(reservation.address),
    reservation.containerId || "-",
    done,
    failure ?? reservation.reason,
  ]);
  const advice = yes ? [] : [text("Nothing was changed. Use --yes to free these addresses.")];
  return [
    { kind: "table", head: ["NETWORK", "ADDRESS", "CONTAINER", "RESULT", "WHY"], rows },
    text(`Kept ${kept} other reserved address${kept === 1 ? "" : "es"}; ${looked}.`),
    ...advice,
  ];
}

function dataOf({ network, reservation, done, failure }: Freed): unknown {
  const { address, containerId, ifName, reason } = reservation;
  return {
    network,
    address: formatAddress(address),
    containerId,
    ifName: ifName ?? null,
    done,
    reason,
    ...(failure === undefined ? {} : { failure }),
  };
}
