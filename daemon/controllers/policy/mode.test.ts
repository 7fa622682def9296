import { describe, expect, test } from "vitest";
import { policyMode } from "./mode.ts";

const node = (name: string, parts: object = {}) => ({ name, ...parts });
const ran = { backend: { type: "vxlan" } };

describe("with the flag", () => {
  test.each(["enforce", "audit", "off"] as const)("%s overrides what Nodes have recorded", (flag) => {
    const others = [node("n2", { ...ran, networkPolicy: "audit" }), node("n3", { networkPolicy: "enforce" })];
    expect(policyMode(flag, node("n1", { networkPolicy: "enforce" }), others)).toEqual({ mode: flag, reason: "flag" });
  });
});

describe("without the flag", () => {
  test("a new cluster enforces", () => {
    expect(policyMode(undefined, node("n1"), [node("n2")]).mode).toBe("enforce");
    expect(policyMode(undefined, undefined, []).mode).toBe("enforce");
  });

  test("a cluster whose Nodes have a backend but no mode audits, and the reason names the Node", () => {
    expect(policyMode(undefined, node("n1"), [node("n2"), node("n3", ran)])).toEqual({
      ...{ mode: "audit", reason: expect.stringMatching(/Node n3 .*--network-policy enforce/) },
    });
    expect(policyMode(undefined, node("n1", ran), []).mode).toBe("audit");
  });

  test("a new Node takes the mode of the others", () => {
    const enforcing = node("n2", { ...ran, networkPolicy: "enforce" });
    expect(policyMode(undefined, node("n1"), [enforcing])).toMatchObject({ mode: "enforce" });
    const auditing = node("n3", { ...ran, networkPolicy: "audit" });
    expect(policyMode(undefined, node("n1"), [enforcing, auditing, node("n4", ran)])).toEqual({
      ...{ mode: "audit", reason: "Node n3 has recorded the mode" },
    });
  });

  test("the Node's own record takes precedence over those of other Nodes", () => {
    const others = [node("n2", { ...ran, networkPolicy: "audit" })];
    expect(policyMode(undefined, node("n1", { ...ran, networkPolicy: "enforce" }), others).mode).toBe("enforce");
  });
});
