/**
 * Computes which nf_tables rules an attachment should have: the rules that the plugins of its chain would write,
 * according to the runtime's cached data of its ADD. Pure.
 */

import { isCniError } from "../cni/errors.ts";
import type { Result } from "../cni/result.ts";
import { ownerMark } from "../kernel/owner.ts";
import type { GuardedPort } from "../tables/mac-spoof.ts";
import type { PodMasquerade } from "../tables/pod-masquerade.ts";
import {
  FORWARD_WISHES,
  NO_FIREWALL,
  type PodRulePart,
  type PodRules,
  type PodRulesObstacle,
} from "../tables/pod-rules.ts";
import { EMPTY_PORT_MAP, type PortMap } from "../tables/port-mapping.ts";
import type { GuardedSender } from "../tables/senders-table.ts";
import { ownAddresses } from "./addresses.ts";
import { type CachedAttachment, mainPlugin } from "./cached.ts";
import { parseFirewallConfig } from "./firewall/config.ts";
import { planFirewall } from "./firewall/plan.ts";
import { masqueradesOf } from "./masquerade.ts";
import { macGuardOption, masqueradeOption, senderGuardOption } from "./options.ts";
import { parsePortmapConfig } from "./portmap/config.ts";
import { planPortMap, podAddresses } from "./portmap/plan.ts";
import { guardedSenders } from "./senders.ts";

export interface WantedRules {
  readonly rules: PodRules;
  /** The parts whose configuration cannot be read, with the reason. */
  readonly obstacles: readonly PodRulesObstacle[];
}

/** `port` is the host's end of the attachment's veth pair. */
export function wantedRules(cached: CachedAttachment, port: string): WantedRules {
  const owner = ownerMark(cached);
  const obstacles: PodRulesObstacle[] = [];
  const attempt = <T>(part: PodRulePart, nothing: T, plan: () => T): T => {
    try {
      return plan();
    } catch (error) {
      if (!isCniError(error)) throw error;
      obstacles.push({ owner, part, reason: `cannot read its configuration in the runtime's cache: ${error.message}` });
      return nothing;
    }
  };
  const rules: PodRules = {
    owner,
    masquerades: attempt("masquerade", [], () => wantedMasquerades(cached, owner)),
    ports: attempt("portmap", EMPTY_PORT_MAP, () => wantedPorts(cached, owner)),
    guards: attempt("macspoofchk", [], () => wantedGuards(cached, owner, port)),
    senders: attempt("senders", [], () => wantedSenders(cached, owner, port)),
    ...attempt("firewall", { firewall: NO_FIREWALL, forward: FORWARD_WISHES }, () => wantedFirewall(cached, owner)),
  };
  return { rules, obstacles };
}

function wantedMasquerades({ plugins: [first], result, ifName }: CachedAttachment, owner: string): PodMasquerade[] {
  if (first === undefined) return [];
  const { type, config } = mainPlugin(first);
  if ((type !== "bridge" && type !== "ptp") || !masqueradeOption(config).ipMasq) return [];
  return masqueradesOf(owner, ownAddresses(result, ifName));
}

/** The last plugin in the chain replaces the mappings of earlier ones. */
function wantedPorts({ plugins, result, ifName }: CachedAttachment, owner: string): PortMap {
  const maps = plugins
    .filter((plugin) => plugin.value("type") === "portmap")
    .map((plugin) => planPortMap(parsePortmapConfig(plugin), owner, podAddresses(result, ifName)));
  return maps.filter(({ mappings }) => mappings.length > 0).at(-1) ?? EMPTY_PORT_MAP;
}

function wantedGuards(
  { plugins: [first], result, ifName }: CachedAttachment,
  owner: string,
  port: string,
): GuardedPort[] {
  if (first === undefined) return [];
  const { type, config } = mainPlugin(first);
  const mac = podMac(result, ifName);
  return type === "bridge" && macGuardOption(config) && mac !== undefined ? [{ owner, port, mac }] : [];
}

function wantedSenders(
  { plugins: [first], result, ifName }: CachedAttachment,
  owner: string,
  port: string,
): GuardedSender[] {
  if (first === undefined) return [];
  const { type, config } = mainPlugin(first);
  const mac = podMac(result, ifName);
  if ((type !== "bridge" && type !== "ptp") || mac === undefined || !senderGuardOption(config)) return [];
  const addresses = ownAddresses(result, ifName).map(({ address }) => address.address);
  return guardedSenders({ plugin: type, config, owner }, { port, mac, addresses });
}

function podMac({ interfaces }: Result, ifName: string): string | undefined {
  return interfaces.find(({ name, sandbox }) => name === ifName && sandbox)?.mac?.toLowerCase();
}

function wantedFirewall({ plugins, result }: CachedAttachment, owner: string): Pick<PodRules, "firewall" | "forward"> {
  const plugin = plugins.find((each) => each.value("type") === "firewall");
  if (plugin === undefined) return { firewall: NO_FIREWALL, forward: FORWARD_WISHES };
  const config = parseFirewallConfig(plugin);
  const { adminChain, backend } = config;
  return {
    firewall: planFirewall(plugin, config, owner, result),
    forward: { adminChain, usesFirewalld: backend === undefined ? undefined : backend === "firewalld" },
  };
}

/** The plugins that write each part. */
const PLUGINS: Readonly<Record<PodRulePart, readonly string[]>> = {
  masquerade: ["bridge", "ptp"],
  portmap: ["portmap"],
  macspoofchk: ["bridge"],
  firewall: ["firewall"],
  senders: ["bridge", "ptp"],
};

function isPartOurs(part: PodRulePart, isForeign: (plugin: string) => boolean): boolean {
  return !PLUGINS[part].some(isForeign);
}

/** Returns the rules without the parts that another program's plugins write. */
export function withoutForeign(rules: PodRules, isForeign: (plugin: string) => boolean): PodRules {
  const isOurs = (part: PodRulePart) => isPartOurs(part, isForeign);
  return {
    ...rules,
    masquerades: isOurs("masquerade") ? rules.masquerades : [],
    ports: isOurs("portmap") ? rules.ports : EMPTY_PORT_MAP,
    guards: isOurs("macspoofchk") ? rules.guards : [],
    senders: isOurs("senders") ? rules.senders : [],
    firewall: isOurs("firewall") ? rules.firewall : NO_FIREWALL,
  };
}

/**
 * Returns the `obstacles` for which it is unknown whether the attachment has its rules, because none of its rules from
 * weft's plugins exist. `held` names, for each part, the attachments that have rules.
 */
export function unchecked(
  obstacles: readonly PodRulesObstacle[],
  held: ReadonlyMap<PodRulePart, ReadonlySet<string>>,
  isForeign: (plugin: string) => boolean = () => false,
): PodRulesObstacle[] {
  return obstacles.filter(({ owner, part }) => isPartOurs(part, isForeign) && held.get(part)?.has(owner) !== true);
}
