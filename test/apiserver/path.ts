/** The paths of the API: /api/v1/... for the core group, /apis/GROUP/VERSION/... for the others. */
import { pathNotFound } from "./status.ts";

export interface ApiPath {
  readonly group: string;
  readonly version: string;
  readonly namespace?: string | undefined;
  readonly plural: string;
  readonly name?: string | undefined;
  readonly subresource?: string | undefined;
}

/** Path segments after a Namespace's name that are not a kind of objects in it. */
const SUBRESOURCES_OF_NAMESPACES = ["status", "finalize"];

/** undefined for paths that are not of objects. Throws 404 for invalid escapes. */
export function parsePath(pathname: string): ApiPath | undefined {
  const [, group = "", version = "", rest = ""] = /^\/apis?(?:(?<=s)\/([^/]+))?\/([^/]+)\/(.+)$/.exec(pathname) ?? [];
  const parts = rest.split("/").map(decodeSegment);
  const [first, second, third = ""] = parts;
  const isInside = first === "namespaces" && parts.length > 2 && !SUBRESOURCES_OF_NAMESPACES.includes(third);
  const [plural, name, subresource, ...more] = isInside ? parts.slice(2) : parts;
  if (!plural || name === "" || subresource === "" || more.length > 0) return undefined;
  return { group, version, ...(isInside ? { namespace: second } : {}), plural, name, subresource };
}

/** Throws 404. */
export function decodeSegment(encoded: string): string {
  try {
    return decodeURIComponent(encoded);
  } catch {
    throw pathNotFound();
  }
}
