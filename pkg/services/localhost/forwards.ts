/**
 * Which NodePorts are to be served on ::1, and where their connections go. The kernel never routes a packet from ::1 off the
 * loopback device, so no rule can lead it to an endpoint: a process has to take the connection and make another one, to a
 * frontend of the same Service port, where the kernel chooses the endpoint.
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
 * By `forwardKey`. Services that are served over IPv6 and have an endpoint for connections of this node; others are refused by the
 * kernel, since nothing listens. A NodePort on another address of the node is preferred to the ClusterIP: it has the
 * policies of external traffic. SCTP is not forwarded.
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
    // Of several NodePort addresses the lowest, so that the order of frontends is of no consequence.
    const isBetter =
      known === undefined || (kind === known.kind ? address.value < known.to.address.value : kind === "NodePort");
    if (isBetter) forwards.set(key, forward);
  }
  return forwards;
}
