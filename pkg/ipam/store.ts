/**
 * Reservations on disk, in the format of the reference host-local, so that both can use one directory at the same time:
 *
 *     <dataDir>/<network>/10.244.0.5          "<container id>\r\n<interface>", mode 0600
 *     <dataDir>/<network>/last_reserved_ip.0  the address leased last from range set 0
 *     <dataDir>/<network>/lock                locked by flock(2) while a program reads or writes
 *
 * Only the exclusive creation of an address's file decides who owns the address. The file is written under another name
 * and then linked, so a process that dies leaves a complete reservation or none. The other name begins with a dot and
 * is in the same directory, which is certain to be on the same file system. The reference reads every file in the
 * directory, but treats only files named after an address as reservations. The next reservation replaces an unfinished
 * one of a dead process.
 *
 * No pod survives a reboot of its machine. If weft's index (owner-index.ts) shows which reservations were made before
 * the last boot, the first call after the boot releases them.
 */

import type { ValidAttachment } from "../cni/network.ts";
import { HOST_LOCAL_CURSOR, HOST_LOCAL_LOCK, HOST_LOCAL_UNFINISHED } from "../footprint.ts";
import { type Address, formatAddress } from "../ip/address.ts";
import { isSystemError } from "../sys/errors.ts";
import type { FileLock, System } from "../sys/system.ts";
import { type Entry, type Owner, OwnerIndex } from "./owner-index.ts";
import { addressNamed, isLikeAddress, isMadeByHand, parseOwner, type Reservation } from "./reservation.ts";
import { rewriteFile } from "./rewrite.ts";

/** The errors of link(2) on file systems without hard links, such as FAT. */
const WITHOUT_LINKS = ["EPERM", "EOPNOTSUPP", "ENOSYS"];

/** The number of addresses that are checked one by one before all names are read at once, if the directory is small. */
const SINGLE_LOOKS = 32;
/**
 * The length of the directory for each further address that is checked one by one: four names on ext4. A check takes as
 * long as reading four names. With 60,000 addresses that are reserved at random, one of 15 ADDs checks more than 32.
 */
const BYTES_PER_LOOK = 128;

const DIRECTORY_MODE = 0o755;
const FILE_MODE = 0o600;

/** The reservations of one network, locked until `close`. The methods throw `SystemError`. */
export class ReservationStore {
  readonly directory: string;
  readonly #system: System;
  readonly #lock: FileLock | undefined;
  readonly #index: OwnerIndex | undefined;
  readonly #decoder = new TextDecoder();
  readonly #releasedAtOpening: Reservation[] = [];
  #names: Set<string> | undefined;
  #looks = 0;
  #directoryBytes: number | undefined;
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

  /** Waits for the lock. Creates the directory if it is missing. */
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

  /** Like `open`, but returns undefined if the directory does not exist: nothing is then reserved. */
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

  /** Throws `SystemError` if no reservation could be made. Does not wait for the lock, and reserves nothing. */
  static assertWritable(system: System, dataDir: string, network: string): void {
    const directory = directoryOf(dataDir, network);
    system.makeDirectory(directory, DIRECTORY_MODE);
    system.lockFile(`${directory}/${HOST_LOCAL_LOCK}`, { wait: false, mode: FILE_MODE })?.release();
  }

  /** The reservations that were made before the last boot and that opening this store released. */
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
    if (this.#names === undefined && ++this.#looks <= this.#mostLooks()) {
      return this.#system.status(this.#path(name)) !== undefined;
    }
    return this.#fileNames().has(name);
  }

  #mostLooks(): number {
    if (this.#looks <= SINGLE_LOOKS) return SINGLE_LOOKS;
    this.#directoryBytes ??= this.#system.status(this.directory)?.sizeBytes ?? 0;
    return Math.max(SINGLE_LOOKS, this.#directoryBytes / BYTES_PER_LOOK);
  }

  /**
   * Returns false if the address is already reserved. Otherwise reserves it and sets the cursor of `rangeSet` to it.
   */
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

  /** Removes an unfinished reservation of a process that died. */
  discardUnfinished(): void {
    this.#hasChanged = true;
    rewriteFile(this.#system, this.#path(HOST_LOCAL_UNFINISHED), "");
  }

  /** Returns the address that range set number `rangeSet` leased last. Undefined if it is unknown. */
  lastReserved(rangeSet: number): Address | undefined {
    const text = this.#read(`${HOST_LOCAL_CURSOR}${rangeSet}`);
    return text === undefined ? undefined : addressNamed(text.trim());
  }

  /** Returns the reservation of `address`. Undefined if there is none. */
  find(address: Address): Reservation | undefined {
    const entry = this.#readEntry(formatAddress(address));
    return entry && { address, containerId: entry.containerId, ifName: entry.ifName };
  }

  /** Returns every reservation of the network. */
  list(): Reservation[] {
    return this.#scan().flatMap(toReservations);
  }

  /**
   * Returns the reservations of one attachment. If it has none, returns those in the old format, which name only the
   * container.
   */
  listOf(owner: ValidAttachment): Reservation[] {
    const indexed = this.#indexedOf(owner) ?? [];
    return indexed.length > 0 ? indexed : this.#scanFor(owner);
  }

  /** Like `listOf`, but trusts an index without entries: for an attachment that should be new. */
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

  /** Undefined if the index does not know the owner, or turned out to be wrong. */
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

  /** Reads every file, and rebuilds the index from them if it is not current. */
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
   * Releases the reservations that were made before the last boot. If the directory is unchanged since the index was
   * saved, every entry is from an earlier boot. Otherwise the Go plugin may already have reserved addresses in this
   * boot, and only entries of the index are released. A file made by hand is kept. A file whose content was lost in a
   * power failure is released: the index still has its name.
   */
  #releaseEarlier(index: OwnerIndex): void {
    for (const reservation of this.list()) {
      const entry = entryOf(formatAddress(reservation.address), reservation);
      const isTorn = entry.containerId === "" && index.hasSeenName(entry.name);
      const isEarlier = isMadeByHand(reservation) ? isTorn : index.isUntouched || index.hasSeen(entry);
      if (!isEarlier) continue;
      try {
        this.#remove(entry);
        this.#releasedAtOpening.push(reservation);
      } catch (error) {
        // The reservation stays and counts as one of this boot. The others must be released nevertheless.
        if (!isSystemError(error)) throw error;
      }
    }
    index.adopt();
  }

  /** Returns the names in the directory, read once: no other process changes it while the lock is held. */
  #fileNames(): Set<string> {
    this.#names ??= new Set(this.#system.readDirectory(this.directory));
    return this.#names;
  }

  /** Returns false if a file of this name exists. */
  #create(name: string, content: string): boolean {
    const unfinished = this.#path(HOST_LOCAL_UNFINISHED);
    const options = { mode: FILE_MODE, exclusive: true };
    try {
      this.#system.writeFile(unfinished, encode(content), options);
    } catch (error) {
      if (!isSystemError(error, "EEXIST")) throw error;
      // A dead process left this file. It may be a second name of a finished reservation, so it is unlinked, never
      // overwritten.
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

  /**
   * Writes the file directly, as the reference does. A process that dies meanwhile leaves an empty file, which counts
   * as made by hand.
   */
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

  /** Ignores failures: the next reservation finds the file, and the result of this one is already decided. */
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

/** Returns an empty list if the name only resembles an address. */
function toReservations({ name, containerId, ifName }: Entry): Reservation[] {
  const address = addressNamed(name);
  return address === undefined ? [] : [{ address, containerId, ifName }];
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
