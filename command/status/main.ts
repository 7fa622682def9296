/** `weft status`: shows this node, and for each peer what is programmed and whether it answers. */

import { backendNamed, backendOf } from "../../pkg/backend/backends.ts";
import type { Description } from "../../pkg/backend/inspection.ts";
import { CONFLIST_NAME } from "../../pkg/footprint.ts";
import { formatAddress } from "../../pkg/ip/address.ts";
import { formatPrefix } from "../../pkg/ip/prefix.ts";
import { capacityOf, isWithin } from "../../pkg/ipam/ranges.ts";
import { readReservations } from "../../pkg/ipam/reservation.ts";
import type { Device } from "../../pkg/kernel/device.ts";
import { type KernelSnapshot, readSnapshot } from "../../pkg/kernel/snapshot.ts";
import { openRoute } from "../../pkg/netlink/blocking.ts";
import type { System } from "../../pkg/sys/system.ts";
import { formatAge } from "../ipam/ls.ts";
import { desireOf } from "../node/kernel.ts";
import { attachmentOf, readNetworks } from "../node/networks.ts";
import { CNI_CONF_DIR, METRICS_ADDRESS, RUN_DIR, TIMEOUT } from "../node/options.ts";
import { askPolicies, type PoliciesPage } from "../node/policies-page.ts";
import { ask } from "../node/probes.ts";
import { podRange } from "../node/ranges.ts";
import { currentTable, type KnownNodes, type RunDirectory, readRunDirectory } from "../node/run-dir.ts";
import { askReadiness, type Readiness } from "../node/weftd.ts";
import { type Block, type Cell, CommandError, ExitStatus, text } from "../outcome.ts";
import { declareSubcommand } from "../subcommand.ts";
import { isProgrammed, type PeerState, peerStates, programmedText } from "./peers.ts";
import { countPods, podsText } from "./pods.ts";
import { policiesText } from "./policies.ts";

/** A peer and the result of its probe. Undefined if it was not probed. */
type Peer = PeerState & { readonly answerMs: number | "silent" | undefined };

export const status = declareSubcommand({
  name: "status",
  group: "Inspect",
  summary: "show this node and its peers: what is programmed, and which peers answer",
  description: [
    "Shows the state of weftd and the kernel: the node, its subnets and devices, and each peer with its route, neighbour and forwarding entry. Probes each peer with a datagram to a closed port, through the tunnel if there is one. A peer whose firewall drops such datagrams shows no answer.",
    "Works without weftd, from the node table that weftd wrote last. Lists peers with problems first.",
    "The exit status is 0 if all is well, 4 if peers do not answer, and 5 if weftd is not ready or an entry differs from the desired state.",
  ],
  arguments: {},
  options: {
    peer: { kind: "text", value: "NAME", about: "show only this peer, with each of its entries" },
    quiet: { kind: "flag", about: "do not probe other nodes" },
    runDir: RUN_DIR,
    cniConfDir: CNI_CONF_DIR,
    metricsAddress: METRICS_ADDRESS,
    timeout: TIMEOUT,
  },
  examples: [
    { line: "status", about: "show this node and all peers" },
    { line: "status --peer n7", about: "show the kernel's entries for one peer" },
    { line: "status --quiet -o json", about: "print JSON, without probing peers" },
  ],
  printsData: true,
  run({ system, options, progress }) {
    const run = readRunDirectory(system, options.runDir);
    const table = currentTable(run);
    const readiness = run.isAlive ? askReadiness(system, options.metricsAddress, options.timeout) : undefined;
    if (table === undefined) throw noTable(run, readiness);
    progress("reading the kernel's tables");
    const observed = observe(system);
    const desired = desireOf(table, observed);
    const all = peerStates(table, desired, observed);
    const chosen = options.peer === undefined ? all : all.filter(({ name }) => name === options.peer);
    if (options.peer !== undefined && chosen.length === 0)
      throw new CommandError(`${run.path}/nodes.json has no peer ${options.peer}`, {
        remedy: "weft status lists all peers.",
      });
    if (!options.quiet) progress(`probing ${chosen.length} peers`);
    const peers = sorted(
      options.quiet
        ? chosen.map((peer) => ({ ...peer, answerMs: undefined }))
        : probed(system, chosen, options.timeout),
    );
    const attachment = attachmentOf(
      readNetworks(system, options.cniConfDir).files.find(({ name }) => name === CONFLIST_NAME),
    );
    const policies = run.isAlive ? policiesOf(system, options) : undefined;
    const about = { run, table, readiness, observed, desired, attachment, policies };
    const node = describeNode(system, about);
    return {
      status: statusOf(run, readiness, peers),
      blocks:
        options.peer === undefined
          ? [...nodeBlocks(node, about), text(""), ...peerBlocks(peers)]
          : peers.flatMap(onePeer),
      data: { node, peers: peers.map(dataOf) },
    };
  },
});

function noTable({ path, table }: RunDirectory, readiness: Readiness | undefined): CommandError {
  const reason =
    table.is === "absent"
      ? "is missing"
      : table.is === "unreadable"
        ? `cannot be read: ${table.reason}`
        : "was written before the last boot";
  const missing = readiness?.is === "answered" ? readiness.missing : [];
  return new CommandError(`${path}/nodes.json ${reason}: weftd has not been ready since this node booted`, {
    remedy: `${missing.length > 0 ? `weftd is not ready: ${missing.join("; ")}. ` : ""}Run weft doctor for details.`,
  });
}

function observe(system: System): KernelSnapshot {
  const route = openRoute(system);
  try {
    return readSnapshot(route);
  } finally {
    route.close();
  }
}

function probed(system: System, peers: readonly PeerState[], timeoutMs: number): Peer[] {
  const asked = peers.flatMap(({ probe }) => probe ?? []);
  const answers = ask(system, asked, timeoutMs);
  let next = 0;
  return peers.map((peer) => {
    if (peer.probe === undefined) return { ...peer, answerMs: undefined };
    const answer = answers[next++];
    return { ...peer, answerMs: answer?.isAnswered === true ? answer.afterMs : "silent" };
  });
}

function rankOf(peer: Peer): number {
  return !isProgrammed(peer) ? 0 : peer.answerMs === "silent" ? 1 : 2;
}

function sorted(peers: readonly Peer[]): Peer[] {
  return [...peers].sort((a, b) => rankOf(a) - rankOf(b) || compareNames(a.name, b.name));
}

/** Sorts n2 before n10. */
function compareNames(a: string, b: string): number {
  const [left, right] = [a, b].map((name) => name.replace(/\d+/g, (digits) => digits.padStart(12, "0")));
  return left === right ? 0 : String(left) < String(right) ? -1 : 1;
}

function statusOf({ isAlive }: RunDirectory, readiness: Readiness | undefined, peers: readonly Peer[]): ExitStatus {
  const isServing = isAlive && readiness?.is === "answered" && readiness.isReady;
  if (!isServing || !peers.every(isProgrammed)) return ExitStatus.faults;
  return peers.some(({ answerMs }) => answerMs === "silent") ? ExitStatus.warnings : ExitStatus.done;
}

interface About {
  readonly run: RunDirectory;
  readonly table: KnownNodes;
  readonly readiness: Readiness | undefined;
  readonly observed: KernelSnapshot;
  readonly desired: ReturnType<typeof desireOf>;
  readonly attachment: ReturnType<typeof attachmentOf>;
  /** Undefined if weftd does not answer, or has no report. */
  readonly policies: PoliciesPage | undefined;
}

function policiesOf(system: System, { metricsAddress, timeout }: { metricsAddress: string; timeout: number }) {
  const answer = askPolicies(system, metricsAddress, timeout);
  return answer.is === "answered" ? answer.page : undefined;
}

function describeNode(system: System, { run, table, readiness, observed, desired, attachment, policies }: About) {
  const { node, conf, generation } = table;
  const underlay = observed.links.find(({ index }) => index === node.underlay.index);
  const reservations = readReservations(system, `${attachment.dataDir}/${attachment.network}`);
  return {
    name: node.name,
    backend: conf.backend.type,
    ...settingsOf(conf).data,
    subnets: node.subnets.map((subnet) => {
      const range = podRange(subnet);
      const used = reservations.filter(({ address }) => isWithin(range, address)).length;
      return { subnet: formatPrefix(subnet), used, capacity: capacityOf(range) };
    }),
    underlay: {
      interface: underlay?.name ?? null,
      mtu: node.underlay.mtu,
      addresses: Object.values(node.underlay.local).map(formatAddress),
    },
    // This JSON key dates from when VXLAN devices were the only ones.
    vteps: desired.dataPath.devices.map((device) => {
      const { name, mac, mtu } = device;
      const link = observed.links.find((one) => one.name === name);
      const state =
        link === undefined
          ? "missing"
          : !link.isUp
            ? "down"
            : (mac ?? link.mac) !== link.mac || link.mtu !== mtu
              ? "other"
              : "up";
      return { name, ...describeDevice(device).data, mac: mac ?? null, mtu, state };
    }),
    pods: countPods(attachment, observed),
    policies: policies === undefined ? null : { mode: policies.mode, ...policies.counts },
    weftd: {
      isAlive: run.isAlive,
      isReady: readiness?.is === "answered" && readiness.isReady,
      reasons:
        readiness?.is === "answered"
          ? [...readiness.missing, ...readiness.warnings]
          : readiness === undefined
            ? []
            : [readiness.reason],
    },
    table: {
      generation,
      ageSeconds: run.table.is === "held" ? Math.round(run.table.ageMs / 1000) : 0,
      peers: table.peers.length,
    },
  };
}

const NOTHING: Description = { data: {}, text: "" };

function settingsOf({ backend }: KnownNodes["conf"]): Description {
  return backendOf(backend).inspection.settings?.(backend) ?? NOTHING;
}

function describeDevice(device: Device) {
  const inspection = backendNamed(device.backend)?.inspection.devices;
  return { word: inspection?.word ?? "device", ...(inspection?.describe(device) ?? NOTHING) };
}

function nodeBlocks(node: ReturnType<typeof describeNode>, { table: { conf }, desired }: About): Block[] {
  const { weftd, table, underlay, pods, policies } = node;
  const settings = settingsOf(conf).text;
  const descriptions = desired.dataPath.devices.map(describeDevice);
  const rows: [string, Cell][] = [
    ["backend", settings === "" ? node.backend : `${node.backend} (${settings})`],
    ...node.subnets.map(({ subnet, used, capacity }): [string, Cell] => [
      "subnet",
      `${subnet}: ${used} of ${capacity} addresses reserved`,
    ]),
    ["underlay", `${underlay.interface ?? "(gone)"}, ${underlay.addresses.join(" and ")}, MTU ${underlay.mtu}`],
    ...node.vteps.map(({ name, mac, mtu, state }, at): [string, Cell] => [
      descriptions[at]?.word ?? "",
      {
        text: [
          `${name}: ${state === "other" ? "wrong MAC address or MTU" : state}`,
          ...(mac === null ? [] : [mac]),
          `MTU ${mtu}`,
          descriptions[at]?.text,
        ]
          .filter(Boolean)
          .join(", "),
        tone: state === "up" ? "good" : "bad",
      },
    ]),
    ["pods", podsText(pods)],
    ...(policies === null ? [] : [["policies", policiesText(policies)] satisfies [string, Cell]]),
    [
      "weftd",
      {
        text: `${weftd.isAlive ? `running, ${weftd.isReady ? "ready" : "not ready"}` : "not running"}${weftd.reasons.map((reason) => `; ${reason}`).join("")}`,
        tone: weftd.isReady ? "good" : "bad",
      },
    ],
    [
      "table",
      `generation ${table.generation}, written ${formatAge(table.ageSeconds * 1000)} ago, ${table.peers} peers`,
    ],
  ];
  return [{ kind: "table", head: ["NODE", node.name], rows }];
}

function peerBlocks(peers: readonly Peer[]): Block[] {
  if (peers.length === 0) return [text("No peers are known.")];
  const rows = peers.map((peer): Cell[] => [
    peer.name,
    peer.addresses.join(",") || "-",
    peer.subnets.join(",") || "-",
    peer.ways.join(",") || "-",
    isProgrammed(peer) ? programmedText(peer) : { text: programmedText(peer), tone: "bad" },
    answerCell(peer),
    peer.problems.join("; "),
  ]);
  return [{ kind: "table", head: ["PEER", "ADDRESS", "SUBNETS", "VIA", "PROGRAMMED", "ANSWERS", ""], rows }];
}

function answerCell({ answerMs }: Peer): Cell {
  if (answerMs === undefined) return { text: "not probed", tone: "quiet" };
  return answerMs === "silent" ? { text: "no", tone: "warning" } : `${answerMs.toFixed(1)} ms`;
}

function onePeer(peer: Peer): Block[] {
  return [
    ...peerBlocks([peer]),
    ...(peer.entries.length === 0
      ? []
      : [
          text(""),
          {
            kind: "table" as const,
            head: ["ENTRY", "STATE", "DESIRED"],
            rows: peer.entries.map(({ kind, presence, text: words }): Cell[] => [
              kind,
              presence === "there" ? "present" : { text: presence === "other" ? "different" : presence, tone: "bad" },
              words,
            ]),
          },
        ]),
  ];
}

function dataOf(peer: Peer) {
  const { probe, answerMs, ...rest } = peer;
  return {
    ...{ ...rest, backend: rest.backend ?? null },
    isProgrammed: isProgrammed(peer),
    probe: probe === undefined ? null : formatAddress(probe.to),
    isAnswering: answerMs === undefined ? null : answerMs !== "silent",
    answerMs: typeof answerMs === "number" ? answerMs : null,
  };
}
