import { expect, test } from "vitest";
import { recordedItems } from "../../../test/apiserver/recorded.ts";
import { prefixes } from "../../../test/services/core-bed.ts";
import type { KubeObject } from "../resource.ts";
import { SERVICE_CIDR_PARSER } from "./service-cidr.ts";

const parse = (spec: unknown) => SERVICE_CIDR_PARSER.parse({ metadata: { name: "kubernetes" }, spec } as KubeObject);

test("parses a cluster's recorded ServiceCIDR", () => {
  expect(recordedItems("34-list-servicecidrs.http").map(SERVICE_CIDR_PARSER.parse)).toEqual([
    { cidrs: prefixes("10.250.0.0/16") },
  ]);
});

test("parses two families", () => {
  expect(parse({ cidrs: ["10.96.0.0/12", "fd00:10:96::/112"] })).toEqual({
    cidrs: prefixes("10.96.0.0/12", "fd00:10:96::/112"),
  });
});

test.each([undefined, null, {}, { cidrs: "10.0.0.0/8" }])("parses no ranges from %j", (spec) => {
  expect(parse(spec)).toEqual({ cidrs: [] });
});

test("leaves out an invalid range and names it", () => {
  expect(parse({ cidrs: ["10.96.0.0/12", "all"] })).toEqual({
    cidrs: prefixes("10.96.0.0/12"),
    problems: [expect.stringMatching(/^spec\.cidrs: "all" is not/) as unknown],
  });
});
