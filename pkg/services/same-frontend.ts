/**
 * True if two frontends are equal in every property that a mode uses. Fast if their lists are the same objects, as
 * nearly all are.
 */
import { isSameAddress } from "../ip/address.ts";
import { isSamePrefix } from "../ip/prefix.ts";
import type { Endpoint, Frontend } from "./frontend.ts";

export function isSameFrontend(a: Frontend | undefined, b: Frontend | undefined): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined) return false;
  return (
    a.kind === b.kind &&
    isSameAddress(a.address, b.address) &&
    a.protocol === b.protocol &&
    a.port === b.port &&
    a.service === b.service &&
    a.portName === b.portName &&
    a.nodePort === b.nodePort &&
    a.policy === b.policy &&
    a.withoutEndpoint === b.withoutEndpoint &&
    a.affinity?.seconds === b.affinity?.seconds &&
    a.affinity?.key === b.affinity?.key &&
    isSameList(a.endpoints, b.endpoints, isSameEndpoint) &&
    isSameList(a.localEndpoints, b.localEndpoints, isSameEndpoint) &&
    isSameOptionalList(a.serving, b.serving, isSameEndpoint) &&
    isSameOptionalList(a.allowedSources, b.allowedSources, isSamePrefix)
  );
}

function isSameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return isSameAddress(a.address, b.address) && a.port === b.port && a.isLocal === b.isLocal;
}

function isSameOptionalList<T>(
  a: readonly T[] | undefined,
  b: readonly T[] | undefined,
  isSame: (a: T, b: T) => boolean,
): boolean {
  return a === undefined || b === undefined ? a === b : isSameList(a, b, isSame);
}

export function isSameList<T>(a: readonly T[], b: readonly T[], isSame: (a: T, b: T) => boolean): boolean {
  if (a === b) return true;
  return a.length === b.length && a.every((one, index) => isSame(one, b[index] as T));
}
