/** The requests for changes of the tables: only the elements, chains and sets of the changes. */
import type { Address } from "../../ip/address.ts";
import { addressKey } from "../../ip/address.ts";
import type { Bytes, ElementForm } from "../../nft/element-bytes.ts";
import type { NftSet } from "../../nft/set.ts";
import { addWholeChain, addWholeSet, flushSet, removeChain, removeSet } from "../../nft/table.ts";
import type { PolicySettings } from "../program.ts";
import type { Identity, PolicyChange, Subject } from "../state.ts";
import type { PolicyTables } from "../tables.ts";
import { emitPeer, emitPods, emitProfile, emitSubject, type Sink } from "./elements.ts";
import { BASE, blockSets, podsSetOf } from "./layout.ts";
import type { Packer } from "./packer.ts";
import { type NumberedProfile, profileChains, profileRanges } from "./profile-chains.ts";

/** Applies changes to `tables`, and gives the requests for them to a packer, in the order of the changes. */
export class ChangeRequests {
  readonly #tables: PolicyTables;
  readonly #settings: PolicySettings;
  readonly #packer: Packer;
  #sets = 0;

  constructor(tables: PolicyTables, settings: PolicySettings, packer: Packer) {
    this.#tables = tables;
    this.#settings = settings;
    this.#packer = packer;
  }

  carryOut(change: PolicyChange): void {
    switch (change.kind) {
      case "peer":
        this.#changePeer(change.address, change.identity);
        break;
      case "pods":
        this.#changePods(change.number, change.identities);
        break;
      case "blocks":
        this.#changeBlocks(change);
        break;
      case "profile":
        this.#changeProfile(change);
        break;
      case "subject":
        this.#changeSubject(change.address, change.subject);
    }
    this.#tables.apply(change);
    this.#packer.mayEnd();
  }

  #changePeer(address: Address, identity: Identity | undefined): void {
    const before = this.#tables.peers.get(addressKey(address));
    this.#turn(
      (sink) => before !== undefined && emitPeer(address, before, sink),
      (sink) => identity !== undefined && emitPeer(address, identity, sink),
    );
  }

  #changeSubject(address: Address, subject: Subject | undefined): void {
    const before = this.#tables.subjects.get(addressKey(address));
    this.#turn(
      (sink) => before !== undefined && emitSubject(address, before, sink),
      (sink) => subject !== undefined && emitSubject(address, subject, sink),
    );
  }

  #changePods(number: number, identities: ReadonlySet<Identity> | undefined): void {
    const before = this.#tables.pods.get(number);
    const set = podsSetOf(number);
    if (identities === undefined) {
      if (before !== undefined) this.#packer.add([removeSet(BASE, set.name)]);
      return;
    }
    if (before === undefined) this.#addSet(set);
    const each = (group: Iterable<Identity>, isAdded: boolean) =>
      emitPods(number, group, (form, key, data) => {
        this.#packer.turn(form, key, isAdded ? undefined : data, isAdded ? data : undefined);
        this.#packer.mayEnd();
      });
    each(without(identities, before), true);
    each(without(before ?? new Set(), identities), false);
  }

  #changeBlocks({ number, group }: PolicyChange & { readonly kind: "blocks" }): void {
    const before = this.#tables.blocks.get(number);
    if (group === undefined) {
      if (before !== undefined) this.#packer.add(blockSets(number, before).map(({ name }) => removeSet(BASE, name)));
    } else if (before === undefined) for (const set of blockSets(number, group)) this.#addSet(set);
  }

  #changeProfile({ number, profile }: PolicyChange & { readonly kind: "profile" }): void {
    const before = this.#tables.profiles.get(number);
    if (profile === undefined) {
      if (before !== undefined) this.#removeProfile({ number, profile: before });
    } else if (before === undefined) this.#addProfile({ number, profile });
  }

  /** A chain is added after those to which it leads, and the map of ranges before the chain that looks it up. */
  #addProfile(profile: NumberedProfile): void {
    const ranges = profileRanges(profile);
    const chains = profileChains(profile, this.#settings);
    for (const chain of chains.slice(0, -1)) this.#packer.add(addWholeChain(BASE, chain));
    if (ranges !== undefined) this.#addSet(ranges);
    for (const chain of chains.slice(-1)) this.#packer.add(addWholeChain(BASE, chain));
    emitProfile(profile, (form, key, data) => this.#packer.turn(form, key, undefined, data));
  }

  #removeProfile(profile: NumberedProfile): void {
    emitProfile(profile, (form, key, data) => this.#packer.turn(form, key, data, undefined));
    const ranges = profileRanges(profile);
    const [first, ...rest] = profileChains(profile, this.#settings)
      .map(({ name }) => removeChain(BASE, name))
      .reverse();
    if (first !== undefined) this.#packer.add([first]);
    // Before Linux 6.4, deleting a map in the same transaction does not release the chains of its elements.
    if (ranges !== undefined) this.#packer.add([flushSet(BASE, ranges.name), removeSet(BASE, ranges.name)]);
    this.#packer.add(rest);
  }

  #addSet(set: NftSet): void {
    this.#sets += 1;
    this.#packer.add(addWholeSet(BASE, set, this.#sets), 1 + set.elements.length);
  }

  /** Changes the elements that `before` emits to those that `after` emits. */
  #turn(before: (sink: Sink) => unknown, after: (sink: Sink) => unknown): void {
    const held = new Map<string, readonly [ElementForm, Bytes, Bytes]>();
    before((form, key, data) => held.set(`${form.name} ${key}`, [form, key, data]));
    after((form, key, data) => {
      const id = `${form.name} ${key}`;
      this.#packer.turn(form, key, held.get(id)?.[2], data);
      held.delete(id);
    });
    for (const [form, key, data] of held.values()) this.#packer.turn(form, key, data, undefined);
  }
}

function* without(all: ReadonlySet<Identity>, others: ReadonlySet<Identity> | undefined): Generator<Identity> {
  for (const identity of all) if (others?.has(identity) !== true) yield identity;
}
