/** Parses the network configuration from standard input, and keys that have the same meaning for all plugins. */

import { ConfigObject } from "./config.ts";
import { CniError, ErrorCode } from "./errors.ts";
import { JsonError, parseJson } from "./json.ts";
import { DEFAULT_VERSION, isVersion, type Version } from "./versions.ts";

/** Valid network names, which also name a directory of the network's state (CNI specification, section 1). */
const NETWORK_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** The endings of network configuration files in the runtime's directory (libcni's ConfFiles). */
const FILE_EXTENSIONS = [".conflist", ".conf", ".json"];

/** True if runtimes read a file of this name as a network configuration. */
export function isNetworkFile(name: string): boolean {
  return FILE_EXTENSIONS.some((extension) => name.endsWith(extension));
}

export interface NetworkConfig {
  /** The network's name. */
  readonly name: string;
  readonly version: Version;
  /** The complete configuration. */
  readonly object: ConfigObject;
}

/**
 * Decodes standard input. Throws `CniError` 6 if it is not a JSON object, 7 for a missing or invalid network name, 1
 * for an unknown version.
 */
export function parseNetworkConfig(input: Uint8Array): NetworkConfig {
  const object = new ConfigObject(parseJsonObject(input, "network configuration on standard input"));
  const name = object.value("name");
  if (typeof name !== "string" || !NETWORK_NAME.test(name)) {
    throw object.invalid("name", "a network name (letters, digits, _, . and -, beginning with a letter or digit)");
  }
  const version = object.optionalString("cniVersion") || DEFAULT_VERSION;
  if (!isVersion(version)) {
    throw new CniError(ErrorCode.incompatibleVersion, `cniVersion: "${version}" is not a known CNI version`);
  }
  return { name, version, object };
}

/** Decodes bytes that must be one JSON object. `what` names them in errors. Throws `CniError` 6. */
export function parseJsonObject(bytes: Uint8Array, what: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = parseJson(new TextDecoder().decode(bytes));
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new CniError(ErrorCode.decodingFailure, `cannot decode the ${what}: ${error.message}`, { cause: error });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new CniError(ErrorCode.decodingFailure, `cannot decode the ${what}: expected a JSON object`);
  }
  return value as Record<string, unknown>;
}

/** One interface of one container in one network, which ADD creates and DEL removes. */
export interface ValidAttachment {
  readonly containerId: string;
  readonly ifName: string;
}

/**
 * Returns the attachments that GC must keep. An empty list (or null, as Go writes an empty list) keeps none. A missing
 * list is refused, because GC would then remove everything. Older runtimes send the second key.
 */
export function readValidAttachments(object: ConfigObject): ValidAttachment[] {
  const key = ["cni.dev/valid-attachments", "cni.dev/attachments"].find((spelling) => object.hasKey(spelling));
  if (key === undefined) throw object.invalid("cni.dev/valid-attachments", "the list of attachments to keep");
  return object.objectList(key).map((entry) => ({
    containerId: entry.requiredString("containerID"),
    ifName: entry.requiredString("ifname"),
  }));
}
