/** Finds the peer to which a kernel object belongs. */
import type { KernelSnapshot } from "../kernel/snapshot.ts";
import { identityText, type ObjectIdentity } from "../netlink/message.ts";
import { entryObjects } from "../reconcile/data-path.ts";
import type { DesiredState, EntryGroups } from "./state.ts";

/** Returns the name of the peer that needs the object. Undefined for objects that no peer needs or that all share. */
export type PeerOfObject = (object: ObjectIdentity) => string | undefined;

/**
 * Returns the lookup function for one pass; `observed` includes all devices of `desired`. The index is built on first
 * use, because most passes need none and a node may have thousands of peers.
 */
export function attribution(
  { dataPath, entries }: Pick<DesiredState, "dataPath" | "entries">,
  observed: Pick<KernelSnapshot, "links">,
): PeerOfObject {
  let peers: ReadonlyMap<string, string> | undefined;
  return (object) => {
    peers ??= peersByObject(entryObjects(dataPath, observed), peersOf(entries));
    return peers.get(identityText(object));
  };
}

/** The names of the peers that need each entry of a `DataPath`, in the order of the entries. */
interface EntryPeers {
  readonly routes: readonly string[];
  readonly neighbours: readonly string[];
  readonly forwarding: readonly string[];
}

function peersOf(groups: EntryGroups): EntryPeers {
  const routes: string[] = [];
  const neighbours: string[] = [];
  const forwarding: string[] = [];
  for (const part of groups.flat()) {
    for (let count = part.routes?.length ?? 0; count > 0; count--) routes.push(part.peer);
    for (let count = part.neighbours?.length ?? 0; count > 0; count--) neighbours.push(part.peer);
    for (let count = part.forwarding?.length ?? 0; count > 0; count--) forwarding.push(part.peer);
  }
  return { routes, neighbours, forwarding };
}

function peersByObject(
  objects: ReturnType<typeof entryObjects>,
  { routes, neighbours, forwarding }: EntryPeers,
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
