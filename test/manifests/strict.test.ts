import { expect, test, vi } from "vitest";
import type { KubeObject } from "./objects.ts";
import { problemsOf } from "./strict.ts";

/** Programs of sixty megabytes are started, and schemas of all of Kubernetes loaded, on a machine that may be busy. */
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const pod = (spec: object): KubeObject => ({
  ...{ apiVersion: "v1", kind: "Pod", metadata: { name: "p" } },
  spec: { containers: [{ name: "c", image: "i" }], ...spec },
});

test.each<[string, object, RegExp | undefined]>([
  ["nothing", {}, undefined],
  ["a key that is no one's", { hostNetwrok: true }, /^Pod\.spec\.hostNetwrok: V1PodSpec has no such key$/],
  ["one in a list", { volumes: [{ name: "v", hostPath: { pth: "/" } }] }, /volumes\[0\]\.hostPath\.pth/],
  ["one in a map", { containers: [{ name: "c", resources: { limit: {} } }] }, /containers\[0\]\.resources\.limit/],
  ["a missing key", { volumes: [{ hostPath: { path: "/" } }] }, /must have required property name/],
  ["a wrong type", { hostNetwork: "yes" }, /hostNetwork must be boolean/],
  ["a list for an object", { securityContext: [] }, /Pod\.spec\.securityContext: expected an object/],
])("of a pod with %s wrong, this is told", async (_what, spec, problem) => {
  const problems = await problemsOf(pod(spec));
  if (problem === undefined) expect(problems).toEqual([]);
  else expect(problems[0]).toMatch(problem);
});

test("a kind that a version has not is told", async () => {
  expect((await problemsOf({ ...pod({}), apiVersion: "apps/v1" }))[0]).toMatch(/apps\/v1 has no Pod/);
});
