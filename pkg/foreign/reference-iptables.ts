/**
 * The reference plugins' rules in iptables' tables: builds the input for `iptables-restore --noflush` from the output
 * of `iptables-save`. Idempotent: an attachment's own chain and the jumps to it are rewritten, and a chain that
 * attachments share gets only its missing rules.
 *
 *     nat   POSTROUTING        -s POD                         -> CNI-hash     masquerade, not to subnet and multicast
 *           PREROUTING, OUTPUT to the node's own addresses    -> CNI-HOSTPORT-DNAT
 *           CNI-HOSTPORT-DNAT  the attachment's ports         -> CNI-DN-hash  mark if needed, translate
 *           POSTROUTING        first                          -> CNI-HOSTPORT-MASQ  masquerade marked packets
 *     filter  FORWARD -> CNI-FORWARD                          see legacy-xtables.ts
 *           FORWARD            first                          -> CNI-ISOLATION-STAGE-1  bridges with a policy
 */
import { ISOLATION_CHAINS } from "../footprint.ts";
import { type Address, type Family, formatAddress } from "../ip/address.ts";
import { formatPrefix, type Prefix } from "../ip/prefix.ts";
import type { Attachment } from "../kernel/owner.ts";
import { hostPortChain, masqueradeChain } from "./legacy-names.ts";
import { parseSaved, type Saved, xtablesFirewallAddition } from "./legacy-xtables.ts";
import {
  portsOfFamily,
  type ReferenceFirewall,
  type ReferenceMasquerade,
  type ReferencePort,
  type ReferencePorts,
  type ReferenceState,
  singleAddress,
} from "./reference-state.ts";

const MULTICAST = { 4: "224.0.0.0/4", 6: "ff00::/8" } as const;
const EVERYWHERE = { 4: "0.0.0.0/0", 6: "::/0" } as const;
const DNAT = "CNI-HOSTPORT-DNAT";
const SET_MARK = "CNI-HOSTPORT-SETMARK";
const MASQ = "CNI-HOSTPORT-MASQ";
/** The maximum number of ports in one rule of `-m multiport`. */
const PORTS_PER_RULE = 15;
/** The longest comment of iptables (XT_MAX_COMMENT_LEN). */
const COMMENT_LENGTH = 255;

/** A rule's words after the name of its chain. */
type Words = readonly string[];

/** An attachment's own chain. */
interface OwnChain {
  readonly name: string;
  readonly rules: Words[];
  /** The rules that jump to it. */
  readonly entries: { readonly chain: string; readonly words: Words }[];
}

/** Returns the input for the family's nat table. "" if nothing must be written. */
export function natAddition(saved: string, states: readonly ReferenceState[], family: Family): string {
  const table = parseSaved(saved);
  const ports = states.filter((state) => state.part === "portmap").filter((state) => isInIptables(state, family));
  const own = ownChains(states, ports, family);
  if (own.length === 0) return "";
  const lines = [...(ports.length === 0 ? [] : sharedLines(table, ports)), ...own.flatMap(filling(table))];
  return restoreText("nat", lines);
}

function isInIptables({ backend, addresses, ports }: ReferencePorts, family: Family): boolean {
  return backend === "iptables" && ports.length > 0 && addresses.some(({ address }) => address.family === family);
}

function ownChains(states: readonly ReferenceState[], ports: readonly ReferencePorts[], family: Family): OwnChain[] {
  const chains = new Map<string, OwnChain>();
  const chainOf = (name: string): OwnChain => {
    const chain = chains.get(name) ?? { name, rules: [], entries: [] };
    chains.set(name, chain);
    return chain;
  };
  for (const state of states) {
    if (state.part !== "masquerade") continue;
    for (const pod of state.addresses.filter(({ address }) => address.family === family))
      fillMasquerade(chainOf(masqueradeChain(state.attachment)), state, pod);
  }
  // In CNI-HOSTPORT-DNAT the first chain with the port gets the connection, so chains for single addresses come first.
  const isNarrow = (state: ReferencePorts) => state.ports.some((port) => singleAddress(port) !== undefined);
  for (const state of [...ports].sort((one, other) => Number(isNarrow(other)) - Number(isNarrow(one))))
    for (const pod of state.addresses.filter(({ address }) => address.family === family))
      fillPorts(chainOf(hostPortChain(state.attachment)), state, pod);
  return [...chains.values()];
}

/**
 * With nftables the chain stays empty, but must exist: the reference's DEL removes rules from both and fails if
 * iptables has no chain.
 */
function fillMasquerade({ name, rules, entries }: OwnChain, state: ReferenceMasquerade, pod: Prefix): void {
  if (state.backend === "nftables") return;
  const { family } = pod.address;
  const comment = ["-m", "comment", "--comment", describe(state.attachment)];
  rules.push(["-d", formatPrefix(pod), ...comment, "-j", "ACCEPT"]);
  rules.push(["!", "-d", MULTICAST[family], ...comment, "-j", "MASQUERADE"]);
  entries.push({ chain: "POSTROUTING", words: ["-s", formatAddress(pod.address), ...comment, "-j", name] });
}

function fillPorts({ name, rules, entries }: OwnChain, state: ReferencePorts, pod: Prefix): void {
  const { family } = pod.address;
  const comment = ["-m", "comment", "--comment", shortened(`dnat ${describe(state.attachment)}`)];
  for (const [protocol, ports] of byProtocol(state.ports)) {
    for (const some of chunks(ports)) {
      const multiport = ["-m", "multiport", "-p", protocol, "--destination-ports", some.join(",")];
      entries.push({ chain: DNAT, words: [...comment, ...multiport, ...state.conditions[family], "-j", name] });
    }
  }
  for (const port of portsOfFamily(state, family)) rules.push(...portRules(state, port, pod));
}

function portRules(state: ReferencePorts, port: ReferencePort, pod: Prefix): Words[] {
  const { family } = pod.address;
  const single = singleAddress(port);
  const base = ["-p", port.protocol, "--dport", String(port.hostPort)];
  const match = single === undefined ? base : [...base, "-d", formatAddress(single)];
  const mark = state.setMarkChain ?? SET_MARK;
  const sources = state.masqAll ? [EVERYWHERE[family]] : [formatPrefix(pod), ...(family === 4 ? ["127.0.0.1"] : [])];
  return [
    ...(state.snat ? sources.map((source) => [...match, "-s", source, "-j", mark]) : []),
    [...match, "-j", "DNAT", "--to-destination", destination(pod.address, port.containerPort)],
  ];
}

function destination(address: Address, port: number): string {
  return address.family === 6 ? `[${formatAddress(address)}]:${port}` : `${formatAddress(address)}:${port}`;
}

/** Ordered by protocol name, the order that the reference's CHECK expects. */
function byProtocol(ports: readonly ReferencePort[]): [protocol: string, ports: number[]][] {
  const groups = new Map<string, number[]>();
  for (const { protocol, hostPort } of ports) groups.set(protocol, [...(groups.get(protocol) ?? []), hostPort]);
  return [...groups].sort(([one], [other]) => (one < other ? -1 : 1));
}

function chunks(ports: readonly number[]): number[][] {
  const count = Math.ceil(ports.length / PORTS_PER_RULE);
  return Array.from({ length: count }, (_, at) => ports.slice(at * PORTS_PER_RULE, (at + 1) * PORTS_PER_RULE));
}

function describe({ network, containerId }: Attachment): string {
  return `name: "${network}" id: "${containerId}"`;
}

/** Truncates as the reference does. */
function shortened(comment: string): string {
  return comment.length <= COMMENT_LENGTH ? comment : `${comment.slice(0, COMMENT_LENGTH - 2)}...`;
}

/** Returns the missing parts of the chains that all attachments' ports share. */
function sharedLines(table: Saved, ports: readonly ReferencePorts[]): string[] {
  const marking = ports.filter(({ snat, setMarkChain }) => snat && setMarkChain === undefined);
  const marks = [...new Set(marking.map(({ markBit }) => `0x${((1 << markBit) >>> 0).toString(16)}`))];
  const leads = (from: string, to: string) => table.rules.some(({ chain, target }) => chain === from && target === to);
  const setMark = marks.map((mark) => [
    ...["-m", "comment", "--comment", "CNI portfwd masquerade mark", "-j", "MARK", "--set-xmark", `${mark}/${mark}`],
  ]);
  const masquerade = marks.map((mark) => ["-m", "mark", "--mark", `${mark}/${mark}`, "-j", "MASQUERADE"]);
  const local = ["-m", "addrtype", "--dst-type", "LOCAL", "-j", DNAT];
  const marked = ["-m", "comment", "--comment", "CNI portfwd requiring masquerade", "-j", MASQ];
  return [
    // -N fails if another program has created the chain meanwhile. Declared as ":CHAIN", the chain would be emptied.
    ...[DNAT, ...(marks.length === 0 ? [] : [SET_MARK, MASQ])]
      .filter((chain) => !table.chains.includes(chain))
      .map((chain) => `-N ${chain}`),
    ...lacking(table, SET_MARK, setMark),
    ...lacking(table, MASQ, masquerade),
    ...(marks.length === 0 || leads("POSTROUTING", MASQ) ? [] : [`-I POSTROUTING 1 ${ruleText(marked)}`]),
    ...["PREROUTING", "OUTPUT"].filter((chain) => !leads(chain, DNAT)).map((chain) => `-A ${chain} ${ruleText(local)}`),
  ];
}

function lacking({ rules }: Saved, chain: string, wanted: readonly Words[]): string[] {
  return wanted
    .map((words) => `${chain} ${ruleText(words)}`)
    .filter((rule) => !rules.some(({ text }) => text === rule))
    .map((rule) => `-A ${rule}`);
}

/** Empties or creates the chain, then adds its rules, and then the jumps that replace the old ones. */
function filling({ chains, rules }: Saved): (own: OwnChain) => string[] {
  return ({ name, rules: wanted, entries }) => [
    ...rules.filter(({ target }) => target === name).map(({ text }) => `-D ${text}`),
    `${chains.includes(name) ? "-F" : "-N"} ${name}`,
    ...wanted.map((words) => `-A ${name} ${ruleText(words)}`),
    ...entries.map(({ chain, words }) => `-A ${chain} ${ruleText(words)}`),
  ];
}

/** Returns the input for the family's filter table. "" if nothing is missing. */
export function filterAddition(saved: string, states: readonly ReferenceState[], family: Family): string {
  const own = states
    .filter((state) => state.part === "firewall")
    .map((state) => ({ ...state, addresses: state.addresses.filter((address) => address.family === family) }))
    .filter(({ addresses }) => addresses.length > 0);
  const adminChains = [...new Set(own.map(({ adminChain }) => adminChain))];
  const accepts = adminChains.flatMap((adminChain) => {
    const addresses = own.filter((state) => state.adminChain === adminChain).flatMap((state) => state.addresses);
    return linesOf(xtablesFirewallAddition(saved, addresses, adminChain));
  });
  // FORWARD must jump to the policies before it jumps to CNI-FORWARD.
  const lines = [...new Set([...accepts, ...isolationLines(parseSaved(saved), own)])];
  return lines.length === 0 ? "" : restoreText("filter", lines);
}

function linesOf(text: string): string[] {
  return text.split("\n").filter((line) => line.startsWith("-"));
}

const [STAGE_1, STAGE_2] = ISOLATION_CHAINS;

function isolationLines(table: Saved, states: readonly ReferenceFirewall[]): string[] {
  const policies = states.flatMap(({ policy }) => policy ?? []);
  if (policies.length === 0) return [];
  const comment = (kind: string) => [
    "-m",
    "comment",
    "--comment",
    `CNI firewall plugin rules (ingressPolicy: ${kind})`,
  ];
  const shared = comment("same-bridge|isolated");
  const bridges = [...new Map(policies.map(({ bridge, kind }) => [bridge, kind]))];
  const lacks = (chain: string, words: Words) => {
    const rule = `${chain} ${ruleText(words)}`;
    return !table.rules.some(({ text }) => text === rule);
  };
  // Missing rules are inserted first, in reverse order, and RETURN is added last.
  const first = bridges.flatMap(([bridge, kind]) => [
    { chain: STAGE_1, words: ["-i", bridge, "!", "-o", bridge, ...comment(kind), "-j", STAGE_2] },
    ...(kind === "isolated"
      ? [{ chain: STAGE_1, words: ["-i", bridge, "-o", bridge, ...comment(kind), "-j", "DROP"] }]
      : []),
    { chain: STAGE_2, words: ["-o", bridge, ...shared, "-j", "DROP"] },
  ]);
  const last = [STAGE_1, STAGE_2].map((chain) => ({ chain, words: [...shared, "-j", "RETURN"] }));
  const entry = { chain: "FORWARD", words: [...shared, "-j", STAGE_1] };
  return [
    ...[STAGE_1, STAGE_2].filter((chain) => !table.chains.includes(chain)).map((chain) => `-N ${chain}`),
    ...[...first, entry]
      .filter(({ chain, words }) => lacks(chain, words))
      .map(({ chain, words }) => `-I ${chain} 1 ${ruleText(words)}`),
    ...last
      .filter(({ chain, words }) => lacks(chain, words))
      .map(({ chain, words }) => `-A ${chain} ${ruleText(words)}`),
  ];
}

/** Quotes words as iptables-save does. */
function ruleText(words: Words): string {
  return words
    .map((word) => (/^[\w!:/.,@=+%[\]-]+$/.test(word) ? word : `"${word.replace(/["\\]/g, "\\$&")}"`))
    .join(" ");
}

function restoreText(table: string, lines: readonly string[]): string {
  return `*${table}\n${lines.join("\n")}\nCOMMIT\n`;
}
