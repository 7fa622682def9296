/**
 * What the runtime remembers of an attachment beside its result: libcni (since 0.8) keeps the network's configuration and
 * the values of its capabilities in the same file. Pure.
 */

import { ConfigObject } from "../../../pkg/cni/config.ts";
import { isCniError } from "../../../pkg/cni/errors.ts";
import { parseJsonObject } from "../../../pkg/cni/network.ts";
import { decodeResult, EMPTY_RESULT, type Result } from "../../../pkg/cni/result.ts";
import type { Attachment } from "../../../pkg/kernel/owner.ts";

export interface CachedAttachment extends Attachment {
  /** As they are called in turn, each with the `runtimeConfig` that it gets from the runtime. */
  readonly plugins: readonly ConfigObject[];
  readonly result: Result;
}

/** `undefined` for what is no such file, or holds no configuration. */
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
    };
  } catch (error) {
    if (isCniError(error)) return undefined;
    throw error;
  }
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

/** The types of all plugins that the runtime calls for an attachment, those that plugins call in turn included. */
export function typesOf(plugins: readonly ConfigObject[]): string[] {
  return plugins.flatMap((plugin) => [
    ...typeIn(plugin),
    ...["ipam", "delegate"].flatMap((key) => (isObject(plugin.value(key)) ? typesOf([plugin.object(key)]) : [])),
    ...(plugin.value("type") === "flannel" && !delegateHasType(plugin) ? ["bridge"] : []),
    ...(plugin.value("type") === "flannel" ? ["host-local"] : []),
  ]);
}

function typeIn(object: ConfigObject): string[] {
  const type = object.value("type");
  return typeof type === "string" && type !== "" ? [type] : [];
}

function delegateHasType(plugin: ConfigObject): boolean {
  const delegate = plugin.value("delegate");
  return isObject(delegate) && typeIn(plugin.object("delegate")).length > 0;
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BITS = 6;

/** RFC 4648, section 4; QuickJS has no `atob`. `undefined` for what is none. */
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
