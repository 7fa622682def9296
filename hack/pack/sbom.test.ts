import { Spec, Validation } from "@cyclonedx/cyclonedx-library";
import { expect, test } from "vitest";
import type { Ingredient } from "./ingredients.ts";
import { makeSbom } from "./sbom.ts";

const RELEASE = { version: "1.2.3", commit: "a".repeat(40), committedAt: 1_700_000_000, arch: "arm64" };
const INGREDIENTS: readonly Ingredient[] = [
  {
    name: "@scope/one",
    version: "2.0.0",
    licence: "(MIT OR Apache-2.0)",
    purl: "pkg:npm/%40scope/one@2.0.0",
    sha512: "0f".repeat(64),
    notices: [],
  },
  {
    name: "libgcc-12-dev",
    version: "12.2.0-14",
    licence: "GPL-3.0-or-later WITH GCC-exception-3.1",
    purl: "pkg:deb/debian/libgcc-12-dev@12.2.0-14?arch=amd64",
    notices: [],
  },
];

// The validator compiles the schema first.
test("is valid CycloneDX", { timeout: 60_000 }, async () => {
  const validator = new Validation.JsonStrictValidator(Spec.Spec1dot6.version);
  expect(await validator.validate(makeSbom(RELEASE, INGREDIENTS))).toBeNull();
});

test("lists every ingredient with version, licence and digest, and the commit", () => {
  const bom = JSON.parse(makeSbom(RELEASE, INGREDIENTS));
  expect(bom.metadata).toMatchObject({
    timestamp: "2023-11-14T22:13:20.000Z",
    component: { name: "weft", version: "1.2.3", properties: [{ name: "weft:commit", value: RELEASE.commit }] },
  });
  const component = (name: string) => bom.components.find((one: { name: string }) => one.name === name);
  expect(bom.components).toHaveLength(2);
  expect(component("@scope/one")).toMatchObject({
    version: "2.0.0",
    licenses: [{ expression: "(MIT OR Apache-2.0)" }],
    hashes: [{ alg: "SHA-512", content: "0f".repeat(64) }],
  });
  expect(component("libgcc-12-dev")).toMatchObject({
    version: "12.2.0-14",
    purl: "pkg:deb/debian/libgcc-12-dev@12.2.0-14?arch=amd64",
  });
});

test("does not depend on the order of ingredients, on random numbers or on the time", () => {
  expect(makeSbom(RELEASE, INGREDIENTS.toReversed())).toBe(makeSbom(RELEASE, INGREDIENTS));
});
