/**
 * The index of `table inet weft_portmap`: one element for each attachment with ports, and one for each address to which
 * ports lead. ADD creates its elements exclusively, so the kernel refuses the transaction (EEXIST) if a port is taken, if
 * the attachment already has ports, or if ports of another attachment lead to the same address. DEL finds by one element
 * whether the attachment has ports, and whether they are those of its configuration. No rule uses the index.
 *
 * An attachment's mark can be longer than a key, so the key is a hash of it.
 */
import { addressKey } from "../ip/address.ts";
import type { SetElement } from "../netlink/nftables.ts";
import { type TupleSet, wireElements } from "../nft/set.ts";
import { digestUserdata, readComment, readDigest } from "../nft/userdata.ts";
import { setName } from "./port-map-layers.ts";
import type { PortMap } from "./port-mapping.ts";

const OWNERS = "owners";

const FNV_OFFSET = 0x811c_9dc5;
const FNV_PRIME = 0x0100_0193;
/** A large prime, as in MurmurHash3. */
const OTHER_PRIME = 0x85eb_ca6b;

/** A set with its encoded elements. */
export interface WiredSet {
  readonly set: TupleSet;
  readonly wire: readonly SetElement[];
}

const wired = (set: TupleSet): WiredSet => ({ set, wire: wireElements(set) });

/** Returns `sets`, which are the maps with the ports of `map`, and the sets of the index for them. */
export function withIndex({ mappings }: PortMap, sets: readonly TupleSet[]): WiredSet[] {
  const targets = new Map(mappings.map(({ owner, target }) => [addressKey(target), { owner, target }]));
  const podSets = ([4, 6] as const).map((family): TupleSet => {
    const own = [...targets.values()].filter(({ target }) => target.family === family);
    return {
      ...{ kind: "tuples", name: setName("pods", family), comment: "addresses to which ports lead" },
      ...{
        fields: [`ipv${family}_addr`],
        elements: own.map(({ owner, target }) => ({ values: [target], comment: owner })),
      },
    };
  });
  const indexed = [...sets, ...podSets].map(wired);
  return [...indexed, wired(ownerSet(digestsOf(indexed)))];
}

function ownerSet(digests: ReadonlyMap<string, number>): TupleSet {
  return {
    ...{ kind: "tuples", name: OWNERS, comment: "attachments with ports, by a hash", fields: ["mark", "mark"] },
    elements: [...digests].map(([owner, digest]) => ({
      ...{ values: hashOf(owner), comment: owner, userdata: digestUserdata(owner, digest) },
    })),
  };
}

/** The set of attachments with only this one, to query it by key. */
export function ownerLookup(owner: string): TupleSet {
  return ownerSet(new Map([[owner, 0]]));
}

/**
 * Compares the digest in an attachment's element of the index with `sets`, which are `portMapElements`. True if the
 * attachment has exactly their elements, and no others.
 */
export function isIndexed(sets: readonly WiredSet[], owner: string, { userdata }: SetElement): boolean {
  if (readComment(userdata) !== owner) return false;
  return digestsOf(sets.filter(({ set }) => set.name !== OWNERS)).get(owner) === readDigest(userdata);
}

/** A digest of the keys of each owner's elements; their order does not matter. */
function digestsOf(sets: readonly WiredSet[]): ReadonlyMap<string, number> {
  const digests = new Map<string, number>();
  for (const { set, wire } of sets) {
    const [ofSet] = hashOf(set.name);
    wire.forEach(({ key, keyEnd }, at) => {
      const owner = set.elements[at]?.comment ?? "";
      const digest = hashOfBytes(keyEnd?.value, hashOfBytes(key?.value, ofSet));
      digests.set(owner, ((digests.get(owner) ?? 0) + digest) >>> 0);
    });
  }
  return digests;
}

/** FNV-1a, and a variant with another prime: two hashes of 32 bits each. */
function hashOf(text: string): [number, number] {
  let [first, second] = [FNV_OFFSET, FNV_OFFSET];
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    first = Math.imul(first ^ code, FNV_PRIME);
    second = Math.imul(second ^ code, OTHER_PRIME);
  }
  return [first >>> 0, second >>> 0];
}

function hashOfBytes(bytes: Uint8Array = new Uint8Array(), seed: number): number {
  return bytes.reduce((hash, byte) => Math.imul(hash ^ byte, FNV_PRIME), seed);
}
