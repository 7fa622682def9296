/** A reservation on disk: its file's name is the address, its content tells who has it (store.ts has the whole form). */
import { type Address, AddressError, parseAddress } from "../ip/address.ts";
import { isSystemError } from "../sys/errors.ts";
import type { Files } from "../sys/system.ts";
import type { Owner } from "./owner-index.ts";

/** What distinguishes a reservation's name from the others at a glance. */
const LIKE_ADDRESS = /^[0-9]+\.[0-9.]+$|^[0-9a-fA-F]*:[0-9a-fA-F:.]*$/;

/** A reservation as it was found. */
export interface Reservation {
  readonly address: Address;
  /** The file's first line; empty when the file is. */
  readonly containerId: string;
  /** `undefined` where the file does not name one as both suites do since 0.8. */
  readonly ifName: string | undefined;
}

/**
 * True for a file that names no interface. Administrators make such files by hand (`touch DIR/192.168.1.20`) to keep an
 * address from pods: only they remove them. Releases of the reference before 0.8 wrote the container's id alone.
 */
export function isMadeByHand({ ifName }: Pick<Reservation, "ifName">): boolean {
  return ifName === undefined;
}

/** `<id>\r\n<ifname>`: what both suites write. */
const OWNED = /^(\S+)\r\n([^\s/:]{1,15})$/;

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
  const [, containerId, ifName] = OWNED.exec(text.trim()) ?? [];
  if (containerId !== undefined) return { containerId, ifName };
  return { containerId: text.trim().split(/\r?\n/)[0] ?? "", ifName: undefined };
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
