/** Finds flows that policies do not allow, at the cost of few walks of the kernel's table. */
import { type Address, addressToBytes, type Family } from "../../../pkg/ip/address.ts";
import type { ConnectionSelector } from "../../../pkg/kernel/connection-selector.ts";
import { addressBytesKey, Flow } from "../../../pkg/kernel/flow.ts";
import type { FlowSearch } from "../../../pkg/kernel/flow-search.ts";
import type { DueAddresses } from "./due-flows.ts";

/**
 * The kernel walks its entire table for each dump (30 ms for 100,000 flows), and returns each selected flow in 2.4 us.
 * With more addresses, one dump of all flows is cheaper than two for each address.
 */
const MAX_SELECTED = 4;

export interface FlowSearchParts {
  readonly family: Family;
  readonly addresses: DueAddresses;
  /** True if the flow may have begun while the table was missing. Undefined if it was not. */
  readonly beganInWindow: ((flow: Flow) => boolean) | undefined;
  /** True if policies do not allow the flow. */
  isDenied(flow: Flow): boolean;
  /** Called with each flow that matches, then `beforeDeletion` is called, then they are deleted. */
  onMatch(flow: Flow): void;
  beforeDeletion(): Promise<void>;
}

/** Returns the searches for the flows of a family that must be deleted. */
export function flowSearches(parts: FlowSearchParts): FlowSearch[] {
  const { family, beganInWindow, isDenied, onMatch, beforeDeletion } = parts;
  const addresses = parts.addresses === "all" ? "all" : parts.addresses.filter((address) => address.family === family);
  if (addresses !== "all" && addresses.length === 0 && beganInWindow === undefined) return [];
  const keys = new Set(addresses === "all" ? [] : addresses.map((each) => addressBytesKey(addressToBytes(each))));
  const isDue = (flow: Flow) =>
    addresses === "all" || keys.has(flow.fromKey) || keys.has(flow.toKey) || beganInWindow?.(flow) === true;
  const search = (selector: ConnectionSelector): FlowSearch => ({
    selector,
    exact: undefined,
    beforeDeletion,
    matches: (message) => {
      const flow = Flow.read(message);
      const isMatch = flow !== undefined && isDue(flow) && isDenied(flow);
      if (isMatch) onMatch(flow);
      return isMatch;
    },
  });
  const selectors = beganInWindow === undefined && addresses !== "all" ? selectorsOf(family, addresses) : undefined;
  return (selectors ?? [{ family }]).map(search);
}

/** Flows from each address and to each. Undefined if a dump of all flows is cheaper, or if the kernel cannot select. */
function selectorsOf(family: Family, addresses: readonly Address[]): ConnectionSelector[] | undefined {
  if (family === 6 || addresses.length > MAX_SELECTED) return undefined;
  return addresses.flatMap((address) => [
    { family, source: address },
    { family, answeredBy: address },
  ]);
}
