/**
 * The configuration of `portmap`: the reference plugin's keys, defaults and rules. The ports themselves come from the
 * runtime (capability `portMappings`).
 */

import type { ConfigObject } from "../../cni/config.ts";
import { CniError, ErrorCode } from "../../cni/errors.ts";
import { DEFAULT_MARK_BIT } from "../../footprint.ts";
import { type Address, type Family, formatAddress } from "../../ip/address.ts";
import type { PortCondition } from "../../tables/port-condition.ts";
import { type Conditions, type Language, parseConditions } from "./conditions.ts";

export interface PortmapConfig {
  /**
   * True if the pod itself, its neighbours and the node's loopback can reach the ports, too. Their source is replaced
   * by the node's address.
   */
  readonly snat: boolean;
  /** True if the source of every connection to a port is replaced by the node's address. */
  readonly masqAll: boolean;
  /** The bit of the packet's mark that selects connections for masquerading. */
  readonly markBit: number;
  readonly ports: readonly WantedPort[];
  /** By family: the connections for which ports are mapped. Undefined means all connections. */
  readonly conditions: Readonly<Record<Family, readonly PortCondition[] | undefined>>;
  /** Keys, with their values, that request iptables. weft uses nftables instead. */
  readonly iptablesKeys: readonly string[];
}

/** A port mapping as the runtime requests it. */
export interface WantedPort {
  /** An IPPROTO_* value. */
  readonly protocol: number;
  readonly hostPort: number;
  readonly containerPort: number;
  /** The families of the node's addresses. Both if the runtime names no address. */
  readonly families: readonly Family[];
  /** Undefined means all addresses of these families. */
  readonly hostAddress: Address | undefined;
}

/** IANA's protocol numbers. */
const PROTOCOLS: Readonly<Record<string, number>> = { tcp: 6, udp: 17, sctp: 132 };
const PORT_LIMITS = { min: 1, max: 65_535 };

/** Throws `CniError` 7 for an invalid value, 2 for a condition that weft cannot express. */
export function parsePortmapConfig(object: ConfigObject): PortmapConfig {
  const conditions = { 4: parseConditions(object, "conditionsV4", 4), 6: parseConditions(object, "conditionsV6", 6) };
  const words = [conditions[4], conditions[6]].filter((each) => each !== undefined);
  const backend = backendOf(object, words);
  const chain = object.optionalString("externalSetMarkChain");
  if (chain !== undefined && object.has("markMasqBit")) {
    const rule = "only one of them can mark packets for masquerading: remove one";
    throw new CniError(ErrorCode.invalidConfig, `externalSetMarkChain: cannot be combined with markMasqBit: ${rule}`);
  }
  return {
    snat: object.optionalBoolean("snat") ?? true,
    masqAll: object.optionalBoolean("masqAll") ?? false,
    markBit: object.optionalInteger("markMasqBit", { min: 0, max: 31 }) ?? DEFAULT_MARK_BIT,
    ports: parsePorts(object.object("runtimeConfig")),
    conditions: { 4: conditions[4]?.conditions, 6: conditions[6]?.conditions },
    iptablesKeys: [
      ...(backend === "iptables" ? ['backend "iptables"'] : []),
      ...(chain === undefined ? [] : [`externalSetMarkChain ${JSON.stringify(chain)}`]),
      ...words.flatMap(({ key, language }) => (language === "iptables" ? [key] : [])),
    ],
  };
}

/** Refuses conditions in the syntax of the other backend, as the reference plugin does. */
function backendOf(object: ConfigObject, words: readonly Conditions[]): Language | undefined {
  const backend = object.optionalString("backend") ?? "";
  if (backend === "") return undefined;
  if (backend !== "iptables" && backend !== "nftables") throw object.invalid("backend", '"nftables" or "iptables"');
  const foreign = words.find(({ language }) => language !== backend);
  if (foreign !== undefined) throw object.invalid(foreign.key, `conditions in the syntax of the backend ${backend}`);
  if (backend === "nftables" && object.has("externalSetMarkChain")) {
    throw new CniError(
      ErrorCode.invalidConfig,
      "externalSetMarkChain: is supported only by the backend iptables, not by nftables: remove it",
    );
  }
  return backend;
}

function parsePorts(runtimeConfig: ConfigObject): WantedPort[] {
  const objects = runtimeConfig.objectList("portMappings");
  const ports = objects.map(parsePort);
  const seen = new Map<string, number>();
  ports.forEach((port, at) => {
    for (const key of keysOf(port)) {
      const earlier = seen.get(key) ?? at;
      seen.set(key, earlier);
      // A repeated mapping of the same port to the same target is redundant but valid.
      if (ports[earlier]?.containerPort === port.containerPort) continue;
      throw new CniError(
        ErrorCode.invalidConfig,
        `${objects[at]?.pathOf("hostPort")}: ${port.hostPort} is already mapped to another port by ` +
          `${objects[earlier]?.path}`,
      );
    }
  });
  return ports;
}

function keysOf({ families, protocol, hostPort, hostAddress }: WantedPort): string[] {
  const single = hostAddress === undefined ? "" : formatAddress(hostAddress);
  return families.map((family) => `${family} ${protocol} ${hostPort} ${single}`);
}

function parsePort(object: ConfigObject): WantedPort {
  return {
    protocol: protocolOf(object),
    hostPort: object.requiredInteger("hostPort", PORT_LIMITS),
    containerPort: object.requiredInteger("containerPort", PORT_LIMITS),
    ...hostOf(object.optionalAddress("hostIP")),
  };
}

function protocolOf(object: ConfigObject): number {
  const name = object.optionalString("protocol")?.toLowerCase() ?? "";
  const number = Object.hasOwn(PROTOCOLS, name) ? PROTOCOLS[name] : undefined;
  if (number === undefined) throw object.invalid("protocol", `one of ${Object.keys(PROTOCOLS).join(", ")}`);
  return number;
}

/** 0.0.0.0 and :: mean all addresses of their family. */
function hostOf(hostIp: Address | undefined): Pick<WantedPort, "families" | "hostAddress"> {
  if (hostIp === undefined) return { families: [4, 6], hostAddress: undefined };
  return { families: [hostIp.family], hostAddress: hostIp.value === 0n ? undefined : hostIp };
}
