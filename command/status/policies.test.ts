import { expect, test } from "vitest";
import { policiesText } from "./policies.ts";

const SUMMARY = { mode: "enforce", policies: 3, clusterPolicies: 1, localPods: 9, isolatedPods: 3 } as const;

test("shows the mode, the policies of the cluster, and the isolated pods of the node", () => {
  expect(policiesText(SUMMARY)).toBe("enforce, 4 policies, 3 of 9 pods isolated");
  expect(policiesText({ ...SUMMARY, policies: 0 })).toBe("enforce, 1 policy, 3 of 9 pods isolated");
});

test("warns that denied packets pass, if there are policies", () => {
  expect(policiesText({ ...SUMMARY, mode: "audit" })).toEqual({
    ...{ text: "audit, 4 policies, 3 of 9 pods isolated; denied packets pass", tone: "warning" },
  });
  const none = { policies: 0, clusterPolicies: 0, isolatedPods: 0 };
  expect(policiesText({ ...SUMMARY, ...none, mode: "audit" })).toBe("audit, 0 policies, 0 of 9 pods isolated");
  expect(policiesText({ ...SUMMARY, mode: "off" })).toEqual({ text: "off", tone: "quiet" });
});
