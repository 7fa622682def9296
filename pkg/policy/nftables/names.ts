/** The names of chains, sets and maps in `table inet weft-policy`. */
import type { Family } from "../../ip/address.ts";
import type { Direction } from "../state.ts";

const HOOK_SIDE = { ingress: "in", egress: "out" } as const;

/** The map from addresses of this node's pods to profiles, for one direction: "in4". */
export const subjectMap = (direction: Direction, family: Family) => `${HOOK_SIDE[direction]}${family}`;
/** The set of pairs that consist of the same address of a pod of this node twice. */
export const selfSet = (family: Family) => `self${family}`;
/** The map from addresses of pods to identities. */
export const peerMap = (family: Family) => `peers${family}`;
export const podsSet = (number: number) => `pods-${number}`;
export const blocksSet = (number: number, family: Family) => `blocks-${number}-${family}`;
/** The chain that leads from the number of a profile to its chains. */
export const PROFILES_CHAIN = "profiles";
/** The map from the numbers of profiles to their first chains. */
export const PROFILES_MAP = "profiles";
/** The map from numbers of profiles, protocols and ports to the chains of decisions. */
export const PORTS_MAP = "ports";
/** The map from protocols and ranges of ports to the chains of a profile's decisions. */
export const rangesMap = (profile: number) => `ranges-${profile}`;
/** The first chain of a profile: "in-12345". The names of its tiers' chains start with it: "in-12345-0". */
export const profileChain = (direction: Direction, profile: number) => `${HOOK_SIDE[direction]}-${profile}`;
export const denyChain = (profile: number) => `deny-${profile}`;
