/** The numbers that pods of the cluster have for names of ports. */
import type { NamedPort, Pod } from "../cluster/policy/pod.ts";
import { type PortNameTerm, portNameTerm, resolvePort } from "./term.ts";

export class PortNumbers {
  /** The number of pods that have each port number, by the key of the term. */
  readonly #counts = new Map<string, Map<number, number>>();
  readonly #added = new Map<string, PortNameTerm>();
  readonly #unused = new Map<string, PortNameTerm>();

  replace(before: Pod | undefined, after: Pod | undefined): void {
    for (const port of countedPorts(after)) this.#count(port, 1);
    for (const port of countedPorts(before)) this.#count(port, -1);
  }

  /** Returns the numbers that pods have or, until the next call of `sweep`, had. */
  of(term: PortNameTerm): Iterable<number> {
    return this.#counts.get(term.key)?.keys() ?? [];
  }

  /** Returns the names for which `of` returns more numbers than at the last call. */
  takeAdded(): readonly PortNameTerm[] {
    const added = [...this.#added.values()];
    this.#added.clear();
    return added;
  }

  /** Removes numbers that no pod has any more. Returns the names that had them. */
  sweep(): readonly PortNameTerm[] {
    const swept = [...this.#unused.values()].filter(({ key }) => {
      const numbers = this.#counts.get(key) ?? new Map<number, number>();
      const unused = [...numbers].filter(([, count]) => count === 0);
      for (const [number] of unused) numbers.delete(number);
      if (numbers.size === 0) this.#counts.delete(key);
      return unused.length > 0;
    });
    this.#unused.clear();
    return swept;
  }

  #count({ protocol, name, port }: NamedPort, by: 1 | -1): void {
    const term = portNameTerm(protocol, name);
    const numbers = this.#counts.get(term.key) ?? new Map<number, number>();
    this.#counts.set(term.key, numbers);
    const before = numbers.get(port);
    numbers.set(port, (before ?? 0) + by);
    if (before === undefined) this.#added.set(term.key, term);
    if (numbers.get(port) === 0) this.#unused.set(term.key, term);
  }
}

/** Returns the first port of each name and protocol: rules cannot mean any other. */
function countedPorts(pod: Pod | undefined): NamedPort[] {
  if (pod === undefined || pod.isHostNetwork || pod.hasEnded) return [];
  return pod.namedPorts.filter((port) => resolvePort(port, pod) === port.port).filter(isFirst);
}

const isFirst = (port: NamedPort, at: number, all: readonly NamedPort[]) =>
  all.findIndex(({ name, protocol }) => name === port.name && protocol === port.protocol) === at;
