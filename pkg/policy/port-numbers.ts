/** The numbers that pods of the cluster have for names of ports. */
import type { NamedPort, Pod } from "../cluster/policy/pod.ts";
import { type PortNameTerm, portNameTerm, resolvePort } from "./term.ts";

export class PortNumbers {
  /** The number of pods that have each port number, by the key of the term. */
  readonly #counts = new Map<string, Map<number, number>>();
  readonly #changed = new Map<string, PortNameTerm>();

  replace(before: Pod | undefined, after: Pod | undefined): void {
    // Counts the new ports first, so that a number that stays does not appear to change.
    for (const port of countedPorts(after)) this.#count(port, 1);
    for (const port of countedPorts(before)) this.#count(port, -1);
  }

  of(term: PortNameTerm): Iterable<number> {
    return this.#counts.get(term.key)?.keys() ?? [];
  }

  /** Returns the names whose set of numbers changed since the last call. */
  takeChanged(): readonly PortNameTerm[] {
    const changed = [...this.#changed.values()];
    this.#changed.clear();
    return changed;
  }

  #count({ protocol, name, port }: NamedPort, by: 1 | -1): void {
    const term = portNameTerm(protocol, name);
    const numbers = this.#counts.get(term.key) ?? new Map<number, number>();
    const count = (numbers.get(port) ?? 0) + by;
    if (count === 0) numbers.delete(port);
    else numbers.set(port, count);
    if (count === 0 || (count === 1 && by === 1)) this.#changed.set(term.key, term);
    if (numbers.size === 0) this.#counts.delete(term.key);
    else this.#counts.set(term.key, numbers);
  }
}

/** Returns the first port of each name and protocol: rules cannot mean any other. */
function countedPorts(pod: Pod | undefined): NamedPort[] {
  if (pod === undefined || pod.isHostNetwork || pod.hasEnded) return [];
  return pod.namedPorts.filter((port) => resolvePort(port, pod) === port.port).filter(isFirst);
}

const isFirst = (port: NamedPort, at: number, all: readonly NamedPort[]) =>
  all.findIndex(({ name, protocol }) => name === port.name && protocol === port.protocol) === at;
