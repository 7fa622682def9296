/** Detects repeated messages. Every pass finds the same faults; the log reports each of them once. */
export class LastReports {
  readonly #said = new Map<string, string>();

  /** True if `text` differs from the last text reported on `topic`, which is "" at the start. */
  isNew(topic: string, text: string): boolean {
    if ((this.#said.get(topic) ?? "") === text) return false;
    this.#said.set(topic, text);
    return true;
  }
}
