/** For tests: runs the mode on an nf_tables in memory. */
import { parseAddress } from "../../ip/address.ts";
import { parsePrefix } from "../../ip/prefix.ts";
import { answered } from "../../netlink/look.ts";
import { readRuleset } from "../../netlink/ruleset.ts";
import { elementDumps } from "../../nft/comparison.ts";
import { eachElement } from "../../nft/element-bytes.ts";
import { fakeBlockingNetlink } from "../../nft/fake-blocking-netlink.ts";
import { FakeNftables } from "../../nft/fake-nftables.ts";
import { addressBytes, numberBytes } from "../../nft/key-bytes.ts";
import type { Endpoint, Frontend, FrontendChange, NodeSettings } from "../frontend.ts";
import type { Transaction } from "../mode.ts";
import { type Bytes, rowBytes } from "./bytes.ts";
import { servicesTable } from "./layout.ts";
import { NftablesMode } from "./nftables-mode.ts";
import { FRONTEND_SETS } from "./sets.ts";

export const SETTINGS: NodeSettings = {
  localPods: [parsePrefix("10.244.1.0/24"), parsePrefix("fd00:1::/64")],
  serviceRanges: [parsePrefix("10.96.0.0/16")],
  masqueradeAll: false,
  masqueradeBit: 14,
};

export const endpoint = (address: string, isLocal = false): Endpoint => ({
  address: parseAddress(address),
  port: 8080,
  isLocal,
});
export const endpoints = (count: number, from = 0) =>
  Array.from({ length: count }, (_, at) => endpoint(`10.244.${(from + at) >> 8}.${(from + at) & 255}`));

export function frontend(more: Partial<Frontend> = {}): Frontend {
  return {
    ...{ kind: "ClusterIP", address: parseAddress("10.96.0.1"), protocol: 6, port: 80, service: "default/web" },
    ...{ portName: "", policy: "internal", endpoints: [], localEndpoints: [], withoutEndpoint: undefined },
    ...{ allowedSources: undefined, affinity: undefined },
    ...more,
  };
}

export class Kernel {
  readonly nftables = new FakeNftables();
  readonly netlink = fakeBlockingNetlink(this.nftables);

  compare(mode: NftablesMode, frontends: Iterable<Frontend>, settings = SETTINGS): readonly Transaction[] {
    return answered(mode.compare(frontends, settings), (questions) => readRuleset(this.netlink, questions));
  }

  carryOut(transactions: readonly Transaction[], each: () => void = () => undefined): void {
    for (const transaction of transactions) {
      this.netlink.commit(transaction);
      each();
    }
  }

  /** A kernel with frontends that were programmed from scratch. */
  static with(frontends: readonly Frontend[]): { kernel: Kernel; mode: NftablesMode } {
    const [kernel, mode] = [new Kernel(), new NftablesMode()];
    kernel.carryOut(kernel.compare(mode, frontends));
    return { kernel, mode };
  }

  /** The elements of all frontends by set: keys with data, in hexadecimal. */
  elements(): ReadonlyMap<string, ReadonlyMap<string, string>> {
    const table = { ...servicesTable(SETTINGS, []), sets: FRONTEND_SETS };
    const sets = new Map<string, Map<string, string>>(FRONTEND_SETS.map(({ name }) => [name, new Map()]));
    eachElement(table, readRuleset(this.netlink, elementDumps(table)), (set, key, data) => {
      sets.get(set)?.set(hex(key), hex(data));
    });
    return sets;
  }

  /**
   * Checks that each frontend's endpoints exist, as many as its size says. Also checks that other ports of a frontend's
   * address are refused only if the frontend is programmed.
   */
  assertWhole(wanted: readonly Frontend[] = []): void {
    const sets = this.elements();
    for (const { kind, address, protocol, port } of wanted) {
      if (kind !== "ClusterIP" || !sets.get(`cluster-ips${address.family}`)?.has(hex(addressBytes(address)))) continue;
      ok(sets.get(`connections${address.family}`)?.has(hex(rowBytes({ address, protocol, port }))));
    }
    for (const list of ["", "local-"]) {
      for (const family of [4, 6]) {
        for (const [row, size] of sets.get(`${list}frontends${family}`) ?? []) {
          for (let slot = 0; hex(numberBytes(slot)) !== size; slot++) {
            ok(sets.get(`${list}endpoints${family}`)?.has(row + hex(numberBytes(slot))));
          }
        }
      }
    }
  }
}

function ok(isTrue: boolean | undefined): void {
  if (isTrue !== true) throw new Error("a frontend is incomplete");
}

const hex = (bytes: Bytes) =>
  Array.from(bytes, (character) => character.charCodeAt(0).toString(16).padStart(2, "0")).join("");
export const turn = (before: Frontend | undefined, after: Frontend | undefined): FrontendChange => ({ before, after });
export const words = (transactions: readonly Transaction[]) =>
  transactions.map((requests) => requests.map(({ text }) => text));
