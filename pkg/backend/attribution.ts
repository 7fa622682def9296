/** Finds the peer to which a kernel object belongs. */
import type { KernelSnapshot } from "../kernel/snapshot.ts";
import { identityText, type ObjectIdentity } from "../netlink/message.ts";
import { entryObjects } from "../reconcile/data-path.ts";
import type { DesiredState } from "./state.ts";

/** Returns the name of the peer that needs the object. Undefined for objects that no peer needs or that all share. */
export type PeerOfObject = (object: ObjectIdentity) => string | undefined;

/**
 * Returns the lookup function for one pass; `observed` includes all devices of `desired`. The index is built on first
 * use, because most passes need none and a node may have thousands of peers.
 */
export function attribution(
  { dataPath, entryPeers }: Pick<DesiredState, "dataPath" | "entryPeers">,
  observed: Pick<KernelSnapshot, "links">,
): PeerOfObject {
  let peers: ReadonlyMap<string, string> | undefined;
  return (object) => {
    peers ??= peersByObject(entryObjects(dataPath, observed), entryPeers);
    return peers.get(identityText(object));
  };
}

function peersByObject(
  objects: ReturnType<typeof entryObjects>,
  { routes, neighbours, forwarding }: DesiredState["entryPeers"],
): ReadonlyMap<string, string> {
  const peers = new Map<string, string>();
  const note = (object: ObjectIdentity, peer: string | undefined) => {
    if (peer !== undefined) peers.set(identityText(object), peer);
  };
  for (const [at, ways] of objects.routes.entries()) for (const object of ways) note(object, routes[at]);
  for (const [at, object] of objects.neighbours.entries()) note(object, neighbours[at]);
  for (const [at, object] of objects.forwarding.entries()) note(object, forwarding[at]);
  return peers;
}
