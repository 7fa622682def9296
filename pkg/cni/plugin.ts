/**
 * The interface of a plugin and its requests. A plugin works with the newest CNI version; `loop.ts` converts older
 * ones.
 */

import type { NetworkNamespace, System } from "../sys/system.ts";
import type { ConfigObject } from "./config.ts";
import type { CallEnvironment } from "./environment.ts";
import { CniError, ErrorCode } from "./errors.ts";
import { type NetworkConfig, readValidAttachments, type ValidAttachment } from "./network.ts";
import { decodeResult, type Result } from "./result.ts";
import type { Version } from "./versions.ts";

/**
 * One executable. A verb may throw `CniError`; any other error is reported as code 999.
 *
 * ADD undoes its changes before it throws. DEL and GC succeed if there is nothing left to remove.
 */
export interface Plugin {
  readonly name: string;
  /** One line that is printed if the executable is started without CNI_COMMAND. */
  readonly about: string;
  /** The supported versions of the specification. Undefined means all versions. */
  readonly versions?: readonly Version[];
  /**
   * False for plugins that never enter the container's namespace (IPAM plugins). ADD and CHECK then do not require that
   * CNI_NETNS can be opened.
   */
  readonly usesNamespace?: boolean;
  /** True if results before CNI 1.0.0 omit an empty `dns`, as the reference's loopback plugin does. [false] */
  readonly omitsEmptyDns?: boolean;
  add(request: CniRequest): Result;
  del(request: CniRequest): void;
  check?(request: CniRequest): void;
  /** Throws `CniError` 50 only for a condition that makes every ADD fail and that no DEL can repair. */
  status?(request: CniRequest): void;
  gc?(request: CniRequest): void;
}

/** Plugins that can be called within the process, by the name of their executable. */
export type Delegates = Readonly<Record<string, Plugin>>;

/** One call of one verb. */
export interface Call {
  readonly environment: CallEnvironment;
  readonly config: NetworkConfig;
  /** The unchanged standard input, which is passed to an executed delegate. */
  readonly input: Uint8Array;
  readonly system: System;
  readonly delegates: Delegates;
  /** The container's namespace. Undefined for STATUS and GC, and if it no longer exists or is not needed. */
  readonly namespace: NetworkNamespace | undefined;
}

/** The part of a call that a plugin can read. */
export class CniRequest {
  readonly call: Call;
  readonly system: System;
  /** The network's name. */
  readonly network: string;
  readonly config: ConfigObject;
  readonly containerId: string;
  readonly ifName: string;
  readonly netnsPath: string;
  readonly args: CallEnvironment["args"];
  /** Closed by the caller of the plugin. */
  readonly namespace: NetworkNamespace | undefined;
  #prevResult: { readonly value: Result | undefined } | undefined;

  constructor(call: Call) {
    this.call = call;
    this.system = call.system;
    this.network = call.config.name;
    this.config = call.config.object;
    this.containerId = call.environment.containerId;
    this.ifName = call.environment.ifName;
    this.netnsPath = call.environment.netnsPath;
    this.args = call.environment.args;
    this.namespace = call.namespace;
  }

  /**
   * The result of the previous plugin in the chain or, for CHECK and DEL, of the last ADD. Undefined if there is none.
   * Decoded on first use, so an invalid result does not affect a plugin that does not read it. Throws `CniError` 7.
   */
  get prevResult(): Result | undefined {
    if (this.#prevResult === undefined) {
      const object = this.config.optionalObject("prevResult");
      const value = object === undefined ? undefined : decodeResult(object, this.call.config.version);
      this.#prevResult = { value };
    }
    return this.#prevResult.value;
  }

  /** Returns `prevResult` for plugins that require it. Throws `CniError` 7. */
  requirePrevResult(): Result {
    if (this.prevResult !== undefined) return this.prevResult;
    throw this.config.invalid("prevResult", "the result of the previous plugin in the chain");
  }

  /** Returns the container's namespace for plugins that require it. Throws `CniError` 4. */
  requireNamespace(): NetworkNamespace {
    if (this.namespace !== undefined) return this.namespace;
    throw new CniError(
      ErrorCode.invalidEnvironment,
      `CNI_NETNS: "${this.netnsPath}" does not exist or can no longer be opened`,
    );
  }

  /** The object `runtimeConfig`, with the values of capabilities. */
  get runtimeConfig(): ConfigObject {
    return this.config.object("runtimeConfig");
  }

  /**
   * `args.cni` of the configuration: settings for one container. They take precedence over CNI_ARGS; `runtimeConfig`
   * takes precedence over them.
   */
  get configArgs(): ConfigObject {
    return this.config.object("args").object("cni");
  }

  /** The attachments that GC must keep. Throws `CniError` 7 if the list is missing. */
  get validAttachments(): readonly ValidAttachment[] {
    return readValidAttachments(this.config);
  }
}
