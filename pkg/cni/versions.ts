/** Versions of the CNI specification: the supported ones and their order. */

/** Every published version, oldest first. The order is used for comparison. */
export const VERSIONS = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;

export type Version = (typeof VERSIONS)[number];

export const LATEST_VERSION: Version = "1.1.0";

/** The version of a configuration without cniVersion. */
export const DEFAULT_VERSION: Version = "0.1.0";

export function isVersion(text: string): text is Version {
  return (VERSIONS as readonly string[]).includes(text);
}

export function isAtLeast(version: Version, minimum: Version): boolean {
  return VERSIONS.indexOf(version) >= VERSIONS.indexOf(minimum);
}

/** Returns `minimum` and all newer versions, for plugins whose results older versions cannot represent. */
export function versionsFrom(minimum: Version): readonly Version[] {
  return VERSIONS.slice(VERSIONS.indexOf(minimum));
}
