/** Groups of peers by address. */
import { mergeSpans } from "../ip/span.ts";
import type { BlockGroupDraft } from "./profile.ts";
import { type Entry, Registry } from "./registry.ts";
import type { BlockGroup, PolicyChange } from "./state.ts";
import { blockSpans } from "./term.ts";

export class BlockGroups {
  readonly #groups = new Registry<BlockGroupDraft>();

  acquire(draft: BlockGroupDraft): Entry<BlockGroupDraft> {
    return this.#groups.acquire(draft.key, () => draft);
  }

  changes(): { readonly before: PolicyChange[]; readonly after: PolicyChange[] } {
    const gone = this.#groups.sweep();
    return {
      before: this.#groups
        .takeAdded()
        .map(({ number, value }): PolicyChange => ({ kind: "blocks", number, group: groupOf(value) })),
      after: gone.map(({ number }): PolicyChange => ({ kind: "blocks", number, group: undefined })),
    };
  }
}

function groupOf({ terms }: BlockGroupDraft): BlockGroup {
  const spans = (family: 4 | 6) =>
    mergeSpans(terms.filter(({ peer }) => peer.block.address.family === family).flatMap(blockSpans));
  return { 4: spans(4), 6: spans(6) };
}
