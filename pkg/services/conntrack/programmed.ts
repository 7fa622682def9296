/** Tracks the frontends in the kernel, so that a full comparison can be expressed as changes. */
import { type Frontend, type FrontendChange, frontendKey } from "../frontend.ts";

export class Programmed {
  #frontends: Map<string, Frontend> | undefined;

  /** True before anything has been programmed. */
  get isUnknown(): boolean {
    return this.#frontends === undefined;
  }

  has(key: string): boolean {
    return this.#frontends?.has(key) === true;
  }

  /**
   * Records the programmed frontends: `changes`, or all `frontends` if `changes` is undefined. Returns the differences
   * from the previous state; an empty list the first time.
   */
  follow(
    changes: readonly FrontendChange[] | undefined,
    frontends: () => Iterable<Frontend>,
  ): readonly FrontendChange[] {
    const before = this.#frontends;
    if (before === undefined || changes === undefined) {
      const now = new Map<string, Frontend>();
      for (const frontend of frontends()) now.set(frontendKey(frontend), frontend);
      this.#frontends = now;
      return changes ?? (before === undefined ? [] : differences(before, now));
    }
    for (const { before: old, after } of changes) {
      if (after !== undefined) before.set(frontendKey(after), after);
      else if (old !== undefined) before.delete(frontendKey(old));
    }
    return changes;
  }
}

/** Compares by object identity: an unchanged frontend stays the same object. */
function differences(before: ReadonlyMap<string, Frontend>, now: ReadonlyMap<string, Frontend>): FrontendChange[] {
  const changed = [...now].flatMap(([key, after]) => {
    const old = before.get(key);
    return old === after ? [] : [{ before: old, after }];
  });
  const removed = [...before].flatMap(([key, old]) => (now.has(key) ? [] : [{ before: old, after: undefined }]));
  return [...changed, ...removed];
}
