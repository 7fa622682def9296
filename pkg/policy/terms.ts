/** The terms that rules in use name, counted, and the pod terms that can concern a namespace. */
import type { Labels } from "../cluster/policy/labels.ts";
import { matchesLabels } from "../cluster/policy/selector.ts";
import type { PodTerm, Term } from "./term.ts";

export class Terms<T extends Term> {
  readonly #terms = new Map<string, { readonly term: T; uses: number }>();
  readonly #added = new Set<T>();
  readonly #removed = new Set<T>();

  acquire(term: T): void {
    const known = this.#terms.get(term.key);
    if (known !== undefined) {
      known.uses++;
      return;
    }
    const kept = [...this.#removed].find(({ key }) => key === term.key);
    this.#terms.set(term.key, { term: kept ?? term, uses: 1 });
    if (kept === undefined) this.#added.add(term);
    else this.#removed.delete(kept);
  }

  release({ key }: T): void {
    const known = this.#terms.get(key);
    if (known === undefined || --known.uses > 0) return;
    this.#terms.delete(key);
    if (!this.#added.delete(known.term)) this.#removed.add(known.term);
  }

  /** Returns the terms that were added since the last call. */
  takeAdded(): readonly T[] {
    return take(this.#added);
  }

  /** Returns the terms that were removed since the last call, and had been returned by `takeAdded`. */
  takeRemoved(): readonly T[] {
    return take(this.#removed);
  }

  *all(): Generator<T> {
    for (const { term } of this.#terms.values()) yield term;
  }
}

function take<T>(set: Set<T>): readonly T[] {
  const taken = [...set];
  set.clear();
  return taken;
}

/** The pod terms that select a namespace, whatever they require of its pods. */
export class TermsByNamespace {
  readonly #named = new Map<string, Set<PodTerm>>();
  readonly #selecting = new Set<PodTerm>();
  /** Results of `#selecting`, by namespace. */
  readonly #selected = new Map<string, readonly PodTerm[]>();

  add(term: PodTerm): void {
    if (typeof term.namespaces === "string") {
      const own = this.#named.get(term.namespaces) ?? new Set();
      this.#named.set(term.namespaces, own.add(term));
    } else {
      this.#selecting.add(term);
      this.#selected.clear();
    }
  }

  remove(term: PodTerm): void {
    if (typeof term.namespaces === "string") {
      const own = this.#named.get(term.namespaces);
      own?.delete(term);
      if (own?.size === 0) this.#named.delete(term.namespaces);
    } else {
      this.#selecting.delete(term);
      this.#selected.clear();
    }
  }

  /** Forgets what the labels of the namespace were. */
  invalidate(namespace: string): void {
    this.#selected.delete(namespace);
  }

  *of(namespace: string, labels: Labels): Generator<PodTerm> {
    yield* this.#named.get(namespace) ?? [];
    let selected = this.#selected.get(namespace);
    if (selected === undefined) {
      selected = [...this.#selecting].filter(
        ({ namespaces }) => typeof namespaces !== "string" && matchesLabels(namespaces, labels),
      );
      this.#selected.set(namespace, selected);
    }
    yield* selected;
  }
}
