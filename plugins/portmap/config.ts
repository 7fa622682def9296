/**
 * The configuration of `portmap`: the reference plugin's keys, defaults and rules. The ports themselves are the
 * runtime's (capability `portMappings`).
 */
import type { ConfigObject } from "../../pkg/cni/config.ts";
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import { type Address, type Family, formatAddress } from "../../pkg/ip/address.ts";
import { DEFAULT_MARK_BIT } from "../../pkg/kernel/port-map.ts";

export interface PortmapConfig {
  /** The pod itself, its neighbours and the node's loopback reach the ports too: they get the node's address as source. */
  readonly snat: boolean;
  /** Everybody who reaches a port gets the node's address as source. */
  readonly masqAll: boolean;
  /** The bit of the packet's mark that tells connections to be masqueraded. */
  readonly markBit: number;
  readonly ports: readonly WantedPort[];
}

/** A port as the runtime wants it. */
export interface WantedPort {
  /** IPPROTO_* */
  readonly protocol: number;
  readonly hostPort: number;
  readonly containerPort: number;
  /** Of the node's addresses; both when the runtime names none. */
  readonly families: readonly Family[];
  /** Undefined for all of those families. */
  readonly hostAddress: Address | undefined;
}

/** IANA's protocol numbers. */
const PROTOCOLS: Readonly<Record<string, number>> = { tcp: 6, udp: 17, sctp: 132 };
const PORT_LIMITS = { min: 1, max: 65_535 };

/** Throws `CniError` 7 for a value that is wrong, 2 for what the reference knows and this plugin does not serve. */
export function parsePortmapConfig(object: ConfigObject): PortmapConfig {
  refuseUnserved(object);
  return {
    snat: object.optionalBoolean("snat") ?? true,
    masqAll: object.optionalBoolean("masqAll") ?? false,
    markBit: object.optionalInteger("markMasqBit", { min: 0, max: 31 }) ?? DEFAULT_MARK_BIT,
    ports: parsePorts(object.object("runtimeConfig")),
  };
}

function refuseUnserved(object: ConfigObject): void {
  const backend = object.optionalString("backend") ?? "";
  if (backend === "iptables") {
    throw unsupported('backend: "iptables" is not supported: ports are mapped by nftables; leave the key out');
  }
  if (backend !== "" && backend !== "nftables") throw object.invalid("backend", '"nftables"');
  if (object.has("externalSetMarkChain")) {
    throw unsupported(
      "externalSetMarkChain: a chain of iptables is not supported: ports are mapped by nftables, which needs none",
    );
  }
  for (const key of ["conditionsV4", "conditionsV6"]) {
    if (object.stringList(key).length === 0) continue;
    throw unsupported(`${key}: conditions in iptables' words are not supported: ports are mapped by nftables`);
  }
}

function unsupported(message: string): CniError {
  return new CniError(ErrorCode.unsupportedField, message);
}

function parsePorts(runtimeConfig: ConfigObject): WantedPort[] {
  const objects = runtimeConfig.objectList("portMappings");
  const ports = objects.map(parsePort);
  const seen = new Map<string, number>();
  ports.forEach((port, at) => {
    for (const key of keysOf(port)) {
      const earlier = seen.get(key) ?? at;
      seen.set(key, earlier);
      // The same port to the same place twice says nothing new.
      if (ports[earlier]?.containerPort === port.containerPort) continue;
      throw new CniError(
        ErrorCode.invalidConfig,
        `${objects[at]?.pathOf("hostPort")}: ${port.hostPort} leads elsewhere already by ${objects[earlier]?.path}`,
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
  if (number === undefined) throw object.invalid("protocol", Object.keys(PROTOCOLS).join(", "));
  return number;
}

/** 0.0.0.0 and :: are all addresses of their family. */
function hostOf(hostIp: Address | undefined): Pick<WantedPort, "families" | "hostAddress"> {
  if (hostIp === undefined) return { families: [4, 6], hostAddress: undefined };
  return { families: [hostIp.family], hostAddress: hostIp.value === 0n ? undefined : hostIp };
}
