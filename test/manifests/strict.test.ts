import { expect, test, vi } from "vitest";
import type { KubeObject } from "./objects.ts";
import { problemsOf } from "./strict.ts";

/** The tests start programs of sixty megabytes and load schemas of all of Kubernetes, on a machine that may be busy. */
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const pod = (spec: object): KubeObject => ({
  ...{ apiVersion: "v1", kind: "Pod", metadata: { name: "p" } },
  spec: { containers: [{ name: "c", image: "i" }], ...spec },
});

test.each<[string, object, RegExp | undefined]>([
  ["nothing", {}, undefined],
  ["an unknown key", { hostNetwrok: true }, /^Pod\.spec\.hostNetwrok: V1PodSpec has no such key$/],
  ["an unknown key in a list", { volumes: [{ name: "v", hostPath: { pth: "/" } }] }, /volumes\[0\]\.hostPath\.pth/],
  [
    "an unknown key in a map",
    { containers: [{ name: "c", resources: { limit: {} } }] },
    /containers\[0\]\.resources\.limit/,
  ],
  ["a missing key", { volumes: [{ hostPath: { path: "/" } }] }, /must have required property name/],
  ["a wrong type", { hostNetwork: "yes" }, /hostNetwork must be boolean/],
  ["a list instead of an object", { securityContext: [] }, /Pod\.spec\.securityContext: expected an object/],
])("reports a pod with %s", async (_what, spec, problem) => {
  const problems = await problemsOf(pod(spec));
  if (problem === undefined) expect(problems).toEqual([]);
  else expect(problems[0]).toMatch(problem);
});

test("reports a kind that the version lacks", async () => {
  expect((await problemsOf({ ...pod({}), apiVersion: "apps/v1" }))[0]).toMatch(/apps\/v1 has no Pod/);
});
