/**
 * The runtime's cached data of an attachment. Since libcni 0.8, the file of the result also contains the network's
 * configuration and the values of its capabilities. Pure.
 */

import { ConfigObject } from "../cni/config.ts";
import { isCniError } from "../cni/errors.ts";
import { parseJsonObject } from "../cni/network.ts";
import { decodeResult, EMPTY_RESULT, type Result } from "../cni/result.ts";
import type { Attachment } from "../kernel/owner.ts";

export interface CachedAttachment extends Attachment {
  /** In the order of the chain, each with the `runtimeConfig` that the runtime passes to it. */
  readonly plugins: readonly ConfigObject[];
  readonly result: Result;
  /** The pod, by kubelet's values in CNI_ARGS; undefined if the runtime has passed none. */
  readonly pod?: CachedPod | undefined;
}

export interface CachedPod {
  /** "namespace/name" */
  readonly key: string;
  /** For a static pod, the hash of its configuration. */
  readonly uid: string;
}

/** Returns undefined if the content is not such a file, or has no configuration. */
export function parseCachedAttachment(content: Uint8Array): CachedAttachment | undefined {
  try {
    const cached = new ConfigObject(parseJsonObject(content, "cached result"));
    const bytes = decodeBase64(cached.optionalString("config") ?? "");
    if (bytes === undefined || bytes.length === 0) return undefined;
    const config = new ConfigObject(parseJsonObject(bytes, "cached configuration"));
    const plugins = config.has("plugins") ? config.objectList("plugins") : [config];
    for (const plugin of plugins) plugin.requiredString("type");
    const capabilities = cached.object("capabilityArgs");
    return {
      network: cached.optionalString("networkName") || config.requiredString("name"),
      containerId: cached.requiredString("containerId"),
      ifName: cached.requiredString("ifName"),
      plugins: plugins.map((plugin) => withCapabilities(plugin, capabilities)),
      result: cached.has("result") ? decodeResult(cached.object("result"), "0.2.0") : EMPTY_RESULT,
      pod: podOf(cached.value("cniArgs")),
    };
  } catch (error) {
    if (isCniError(error)) return undefined;
    throw error;
  }
}

/** `args` is a list of pairs: [["K8S_POD_NAMESPACE", "default"], ...]. */
function podOf(args: unknown): CachedPod | undefined {
  if (!Array.isArray(args) || !args.every((pair): pair is [unknown, unknown] => Array.isArray(pair))) return undefined;
  const argument = (name: string) => args.find(([key]) => key === name)?.[1];
  const [namespace, name, uid = ""] = ["K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_UID"].map(argument);
  if (typeof namespace !== "string" || typeof name !== "string" || typeof uid !== "string") return undefined;
  return { key: `${namespace}/${name}`, uid };
}

function withCapabilities(plugin: ConfigObject, given: ConfigObject): ConfigObject {
  const wanted = plugin.object("capabilities");
  const values = wanted.keys().filter((name) => wanted.value(name) === true && given.has(name));
  const runtimeConfig = {
    ...plugin.object("runtimeConfig").values(),
    ...Object.fromEntries(values.map((name) => [name, given.value(name)])),
  };
  return new ConfigObject({ ...plugin.values(), runtimeConfig });
}

/** Returns the plugin that makes the interface. flannel delegates this to another plugin. */
export function mainPlugin(first: ConfigObject): { readonly type: string; readonly config: ConfigObject } {
  const type = first.optionalString("type") ?? "";
  if (type !== "flannel") return { type, config: first };
  const delegate = first.object("delegate");
  return { type: delegate.optionalString("type") || "bridge", config: delegate };
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BITS = 6;

/** Decodes base64 (RFC 4648, section 4); QuickJS has no `atob`. Returns undefined for invalid text. */
export function decodeBase64(text: string): Uint8Array | undefined {
  const digits = text.replace(/={0,2}$/, "");
  const bytes = new Uint8Array(Math.floor((digits.length * BITS) / 8));
  let word = 0;
  let bits = 0;
  let at = 0;
  for (const digit of digits) {
    const value = ALPHABET.indexOf(digit);
    if (value < 0) return undefined;
    word = ((word << BITS) | value) & 0xffff;
    bits += BITS;
    if (bits < 8) continue;
    bits -= 8;
    bytes[at++] = (word >> bits) & 0xff;
  }
  return bytes;
}
