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
 *
 * No pod survives its machine: reservations made before the last start are released by the first call after it, where an
 * index of ours (owner-index.ts) tells that they are.
 */

import type { ValidAttachment } from "../cni/network.ts";
import { HOST_LOCAL_CURSOR, HOST_LOCAL_LOCK, HOST_LOCAL_UNFINISHED } from "../footprint.ts";
import { type Address, formatAddress } from "../ip/address.ts";
import { isSystemError } from "../sys/errors.ts";
import type { FileLock, System } from "../sys/system.ts";
import { type Entry, type Owner, OwnerIndex } from "./owner-index.ts";
import { addressNamed, isLikeAddress, isMadeByHand, parseOwner, type Reservation } from "./reservation.ts";
import { rewriteFile } from "./rewrite.ts";

/** What link(2) answers on file systems that have one name for each file, such as FAT. */
const WITHOUT_LINKS = ["EPERM", "EOPNOTSUPP", "ENOSYS"];

/** So many addresses are looked at one by one before all names are read at once. */
const SINGLE_LOOKS = 32;

const DIRECTORY_MODE = 0o755;
const FILE_MODE = 0o600;

/** The reservations of one network, locked until `close`. Its methods throw `SystemError`. */
export class ReservationStore {
  readonly directory: string;
  readonly #system: System;
  readonly #lock: FileLock | undefined;
  readonly #index: OwnerIndex | undefined;
  readonly #decoder = new TextDecoder();
  readonly #releasedAtOpening: Reservation[] = [];
  #names: Set<string> | undefined;
  #looks = 0;
  #hasChanged = false;

  private constructor(system: System, dataDir: string, network: string, lock: FileLock | undefined) {
    this.#system = system;
    this.directory = directoryOf(dataDir, network);
    this.#lock = lock;
    try {
      this.#index = OwnerIndex.open(system, dataDir, network, this.directory);
      if (this.#index?.isOfEarlierBoot) this.#releaseEarlier(this.#index);
    } catch (error) {
      lock?.release();
      throw error;
    }
  }

  /** Waits for the lock. Makes the directory where it is missing. */
  static open(system: System, dataDir: string, network: string): ReservationStore {
    const directory = directoryOf(dataDir, network);
    const path = `${directory}/${HOST_LOCAL_LOCK}`;
    const options = { mode: FILE_MODE };
    let lock: FileLock | undefined;
    try {
      lock = system.lockFile(path, options);
    } catch (error) {
      if (!isSystemError(error, "ENOENT")) throw error;
      system.makeDirectory(directory, DIRECTORY_MODE);
      lock = system.lockFile(path, options);
    }
    return new ReservationStore(system, dataDir, network, lock);
  }

  /** The same, but `undefined` where there is no directory, and so nothing reserved. */
  static openExisting(system: System, dataDir: string, network: string): ReservationStore | undefined {
    let lock: FileLock | undefined;
    try {
      lock = system.lockFile(`${directoryOf(dataDir, network)}/${HOST_LOCAL_LOCK}`, { mode: FILE_MODE });
    } catch (error) {
      if (isSystemError(error, "ENOENT")) return undefined;
      throw error;
    }
    return new ReservationStore(system, dataDir, network, lock);
  }

  /** Throws `SystemError` when no reservation could be made; waits for nobody, and reserves nothing. */
  static assertWritable(system: System, dataDir: string, network: string): void {
    const directory = directoryOf(dataDir, network);
    system.makeDirectory(directory, DIRECTORY_MODE);
    system.lockFile(`${directory}/${HOST_LOCAL_LOCK}`, { wait: false, mode: FILE_MODE })?.release();
  }

  /** What was reserved before the machine was last started, and was there until this store was opened. */
  get releasedAtOpening(): readonly Reservation[] {
    return this.#releasedAtOpening;
  }

  close(): void {
    try {
      if (this.#hasChanged) this.#index?.save();
    } finally {
      this.#lock?.release();
    }
  }

  isReserved(address: Address): boolean {
    const name = formatAddress(address);
    if (this.#names === undefined && ++this.#looks <= SINGLE_LOOKS) {
      return this.#system.status(this.#path(name)) !== undefined;
    }
    return this.#fileNames().has(name);
  }

  /** False when somebody has the address. Otherwise it is reserved, and the cursor of `rangeSet` stands on it. */
  reserve(address: Address, owner: ValidAttachment, rangeSet: number): boolean {
    const name = formatAddress(address);
    this.#hasChanged = true;
    const isNew = this.#create(name, `${owner.containerId}\r\n${owner.ifName}`);
    this.#names?.add(name);
    if (!isNew) return false;
    this.#index?.add(entryOf(name, owner));
    try {
      rewriteFile(this.#system, this.#path(`${HOST_LOCAL_CURSOR}${rangeSet}`), name);
    } catch (error) {
      this.release({ address, containerId: owner.containerId, ifName: owner.ifName });
      throw error;
    }
    return true;
  }

  release({ address, ...owner }: Reservation): void {
    this.#remove(entryOf(formatAddress(address), owner));
  }

  #remove(entry: Entry): void {
    this.#hasChanged = true;
    try {
      this.#system.unlink(this.#path(entry.name));
    } catch (error) {
      if (!isSystemError(error, "ENOENT")) throw error;
    }
    this.#names?.delete(entry.name);
    this.#index?.remove(entry);
  }

  /** Removes what a process left that died while it reserved. */
  discardUnfinished(): void {
    this.#hasChanged = true;
    rewriteFile(this.#system, this.#path(HOST_LOCAL_UNFINISHED), "");
  }

  /** The address that range set number `rangeSet` gave last; `undefined` when that is unknown. */
  lastReserved(rangeSet: number): Address | undefined {
    const text = this.#read(`${HOST_LOCAL_CURSOR}${rangeSet}`);
    return text === undefined ? undefined : addressNamed(text.trim());
  }

  /** Who has `address`; `undefined` when nobody has. */
  find(address: Address): Reservation | undefined {
    const entry = this.#readEntry(formatAddress(address));
    return entry && { address, containerId: entry.containerId, ifName: entry.ifName };
  }

  /** Every reservation of the network. */
  list(): Reservation[] {
    return this.#scan().flatMap(toReservations);
  }

  /** The reservations of one attachment; failing those, those of old form that carry the container's id alone. */
  listOf(owner: ValidAttachment): Reservation[] {
    const indexed = this.#indexedOf(owner) ?? [];
    return indexed.length > 0 ? indexed : this.#scanFor(owner);
  }

  /** As `listOf`, but where the index knows of none there are none: for an attachment that should be new. */
  listOfNew(owner: ValidAttachment): Reservation[] {
    return this.#indexedOf(owner) ?? this.#scanFor(owner);
  }

  #scanFor(owner: ValidAttachment): Reservation[] {
    const ofContainer = this.#scan().filter(({ containerId }) => containerId === owner.containerId);
    const exact = ofContainer.filter(({ ifName }) => ifName === owner.ifName);
    return (exact.length > 0 ? exact : ofContainer.filter(({ ifName }) => ifName === undefined)).flatMap(
      toReservations,
    );
  }

  /** `undefined` where the index does not know, or is found to be wrong. */
  #indexedOf({ containerId, ifName }: ValidAttachment): Reservation[] | undefined {
    if (!this.#index?.isCurrent) return undefined;
    for (const owner of [
      { containerId, ifName },
      { containerId, ifName: undefined },
    ]) {
      const names = this.#index.namesOf(owner);
      if (names === undefined) return undefined;
      const entries = names.flatMap((name) => this.#readEntry(name) ?? []);
      if (entries.length < names.length || !entries.every((entry) => isSameOwner(entry, owner))) {
        this.#index.distrust();
        return undefined;
      }
      if (entries.length > 0) return entries.flatMap(toReservations);
    }
    return [];
  }

  /** Reads every file; the index learns from it. */
  #scan(): Entry[] {
    const entries: Entry[] = [];
    for (const name of this.#fileNames()) {
      if (!isLikeAddress(name)) continue;
      const entry = this.#readEntry(name);
      if (entry !== undefined) entries.push(entry);
    }
    if (this.#index !== undefined && !this.#index.isCurrent && !this.#index.isOfEarlierBoot) {
      this.#index.rebuild(entries);
      this.#hasChanged = true;
    }
    return entries;
  }

  #readEntry(name: string): Entry | undefined {
    const text = this.#read(name);
    return text === undefined ? undefined : entryOf(name, parseOwner(text));
  }

  /**
   * Releases what was reserved before the machine was last started. If the directory is unchanged since the index was
   * saved, every entry is from an earlier boot. Otherwise the Go plugin may have reserved in this boot already: then only
   * what the index has seen is released. A file made by hand stays; one whose content a power failure took does not,
   * which the index still knows under its name.
   */
  #releaseEarlier(index: OwnerIndex): void {
    const isUntouched = index.isCurrent;
    for (const reservation of this.list()) {
      const entry = entryOf(formatAddress(reservation.address), reservation);
      const isTorn = entry.containerId === "" && index.hasSeenName(entry.name);
      const isEarlier = isMadeByHand(reservation) ? isTorn : isUntouched || index.hasSeen(entry);
      if (!isEarlier) continue;
      try {
        this.#remove(entry);
        this.#releasedAtOpening.push(reservation);
      } catch (error) {
        // It stays, as one of this boot; the others have to go nevertheless.
        if (!isSystemError(error)) throw error;
      }
    }
    index.adopt();
  }

  /** Names in the directory, read once: nobody else changes it while the lock is held. */
  #fileNames(): Set<string> {
    this.#names ??= new Set(this.#system.readDirectory(this.directory));
    return this.#names;
  }

  /** False when a file of this name exists. */
  #create(name: string, content: string): boolean {
    const unfinished = this.#path(HOST_LOCAL_UNFINISHED);
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
      if (!isSystemError(error, ...WITHOUT_LINKS)) throw error;
      return this.#createInPlace(name, content);
    } finally {
      this.#discard(unfinished);
    }
    return true;
  }

  /** What the reference does: a process that dies in between leaves an empty file, which counts as made by hand. */
  #createInPlace(name: string, content: string): boolean {
    const path = this.#path(name);
    try {
      this.#system.writeFile(path, encode(content), { mode: FILE_MODE, exclusive: true });
    } catch (error) {
      if (isSystemError(error, "EEXIST")) return false;
      if (isSystemError(error) && error.call !== "open") this.#discard(path);
      throw error;
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

function directoryOf(dataDir: string, network: string): string {
  return `${dataDir}/${network}`;
}

function entryOf(name: string, { containerId, ifName }: Owner): Entry {
  return { name, containerId, ifName };
}

function isSameOwner(one: Owner, other: Owner): boolean {
  return one.containerId === other.containerId && one.ifName === other.ifName;
}

/** Empty where the file only looks like a reservation. */
function toReservations({ name, containerId, ifName }: Entry): Reservation[] {
  const address = addressNamed(name);
  return address === undefined ? [] : [{ address, containerId, ifName }];
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
