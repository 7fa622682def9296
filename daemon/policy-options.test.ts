import { expect, test } from "vitest";
import { parseOptions } from "./options.ts";
import { policyMistake } from "./policy-options.ts";

const parse = (...flags: string[]) => parseOptions(["--node-name", "n1", ...flags]);

test("without flags, the mode and what happens without weftd are decided later", () => {
  expect([parse().networkPolicy, parse().policyFail]).toEqual([undefined, undefined]);
  expect(parse()).toMatchObject({ policyCutEstablished: false, guardSenders: true });
});

test("each flag has a value", () => {
  const flags = ["--network-policy", "audit", "--policy-fail", "open", "--policy-cut-established"];
  expect(parse(...flags, "--guard-senders", "false")).toMatchObject({
    ...{ networkPolicy: "audit", policyFail: "open", policyCutEstablished: true, guardSenders: false },
  });
});

test("a file of nodes excludes enforcement, because it has no policies", () => {
  expect(policyMistake({ nodes: "/nodes.yaml", networkPolicy: "enforce" })).toMatch(/needs an API server/);
  expect(policyMistake({ nodes: "/nodes.yaml", networkPolicy: "audit" })).toMatch(/--network-policy audit/);
  for (const networkPolicy of [undefined, "off"] as const)
    expect(policyMistake({ nodes: "/nodes.yaml", networkPolicy })).toBeUndefined();
  expect(policyMistake({ nodes: undefined, networkPolicy: "enforce" })).toBeUndefined();
});
