/** The README's commands for newcomers: fenced blocks with a mark after `sh`, which readers do not see. */

/** `newcomer`: on a fresh machine; `newcomer-node`: changes a node's network, so it gets its own network namespace. */
export type Place = "newcomer" | "newcomer-node";

export interface Block {
  readonly place: Place;
  /** A shell script, as written in the README. */
  readonly script: string;
}

const FENCE = /^```sh (newcomer|newcomer-node)\n([\s\S]*?)^```$/gm;

/** In the README's order. */
export function commandsOf(markdown: string): Block[] {
  return [...markdown.matchAll(FENCE)].map(([, place, script = ""]) => ({ place: place as Place, script }));
}
