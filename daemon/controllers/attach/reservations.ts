/** Which attachment has which addresses, as host-local has written it down. */
import { type Reservation, readReservations } from "../../../pkg/ipam/reservation.ts";
import type { Files } from "../../../pkg/sys/system.ts";

/** Read again only where something was reserved or released since: a node has hundreds, and passes are many. */
export class Reservations {
  readonly #files: Pick<Files, "readDirectory" | "readFile" | "status">;
  #seen: { readonly folder: string; readonly modifiedMs: number; readonly all: readonly Reservation[] } | undefined;

  constructor(files: Pick<Files, "readDirectory" | "readFile" | "status">) {
    this.#files = files;
  }

  /** Undefined where there is no such folder. Throws `SystemError`. */
  in(folder: string): readonly Reservation[] | undefined {
    // Asked before reading: what changes meanwhile is read the next time.
    const modifiedMs = this.#files.status(folder)?.modifiedMs;
    if (modifiedMs === undefined) return undefined;
    const seen = this.#seen;
    if (seen?.folder === folder && seen.modifiedMs === modifiedMs) return seen.all;
    const all = readReservations(this.#files, folder);
    this.#seen = { folder, modifiedMs, all };
    return all;
  }
}
