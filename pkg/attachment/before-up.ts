/**
 * The last step of a veth pair before its first packet: the host's end is down until everything that must restrict the
 * pod is in the kernel. The pod's end may be up by then, since a program in the pod may bring it up; without its peer it
 * has no carrier and sends nothing.
 */
import type { Address } from "../ip/address.ts";
import { changeLink } from "../kernel/link.ts";
import type { AttachContext } from "./interface-plugin.ts";
import type { VethPair } from "./veth-pair.ts";

/** A veth pair whose host end is down. */
export interface NewPort {
  readonly veth: VethPair;
  /** The pod's addresses. Undefined if IPAM gives them only after the link is up (`dhcp`), or if there is no IPAM. */
  readonly addresses: readonly Address[] | undefined;
}

/**
 * Installs what must be in the kernel before the pod can send. It pushes its undo step before it changes anything. If it
 * throws, ADD fails, and the host's end never comes up.
 */
export type BeforeUp = (context: AttachContext, port: NewPort) => void;

/** Runs `actions` in order and then brings the host's end up. */
export function bringUpHost(context: AttachContext, port: NewPort, actions: readonly BeforeUp[]): void {
  for (const action of actions) action(context, port);
  context.sockets.host.run(changeLink(port.veth.hostName, { up: true }));
}
