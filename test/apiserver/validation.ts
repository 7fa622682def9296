/** Rejects keys of annotations and labels that are not qualified names. */

import type { Kind } from "./kinds.ts";
import { isObject, type JsonObject } from "./resource.ts";
import { invalid } from "./status.ts";

const NAME = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/** Throws 422 with every invalid key. */
export function assertValid(kind: Kind, name: string, metadata: JsonObject): void {
  const problems = [];
  for (const field of ["labels", "annotations"] as const) {
    const map = metadata[field];
    if (!isObject(map)) continue;
    for (const [key, value] of Object.entries(map)) {
      for (const why of qualifiedNameProblems(key)) {
        problems.push({ field: `metadata.${field}`, message: `Invalid value: ${JSON.stringify(key)}: ${why}` });
      }
      if (typeof value !== "string") {
        problems.push({ field: `metadata.${field}`, message: `Invalid value: ${JSON.stringify(key)}: not a string` });
      }
    }
  }
  if (problems.length > 0) throw invalid(kind, name, problems);
}

/** `[prefix/]name`: the prefix is a DNS subdomain of at most 253 characters, the name has at most 63. */
function qualifiedNameProblems(key: string): string[] {
  const slash = key.indexOf("/");
  const prefix = slash < 0 ? undefined : key.slice(0, slash);
  const name = key.slice(slash + 1);
  const problems = [];
  if (prefix !== undefined && (prefix.length > 253 || !SUBDOMAIN.test(prefix))) {
    problems.push("prefix part must be a lower-case DNS subdomain");
  }
  if (name.length > 63) problems.push("name part must be no more than 63 characters");
  if (!NAME.test(name)) {
    problems.push(
      "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric " +
        "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is " +
        "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
    );
  }
  return problems;
}
