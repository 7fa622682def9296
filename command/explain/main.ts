/** `weft explain`: the way of a packet to an address, hop by hop, and where it breaks. */

import type { Hop, HopState } from "../../pkg/backend/inspection.ts";
import { CONFLIST_NAME } from "../../pkg/footprint.ts";
import { type Address, AddressError, formatAddress, parseAddress } from "../../pkg/ip/address.ts";
import { readReservations } from "../../pkg/ipam/reservation.ts";
import { readProxies } from "../../pkg/kernel/read.ts";
import { getRoute, type ObservedRoute, parseRoute, type RouteQuestion } from "../../pkg/kernel/route.ts";
import { readSnapshot } from "../../pkg/kernel/snapshot.ts";
import { readSysctl, type SysctlName } from "../../pkg/kernel/sysctl.ts";
import { type BlockingNetlink, openNetfilter, openRoute } from "../../pkg/netlink/blocking.ts";
import { IPPROTO } from "../../pkg/packet-walk/packet.ts";
import type { System } from "../../pkg/sys/system.ts";
import { desireOf } from "../node/kernel.ts";
import { readLegacyFamilies } from "../node/legacy.ts";
import { readNamespaces } from "../node/namespaces.ts";
import { type AttachSettings, attachmentOf, readNetworks } from "../node/networks.ts";
import { CNI_CONF_DIR, RUN_DIR } from "../node/options.ts";
import { podKinds } from "../node/pod-kinds.ts";
import { openRules } from "../node/rules.ts";
import { currentTable, readRunDirectory } from "../node/run-dir.ts";
import { type Block, CommandError, ExitStatus, text } from "../outcome.ts";
import { declareSubcommand } from "../subcommand.ts";
import { missingAnswer } from "./bridge-answer.ts";
import type { Knowledge, Owner, Question } from "./knowledge.ts";
import { explainWay } from "./way.ts";

const PROTOCOLS = ["tcp", "udp", "icmp"] as const;

export const explain = declareSubcommand({
  name: "explain",
  group: "Look",
  summary: "follow a packet to an address, hop by hop, and say where it breaks",
  description: [
    "Follows a packet from this node, or from one of its pods, to an address: whose the address is, the route as the kernel answers it, the rules that it meets, neighbour, forwarding entry, the way over the underlay. Each hop comes with the command that shows it. Nothing is sent, and nothing is changed.",
    "What a rule asks of a packet that is not known here (a port, where none is given) is told as a rule that may treat it. Rules of iptables-legacy are not seen.",
    "The exit status is 0 where the packet arrives or leaves this node as it should, 4 where that cannot be told, 5 where it ends or goes astray.",
  ],
  arguments: { address: { value: "IP", about: "where the packet goes" } },
  options: {
    from: { kind: "text", value: "POD-IP", about: "the packet is this pod's, of this node" },
    protocol: { kind: "text", value: "NAME", about: "what it carries", choices: PROTOCOLS },
    port: {
      kind: "number",
      value: "PORT",
      about: "its destination port; 0 for none",
      default: 0,
      minimum: 0,
      maximum: 65_535,
    },
    runDir: RUN_DIR,
    cniConfDir: CNI_CONF_DIR,
  },
  examples: [
    { line: "explain 10.244.2.7", about: "from this node to a pod" },
    { line: "explain 10.244.2.7 --from 10.244.1.5", about: "from a pod of this node" },
    { line: "explain 10.96.0.1 --from 10.244.1.5 --protocol tcp --port 443", about: "to a service" },
  ],
  printsData: true,
  run({ system, arguments: { address }, options, progress }) {
    const destination = readAddress(address, "IP");
    const source = options.from === undefined ? undefined : readAddress(options.from, "--from");
    if (source !== undefined && source.family !== destination.family)
      throw new CommandError(`--from ${options.from} and ${address} are of different families`, {
        status: ExitStatus.usage,
      });
    const protocol = protocolOf(options.protocol, destination);
    const question: Question = { destination, source, protocol, port: options.port === 0 ? undefined : options.port };
    progress("reading the kernel's tables");
    const hops = withKnowledge(system, options, (knowledge) => explainWay(question, knowledge));
    return {
      status: statusOf(hops),
      blocks: hops.flatMap(blocksOf),
      data: { address: formatAddress(destination), from: source === undefined ? null : formatAddress(source), hops },
    };
  },
});

function readAddress(words: string, what: string): Address {
  try {
    return parseAddress(words);
  } catch (error) {
    if (error instanceof AddressError)
      throw new CommandError(`${what}: ${error.message}`, { status: ExitStatus.usage });
    throw error;
  }
}

function protocolOf(name: (typeof PROTOCOLS)[number] | undefined, { family }: Address): number | undefined {
  if (name === "icmp") return family === 4 ? IPPROTO.icmp : IPPROTO.icmpv6;
  return name === undefined ? undefined : IPPROTO[name];
}

function statusOf(hops: readonly Hop[]): ExitStatus {
  if (hops.some(({ state }) => state === "ends" || state === "astray")) return ExitStatus.faults;
  return hops.at(-1)?.state === "arrives" ? ExitStatus.done : ExitStatus.warnings;
}

const TONE = { goes: undefined, arrives: "good", ends: "bad", astray: "bad", note: "warning" } as const;
const WIDTH = 12;

function blocksOf({ at, state, text: words, show, remedy }: Hop): Block[] {
  const tone = TONE[state as HopState];
  const line = `${at.padEnd(WIDTH)}${words}`;
  return [
    text(tone === undefined ? line : { text: line, tone }),
    ...(show === undefined ? [] : [text({ text: `show: ${show}`, tone: "quiet" }, WIDTH)]),
    ...(remedy === undefined ? [] : [text(`mend: ${remedy}`, WIDTH)]),
  ];
}

function withKnowledge<T>(
  system: System,
  { runDir, cniConfDir }: { readonly runDir: string; readonly cniConfDir: string },
  work: (knowledge: Knowledge) => T,
): T {
  const run = readRunDirectory(system, runDir);
  const table = currentTable(run);
  const conflist = readNetworks(system, cniConfDir).files.find(({ name }) => name === CONFLIST_NAME);
  const route = openRoute(system);
  const netfilter = openNetfilter(system);
  try {
    const observed = readSnapshot(route);
    const { attachment, ends } = podKinds(attachmentOf(conflist), observed);
    const answers = { sysctl: (name: SysctlName) => readSysctl(system, name), proxies: () => readProxies(route, 6) };
    return work({
      ...{ table, observed, attachment, ends },
      missingAnswer: (bridge, address) => missingAnswer(answers, bridge, address),
      desired: table === undefined ? undefined : desireOf(table, observed),
      ruleset: openRules(netfilter),
      legacy: readLegacyFamilies(system),
      reservationOf: reservationsBy(system, attachment),
      routeTo: (destination, question) => askRoute(route, destination, question),
    });
  } finally {
    route.close();
    netfilter.close();
  }
}

function askRoute(route: BlockingNetlink, destination: Address, question: RouteQuestion = {}): ObservedRoute | string {
  const [reply] = route.exchange([getRoute(destination, question)]);
  if (reply?.error !== undefined) return reply.error.code;
  const [message] = reply?.messages ?? [];
  return (message === undefined ? undefined : parseRoute(message)) ?? "no answer";
}

/** Read when they are first asked for. */
function reservationsBy(system: System, { dataDir, network }: AttachSettings): (address: Address) => Owner | undefined {
  let found: ReadonlyMap<string, Owner> | undefined;
  return (address) => {
    found ??= readOwners(system, `${dataDir}/${network}`);
    return found.get(formatAddress(address));
  };
}

function readOwners(system: System, directory: string): ReadonlyMap<string, Owner> {
  const { addresses } = readNamespaces(system);
  const namespaces = new Map(addresses.map(({ address, namespace }) => [address, namespace]));
  return new Map(
    readReservations(system, directory).map(({ address, containerId, ifName }) => {
      const key = formatAddress(address);
      return [key, { containerId, ifName, namespace: namespaces.get(key) }];
    }),
  );
}
