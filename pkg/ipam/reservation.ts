/**
 * Parses reservations on disk: the file's name is the address, its content names the owner. store.ts describes the
 * format.
 */
import { type Address, AddressError, parseAddress } from "../ip/address.ts";
import { isSystemError } from "../sys/errors.ts";
import type { Files } from "../sys/system.ts";
import type { Owner } from "./owner-index.ts";

/** Distinguishes the names of reservations from other file names without parsing. */
const LIKE_ADDRESS = /^[0-9]+\.[0-9.]+$|^[0-9a-fA-F]*:[0-9a-fA-F:.]*$/;

/** A reservation read from disk. */
export interface Reservation {
  readonly address: Address;
  /** The file's first line. Empty if the file is empty. */
  readonly containerId: string;
  /** Undefined if the file does not name an interface. weft, and the reference since 0.8, always write one. */
  readonly ifName: string | undefined;
}

/**
 * True for a file that names no interface. Administrators create such files by hand (`touch DIR/192.168.1.20`) to
 * reserve an address, and only administrators remove them. The reference's releases before 0.8 wrote only the
 * container's id.
 */
export function isMadeByHand({ ifName }: Pick<Reservation, "ifName">): boolean {
  return ifName === undefined;
}

/** `<id>\r\n<ifname>`, as weft and the reference write it. */
const OWNED = /^(\S+)\r\n([^\s/:]{1,15})$/;

/** True if the name may be that of a reservation. Also true for some other names. */
export function isLikeAddress(name: string): boolean {
  return LIKE_ADDRESS.test(name);
}

/** Returns undefined for the names of other files. */
export function addressNamed(text: string): Address | undefined {
  try {
    return parseAddress(text);
  } catch (error) {
    if (error instanceof AddressError) return undefined;
    throw error;
  }
}

export function parseOwner(text: string): Owner {
  const [, containerId, ifName] = OWNED.exec(text.trim()) ?? [];
  if (containerId !== undefined) return { containerId, ifName };
  return { containerId: text.trim().split(/\r?\n/)[0] ?? "", ifName: undefined };
}

/**
 * Returns all reservations in a network's folder, without taking its lock. A reservation that is created or released
 * meanwhile may be missing or included. Empty if the folder does not exist. Throws `SystemError`.
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

/** Another program may have removed the file since it was listed. */
function orElse<T>(absent: T, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (isSystemError(error, "ENOENT", "ENOTDIR", "EISDIR")) return absent;
    throw error;
  }
}
