/**
 * Predicts the result of a connection to a Service on this node. A pure function of the frontends and settings that a
 * mode programs into the kernel. `weft explain` prints it, and tests compare modes with it. The order of the checks is
 * the kernel's: source ranges before translation, then the frontend, then addresses of Services without a frontend.
 */
import { type Address, formatAddress, isSameAddress } from "../ip/address.ts";
import { contains, formatPrefix } from "../ip/prefix.ts";
import type { Endpoint, Frontend, NodeSettings } from "./frontend.ts";

/** The first packet of a connection, as it enters the node or leaves one of its processes. */
export interface Packet {
  readonly source: Address;
  readonly destination: Address;
  /** IPPROTO_*, as in IP headers. */
  readonly protocol: number;
  /** The destination port; 0 if the protocol has none. */
  readonly port: number;
}

export interface NodeContext {
  readonly settings: NodeSettings;
  /** True for this node's own addresses, on any interface (`fib saddr type local`). */
  readonly isOwnAddress: (address: Address) => boolean;
}

/**
 * An endpoint that the connection may go to. All choices are equally probable, unless session affinity has already
 * chosen.
 */
export interface Choice {
  readonly endpoint: Endpoint;
  /** The reason that stops the connection after its translation; undefined if Services do not stop it. */
  readonly obstacle: Obstacle | undefined;
  /** The reason for masquerading; undefined if the endpoint sees the client's own address. */
  readonly masquerade: string | undefined;
}

/** A destination is translated only once, so an endpoint with an address of a Service is not reachable. */
export interface Obstacle {
  readonly verdict: "reject" | "drop";
  readonly reason: string;
}

/**
 * - `endpoints`: one of `choices`; at least one has no obstacle.
 * - `reject`: answered with ICMP port unreachable.
 * - `drop`: not answered.
 * - `untouched`: Services do not affect it; routing and other rules decide.
 *
 * `reason` is a clause for people. `frontend` is undefined if none has this address, protocol and port.
 */
export type Outcome =
  | {
      readonly verdict: "endpoints";
      readonly choices: readonly Choice[];
      readonly frontend: Frontend;
      readonly reason: string;
    }
  | {
      readonly verdict: "reject" | "drop" | "untouched";
      readonly frontend: Frontend | undefined;
      readonly reason: string;
    };

/** `frontends` are all frontends of the node. */
export function outcomeOf(packet: Packet, frontends: readonly Frontend[], node: NodeContext): Outcome {
  const frontend = frontends.find((each) => isAt(each, packet));
  if (frontend !== undefined) return atFrontend(packet, frontend, frontends, node);
  const obstacle = obstacleAt(packet, frontends, node.settings);
  if (obstacle !== undefined) return { ...obstacle, frontend: undefined };
  const reason = `no Service answers at ${formatAddress(packet.destination)}`;
  return { verdict: "untouched", frontend: undefined, reason };
}

type Destination = Pick<Packet, "destination" | "protocol" | "port">;

const isAt = (frontend: Frontend, { destination, protocol, port }: Destination) =>
  frontend.port === port && frontend.protocol === protocol && isSameAddress(frontend.address, destination);

function atFrontend(packet: Packet, frontend: Frontend, frontends: readonly Frontend[], node: NodeContext): Outcome {
  const { allowedSources, service } = frontend;
  if (allowedSources !== undefined && !allowedSources.some((range) => contains(range, packet.source))) {
    const ranges = allowedSources.map(formatPrefix).join(", ") || "none";
    const reason = `${formatAddress(packet.source)} is not among the sources that ${service} allows (${ranges})`;
    return { verdict: "drop", frontend, reason };
  }
  const { endpoints, masquerade, reason } = wayOf(packet, frontend, node);
  if (endpoints.length === 0) return { ...withoutEndpoint(frontend), frontend };
  const choices = endpoints.map((endpoint) => {
    const translated = { destination: endpoint.address, protocol: packet.protocol, port: endpoint.port };
    return {
      endpoint,
      obstacle: obstacleBehind(translated, frontends, node),
      masquerade: staysHere(packet, endpoint, node) ? undefined : (masquerade ?? hairpin(packet, endpoint)),
    };
  });
  const [first] = choices;
  if (first?.obstacle !== undefined && choices.every(({ obstacle }) => obstacle !== undefined)) {
    const { verdict, reason: why } = first.obstacle;
    return { verdict, frontend, reason: `${reason}: no destination is translated twice, and ${why}` };
  }
  return { verdict: "endpoints", frontend, choices, reason };
}

interface Way {
  readonly endpoints: readonly Endpoint[];
  /** The reason for masquerading all connections of this path. */
  readonly masquerade: string | undefined;
  readonly reason: string;
}

function wayOf(packet: Packet, frontend: Frontend, { settings, isOwnAddress }: NodeContext): Way {
  const { endpoints, localEndpoints, kind, service } = frontend;
  const source = formatAddress(packet.source);
  const isLocalPod = settings.localPods.some((range) => contains(range, packet.source));
  const reason = `${kind} of ${service}`;
  switch (frontend.policy) {
    case "internal": {
      if (settings.masqueradeAll)
        return { endpoints, masquerade: "all connections to ClusterIPs are masqueraded", reason };
      return { endpoints, masquerade: isLocalPod ? undefined : `${source} is not a pod of this node`, reason };
    }
    case "cluster":
      return { endpoints, masquerade: "externalTrafficPolicy is Cluster", reason };
    case "local": {
      const policy = `${reason}, externalTrafficPolicy Local`;
      if (isLocalPod) {
        return {
          endpoints,
          masquerade: undefined,
          reason: `${policy}: ${source} is a pod of this node, so it may use all endpoints`,
        };
      }
      if (isOwnAddress(packet.source)) {
        const own = `${source} is an address of this node`;
        return { endpoints, masquerade: own, reason: `${policy}: ${own}, so it may use all endpoints` };
      }
      return { endpoints: localEndpoints, masquerade: undefined, reason: `${policy}: only endpoints on this node` };
    }
  }
}

/**
 * A packet that arrived and whose endpoint is this node itself never leaves, and only leaving packets are masqueraded.
 */
function staysHere({ source }: Packet, { address }: Endpoint, { isOwnAddress }: NodeContext): boolean {
  return isOwnAddress(address) && !isOwnAddress(source);
}

/**
 * A pod whose endpoint is the pod itself must not see its own address as the client's: it would answer itself directly.
 */
function hairpin({ source }: Packet, { address, isLocal }: Endpoint): string | undefined {
  return isLocal && isSameAddress(source, address) ? "the endpoint is the client itself" : undefined;
}

function withoutEndpoint({ service, withoutEndpoint: verdict = "reject" }: Frontend): Obstacle {
  const reason =
    verdict === "reject"
      ? `${service} has no usable endpoint`
      : `${service} has no usable endpoint on this node, and its traffic policy is Local`;
  return { verdict, reason };
}

/**
 * The obstacle to a packet after translation. There is none outside the known ranges of Services and this node's
 * addresses.
 */
function obstacleBehind(
  translated: Destination,
  frontends: readonly Frontend[],
  { settings, isOwnAddress }: NodeContext,
): Obstacle | undefined {
  const { destination } = translated;
  const ranges = settings.serviceRanges.filter(({ address }) => address.family === destination.family);
  const mayBeService = ranges.length === 0 || ranges.some((range) => contains(range, destination));
  if (!mayBeService && !isOwnAddress(destination)) return undefined;
  const unserved = frontends.find((each) => isAt(each, translated) && each.withoutEndpoint !== undefined);
  return unserved ? withoutEndpoint(unserved) : obstacleAt(translated, frontends, settings);
}

/** The obstacle to a packet without translation, or after it. */
function obstacleAt(
  packet: Destination,
  frontends: readonly Frontend[],
  { serviceRanges }: NodeSettings,
): Obstacle | undefined {
  const { destination } = packet;
  const address = formatAddress(destination);
  const isOwner = ({ kind, address: own }: Frontend) => kind === "ClusterIP" && isSameAddress(own, destination);
  const owner = frontends.find(isOwner);
  if (owner !== undefined) {
    const hasPort = frontends.some((frontend) => isOwner(frontend) && isAt(frontend, packet));
    const lacks = hasPort ? "" : ", which has no such port";
    return { verdict: "reject", reason: `${address} is the ClusterIP of ${owner.service}${lacks}` };
  }
  const range = serviceRanges.find((each) => contains(each, destination));
  if (range === undefined) return undefined;
  return {
    verdict: "drop",
    reason: `no Service has ${address}, which is in the ClusterIP range ${formatPrefix(range)}`,
  };
}
