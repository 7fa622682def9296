/**
 * A second `kubectl apply` of the same manifest changes nothing, and reports so for each object. kubectl compares lists
 * that are replaced as a whole ("atomic" in the API's schema) with the API server's, including defaults. The manifest
 * must therefore contain the defaults inside such lists.
 */
import { expect, test } from "vitest";
import type { KubeObject } from "./objects.ts";
import { nameOf } from "./objects.ts";
import { kustomizeObjects } from "./tools.ts";

/** Atomic lists, and the keys for which the API server sets defaults in their elements (Kubernetes 1.36). */
const DEFAULTED: readonly (readonly [list: RegExp, keys: readonly string[]])[] = [
  [/\/resourceRules$/, ["scope"]],
  [/\/sources\/\d+\/downwardAPI\/items\/\d+\/fieldRef$/, ["apiVersion"]],
  [/\/env\/\d+\/valueFrom\/fieldRef$/, ["apiVersion"]],
  [/\/sources\/\d+\/serviceAccountToken$/, ["expirationSeconds"]],
];

function missingIn(value: unknown, path = ""): string[] {
  if (typeof value !== "object" || value === null) return [];
  const keys = DEFAULTED.find(([list]) => list.test(path))?.[1] ?? [];
  const elements = Array.isArray(value) ? value : [value];
  const missing = elements.flatMap((element: object, at) =>
    keys.filter((key) => !(key in element)).map((key) => `${path}/${at}: ${key}`),
  );
  return [...missing, ...Object.entries(value).flatMap(([key, inner]) => missingIn(inner, `${path}/${key}`))];
}

test("atomic lists contain the API server's defaults", () => {
  for (const object of kustomizeObjects("base")) expect(missingIn(object), nameOf(object)).toEqual([]);
});

/** Resources that exist in several API groups: a policy for one is type-checked with all of them. */
const AMBIGUOUS = ["events"];

test("for such resources, policies select fields missing in one group only from untyped objects", () => {
  const policies = kustomizeObjects("base").filter(({ kind }) => kind === "ValidatingAdmissionPolicy");
  const about = policies.filter((policy) =>
    AMBIGUOUS.some((resource) => JSON.stringify(policy).includes(`"${resource}"`)),
  );
  expect(about.map(nameOf)).toHaveLength(1);
  for (const policy of about)
    expect(expressionsOf(policy).join("\n")).not.toMatch(/\b(object|oldObject)\.(?!metadata\b)/);
});

function expressionsOf(policy: KubeObject): string[] {
  const found: string[] = [];
  JSON.stringify(policy, (key, value: unknown) => {
    if (/expression$/i.test(key) && typeof value === "string") found.push(value);
    return value;
  });
  return found;
}
