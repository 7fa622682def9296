/** Tells what is new from what was said before: a pass finds the same things every time, the log says them once. */
export class LastReports {
  readonly #said = new Map<string, string>();

  /** True when `text` differs from what was last said on `topic`. At the start, that was "". */
  isNew(topic: string, text: string): boolean {
    if ((this.#said.get(topic) ?? "") === text) return false;
    this.#said.set(topic, text);
    return true;
  }
}
