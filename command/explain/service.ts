/** What Services do with a packet: the frontend it matches, its endpoints, and why rules reject it. */
import { SERVICES_TABLE } from "../../pkg/footprint.ts";
import { type Address, formatAddress, isSameAddress } from "../../pkg/ip/address.ts";
import { contains, parsePrefix } from "../../pkg/ip/prefix.ts";
import { NFPROTO } from "../../pkg/netlink/nftables.ts";
import { addressBytes } from "../../pkg/nft/key-bytes.ts";
import type { Choice, Ending } from "../../pkg/packet-walk/ruleset.ts";
import type { Frontend } from "../../pkg/services/frontend.ts";
import { type Bytes, rowBytes } from "../../pkg/services/nftables/bytes.ts";
import { type PageFrontend, type ProtocolWord, placeText } from "../node/services-page.ts";
import { addressAndPort, PROTOCOL_WORD } from "../services/sight.ts";
import { difference, expected } from "./model.ts";
import type { Trace } from "./trace.ts";
import { endingText, showChain } from "./words.ts";

/** Reports the Service that answers at the destination. Returns false if there is none. */
export function sayFrontend(trace: Trace): boolean {
  const { destination, protocol, port } = trace.question;
  const text = formatAddress(destination);
  const all = (trace.knowledge.services?.services ?? []).flatMap(({ service, frontends = [] }) =>
    frontends.filter(({ address }) => address === text).map((frontend) => ({ service, frontend })),
  );
  const [first] = all;
  const found = all.find(({ frontend }) => isAt(frontend, protocol, port));
  if (found !== undefined) {
    const { service, frontend } = found;
    const name = frontend.portName === undefined ? "" : `, port ${frontend.portName}`;
    const words = `${placeText(frontend)} is ${KIND_WORDS[frontend.kind] ?? "a frontend"} of ${service}${name}: ${policyText(frontend)}`;
    trace.say({ at: "service", state: "goes", text: words, show: `weft services ${service}` });
    return true;
  }
  if (first !== undefined && first.frontend.kind === "ClusterIP") {
    const ports = all.map(({ frontend }) => `${frontend.port}/${frontend.protocol.toLowerCase()}`).join(", ");
    const words = `${text} is the ClusterIP of ${first.service}, with ${ports}`;
    const isKnown = port !== undefined;
    trace.say({
      at: "service",
      state: "note",
      text: isKnown ? `${words}; it has no other ports` : `${words}; give one of these ports`,
      show: `weft services ${first.service}`,
    });
    return true;
  }
  const range = (trace.knowledge.services?.node?.serviceRanges ?? []).find((each) =>
    contains(parsePrefix(each), destination),
  );
  if (range === undefined) return sayHeldFrontend(trace, text);
  trace.say({
    at: "service",
    state: "note",
    text: `${text} is in the range of ClusterIPs ${range}, but no Service has it`,
  });
  return true;
}

const KIND_WORDS: Readonly<Record<string, string>> = {
  ClusterIP: "the ClusterIP",
  NodePort: "a NodePort",
  LoadBalancerIP: "a load balancer's address",
  ExternalIP: "an external address",
};

const PLACE = { family: NFPROTO.inet, table: SERVICES_TABLE };

/** Without weftd, only the kernel's table shows frontends. */
function sayHeldFrontend(trace: Trace, text: string): boolean {
  const { destination: address, protocol, port } = trace.question;
  const { services, ruleset } = trace.knowledge;
  if (services !== undefined || protocol === undefined || port === undefined) return false;
  const holds = (set: string, key: Bytes) => {
    const bytes = Array.from(key, (character) => character.charCodeAt(0));
    // The result is undefined if it is not known.
    return (ruleset.elementOf?.(PLACE, `${set}${address.family}`, bytes) ?? null) !== null;
  };
  if (!holds("connections", rowBytes({ address, protocol: protocol as Frontend["protocol"], port }))) return false;
  const what = holds("cluster-ips", addressBytes(address)) ? "a ClusterIP" : "an external frontend";
  trace.say({
    at: "service",
    state: "goes",
    text: `${text}:${port} is ${what} in the kernel's table inet ${SERVICES_TABLE}; weftd does not answer, so the Service's name is not known`,
    show: "weft services",
  });
  return true;
}

function isAt(frontend: PageFrontend, protocol: number | undefined, port: number | undefined): boolean {
  const word: ProtocolWord | undefined = protocol === undefined ? undefined : PROTOCOL_WORD[protocol];
  return frontend.protocol === word && frontend.port === port;
}

function policyText({ policy, endpoints = [], localEndpoints = [], affinitySeconds }: PageFrontend): string {
  const sticky = affinitySeconds === undefined ? "" : `; a client keeps its endpoint for ${affinitySeconds} s`;
  const all = `${endpoints.length} endpoint${endpoints.length === 1 ? "" : "s"}`;
  switch (policy) {
    case "internal":
      return `policy internal, ${all}${sticky}`;
    case "cluster":
      return `policy Cluster, ${all}, masqueraded${sticky}`;
    case "local":
      return `policy Local, ${localEndpoints.length} of ${all} on this node${sticky}`;
  }
}

/** Follows the packet to one of a translation's targets. Returns false if none is known. */
export function goToEndpoint(trace: Trace, translation: Ending, name: string): boolean {
  const targets = translation.targets.filter(isKnown);
  const followed = chosenEndpoint(trace, targets);
  if (followed === undefined) return false;
  trace.say({
    at: name,
    state: "goes",
    text: `${endingText(translation)} sends it to ${targets.length === 1 ? "" : "one of "}${targets.map((target) => targetText(target, targets.length)).join(", ")}`,
    show: showChain(translation),
  });
  if (targets.length > 1)
    trace.say({
      at: "endpoint",
      state: "goes",
      text: `following ${choiceText(followed)} (choose another with --endpoint)`,
    });
  if (translation.chain.table === SERVICES_TABLE) trace.targets = targets.map(choiceText);
  trace.translate(followed.address, followed.port);
  return true;
}

type KnownChoice = Choice & { readonly address: Address };

function isKnown(choice: Choice): choice is KnownChoice {
  return choice.address !== undefined;
}

/** Returns the endpoint of the question, or the most likely one. */
export function chosenEndpoint<C extends Choice>(trace: Trace, targets: readonly C[]): C | undefined {
  const { endpoint } = trace.question;
  const asked = targets.find(
    ({ address }) => endpoint !== undefined && address !== undefined && isSameAddress(address, endpoint),
  );
  return asked ?? [...targets].sort((a, b) => b.probability - a.probability)[0];
}

function targetText(choice: KnownChoice, count: number): string {
  return count === 1 ? choiceText(choice) : `${choiceText(choice)} (${percentage(choice.probability)})`;
}

function percentage(probability: number): string {
  return `${(probability * 100).toFixed(1).replace(/\.0$/, "")} %`;
}

function choiceText({ address, port }: Pick<KnownChoice, "address" | "port">): string {
  return port === undefined ? formatAddress(address) : addressAndPort(address, port);
}

export interface Refusal {
  readonly text: string;
  readonly remedy: string | undefined;
}

/**
 * Explains why a rule in weftd's table of Services drops or rejects the packet. Undefined for rules of other tables.
 */
export function refusalOfService(trace: Trace, ending: Ending): Refusal | undefined {
  if (ending.chain.table !== SERVICES_TABLE) return undefined;
  trace.refusal = ending.action === "reject" ? "reject" : "drop";
  const verb = ending.action === "reject" ? "rejects" : "drops";
  const outcome = expected(trace, trace.knowledge.services);
  const reason = outcome?.verdict === trace.refusal ? `: ${outcome.reason}` : "";
  const service = outcome?.frontend?.service;
  const [namespace = "", name = ""] = service?.split("/") ?? [];
  const hasEndpoint = outcome?.frontend?.withoutEndpoint === undefined;
  return {
    text: `${endingText(ending)} ${verb} it${reason}`,
    remedy:
      service === undefined || hasEndpoint
        ? undefined
        : `kubectl -n ${namespace} get endpointslices -l kubernetes.io/service-name=${name} -o wide`,
  };
}

/** Runs at the end, and reports differences between the kernel's rules and what weftd expects. */
export function compareWithModel(trace: Trace): void {
  const outcome = expected(trace, trace.knowledge.services);
  if (outcome === undefined || !trace.hasMetServices) return;
  const { targets, refusal, isMasqueraded } = trace;
  // A packet that ended elsewhere never reached the rules that reject it.
  const isOver = trace.hops.at(-1)?.state === "ends";
  if (outcome.verdict !== "endpoints" && isOver && refusal === undefined) return;
  const { destination, port } = trace.question;
  const followed = trace.original === undefined || port === undefined ? undefined : addressAndPort(destination, port);
  const words = difference(outcome, { targets, refusal, isMasqueraded }, followed);
  if (words === undefined) return;
  trace.say({
    at: "compared",
    state: "astray",
    text: `${words}: the table inet ${SERVICES_TABLE} is out of date, or another program's rules run first`,
    show: "weft services",
    remedy: "see weftd's log, and restart weftd, which compares the whole table",
  });
}
