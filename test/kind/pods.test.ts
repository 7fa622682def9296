/** The objects that the end-to-end test applies to a cluster, rendered by the real kustomize. */
import { expect, test } from "vitest";
import { problemsOf } from "../manifests/strict.ts";
import { kustomizeObjects } from "../manifests/tools.ts";

const objects = kustomizeObjects("../test/kind/pods");

test("the objects are valid, and all in a separate namespace", { timeout: 60_000 }, async () => {
  expect(objects.map(({ kind }) => kind).sort()).toEqual([
    "ConfigMap",
    "DaemonSet",
    "DaemonSet",
    "Namespace",
    "Service",
  ]);
  for (const object of objects) expect(await problemsOf(object), object.kind).toEqual([]);
  const places = objects.filter(({ kind }) => kind !== "Namespace").map(({ metadata }) => metadata.namespace);
  expect(new Set(places)).toEqual(new Set(["weft-e2e"]));
});
