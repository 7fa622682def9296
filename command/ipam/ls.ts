/** `weft ipam ls`: lists the addresses that host-local has reserved on this node, and their use. */

import { type Address, formatAddress } from "../../pkg/ip/address.ts";
import { contains, formatPrefix } from "../../pkg/ip/prefix.ts";
import { capacityOf, formatRange, isWithin, type Range } from "../../pkg/ipam/ranges.ts";
import { CNI_CONF_DIR } from "../node/options.ts";
import { type Block, type Cell, ExitStatus, text } from "../outcome.ts";
import { declareSubcommand } from "../subcommand.ts";
import { askedFor, CACHE_DIR, DATA_DIR, type JudgedNetwork, lookAtReservations } from "./look.ts";
import type { State } from "./verdict.ts";

export const ipamLs = declareSubcommand({
  name: "ipam ls",
  group: "Inspect",
  summary: "list reserved addresses with their container, age and state",
  description: [
    "Lists the addresses that host-local (weft's or the reference's) has reserved on this node. For each configured range, shows how much is used. For each address, shows its container, its age, and why it is kept.",
    "STATE is one of these. used: an interface in some network namespace of this node has the address, or a link has the attachment's mark. remembered: the runtime has a cached result of the attachment, so its DEL is still to come. manual: an administrator created the file. young: reserved less than ten minutes ago. leaked: none of these; `weft ipam gc` frees it. unknown: as leaked, but some namespaces cannot be read from here.",
    "An address is marked as outside if the network's configuration no longer has its subnet, for example after a Node was registered again with another podCIDR. Other nodes cannot reach such a pod; restart it.",
    "Changes nothing, and waits for no lock.",
  ],
  arguments: {},
  options: {
    dataDir: DATA_DIR,
    cacheDir: CACHE_DIR,
    cniConfDir: CNI_CONF_DIR,
    network: { kind: "text", value: "NAME", about: "only this network" },
  },
  examples: [
    { line: "ipam ls", about: "list all networks" },
    { line: "ipam ls --network cbr0 -o json", about: "print one network as JSON" },
  ],
  printsData: true,
  run({ system, options: { dataDir, cacheDir, cniConfDir, network } }) {
    const { networks } = lookAtReservations(system, { dataDir, confDir: cniConfDir }, { cacheDir });
    const shown = askedFor(networks, { dataDir, name: network }, system);
    return {
      status: ExitStatus.done,
      blocks: blocksOf(shown, dataDir, system.now()),
      data: { dataDir, networks: shown.map((each) => dataOf(each, system.now())) },
    };
  },
});

const TONES = {
  used: undefined,
  remembered: undefined,
  manual: "quiet",
  young: "quiet",
  unknown: "quiet",
  leaked: "warning",
} as const;
/** The shown length of a container's id, as runtimes' own tools shorten it. */
const SHOWN_ID_LENGTH = 13;

function blocksOf(networks: readonly JudgedNetwork[], dataDir: string, nowMs: number): Block[] {
  const uses = networks.flatMap(({ name, reservations, ranges }) =>
    ranges.map((range) => [name, formatPrefix(range.subnet), formatRange(range), ...useOf(range, reservations)]),
  );
  const rows = networks.flatMap(({ name, judged, ranges }) =>
    judged.map(({ address, containerId, ifName = "", modifiedMs, state, reason }): Cell[] => [
      name,
      formatAddress(address),
      containerId.slice(0, SHOWN_ID_LENGTH) || "-",
      ifName || "-",
      formatAge(nowMs - modifiedMs),
      stateCell(state),
      isOutside(address, ranges)
        ? { text: `outside ${subnetsOf(address, ranges)}; ${reason}`, tone: "warning" }
        : reason,
    ]),
  );
  if (rows.length === 0) {
    const range = uses.length === 0 ? [] : [useTable(uses)];
    return [...range, text(`No address is reserved in ${dataDir}.`)];
  }
  return [
    ...(uses.length === 0 ? [] : [useTable(uses), text("")]),
    { kind: "table", head: ["NETWORK", "ADDRESS", "CONTAINER", "INTERFACE", "AGE", "STATE", "WHY"], rows },
  ];
}

/** False if the network has no configuration, since its subnets are not known then. */
function isOutside(address: Address, ranges: readonly Range[]): boolean {
  return ranges.length > 0 && !ranges.some(({ subnet }) => contains(subnet, address));
}

/** Returns the subnets of the address's family. */
function subnetsOf({ family }: Address, ranges: readonly Range[]): string {
  const subnets = ranges.map(({ subnet }) => subnet);
  const ofFamily = subnets.filter(({ address }) => address.family === family);
  return (ofFamily.length === 0 ? subnets : ofFamily).map(formatPrefix).join(", ");
}

function useTable(rows: readonly string[][]): Block {
  return { kind: "table", head: ["NETWORK", "SUBNET", "RANGE", "USED", "OF"], rows };
}

function stateCell(state: State): Cell {
  const tone = TONES[state];
  return tone === undefined ? state : { text: state, tone };
}

function useOf(range: Range, reservations: JudgedNetwork["reservations"]): [used: string, capacity: string] {
  const used = reservations.filter(({ address }) => isWithin(range, address)).length;
  return [String(used), String(capacityOf(range))];
}

/** Formats an age as kubectl does: 12s, 5m, 3h, 2d. */
export function formatAge(ageMs: number): string {
  const seconds = Math.max(0, Math.floor(ageMs / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 2 * 3600) return `${Math.floor(seconds / 60)}m`;
  return seconds < 2 * 86_400 ? `${Math.floor(seconds / 3600)}h` : `${Math.floor(seconds / 86_400)}d`;
}

function dataOf({ name, directory, ranges, reservations, judged }: JudgedNetwork, nowMs: number): unknown {
  return {
    name,
    directory,
    ranges: ranges.map((range) => ({
      subnet: formatPrefix(range.subnet),
      start: formatAddress(range.start),
      end: formatAddress(range.end),
      used: reservations.filter(({ address }) => isWithin(range, address)).length,
      capacity: capacityOf(range),
    })),
    reservations: judged.map(({ address, containerId, ifName, modifiedMs, state, reason }) => ({
      address: formatAddress(address),
      containerId,
      ifName: ifName ?? null,
      ageSeconds: Math.max(0, Math.round((nowMs - modifiedMs) / 1000)),
      state,
      reason,
      isOutside: isOutside(address, ranges),
    })),
  };
}
