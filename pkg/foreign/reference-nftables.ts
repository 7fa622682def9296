/**
 * The reference plugins' rules in their own nftables tables, and the spoof check's rules in `bridge nat`: builds the
 * input for `nft -f`, one transaction, from the state of these tables read by netlink. Idempotent: an attachment's
 * rules replace those with its comment. The input is text because portmap's conditions are in nft's own language.
 *
 *     table inet cni_plugins_masquerade   masq_checks   one rule for each address
 *     table ip, ip6 cni_hostport          hostports     one rule for each port; masquerading: connections that need it
 *     table bridge nat                    PREROUTING -> cni-br-iface-ID -> cni-br-iface-ID-mac
 */

import { type Address, addressToBytes, type Family, formatAddress } from "../ip/address.ts";
import { formatPrefix, networkOf, type Prefix } from "../ip/prefix.ts";
import type { Attachment } from "../kernel/owner.ts";
import type { Read } from "../netlink/look.ts";
import { NFPROTO } from "../netlink/nftables.ts";
import { type ChainPlace, type NftRule, placeText, readRules, rulesDump } from "../nft/ruleset.ts";
import {
  HOST_PORT_TABLE,
  MASQUERADE_TABLE,
  masqueradeHash,
  SPOOF_CHECK_TABLE,
  spoofCheckChain,
} from "./legacy-names.ts";
import {
  portsOfFamily,
  type ReferenceMasquerade,
  type ReferencePort,
  type ReferencePorts,
  type ReferenceSpoofCheck,
  type ReferenceState,
  singleAddress,
} from "./reference-state.ts";

const FAMILIES = [4, 6] as const;
const WORD = { 4: "ip", 6: "ip6" } as const;
/** The longest comment of nft. */
const COMMENT_LENGTH = 128;
const MASQUERADE = `inet ${MASQUERADE_TABLE.table}`;
const SPOOF_CHECK = `bridge ${SPOOF_CHECK_TABLE.table}`;

/** True for state that `nft` writes. */
export function isInNftables(state: ReferenceState): boolean {
  if (state.part === "spoof-check") return true;
  return (state.part === "masquerade" || state.part === "portmap") && state.backend === "nftables";
}

/** Reads the rules that `nftScript` needs. */
export function lookAtReferenceTables(read: Read): readonly NftRule[] {
  return readRules(read(places().map(rulesDump)));
}

function places(): ChainPlace[] {
  const hostPorts = [NFPROTO.ip, NFPROTO.ip6].flatMap((family) =>
    [...HOST_PORT_TABLE.chains, "prerouting", "output"].map((chain) => ({
      family,
      table: HOST_PORT_TABLE.table,
      chain,
    })),
  );
  return [
    ...MASQUERADE_TABLE.chains.map((chain) => ({ family: NFPROTO.inet, table: MASQUERADE_TABLE.table, chain })),
    ...hostPorts,
    { family: NFPROTO.bridge, table: SPOOF_CHECK_TABLE.table, chain: SPOOF_CHECK_TABLE.entry },
  ];
}

/** Returns "" if nothing must be written. */
export function nftScript(seen: readonly NftRule[], states: readonly ReferenceState[]): string {
  const own = states.filter(isInNftables);
  const masquerades = own.filter((state) => state.part === "masquerade");
  const ports = own.filter((state) => state.part === "portmap").filter((state) => state.ports.length > 0);
  const guards = own.filter((state) => state.part === "spoof-check");
  const lines = [
    ...(masquerades.length === 0 ? [] : masqueradeLines(seen, masquerades)),
    ...FAMILIES.flatMap((family) => hostPortLines(seen, ports, family)),
    ...(guards.length === 0 ? [] : guardLines(seen, guards)),
  ];
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}

/** Deletes the rules in the table for which `isStale` is true. */
function deletions(
  seen: readonly NftRule[],
  { table, family }: { readonly table: string; readonly family: number },
  isStale: (comment: string, rule: NftRule) => boolean,
): string[] {
  return seen
    .filter((rule) => rule.table === table && rule.family === family && isStale(rule.comment ?? "", rule))
    .map((rule) => `delete rule ${placeText(rule)} handle ${rule.handle}`);
}

function masqueradeLines(seen: readonly NftRule[], states: readonly ReferenceMasquerade[]): string[] {
  const hashes = states.map(({ attachment }) => masqueradeHash(attachment));
  const isStale = (comment: string) => hashes.some((hash) => comment.startsWith(hash));
  return [
    `add table ${MASQUERADE}`,
    `add chain ${MASQUERADE} masq_checks`,
    `add chain ${MASQUERADE} postrouting { type nat hook postrouting priority 100 ; }`,
    `flush chain ${MASQUERADE} postrouting`,
    `add rule ${MASQUERADE} postrouting ip daddr 224.0.0.0/4 return`,
    `add rule ${MASQUERADE} postrouting ip6 daddr ff00::/8 return`,
    `add rule ${MASQUERADE} postrouting goto masq_checks`,
    ...deletions(seen, { table: MASQUERADE_TABLE.table, family: NFPROTO.inet }, isStale),
    ...states.flatMap(({ attachment, addresses }) =>
      addresses.map((pod) => {
        const ip = WORD[pod.address.family];
        const match = `${ip} saddr ${formatAddress(pod.address)} ${ip} daddr != ${formatPrefix(networkOf(pod))}`;
        return `add rule ${MASQUERADE} masq_checks ${match} masquerade comment ${quoted(masqueradeComment(attachment))}`;
      }),
    ),
  ];
}

function masqueradeComment(attachment: Attachment): string {
  const { network, containerId, ifName } = attachment;
  const text = `${masqueradeHash(attachment)}, net: ${network}, if: ${ifName}, id: ${containerId}`;
  return text.slice(0, COMMENT_LENGTH);
}

function hostPortLines(seen: readonly NftRule[], all: readonly ReferencePorts[], family: Family): string[] {
  const states = all.filter(({ addresses }) => addresses.some(({ address }) => address.family === family));
  if (states.length === 0) return [];
  const place = { table: HOST_PORT_TABLE.table, family: NFPROTO[WORD[family]] };
  const table = `${WORD[family]} ${place.table}`;
  // The comment names only the container, which may also have ports on another network.
  const isStale = (comment: string, rule: NftRule) =>
    states.some(
      ({ attachment, addresses }) =>
        attachment.containerId === comment && addresses.some(({ address }) => isAbout(rule, address)),
    );
  const isSnat = states.some(({ snat }) => snat);
  return [
    `add table ${table}`,
    ...["hostports", "hostip_hostports", "hostports_all"].map((chain) => `add chain ${table} ${chain}`),
    `flush chain ${table} hostports_all`,
    `add rule ${table} hostports_all jump hostip_hostports`,
    `add rule ${table} hostports_all jump hostports`,
    ...(["prerouting", "output"] as const).flatMap((hook) => entryLines(seen, states, family, hook)),
    ...(isSnat ? [`add chain ${table} masquerading { type nat hook postrouting priority 100 ; }`] : []),
    ...deletions(seen, place, isStale),
    ...states.flatMap((state) =>
      state.addresses.filter(({ address }) => address.family === family).flatMap((pod) => podLines(table, state, pod)),
    ),
  ];
}

/** True for a rule that matches the address or translates to it. */
function isAbout({ expressions }: NftRule, address: Address): boolean {
  const wanted = addressToBytes(address).join();
  return expressions.some(
    ({ kind, data }) => (kind === "cmp" || kind === "immediate") && data?.data?.value?.join() === wanted,
  );
}

/** All ports of the node share the conditions of the last attachment, as in the reference's ADD. */
function entryLines(
  seen: readonly NftRule[],
  states: readonly ReferencePorts[],
  family: Family,
  hook: "prerouting" | "output",
): string[] {
  const table = `${WORD[family]} ${HOST_PORT_TABLE.table}`;
  const chain = `add chain ${table} ${hook} { type nat hook ${hook} priority -100 ; }`;
  const conditions = states.map((state) => state.conditions[family]).findLast((words) => words.length > 0) ?? [];
  const isThere = seen.some(
    (rule) => rule.table === HOST_PORT_TABLE.table && rule.family === NFPROTO[WORD[family]] && rule.chain === hook,
  );
  if (isThere && conditions.length === 0) return [chain];
  const rule = [...conditions, "fib daddr type local", "jump hostports_all"].join(" ");
  return [chain, `flush chain ${table} ${hook}`, `add rule ${table} ${hook} ${rule}`];
}

function podLines(table: string, state: ReferencePorts, pod: Prefix): string[] {
  const { family } = pod.address;
  const ip = WORD[family];
  const address = formatAddress(pod.address);
  const comment = `comment ${quoted(state.attachment.containerId)}`;
  const sources = [address, ...(family === 4 ? ["127.0.0.1"] : [])];
  return [
    ...portsOfFamily(state, family).map(
      (port) => `add rule ${table} hostports ${portMatch(port, ip)} dnat to ${target(pod, port)} ${comment}`,
    ),
    ...(state.snat ? sources : []).map(
      (source) => `add rule ${table} masquerading ${ip} saddr ${source} ${ip} daddr ${address} masquerade ${comment}`,
    ),
  ];
}

function portMatch(port: ReferencePort, ip: string): string {
  const single = singleAddress(port);
  const match = `${port.protocol} dport ${port.hostPort}`;
  return single === undefined ? match : `${ip} daddr ${formatAddress(single)} ${match}`;
}

function target({ address }: Prefix, { containerPort }: ReferencePort): string {
  const text = formatAddress(address);
  return address.family === 6 ? `[${text}]:${containerPort}` : `${text}:${containerPort}`;
}

function guardLines(seen: readonly NftRule[], states: readonly ReferenceSpoofCheck[]): string[] {
  const commentOf = ({ attachment: { containerId, ifName } }: ReferenceSpoofCheck) =>
    `macspoofchk-${containerId}-${ifName}`;
  const comments = states.map(commentOf);
  const { entry, table } = SPOOF_CHECK_TABLE;
  return [
    `add table ${SPOOF_CHECK}`,
    `add chain ${SPOOF_CHECK} ${entry} { type filter hook prerouting priority -300 ; policy accept ; }`,
    ...deletions(seen, { table, family: NFPROTO.bridge }, (comment) => comments.includes(comment)),
    ...states.flatMap((state) => {
      const chain = spoofCheckChain(state.attachment);
      const comment = `comment ${quoted(commentOf(state).slice(0, COMMENT_LENGTH))}`;
      const add = (where: string, what: string) => `add rule ${SPOOF_CHECK} ${where} ${what} ${comment}`;
      return [
        ...[chain, `${chain}-mac`].flatMap((name) => [
          `add chain ${SPOOF_CHECK} ${name}`,
          `flush chain ${SPOOF_CHECK} ${name}`,
        ]),
        add(entry, `iifname ${quoted(state.port)} jump ${chain}`),
        add(chain, `jump ${chain}-mac`),
        add(`${chain}-mac`, `ether saddr ${state.mac} return`),
        add(`${chain}-mac`, "drop"),
      ];
    }),
  ];
}

/** Names of networks, containers and interfaces contain no quotation marks. */
function quoted(text: string): string {
  return `"${text}"`;
}
