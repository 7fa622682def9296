/** The profiles in use, and the groups that they use. */
import type { BlockGroups } from "./block-groups.ts";
import type { BlockGroupDraft, DecisionDraft, PeersDraft, PodGroupDraft } from "./decision-draft.ts";
import type { PeerClasses } from "./peer-classes.ts";
import type { ProfileDraft } from "./profile-draft.ts";
import { Registry, type RegistryEntry } from "./registry.ts";
import type { Decision, Peers, PolicyChange, Profile } from "./state.ts";

export interface CompiledProfile {
  readonly draft: ProfileDraft;
  readonly groups: Groups;
}

/** By the keys of their drafts. */
interface Groups {
  readonly pods: ReadonlyMap<string, RegistryEntry<PodGroupDraft>>;
  readonly blocks: ReadonlyMap<string, RegistryEntry<BlockGroupDraft>>;
  readonly usesAllPods: boolean;
}

export class Profiles {
  readonly #profiles = new Registry<CompiledProfile>();
  readonly #peers: PeerClasses;
  readonly #blocks: BlockGroups;

  constructor(peers: PeerClasses, blocks: BlockGroups) {
    this.#peers = peers;
    this.#blocks = blocks;
  }

  get size(): number {
    return this.#profiles.size;
  }

  acquire(draft: ProfileDraft): RegistryEntry<CompiledProfile> {
    return this.#profiles.acquire(draft.key, () => ({ draft, groups: this.#acquireGroups(draft) }));
  }

  release(profile: RegistryEntry<CompiledProfile>): void {
    this.#profiles.release(profile);
  }

  /** Returns the profiles that were added since the last call: subjects need them. */
  takeAdded(): PolicyChange[] {
    return this.#profiles
      .takeAdded()
      .map(({ number, value }) => ({ kind: "profile", number, profile: profileOf(value) }));
  }

  /** Removes the profiles that no subject uses, and releases their groups. */
  sweep(): PolicyChange[] {
    const gone = this.#profiles.sweep();
    for (const { value } of gone) this.#releaseGroups(value.groups);
    return gone.map(({ number }) => ({ kind: "profile", number, profile: undefined }));
  }

  #acquireGroups({ ports, others }: ProfileDraft): Groups {
    const pods = new Map<string, RegistryEntry<PodGroupDraft>>();
    const blocks = new Map<string, RegistryEntry<BlockGroupDraft>>();
    let usesAllPods = false;
    for (const peers of [...ports.map(({ decision }) => decision), others].flatMap(peersIn)) {
      if (peers.pods === "all") usesAllPods = true;
      else if (peers.pods !== undefined && !pods.has(peers.pods.key)) {
        pods.set(peers.pods.key, this.#peers.acquire(peers.pods));
      }
      if (peers.blocks !== undefined && !blocks.has(peers.blocks.key)) {
        blocks.set(peers.blocks.key, this.#blocks.acquire(peers.blocks));
      }
    }
    if (usesAllPods) this.#peers.acquireAll();
    return { pods, blocks, usesAllPods };
  }

  #releaseGroups({ pods, blocks, usesAllPods }: Groups): void {
    for (const group of pods.values()) this.#peers.release(group);
    for (const group of blocks.values()) this.#blocks.release(group);
    if (usesAllPods) this.#peers.releaseAll();
  }
}

function peersIn({ tiers }: DecisionDraft): PeersDraft[] {
  return tiers.flatMap(({ steps }) => steps.flatMap(({ peers }) => (peers === "everything" ? [] : [peers])));
}

function profileOf({ draft, groups }: CompiledProfile): Profile {
  const { direction, isAudited, policies, ports, others } = draft;
  return {
    direction,
    isAudited,
    policies,
    ports: ports.map(({ protocol, first, last, decision }) => ({
      ...{ protocol, first, last },
      decision: decisionOf(decision, groups),
    })),
    others: decisionOf(others, groups),
  };
}

function decisionOf({ tiers }: DecisionDraft, groups: Groups): Decision {
  return tiers.map(({ name, steps, otherwise }) => ({
    name,
    steps: steps.map(({ peers, verdict, policies }) => ({
      peers: peers === "everything" ? peers : numbersOf(peers, groups),
      ...{ verdict, policies },
    })),
    otherwise,
  }));
}

function numbersOf({ pods, blocks }: PeersDraft, groups: Groups): Peers {
  return {
    pods: pods === "all" ? pods : pods && groups.pods.get(pods.key)?.number,
    blocks: blocks && groups.blocks.get(blocks.key)?.number,
  };
}
