/** Groups of peers by address. */
import { mergeSpans } from "../ip/span.ts";
import type { BlockGroupDraft } from "./decision-draft.ts";
import { type Entry, Registry } from "./registry.ts";
import type { BlockGroup, PolicyChange } from "./state.ts";
import { blockSpans } from "./term.ts";

export class BlockGroups {
  readonly #groups = new Registry<BlockGroupDraft>();

  acquire(draft: BlockGroupDraft): Entry<BlockGroupDraft> {
    return this.#groups.acquire(draft.key, () => draft);
  }

  release(group: Entry<BlockGroupDraft>): void {
    this.#groups.release(group);
  }

  /** `before`: groups that profiles need. `after`: groups that no profile uses any more. */
  changes(): { readonly before: PolicyChange[]; readonly after: PolicyChange[] } {
    const added = this.#groups.takeAdded();
    const gone = this.#groups.sweep();
    return {
      before: added.map(({ number, value }) => ({ kind: "blocks", number, group: groupOf(value) })),
      after: gone.map(({ number }) => ({ kind: "blocks", number, group: undefined })),
    };
  }
}

function groupOf({ terms }: BlockGroupDraft): BlockGroup {
  const spans = (family: 4 | 6) =>
    mergeSpans(terms.filter(({ peer }) => peer.block.address.family === family).flatMap(blockSpans));
  return { 4: spans(4), 6: spans(6) };
}
