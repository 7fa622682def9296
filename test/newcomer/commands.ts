/** The README's commands that are for a newcomer: fenced blocks marked behind `sh`, which a reader does not see. */

/** `newcomer`: on a machine as it comes; `newcomer-node`: what changes a node's network, so it gets one of its own. */
export type Place = "newcomer" | "newcomer-node";

export interface Block {
  readonly place: Place;
  /** For a shell, as it stands in the README. */
  readonly script: string;
}

const FENCE = /^```sh (newcomer|newcomer-node)\n([\s\S]*?)^```$/gm;

/** In the README's order. */
export function commandsOf(markdown: string): Block[] {
  return [...markdown.matchAll(FENCE)].map(([, place, script = ""]) => ({ place: place as Place, script }));
}
