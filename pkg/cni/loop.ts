/**
 * Runs one call of one plugin, from the process's environment and standard input to standard output and the exit
 * status. Only this file prints.
 */

import { isSystemError } from "../sys/errors.ts";
import type { NetworkNamespace, System } from "../sys/system.ts";
import { type CallEnvironment, readEnvironment, type Verb } from "./environment.ts";
import { CniError, ErrorCode, messageOf } from "./errors.ts";
import { type NetworkConfig, parseNetworkConfig } from "./network.ts";
import { type Call, CniRequest, type Delegates, type Plugin } from "./plugin.ts";
import { formatResult, type Result } from "./result.ts";
import { undoing } from "./undo.ts";
import { isAtLeast, LATEST_VERSION, VERSIONS, type Version } from "./versions.ts";

/** The version that introduced each verb; verbs of the first version are not listed. */
const SINCE: Partial<Record<Verb, Version>> = { CHECK: "0.4.0", STATUS: "1.1.0", GC: "1.1.0" };

/**
 * Serves the call that `system` describes. Returns the exit status: 0, or 1 with an error object on standard output.
 * `delegates` are called within this process if the name in a configuration leads to this same executable.
 */
export function runPlugin(plugin: Plugin, system: System, delegates: Delegates = {}): 0 | 1 {
  let version: Version = LATEST_VERSION;
  try {
    const command = system.environment.CNI_COMMAND ?? "";
    if (command === "") {
      system.writeErrorOutput(encode(aboutText(plugin)));
      return 0;
    }
    if (command === "VERSION") {
      // The specification allows VERSION without a configuration, so standard input is not read.
      print(system, { cniVersion: LATEST_VERSION, supportedVersions: plugin.versions ?? VERSIONS });
      return 0;
    }
    const asked = readEnvironment(system.environment);
    const input = readInput(system);
    const config = parseNetworkConfig(input);
    version = config.version;
    assertVersion(plugin, asked.verb, config);
    const opened = openContainerNamespace(plugin, asked, system);
    const namespace = opened === OWN ? undefined : opened;
    // An executed delegate would detect that the namespace is its own, and refuse it.
    const environment = opened === OWN ? { ...asked, netnsPath: "" } : asked;
    try {
      const call = { environment, config, input, system, delegates, namespace };
      const result = callVerb(plugin, call);
      if (result !== undefined) system.writeOutput(encode(formatOrUndo(plugin, call, result)));
    } finally {
      namespace?.close();
    }
    return 0;
  } catch (error) {
    print(system, errorObject(error, version));
    return 1;
  }
}

/** If the requested version cannot represent the result (no address, before 0.3.0), ADD fails and is undone. */
function formatOrUndo(plugin: Plugin, call: Call, result: Result): string {
  return undoing((undo) => {
    undo.push(() => callVerb(plugin, { ...call, environment: { ...call.environment, verb: "DEL" } }));
    return formatResult(result, call.config.version, plugin);
  });
}

/** Calls one verb of `plugin` within the process. Only ADD has a result. */
export function callVerb(plugin: Plugin, call: Call): Result | undefined {
  assertVersion(plugin, call.environment.verb, call.config);
  const request = new CniRequest(call);
  switch (call.environment.verb) {
    case "ADD":
      return plugin.add(request);
    case "DEL":
      plugin.del(request);
      return undefined;
    case "CHECK":
      plugin.check?.(request);
      return undefined;
    case "STATUS":
      plugin.status?.(request);
      return undefined;
    case "GC":
      plugin.gc?.(request);
      return undefined;
  }
}

function assertVersion(plugin: Plugin, verb: Verb, config: NetworkConfig): void {
  const { version } = config;
  const versions = plugin.versions ?? VERSIONS;
  if (!versions.includes(version)) {
    throw new CniError(
      ErrorCode.incompatibleVersion,
      `incompatible CNI versions: cniVersion is "${version}", ${plugin.name} supports ${versions.join(", ")}`,
    );
  }
  const since = SINCE[verb];
  if (since !== undefined && !isAtLeast(version, since)) {
    throw new CniError(
      ErrorCode.incompatibleVersion,
      `cniVersion "${version}" does not support ${verb}: set ${since} or newer`,
    );
  }
}

function readInput(system: System): Uint8Array {
  try {
    return system.readInput();
  } catch (error) {
    throw new CniError(ErrorCode.ioFailure, `cannot read the configuration from standard input: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** DEL was called with the namespace in which the plugin itself runs. */
const OWN = "own";

/**
 * Opens CNI_NETNS, before any work is done.
 *
 * A path that does not exist or is not a namespace is code 4, because the variable is invalid. The plugin's own
 * namespace is code 8, unless CNI_NETNS_OVERRIDE allows it. For DEL all three mean that the container no longer exists:
 * unmounting a namespace leaves a plain file, and a process of the host may have reused the PID of an ended process.
 */
function openContainerNamespace(
  plugin: Plugin,
  { verb, netnsPath, isOwnNamespaceAllowed }: CallEnvironment,
  system: System,
): NetworkNamespace | typeof OWN | undefined {
  if (netnsPath === "") return undefined;
  const isNeeded = verb !== "DEL" && (plugin.usesNamespace ?? true);
  let namespace: NetworkNamespace;
  try {
    namespace = system.openNamespace(netnsPath);
  } catch (error) {
    if (!isNeeded && isSystemError(error)) return undefined;
    const isPlain = isSystemError(error, "EINVAL");
    const reason = isPlain ? "it is not a network namespace" : messageOf(error);
    throw new CniError(
      ErrorCode.invalidEnvironment,
      `CNI_NETNS: cannot open the container's network namespace "${netnsPath}": ${reason}`,
      { cause: error },
    );
  }
  if (isOwnNamespaceAllowed || !isOwnNamespace(namespace, system)) return namespace;
  namespace.close();
  if (verb === "DEL") return OWN;
  throw new CniError(
    ErrorCode.ownNamespace,
    `CNI_NETNS: "${netnsPath}" is the network namespace in which the plugin itself runs`,
    { details: "CNI_NETNS_OVERRIDE=1 allows it" },
  );
}

function isOwnNamespace(namespace: NetworkNamespace, system: System): boolean {
  const own = system.openNamespace();
  own.close();
  return own.identity === namespace.identity;
}

function errorObject(error: unknown, cniVersion: Version): Record<string, unknown> {
  if (error instanceof CniError) {
    const { code, message: msg, details } = error;
    return details === undefined ? { cniVersion, code, msg } : { cniVersion, code, msg, details };
  }
  return { cniVersion, code: ErrorCode.internal, msg: messageOf(error) };
}

function aboutText(plugin: Plugin): string {
  const versions = (plugin.versions ?? VERSIONS).join(", ");
  return (
    `${plugin.name}: ${plugin.about}\n` +
    `A CNI plugin: container runtimes call it with CNI_COMMAND in the environment. CNI versions: ${versions}\n`
  );
}

function print(system: System, object: Record<string, unknown>): void {
  system.writeOutput(encode(`${JSON.stringify(object, null, 4)}\n`));
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
