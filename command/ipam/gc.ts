/** `weft ipam gc`: frees what is reserved for nobody. */

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
  summary: "free addresses that are reserved for nobody any more",
  description: [
    "Frees addresses that pods have left behind, when their DEL never came. Without --yes it only says which it would free, and why.",
    "An address stays while an interface of any network namespace of this node has it, while a link carries its attachment's mark, while the runtime has the attachment's result in its cache (but for one that names a namespace which is gone), and for ten minutes after it was reserved.",
    "A file that names no container and interface was made by hand, to keep its address from pods: it stays.",
    "Each is looked at once more under host-local's own lock before its file goes: an address that was given anew meanwhile stays.",
  ],
  arguments: {},
  options: {
    yes: { kind: "flag", about: "free them; without it nothing is changed" },
    dataDir: DATA_DIR,
    cacheDir: CACHE_DIR,
    network: { kind: "text", value: "NAME", about: "this network alone" },
    graceSeconds: {
      kind: "number",
      value: "SECONDS",
      about: "leave what is younger",
      default: 600,
      minimum: 0,
      maximum: 31_536_000,
    },
  },
  examples: [
    { line: "ipam gc", about: "which addresses would be freed, and why" },
    { line: "ipam gc --yes", about: "free them" },
  ],
  printsData: true,
  run({ system, options: { yes, dataDir, cacheDir, network, graceSeconds }, progress }) {
    progress("looking into all network namespaces ...");
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
  return new CommandError(`from here not all of the node's network namespaces can be seen: ${problem}`, {
    status: ExitStatus.refused,
    remedy: `Nothing was changed. ${remedy}`,
  });
}

function explain(obstacle: Obstacle): { problem: string; remedy: string } {
  const onNode = "Run it as root on the node itself, or in a privileged pod with hostPID: true and hostNetwork: true.";
  switch (obstacle.kind) {
    case "container":
      return {
        problem: "weft runs in a container that sees its own processes alone",
        remedy: `${onNode} Where the node is itself a container, as kind's are, run it as root on the machine that holds it, with --data-dir /proc/PID/root/var/lib/cni/networks --cache-dir /proc/PID/root/var/lib/cni/results, where PID is the machine's number of any process of the node.`,
      };
    case "process":
      return { problem: `weft may not look at process ${obstacle.pid}`, remedy: onNode };
    case "rights":
      return { problem: `weft may not enter ${obstacle.path} (it needs CAP_SYS_ADMIN)`, remedy: onNode };
    case "namespace":
      return {
        problem: `${obstacle.identity} cannot be opened at ${obstacle.path}`,
        remedy: "Something is mounted over it: take that away, or run it where the container runtime runs.",
      };
  }
}

interface Freed {
  readonly network: string;
  readonly reservation: Dated & Verdict;
  readonly done: "freed" | "would be freed" | "released meanwhile" | "given anew meanwhile" | "not freed";
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
    // Whoever opens the store first after a start of the machine releases all that was reserved before.
    return judged.flatMap((reservation): Freed[] => {
      if (atOpening.has(formatAddress(reservation.address))) {
        const reason = "reserved before this machine was last started";
        return [{ network: name, reservation: { ...reservation, reason }, done: "freed" }];
      }
      if (reservation.state !== "leaked") return [];
      return [{ network: name, reservation, ...free(reservation, store, directory, system) }];
    });
  } finally {
    store?.close();
  }
}

/** Under the lock: only what is still the reservation that was judged. */
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
  if (!isSame) return { done: "given anew meanwhile" };
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
  const looked = `${namespaceCount} network namespace${namespaceCount === 1 ? "" : "s"} looked into`;
  if (outcomes.length === 0) return [text(`No address is leaked in ${dataDir}: ${kept} reserved, ${looked}.`)];
  const rows = outcomes.map(({ network, reservation, done, failure }) => [
    network,
    formatAddress(reservation.address),
    reservation.containerId || "-",
    done,
    failure ?? reservation.reason,
  ]);
  const advice = yes ? [] : [text("Nothing was changed: --yes frees them.")];
  return [
    { kind: "table", head: ["NETWORK", "ADDRESS", "CONTAINER", "WHAT", "WHY"], rows },
    text(`${kept} other reserved address${kept === 1 ? " stays" : "es stay"}; ${looked}.`),
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
