/** Reads everything that the checks need from the node. Changes nothing. */

import { BACKENDS } from "../../pkg/backend/backends.ts";
import { type Renumbering, renumberingOf } from "../../pkg/backend/renumbering.ts";
import type { DesiredState } from "../../pkg/backend/state.ts";
import { CONFLIST_NAME, FORWARD_MARK } from "../../pkg/footprint.ts";
import { acceptForwardedRanges, FORWARD_OPTIONS } from "../../pkg/foreign/foreign-forward.ts";
import { lookAtForwarding } from "../../pkg/foreign/forward-look.ts";
import type { Family } from "../../pkg/ip/address.ts";
import { formatPrefix } from "../../pkg/ip/prefix.ts";
import type { Reservation } from "../../pkg/ipam/reservation.ts";
import { readProxies } from "../../pkg/kernel/read.ts";
import { type KernelSnapshot, readSnapshot } from "../../pkg/kernel/snapshot.ts";
import { readSysctl } from "../../pkg/kernel/sysctl.ts";
import type { BlockingNetlink } from "../../pkg/netlink/blocking.ts";
import { readRuleset } from "../../pkg/netlink/ruleset.ts";
import type { PodEnds } from "../../pkg/reconcile/pod-ends.ts";
import type { System } from "../../pkg/sys/system.ts";
import { desireOf } from "../node/kernel.ts";
import { type AttachSettings, attachmentOf, type NetworkFolder, readNetworks } from "../node/networks.ts";
import { podKinds } from "../node/pod-kinds.ts";
import { type NodeRules, openRules } from "../node/rules.ts";
import { currentTable, type KnownNodes, readRunDirectory } from "../node/run-dir.ts";
import { tryNetworks } from "../node/trial.ts";
import { askReadiness } from "../node/weftd.ts";
import type { Build } from "../subcommand.ts";
import type { Facts, RuleFacts } from "./facts.ts";
import { lookAtKernel, readOffloads } from "./gather/kernel.ts";
import { readLeases } from "./gather/leases.ts";
import { readLegacy } from "./gather/legacy.ts";
import { readNetworkd, readNetworkManager } from "./gather/other-programs.ts";
import { lookAtPlugins } from "./gather/plugins.ts";
import { readPodRules } from "./gather/pod-rules.ts";
import { readPolicies } from "./gather/policies.ts";
import { probePeers } from "./gather/probes.ts";
import { readRooms } from "./gather/rooms.ts";
import { readServices } from "./gather/services.ts";
import { findUnseen } from "./gather/unseen.ts";

export interface GatherOptions {
  readonly runDir: string;
  readonly cniConfDir: string;
  readonly cniBinDir: string;
  readonly metricsAddress: string;
  readonly timeoutMs: number;
  /** True if nothing is sent to other nodes. */
  readonly isQuiet: boolean;
  readonly build: Build;
}

/** Sockets to the kernel. They stay open while the checks run, since rules are read when a check needs them. */
export interface Sockets {
  readonly route: BlockingNetlink;
  /** Undefined if the kernel does not support nf_tables. */
  readonly netfilter: BlockingNetlink | undefined;
}

export function gather(
  system: System,
  { route, netfilter }: Sockets,
  options: GatherOptions,
  progress: (text: string) => void,
): Facts {
  progress("reading weftd's run directory");
  const run = readRunDirectory(system, options.runDir);
  const table = currentTable(run);
  const readiness = run.isAlive ? askReadiness(system, options.metricsAddress, options.timeoutMs) : undefined;
  progress("reading the kernel's tables");
  const kernel = lookAtKernel(system, route, netfilter !== undefined);
  const observed = readSnapshot(route);
  const desired = table === undefined ? undefined : desireOf(table, observed);
  const networks = readNetworks(system, options.cniConfDir);
  const own = networks.files.find(({ name }) => name === CONFLIST_NAME);
  const { attachment, ends } = podKinds(attachmentOf(own), observed);
  const families = new Set<Family>(table?.node.subnets.map(({ address }) => address.family) ?? [4]);
  const complaints = tryNetworks(system, networks.files, options.build);
  progress("reading the rules");
  const rules = readRuleFacts(system, netfilter, table);
  progress("comparing executables");
  const plugins = lookAtPlugins(system, options.cniBinDir, options.build);
  const { leases, own: reserved } = readLeases(system, options.cniConfDir, attachment, table);
  const renumbering = readRenumbering(table, desired, { ...attachment, routed: ends.routed }, reserved, observed);
  if (!options.isQuiet) progress("probing peers");
  const isAsking = !options.isQuiet && table !== undefined && desired !== undefined;
  const asked = {
    ...{ netfilter, chains: rules.chains, isAlive: run.isAlive },
    ...{ metricsAddress: options.metricsAddress, timeoutMs: options.timeoutMs },
  };
  return {
    command: system.executablePath,
    hasWeftd: run.isAlive || system.status(run.path) !== undefined || own !== undefined || needsWeftd(networks),
    ...{ kernel, run, table, readiness, observed, desired, networks, own, attachment, rules, plugins, complaints },
    ...{ families, ends, leases, renumbering },
    proxies: families.has(6) ? readProxies(route, 6) : [],
    sysctl: (name) => readSysctl(system, name),
    rooms: readRooms(system, [attachment.dataDir, options.runDir, options.cniConfDir]),
    unseen: findUnseen(system, options.cniBinDir, leases),
    services: readServices(system, asked),
    policies: readPolicies(system, asked),
    podRules: readPodRules(system, netfilter, options.cniBinDir),
    networkd: readNetworkd(system),
    networkManager: readNetworkManager(system),
    offloads: desired === undefined ? [] : readOffloads(system, desired.dataPath.devices, observed.links),
    probes: isAsking ? probePeers(system, { table, desired }, options.timeoutMs) : [],
  };
}

/** The types of plugins that read weftd's node table. */
const NEEDING_WEFTD: readonly unknown[] = BACKENDS.flatMap(({ executable }) => executable ?? []);

function needsWeftd({ files }: NetworkFolder): boolean {
  return files.some(({ plugins }) => plugins.some((plugin) => NEEDING_WEFTD.includes(plugin.value("type"))));
}

function readRenumbering(
  table: KnownNodes | undefined,
  desired: DesiredState | undefined,
  { network, bridge, routed }: AttachSettings & Pick<PodEnds, "routed">,
  reserved: readonly Reservation[],
  observed: KernelSnapshot,
): Renumbering | undefined {
  if (table === undefined) return undefined;
  const peerSubnets = desired?.dataPath.routes.map(({ destination }) => destination) ?? [];
  const { node, formerSubnets: former } = table;
  return renumberingOf({ network, bridge, routed, subnets: node.subnets, former, peerSubnets }, reserved, observed);
}

const NO_RULES: NodeRules = { bases: [], chains: [], rulesOf: () => [], elementsOf: () => undefined };

function readRuleFacts(
  system: System,
  netfilter: BlockingNetlink | undefined,
  table: KnownNodes | undefined,
): RuleFacts {
  const legacy = readLegacy(system);
  if (netfilter === undefined) return { ruleset: NO_RULES, chains: [], missingAccepts: [], legacy };
  const families = new Set(table?.node.subnets.map(({ address }) => address.family));
  const ranges = (table?.conf.networks ?? [])
    .filter(({ address }) => families.has(address.family))
    .map((range) => ({ owner: `${FORWARD_MARK}${formatPrefix(range)}`, range }));
  const seen = lookAtForwarding((questions) => readRuleset(netfilter, questions), FORWARD_OPTIONS);
  const missingAccepts = acceptForwardedRanges(seen, ranges, FORWARD_OPTIONS).map(({ text }) => text);
  const ruleset = openRules(netfilter);
  return { ruleset, chains: ruleset.chains, missingAccepts, legacy };
}
