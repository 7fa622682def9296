/**
 * Reservations on disk, in the form that the reference host-local has, so that both can work in one directory at once:
 *
 *     <dataDir>/<network>/10.244.0.5          "<container id>\r\n<interface>", mode 0600
 *     <dataDir>/<network>/last_reserved_ip.0  the address given last from range set 0
 *     <dataDir>/<network>/lock                held with flock(2) by whoever reads or writes
 *
 * The exclusive creation of an address's file decides who has it, and nothing else does. The file gets its content under
 * another name and is then linked: a process that dies leaves a whole reservation or none. That other name begins with
 * a dot and lies in the same directory, the only place sure to be on the same file system. The reference reads every
 * file here, but takes only those for reservations whose names are addresses; one that a dead process left is replaced
 * by the next reservation.
 */

import type { Attachment } from "../cni/network.ts";
import { type Address, AddressError, formatAddress, parseAddress } from "../ip/address.ts";
import { isSystemError } from "../sys/errors.ts";
import type { FileLock, System } from "../sys/system.ts";

const LOCK = "lock";
const CURSOR = "last_reserved_ip.";
const UNFINISHED = ".reservation";

/** What distinguishes a reservation's name from the others at a glance. */
const LIKE_ADDRESS = /^[0-9]+\.|^[0-9a-f]*:/;

const DIRECTORY_MODE = 0o755;
const FILE_MODE = 0o600;

/** A reservation as it was found. Files of others may be empty or torn: then nobody's name is in them. */
export interface Reservation {
  readonly address: Address;
  /** Empty when the file is. */
  readonly containerId: string;
  /** `undefined` in files of versions that did not write it. */
  readonly ifName: string | undefined;
}

/** The reservations of one network, locked until `close`. Its methods throw `SystemError`. */
export class ReservationStore {
  readonly directory: string;
  readonly #system: System;
  readonly #lock: FileLock | undefined;
  readonly #decoder = new TextDecoder();
  #names: Set<string> | undefined;

  private constructor(system: System, directory: string, lock: FileLock | undefined) {
    this.#system = system;
    this.directory = directory;
    this.#lock = lock;
  }

  /** Waits for the lock. Makes the directory where it is missing. */
  static open(system: System, dataDir: string, network: string): ReservationStore {
    const directory = `${dataDir}/${network}`;
    const path = `${directory}/${LOCK}`;
    const options = { mode: FILE_MODE };
    let lock: FileLock | undefined;
    try {
      lock = system.lockFile(path, options);
    } catch (error) {
      if (!isSystemError(error, "ENOENT")) throw error;
      system.makeDirectory(directory, DIRECTORY_MODE);
      lock = system.lockFile(path, options);
    }
    return new ReservationStore(system, directory, lock);
  }

  /** The same, but `undefined` where there is no directory, and so nothing reserved. */
  static openExisting(system: System, dataDir: string, network: string): ReservationStore | undefined {
    try {
      const lock = system.lockFile(`${dataDir}/${network}/${LOCK}`, { mode: FILE_MODE });
      return new ReservationStore(system, `${dataDir}/${network}`, lock);
    } catch (error) {
      if (isSystemError(error, "ENOENT")) return undefined;
      throw error;
    }
  }

  /** Throws `SystemError` when no reservation could be made; waits for nobody, and reserves nothing. */
  static assertWritable(system: System, dataDir: string, network: string): void {
    const directory = `${dataDir}/${network}`;
    system.makeDirectory(directory, DIRECTORY_MODE);
    system.lockFile(`${directory}/${LOCK}`, { wait: false, mode: FILE_MODE })?.release();
  }

  close(): void {
    this.#lock?.release();
  }

  isReserved(address: Address): boolean {
    return this.#fileNames().has(formatAddress(address));
  }

  /** False when somebody has the address. Otherwise it is reserved, and the cursor of `rangeSet` stands on it. */
  reserve(address: Address, owner: Attachment, rangeSet: number): boolean {
    const name = formatAddress(address);
    const isNew = this.#create(name, `${owner.containerId}\r\n${owner.ifName}`);
    this.#names?.add(name);
    if (!isNew) return false;
    try {
      this.#system.writeFile(this.#path(`${CURSOR}${rangeSet}`), encode(name), { mode: FILE_MODE });
    } catch (error) {
      this.release(address);
      throw error;
    }
    return true;
  }

  release(address: Address): void {
    const name = formatAddress(address);
    this.#names?.delete(name);
    try {
      this.#system.unlink(this.#path(name));
    } catch (error) {
      if (!isSystemError(error, "ENOENT")) throw error;
    }
  }

  /** The address that range set number `rangeSet` gave last; `undefined` when that is unknown. */
  lastReserved(rangeSet: number): Address | undefined {
    const text = this.#read(`${CURSOR}${rangeSet}`);
    return text === undefined ? undefined : addressNamed(text.trim());
  }

  /** Who has `address`; `undefined` when nobody has. */
  find(address: Address): Reservation | undefined {
    const text = this.#read(formatAddress(address));
    return text === undefined ? undefined : parseReservation(address, text);
  }

  /** Every reservation of the network. */
  list(): Reservation[] {
    return this.#listWhere(() => true);
  }

  /** The reservations of one attachment; failing those, those of old form that carry the container's id alone. */
  listOf(owner: Attachment): Reservation[] {
    const ofContainer = this.#listWhere((text) => text.includes(owner.containerId)).filter(
      ({ containerId }) => containerId === owner.containerId,
    );
    const exact = ofContainer.filter(({ ifName }) => ifName === owner.ifName);
    return exact.length > 0 ? exact : ofContainer.filter(({ ifName }) => ifName === undefined);
  }

  /** `isWanted` looks at a file's text, so that only what is wanted is taken apart. */
  #listWhere(isWanted: (text: string) => boolean): Reservation[] {
    const found: Reservation[] = [];
    for (const name of this.#fileNames()) {
      if (!LIKE_ADDRESS.test(name)) continue;
      const text = this.#read(name);
      if (text === undefined || !isWanted(text)) continue;
      const address = addressNamed(name);
      if (address !== undefined) found.push(parseReservation(address, text));
    }
    return found;
  }

  /** Names in the directory, read once: nobody else changes it while the lock is held. */
  #fileNames(): Set<string> {
    this.#names ??= new Set(this.#system.readDirectory(this.directory));
    return this.#names;
  }

  /** False when a file of this name exists. */
  #create(name: string, content: string): boolean {
    const unfinished = this.#path(UNFINISHED);
    const options = { mode: FILE_MODE, exclusive: true };
    try {
      this.#system.writeFile(unfinished, encode(content), options);
    } catch (error) {
      if (!isSystemError(error, "EEXIST")) throw error;
      // Left by a process that died. It may be a second name of a finished reservation: unlinked, never overwritten.
      this.#system.unlink(unfinished);
      this.#system.writeFile(unfinished, encode(content), options);
    }
    try {
      this.#system.link(unfinished, this.#path(name));
    } catch (error) {
      if (isSystemError(error, "EEXIST")) return false;
      throw error;
    } finally {
      this.#discard(unfinished);
    }
    return true;
  }

  /** A failure is left to the next reservation, which finds the file; this one is decided already. */
  #discard(path: string): void {
    try {
      this.#system.unlink(path);
    } catch (error) {
      if (!isSystemError(error)) throw error;
    }
  }

  #read(name: string): string | undefined {
    try {
      return this.#decoder.decode(this.#system.readFile(this.#path(name)));
    } catch (error) {
      if (isSystemError(error, "ENOENT", "EISDIR")) return undefined;
      throw error;
    }
  }

  #path(name: string): string {
    return `${this.directory}/${name}`;
  }
}

function parseReservation(address: Address, text: string): Reservation {
  const [containerId = "", ifName] = text.trim().split(/\r?\n/);
  return { address, containerId, ifName };
}

/** `undefined` for the names of other files. */
function addressNamed(text: string): Address | undefined {
  try {
    return parseAddress(text);
  } catch (error) {
    if (error instanceof AddressError) return undefined;
    throw error;
  }
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
