/**
 * Calling another plugin: the address manager that a configuration names, above all.
 *
 * Where the executable found on CNI_PATH is the one that is running, under another name, the plugin is called within
 * the process and its result is passed on as it is. Any other executable is run with the same environment and input.
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

/** An executable that is open for writing is being replaced: it is tried again this often, after this time each. */
const BUSY_RETRIES = 5;
const BUSY_WAIT_MS = 200;

/** What a delegate reads instead of the configuration that the caller got itself: for plugins that write another one. */
export type DelegateConfig = Readonly<Record<string, unknown>>;

/** Has `type` do ADD. Throws `CniError`: the delegate's own, with its code, where it gave one. */
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

/** An executable that is missing is code 50: every ADD would fail. */
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

/** The delegate's call: the caller's, but for the verb and, where it writes another, the configuration. */
function callOf({ call }: CniRequest, verb: Verb, config: DelegateConfig | undefined): Call {
  const environment = { ...call.environment, verb };
  if (config === undefined) return { ...call, environment };
  const input = new TextEncoder().encode(JSON.stringify(config));
  return { ...call, environment, input, config: parseNetworkConfig(input) };
}

class MissingPluginError extends CniError {}

/** The first file called `type` in the directories of CNI_PATH. Throws `CniError` 7. */
export function findPlugin(type: string, path: readonly string[], system: System): string {
  if (type === "" || type === "." || type === ".." || type.includes("/")) {
    throw new CniError(
      ErrorCode.invalidConfig,
      `"${type}" is no plugin's name: expected the name of a file on CNI_PATH`,
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

/** True when `file` is a hard link to, or leads to, the executable that is running. */
function isOwnExecutable(file: string, system: System): boolean {
  const found = system.status(file);
  const own = system.status(system.executablePath);
  return found !== undefined && own !== undefined && found.device === own.device && found.inode === own.inode;
}

function execute({ system, environment: { verb, netnsPath }, input }: Call, file: string): ExecuteResult {
  // For DEL it may be left out although the runtime has given one: see loop.ts.
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

/** What a delegate that failed has to say: its error object, else whatever it wrote. */
function childError(child: ExecuteResult, type: string, verb: Verb): CniError {
  const output = new TextDecoder().decode(child.output).trim();
  const told = output === "" ? undefined : decodeChildError(child.output);
  if (told !== undefined) return told;
  const words = [output, new TextDecoder().decode(child.errorOutput).trim()].filter((text) => text !== "").join("; ");
  const said = words === "" ? "it said nothing" : `it said: ${words}`;
  return new CniError(ErrorCode.internal, `${verb} of ${type} failed with exit status ${child.status}: ${said}`);
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
