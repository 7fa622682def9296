/** `weft ipam ls`: what host-local has reserved on this node, and whether anybody uses it. */

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
  summary: "list reserved addresses: whose, how old, and whether anybody uses them",
  description: [
    "Lists what host-local (weft's or the reference's) has reserved on this node: how much of each configured range is used, and of each address whose it is, how old, and what keeps it.",
    "used: an interface of some network namespace of this node has the address, or a link carries the attachment's mark. remembered: the runtime has the attachment's result in its cache, so its DEL is to come. young: made less than ten minutes ago. leaked: none of these; `weft ipam gc` frees it. unknown: the same, but not all namespaces can be seen from where weft runs.",
    "outside: the configuration of the network has no such subnet any more, as after a Node was registered anew with another podCIDR. On a node of weft's, other nodes do not reach such a pod until it is started anew.",
    "Nothing is changed, and no lock is waited for.",
  ],
  arguments: {},
  options: {
    dataDir: DATA_DIR,
    cacheDir: CACHE_DIR,
    cniConfDir: CNI_CONF_DIR,
    network: { kind: "text", value: "NAME", about: "this network alone" },
  },
  examples: [
    { line: "ipam ls", about: "all networks" },
    { line: "ipam ls --network cbr0 -o json", about: "one of them, for a machine" },
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
/** Of a container's id: as runtimes' own tools cut it. */
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

/** No configuration says where a network without one has its addresses. */
function isOutside(address: Address, ranges: readonly Range[]): boolean {
  return ranges.length > 0 && !ranges.some(({ subnet }) => contains(subnet, address));
}

/** Those of the address's family. */
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

/** As kubectl's: 12s, 5m, 3h, 2d. */
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
