/** A reservation on disk: its file's name is the address, its content tells who has it (store.ts has the whole form). */
import { type Address, AddressError, parseAddress } from "../ip/address.ts";
import { isSystemError } from "../sys/errors.ts";
import type { Files } from "../sys/system.ts";
import type { Owner } from "./owner-index.ts";

/** What distinguishes a reservation's name from the others at a glance. */
const LIKE_ADDRESS = /^[0-9]+\.[0-9.]+$|^[0-9a-fA-F]*:[0-9a-fA-F:.]*$/;

/** A reservation as it was found. Files of others may be empty or torn: then nobody's name is in them. */
export interface Reservation {
  readonly address: Address;
  /** Empty when the file is. */
  readonly containerId: string;
  /** `undefined` in files of versions that did not write it. */
  readonly ifName: string | undefined;
}

/** False for the names of other files; true for some of them, too. */
export function isLikeAddress(name: string): boolean {
  return LIKE_ADDRESS.test(name);
}

/** `undefined` for the names of other files. */
export function addressNamed(text: string): Address | undefined {
  try {
    return parseAddress(text);
  } catch (error) {
    if (error instanceof AddressError) return undefined;
    throw error;
  }
}

export function parseOwner(text: string): Owner {
  const [containerId = "", ifName] = text.trim().split(/\r?\n/);
  return { containerId, ifName };
}

/**
 * All reservations of a network's folder, without its lock, for who only looks: one that is made or released meanwhile
 * may or may not be among them. None where there is no such folder. Throws `SystemError`.
 */
export function readReservations(files: Pick<Files, "readDirectory" | "readFile">, folder: string): Reservation[] {
  const decoder = new TextDecoder();
  return orElse([], () => files.readDirectory(folder)).flatMap((name) => {
    const address = isLikeAddress(name) ? addressNamed(name) : undefined;
    if (address === undefined) return [];
    const content = orElse(undefined, () => files.readFile(`${folder}/${name}`));
    return content === undefined ? [] : [{ address, ifName: undefined, ...parseOwner(decoder.decode(content)) }];
  });
}

/** Somebody may remove what was there a moment ago. */
function orElse<T>(absent: T, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (isSystemError(error, "ENOENT", "ENOTDIR", "EISDIR")) return absent;
    throw error;
  }
}
