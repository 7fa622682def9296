/** Versions of the CNI specification: which ones are spoken, and which is older. */

/** Every version that was ever published, oldest first: the order is the comparison. */
export const VERSIONS = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;

export type Version = (typeof VERSIONS)[number];

export const LATEST_VERSION: Version = "1.1.0";

/** What a configuration without cniVersion means. */
export const DEFAULT_VERSION: Version = "0.1.0";

export function isVersion(text: string): text is Version {
  return (VERSIONS as readonly string[]).includes(text);
}

export function isAtLeast(version: Version, minimum: Version): boolean {
  return VERSIONS.indexOf(version) >= VERSIONS.indexOf(minimum);
}

/** `minimum` and everything newer: for plugins that need what older results cannot say. */
export function versionsFrom(minimum: Version): readonly Version[] {
  return VERSIONS.slice(VERSIONS.indexOf(minimum));
}
