/** `weft explain`: follows a packet to an address hop by hop, and shows where it is lost. */

import type { Hop, HopState } from "../../pkg/backend/inspection.ts";
import { BRIDGE_CALLS, CONFLIST_NAME } from "../../pkg/footprint.ts";
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
import { askJudgement, type JudgementPage, type JudgementQuestion, type PolicyAnswer } from "../node/policies-page.ts";
import { openRules } from "../node/rules.ts";
import { currentTable, readRunDirectory } from "../node/run-dir.ts";
import { askServices, PAGE_LIMIT_MS } from "../node/services-page.ts";
import { type Block, CommandError, ExitStatus, text } from "../outcome.ts";
import { declareSubcommand } from "../subcommand.ts";
import { missingAnswer } from "./bridge-answer.ts";
import { PROTOCOLS, parseDestination, protocolNumber, readAddress } from "./destination.ts";
import type { Knowledge, Owner, Question } from "./knowledge.ts";
import { addressOfPod } from "./pod-name.ts";
import { followWay } from "./way.ts";

export const explain = declareSubcommand({
  name: "explain",
  group: "Inspect",
  summary: "follow a packet to an address, hop by hop, and show where it is lost",
  description: [
    "Follows the first packet of a connection to an address. The packet starts at this node, at one of its pods, or at another host (--from). Each line is a hop: the owner of the address, the kernel's route, the rules that the packet passes, the neighbour, the forwarding entry, and the link to the other node. Each hop has a command that shows the kernel's state. Sends nothing and changes nothing.",
    "A connection to a Service is followed through the kernel's rules: the frontend, the endpoints with their probabilities, and masquerading, or the reason for a rejection. Then the packet is followed to one of the endpoints.",
    "NetworkPolicies are named: weftd is asked for its judgement of both sides, egress of the source and ingress of the destination, after the destination was translated. The judgement is compared with the kernel's rules. The side of a pod on another node is judged, too, as if that node had the same mode. Policies depend on the port, so give one.",
    "A rule may depend on a property of the packet that is not known here, such as a port that was not given. Such a rule is shown as one that may apply. Rules of iptables-legacy are not read.",
    "The exit status is 0 if the packet arrives or leaves this node correctly, 4 if that is not known, and 5 if the packet is lost or takes a wrong route.",
  ],
  arguments: {
    destination: {
      value: "IP[:PORT[/PROTOCOL]]",
      about: "the destination; write an IPv6 address with a port in brackets",
    },
  },
  options: {
    from: {
      kind: "text",
      value: "SOURCE",
      about: "the sender: an address, or NAMESPACE/POD for a pod of this node [this node]",
    },
    protocol: { kind: "text", value: "NAME", about: "the protocol of the packet", choices: PROTOCOLS },
    port: {
      kind: "number",
      value: "PORT",
      about: "the destination port; 0 for none",
      default: 0,
      minimum: 0,
      maximum: 65_535,
    },
    endpoint: { kind: "text", value: "IP", about: "the endpoint of a Service to follow [the most likely]" },
    runDir: RUN_DIR,
    cniConfDir: CNI_CONF_DIR,
    metricsAddress: METRICS_ADDRESS,
    timeout: TIMEOUT,
  },
  examples: [
    { line: "explain 10.244.2.7", about: "follow a packet from this node to a pod" },
    { line: "explain 10.244.2.7 --from 10.244.1.5", about: "start at a pod of this node" },
    { line: "explain 10.96.0.10:53/udp --from default/web-0", about: "follow a connection from a pod to a Service" },
    {
      line: "explain 10.244.2.7:5432 --from default/web-0",
      about: "show which policy allows or denies a connection between two pods",
    },
    {
      line: "explain 192.0.2.1:30080 --from 198.51.100.7",
      about: "follow a connection from outside to a NodePort of this node",
    },
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
    const { hops, judgement } = withKnowledge(system, options, (knowledge) => followWay(question, knowledge));
    return {
      status: statusOf(hops),
      blocks: hops.flatMap(blocksOf),
      data: {
        address: formatAddress(destination),
        from: source === undefined ? null : formatAddress(source),
        policies: judgement ?? null,
        hops,
      },
    };
  },
});

/** Parses the sender: an address, or the name of a pod. */
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
    `--from ${words}: this node's runtime has no cached result of such a pod with an IPv${family} address`,
    {
      remedy: "Run the command on the pod's node, and give the pod's address (kubectl get pod -o wide).",
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
    ...(remedy === undefined ? [] : [text(`fix: ${remedy}`, WIDTH)]),
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
  const waitMs = Math.max(timeout, PAGE_LIMIT_MS);
  const services = run.isAlive ? askServices(system, metricsAddress, waitMs) : undefined;
  const judge = (question: JudgementQuestion): PolicyAnswer<JudgementPage> =>
    run.isAlive
      ? askJudgement(system, metricsAddress, question, waitMs)
      : { is: "silent", reason: "weftd is not running" };
  const conflist = readNetworks(system, cniConfDir).files.find(({ name }) => name === CONFLIST_NAME);
  const route = openRoute(system);
  const netfilter = openNetfilter(system);
  try {
    const observed = readSnapshot(route);
    const { attachment, ends } = podKinds(attachmentOf(conflist), observed);
    const answers = { sysctl: (name: SysctlName) => readSysctl(system, name), proxies: () => readProxies(route, 6) };
    return work({
      ...{ table, observed, attachment, ends, judge },
      filtersBridged: (family) => readSysctl(system, BRIDGE_CALLS[family]) === "1",
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

/** Reads reservations at the first call. */
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
