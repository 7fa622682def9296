/** The network configuration that a plugin reads from standard input, and the keys that mean the same to all plugins. */

import { ConfigObject } from "./config.ts";
import { CniError, ErrorCode } from "./errors.ts";
import { JsonError, parseJson } from "./json.ts";
import { DEFAULT_VERSION, isVersion, type Version } from "./versions.ts";

/** What may name a network, and so a directory of its state (CNI specification, section 1). */
const NETWORK_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** How the names of network configurations end in the runtime's folder (libcni's ConfFiles). */
const FILE_EXTENSIONS = [".conflist", ".conf", ".json"];

/** True for the name of a file that runtimes take for a network configuration. */
export function isNetworkFile(name: string): boolean {
  return FILE_EXTENSIONS.some((extension) => name.endsWith(extension));
}

export interface NetworkConfig {
  /** The network's name. */
  readonly name: string;
  readonly version: Version;
  /** The whole configuration. */
  readonly object: ConfigObject;
}

/**
 * Decodes standard input. Throws `CniError` 6 for what is not a JSON object, 7 for a network name that is missing or
 * invalid, 1 for a version that nobody published.
 */
export function parseNetworkConfig(input: Uint8Array): NetworkConfig {
  const object = new ConfigObject(parseJsonObject(input, "network configuration on standard input"));
  const name = object.value("name");
  if (typeof name !== "string" || !NETWORK_NAME.test(name)) {
    throw object.invalid("name", "a network name (letters, digits, _, . and -, beginning with a letter or digit)");
  }
  const version = object.optionalString("cniVersion") || DEFAULT_VERSION;
  if (!isVersion(version)) {
    throw new CniError(ErrorCode.incompatibleVersion, `cniVersion: "${version}" is no known version of CNI`);
  }
  return { name, version, object };
}

/** Decodes bytes that must be one JSON object; `what` names them in errors. Throws `CniError` 6. */
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

/** One interface of one container in one network: what ADD makes and DEL removes. */
export interface ValidAttachment {
  readonly containerId: string;
  readonly ifName: string;
}

/**
 * The attachments that GC must keep. A list that is empty (or null, as Go writes an empty one) keeps none; a list that
 * is missing is refused, since that would remove everything. The second key is what older runtimes send.
 */
export function readValidAttachments(object: ConfigObject): ValidAttachment[] {
  const key = ["cni.dev/valid-attachments", "cni.dev/attachments"].find((spelling) => object.hasKey(spelling));
  if (key === undefined) throw object.invalid("cni.dev/valid-attachments", "the list of attachments to keep");
  return object.objectList(key).map((entry) => ({
    containerId: entry.requiredString("containerID"),
    ifName: entry.requiredString("ifname"),
  }));
}
