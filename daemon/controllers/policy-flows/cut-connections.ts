/** Enters TCP connections into the table `inet weft-policy-cut` before their flows are deleted. */
import type { Flow } from "../../../pkg/kernel/flow.ts";
import { isNetlinkError } from "../../../pkg/netlink/errors.ts";
import { addElements, createTable } from "../../../pkg/nft/table.ts";
import { type CutConnection, cutSets, cutTable } from "../../../pkg/policy/cut-table.ts";
import type { Programmer } from "../../core/drivers/programmer.ts";
import type { Logger } from "../../core/log.ts";

const IPPROTO_TCP = 6;

/** The number of connections that are entered at once. */
const AT_ONCE = 1000;

export interface CutConnectionsParts {
  readonly programmer: Pick<Programmer, "commit">;
  readonly log: Pick<Logger, "warn">;
}

export class CutConnections {
  readonly #parts: CutConnectionsParts;
  readonly #due: CutConnection[] = [];

  constructor(parts: CutConnectionsParts) {
    this.#parts = parts;
  }

  /** Remembers a flow for the next `enter`. Only packets of TCP show whether they begin a new connection. */
  add({ protocol, from, sourcePort, to, port }: Flow): void {
    if (protocol === IPPROTO_TCP) this.#due.push({ from, fromPort: sourcePort, to, toPort: port });
  }

  /**
   * Enters the added connections. If the kernel refuses, for example because the table is full, the flows are deleted
   * nevertheless: the table only refuses packets that the policies may allow.
   */
  async enter(): Promise<void> {
    const due = this.#due.splice(0);
    try {
      for (let at = 0; at < due.length; at += AT_ONCE) await this.#commit(due.slice(at, at + AT_ONCE));
    } catch (error) {
      if (!isNetlinkError(error)) throw error;
      this.#parts.log.warn(
        { err: error, connections: due.length },
        "cut connections may continue if their server sends: the kernel refuses to remember them",
      );
    }
  }

  async #commit(connections: readonly CutConnection[]): Promise<void> {
    const { programmer } = this.#parts;
    const table = cutTable(connections);
    const elements = cutSets(connections)
      .filter((set) => set.elements.length > 0)
      .flatMap((set) => addElements(table, set, { exclusive: false }));
    try {
      await programmer.commit(elements);
    } catch (error) {
      if (!isNetlinkError(error, "ENOENT")) throw error;
      await programmer.commit(createTable(table));
    }
  }
}
