/**
 * Calls another plugin, in most cases the IPAM plugin that a configuration names.
 *
 * If the executable found on CNI_PATH is the running one under another name, the plugin is called within the process
 * and its result is returned directly. Any other executable is run with the same environment and input.
 */

import { isSystemError } from "../sys/errors.ts";
import type { ExecuteResult, System } from "../sys/system.ts";
import { ConfigObject } from "./config.ts";
import type { Verb } from "./environment.ts";
import { CniError, ErrorCode, isCniError, messageOf } from "./errors.ts";
import { callVerb } from "./loop.ts";
import { parseJsonObject, parseNetworkConfig } from "./network.ts";
import type { Call, CniRequest } from "./plugin.ts";
import { decodeResult, type Result } from "./result.ts";
import type { Version } from "./versions.ts";

/**
 * An executable that is open for writing is being replaced. The call is retried this many times, with this pause before
 * each.
 */
const BUSY_RETRIES = 5;
const BUSY_WAIT_MS = 200;

/** A configuration that replaces the caller's own for the delegate, for plugins that generate one. */
export type DelegateConfig = Readonly<Record<string, unknown>>;

/** Runs ADD of the plugin `type`. Throws `CniError`: the delegate's own error, with its code, if it returned one. */
export function delegateAdd(request: CniRequest, type: string, config?: DelegateConfig): Result {
  const result = delegate(request, type, "ADD", config);
  if (result !== undefined) return result;
  throw new CniError(
    ErrorCode.decodingFailure,
    `ADD of ${type}: expected a result on its standard output, got nothing`,
  );
}

export function delegateDel(request: CniRequest, type: string, config?: DelegateConfig): void {
  delegate(request, type, "DEL", config);
}

export function delegateCheck(request: CniRequest, type: string, config?: DelegateConfig): void {
  delegate(request, type, "CHECK", config);
}

/** Throws `CniError` 50 if the executable is missing, because every ADD would fail. */
export function delegateStatus(request: CniRequest, type: string, config?: DelegateConfig): void {
  try {
    delegate(request, type, "STATUS", config);
  } catch (error) {
    if (!(error instanceof MissingPluginError)) throw error;
    throw new CniError(ErrorCode.notAvailable, error.message, { cause: error });
  }
}

export function delegateGc(request: CniRequest, type: string, config?: DelegateConfig): void {
  delegate(request, type, "GC", config);
}

function delegate(request: CniRequest, type: string, verb: Verb, config?: DelegateConfig): Result | undefined {
  const { system } = request;
  const call = callOf(request, verb, config);
  const file = findPlugin(type, call.environment.path, system);
  const plugin = Object.hasOwn(call.delegates, type) ? call.delegates[type] : undefined;
  if (plugin !== undefined && isOwnExecutable(file, system)) return callVerb(plugin, call);
  const child = execute(call, file);
  if (child.status !== 0) throw childError(child, type, verb);
  if (verb !== "ADD" || child.output.length === 0) return undefined;
  return decodeChildResult(child.output, type, call.config.version);
}

/** Returns the delegate's call: the caller's call with another verb and, if given, another configuration. */
function callOf({ call }: CniRequest, verb: Verb, config: DelegateConfig | undefined): Call {
  const environment = { ...call.environment, verb };
  if (config === undefined) return { ...call, environment };
  const input = new TextEncoder().encode(JSON.stringify(config));
  return { ...call, environment, input, config: parseNetworkConfig(input) };
}

class MissingPluginError extends CniError {}

/** Returns the first file called `type` in the directories of CNI_PATH. Throws `CniError` 7. */
export function findPlugin(type: string, path: readonly string[], system: System): string {
  if (type === "" || type === "." || type === ".." || type.includes("/")) {
    throw new CniError(
      ErrorCode.invalidConfig,
      `"${type}" is not a plugin name: expected the name of a file on CNI_PATH`,
    );
  }
  for (const directory of path) {
    const file = `${directory}/${type}`;
    if (system.status(file)?.kind === "file") return file;
  }
  throw new MissingPluginError(
    ErrorCode.invalidConfig,
    `failed to find plugin "${type}" in path [${path.join(" ")}]: install it there, or correct the configuration`,
  );
}

/** True if `file` is the running executable: a hard link or a symbolic link to it. */
function isOwnExecutable(file: string, system: System): boolean {
  const found = system.status(file);
  const own = system.status(system.executablePath);
  return found !== undefined && own !== undefined && found.device === own.device && found.inode === own.inode;
}

function execute({ system, environment: { verb, netnsPath }, input }: Call, file: string): ExecuteResult {
  // For DEL, CNI_NETNS may be empty although the runtime set it: see loop.ts.
  const namespace = verb === "DEL" ? { CNI_NETNS: netnsPath } : {};
  const environment = { ...system.environment, CNI_COMMAND: verb, ...namespace };
  for (let retries = 0; ; retries++) {
    try {
      return system.execute(file, { environment, input });
    } catch (error) {
      if (!isSystemError(error)) throw error;
      if (error.code !== "ETXTBSY" || retries === BUSY_RETRIES) {
        throw new CniError(ErrorCode.ioFailure, `${verb}: cannot start ${file}: ${error.message}`, { cause: error });
      }
      system.sleep(BUSY_WAIT_MS);
    }
  }
}

/** Returns the error of a failed delegate: its error object or, if it printed none, its output. */
function childError(child: ExecuteResult, type: string, verb: Verb): CniError {
  const output = new TextDecoder().decode(child.output).trim();
  const error = output === "" ? undefined : decodeChildError(child.output);
  if (error !== undefined) return error;
  const words = [output, new TextDecoder().decode(child.errorOutput).trim()].filter((text) => text !== "").join("; ");
  const reason = words === "" ? "it printed nothing" : words;
  return new CniError(ErrorCode.internal, `${verb} of ${type} failed with exit status ${child.status}: ${reason}`);
}

function decodeChildError(output: Uint8Array): CniError | undefined {
  try {
    const object = new ConfigObject(parseJsonObject(output, "delegate's error"));
    const code = object.optionalInteger("code");
    if (code === undefined) return undefined;
    const details = object.optionalString("details");
    return new CniError(code, object.optionalString("msg") ?? "", details ? { details } : undefined);
  } catch (error) {
    if (isCniError(error)) return undefined;
    throw error;
  }
}

function decodeChildResult(output: Uint8Array, type: string, version: Version): Result {
  try {
    const object = new ConfigObject(parseJsonObject(output, `result of ${type}`));
    return decodeResult(object, version);
  } catch (error) {
    throw new CniError(ErrorCode.decodingFailure, `ADD of ${type}: ${messageOf(error)}`, { cause: error });
  }
}
