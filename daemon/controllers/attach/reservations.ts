/** The addresses of each attachment, as host-local has recorded them. */
import { type Reservation, readReservations } from "../../../pkg/ipam/reservation.ts";
import type { Files } from "../../../pkg/sys/system.ts";

/** Reads them again only after an address was reserved or released: a node has hundreds, and passes are frequent. */
export class Reservations {
  readonly #files: Pick<Files, "readDirectory" | "readFile" | "status">;
  #seen: { readonly folder: string; readonly modifiedMs: number; readonly all: readonly Reservation[] } | undefined;

  constructor(files: Pick<Files, "readDirectory" | "readFile" | "status">) {
    this.#files = files;
  }

  /** Undefined if the directory does not exist. Throws `SystemError`. */
  in(folder: string): readonly Reservation[] | undefined {
    // Read before the reservations, so that a concurrent change is found at the next call.
    const modifiedMs = this.#files.status(folder)?.modifiedMs;
    if (modifiedMs === undefined) return undefined;
    const seen = this.#seen;
    if (seen?.folder === folder && seen.modifiedMs === modifiedMs) return seen.all;
    const all = readReservations(this.#files, folder);
    this.#seen = { folder, modifiedMs, all };
    return all;
  }
}
