/** `weft explain`: the way of a packet to an address, hop by hop, and where it breaks. */

import type { Hop, HopState } from "../../pkg/backend/inspection.ts";
import { CONFLIST_NAME } from "../../pkg/footprint.ts";
import { type Address, formatAddress } from "../../pkg/ip/address.ts";
import { readReservations } from "../../pkg/ipam/reservation.ts";
import { readProxies } from "../../pkg/kernel/read.ts";
import { getRoute, type ObservedRoute, parseRoute, type RouteQuestion } from "../../pkg/kernel/route.ts";
import { readSnapshot } from "../../pkg/kernel/snapshot.ts";
import { readSysctl, type SysctlName } from "../../pkg/kernel/sysctl.ts";
import { type BlockingNetlink, openNetfilter, openRoute } from "../../pkg/netlink/blocking.ts";
import type { System } from "../../pkg/sys/system.ts";
import { desireOf } from "../node/kernel.ts";
import { readLegacyFamilies } from "../node/legacy.ts";
import { readNamespaces } from "../node/namespaces.ts";
import { type AttachSettings, attachmentOf, readNetworks } from "../node/networks.ts";
import { CNI_CONF_DIR, METRICS_ADDRESS, RUN_DIR, TIMEOUT } from "../node/options.ts";
import { podKinds } from "../node/pod-kinds.ts";
import { openRules } from "../node/rules.ts";
import { currentTable, readRunDirectory } from "../node/run-dir.ts";
import { askServices, PAGE_LIMIT_MS } from "../node/services-page.ts";
import { type Block, CommandError, ExitStatus, text } from "../outcome.ts";
import { declareSubcommand } from "../subcommand.ts";
import { missingAnswer } from "./bridge-answer.ts";
import { PROTOCOLS, parseDestination, protocolNumber, readAddress } from "./destination.ts";
import type { Knowledge, Owner, Question } from "./knowledge.ts";
import { addressOfPod } from "./pod-name.ts";
import { explainWay } from "./way.ts";

export const explain = declareSubcommand({
  name: "explain",
  group: "Inspect",
  summary: "follow a packet to an address, hop by hop, and say where it breaks",
  description: [
    "Follows the first packet of a connection, of this node, of one of its pods or of another host, to an address: whose the address is, the route as the kernel answers it, the rules that it meets, neighbour, forwarding entry, the way over the underlay. Each hop comes with the command that shows it. Nothing is sent, and nothing is changed.",
    "A connection to a Service is followed through the kernel's own rules: which frontend it meets, to which endpoints it may go and with what probability, whether it is masqueraded, or why it is refused; then to one of the endpoints.",
    "What a rule asks of a packet that is not known here (a port, where none is given) is told as a rule that may treat it. Rules of iptables-legacy are not seen.",
    "The exit status is 0 where the packet arrives or leaves this node as it should, 4 where that cannot be told, 5 where it ends or goes astray.",
  ],
  arguments: {
    destination: {
      value: "IP[:PORT[/PROTOCOL]]",
      about: "where the packet goes; an IPv6 address with a port in brackets",
    },
  },
  options: {
    from: {
      kind: "text",
      value: "SOURCE",
      about: "who sends it: an address, or NAMESPACE/POD of a pod of this node [this node]",
    },
    protocol: { kind: "text", value: "NAME", about: "what it carries", choices: PROTOCOLS },
    port: {
      kind: "number",
      value: "PORT",
      about: "its destination port; 0 for none",
      default: 0,
      minimum: 0,
      maximum: 65_535,
    },
    endpoint: { kind: "text", value: "IP", about: "which of a Service's endpoints is followed [the likeliest]" },
    runDir: RUN_DIR,
    cniConfDir: CNI_CONF_DIR,
    metricsAddress: METRICS_ADDRESS,
    timeout: TIMEOUT,
  },
  examples: [
    { line: "explain 10.244.2.7", about: "from this node to a pod" },
    { line: "explain 10.244.2.7 --from 10.244.1.5", about: "from a pod of this node" },
    { line: "explain 10.96.0.10:53/udp --from default/web-0", about: "from a pod to a Service" },
    { line: "explain 192.0.2.1:30080 --from 198.51.100.7", about: "from outside to a NodePort of this node" },
  ],
  printsData: true,
  run({ system, arguments: { destination: words }, options, progress }) {
    const { address: destination, ...written } = parseDestination(words);
    const source = options.from === undefined ? undefined : readSource(system, options.from, destination);
    const endpoint = options.endpoint === undefined ? undefined : readAddress(options.endpoint, "--endpoint");
    const protocol = protocolNumber(options.protocol ?? written.protocol, destination);
    const port = options.port === 0 ? written.port : options.port;
    const question: Question = { destination, source, protocol, port, endpoint };
    progress("reading the kernel's tables");
    const hops = withKnowledge(system, options, (knowledge) => explainWay(question, knowledge));
    return {
      status: statusOf(hops),
      blocks: hops.flatMap(blocksOf),
      data: { address: formatAddress(destination), from: source === undefined ? null : formatAddress(source), hops },
    };
  },
});

/** An address, or the name of a pod. */
function readSource(system: System, words: string, { family }: Address): Address {
  const [, namespace, name] = /^([^/]+)\/([^/]+)$/.exec(words) ?? [];
  if (namespace === undefined || name === undefined) {
    const source = readAddress(words, "--from");
    if (source.family === family) return source;
    throw new CommandError(`--from ${words} and the destination are of different families`, {
      status: ExitStatus.usage,
    });
  }
  const source = addressOfPod(system, namespace, name, family);
  if (source !== undefined) return source;
  throw new CommandError(
    `--from ${words}: the runtime of this node remembers no such pod with an IPv${family} address`,
    {
      remedy: "Name the pod's address instead (kubectl get pod -o wide), on the pod's own node.",
    },
  );
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

interface Places {
  readonly runDir: string;
  readonly cniConfDir: string;
  readonly metricsAddress: string;
  readonly timeout: number;
}

function withKnowledge<T>(
  system: System,
  { runDir, cniConfDir, metricsAddress, timeout }: Places,
  work: (knowledge: Knowledge) => T,
): T {
  const run = readRunDirectory(system, runDir);
  const table = currentTable(run);
  const services = run.isAlive ? askServices(system, metricsAddress, Math.max(timeout, PAGE_LIMIT_MS)) : undefined;
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
      services: services?.is === "answered" ? services.page : undefined,
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
