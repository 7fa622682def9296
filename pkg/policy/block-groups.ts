/** Groups of peers by address. */
import { mergeSpans } from "../ip/span.ts";
import type { BlockGroupDraft } from "./decision-draft.ts";
import { Registry, type RegistryEntry } from "./registry.ts";
import type { BlockGroup, PolicyChange } from "./state.ts";
import { blockSpans } from "./term.ts";

export class BlockGroups {
  readonly #groups = new Registry<BlockGroupDraft>();

  acquire(draft: BlockGroupDraft): RegistryEntry<BlockGroupDraft> {
    return this.#groups.acquire(draft.key, () => draft);
  }

  release(group: RegistryEntry<BlockGroupDraft>): void {
    this.#groups.release(group);
  }

  /** Returns the groups that were added since the last call: profiles need them. */
  takeAdded(): PolicyChange[] {
    return this.#groups.takeAdded().map(({ number, value }) => ({ kind: "blocks", number, group: groupOf(value) }));
  }

  /** Removes the groups that no profile uses. */
  sweep(): PolicyChange[] {
    return this.#groups.sweep().map(({ number }) => ({ kind: "blocks", number, group: undefined }));
  }
}

function groupOf({ terms }: BlockGroupDraft): BlockGroup {
  const spans = (family: 4 | 6) =>
    mergeSpans(terms.filter(({ peer }) => peer.block.address.family === family).flatMap(blockSpans));
  return { 4: spans(4), 6: spans(6) };
}
