/**
 * Determines the NodePorts to serve on ::1, and the destination of their connections. The kernel never routes a packet
 * from ::1 out of the loopback device, so no rule can translate it to an endpoint. A process must accept the connection
 * and open another one to a frontend of the same Service port, where the kernel chooses the endpoint.
 */
import type { Address } from "../../ip/address.ts";
import { IPPROTO_TCP, IPPROTO_UDP } from "../../kernel/connection-selector.ts";
import type { Frontend } from "../frontend.ts";

export interface Forward {
  readonly protocol: typeof IPPROTO_TCP | typeof IPPROTO_UDP;
  /** The NodePort. */
  readonly port: number;
  readonly to: { readonly address: Address; readonly port: number };
  /** "namespace/name". */
  readonly service: string;
}

/** "6 30080" */
export function forwardKey({ protocol, port }: Pick<Forward, "protocol" | "port">): string {
  return `${protocol} ${port}`;
}

/**
 * The forwards by `forwardKey`: NodePorts of Services with an IPv6 frontend and an endpoint for connections from this
 * node. The kernel refuses connections to others, since no process listens. A NodePort on another address of the node
 * is preferred to the ClusterIP, because it has the external traffic policy. SCTP is not forwarded.
 */
export function localhostForwards(frontends: Iterable<Frontend>): ReadonlyMap<string, Forward> {
  const forwards = new Map<string, Forward & { readonly kind: Frontend["kind"] }>();
  for (const { kind, address, protocol, port, nodePort, service, endpoints } of frontends) {
    if (address.family !== 6 || nodePort === undefined || endpoints.length === 0) continue;
    if (kind !== "ClusterIP" && kind !== "NodePort") continue;
    if (protocol !== IPPROTO_TCP && protocol !== IPPROTO_UDP) continue;
    const forward = { protocol, port: nodePort, to: { address, port }, service, kind };
    const key = forwardKey(forward);
    const known = forwards.get(key);
    // Prefer the lowest of several NodePort addresses, so that the result does not depend on the order of frontends.
    const isBetter =
      known === undefined || (kind === known.kind ? address.value < known.to.address.value : kind === "NodePort");
    if (isBetter) forwards.set(key, forward);
  }
  return forwards;
}
