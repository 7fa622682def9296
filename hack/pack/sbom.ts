/**
 * Makes the bill of materials of one architecture's files: CycloneDX 1.6, the same for the same commit and ingredients.
 */
import { Enums, Models, Serialize, Spec } from "@cyclonedx/cyclonedx-library";
import type { Ingredient } from "./ingredients.ts";

export interface Release {
  readonly version: string;
  /** The full commit of git. */
  readonly commit: string;
  /** The time of the commit, which is the only time in the files. Seconds since 1970. */
  readonly committedAt: number;
  readonly arch: string;
}

/** Returns JSON. */
export function makeSbom({ version, commit, committedAt, arch }: Release, ingredients: readonly Ingredient[]): string {
  const weft = new Models.Component(Enums.ComponentType.Application, "weft", {
    bomRef: `weft@${version}`,
    version,
    purl: `pkg:generic/weft@${version}?arch=${arch}`,
    licenses: new Models.LicenseRepository([new Models.LicenseExpression("Apache-2.0")]),
    properties: new Models.PropertyRepository([new Models.Property("weft:commit", commit)]),
  });
  const components = ingredients.map(componentOf);
  for (const { bomRef } of components) weft.dependencies.add(bomRef);
  const bom = new Models.Bom({
    metadata: new Models.Metadata({ timestamp: new Date(committedAt * 1000), component: weft }),
    components: new Models.ComponentRepository(components),
  });
  const serializer = new Serialize.JsonSerializer(new Serialize.JSON.Normalize.Factory(Spec.Spec1dot6));
  return `${serializer.serialize(bom, { sortLists: true, space: 2 })}\n`;
}

function componentOf({ name, version, licence, purl, sha512 }: Ingredient): Models.Component {
  return new Models.Component(Enums.ComponentType.Library, name, {
    bomRef: purl,
    version,
    purl,
    licenses: new Models.LicenseRepository([new Models.LicenseExpression(licence)]),
    hashes: new Models.HashDictionary(sha512 === undefined ? [] : [[Enums.HashAlgorithm["SHA-512"], sha512]]),
  });
}
