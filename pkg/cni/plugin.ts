/** What a plugin is, and what it is asked. A plugin thinks in the newest version; `loop.ts` speaks the others. */

import type { NetworkNamespace, System } from "../sys/system.ts";
import type { ConfigObject } from "./config.ts";
import type { CallEnvironment } from "./environment.ts";
import { CniError, ErrorCode } from "./errors.ts";
import { type NetworkConfig, readValidAttachments, type ValidAttachment } from "./network.ts";
import { decodeResult, type Result } from "./result.ts";
import type { Version } from "./versions.ts";

/**
 * One executable. A verb may throw `CniError`; anything else that it throws is told as code 999.
 *
 * ADD undoes what it did before it throws. DEL and GC succeed on what is gone already.
 */
export interface Plugin {
  readonly name: string;
  /** One line for whoever starts the executable by hand. */
  readonly about: string;
  /** Versions of the specification it can be asked in; all of them when absent. */
  readonly versions?: readonly Version[];
  /**
   * False for plugins that never enter the container's namespace (address management): ADD and CHECK then do not
   * insist that CNI_NETNS can be opened.
   */
  readonly usesNamespace?: boolean;
  /** True where results before CNI 1.0.0 leave an empty `dns` out, as the reference's loopback does. [false] */
  readonly omitsEmptyDns?: boolean;
  add(request: CniRequest): Result;
  del(request: CniRequest): void;
  check?(request: CniRequest): void;
  /** Throws `CniError` 50 only for what makes every ADD fail and no DEL can mend. */
  status?(request: CniRequest): void;
  gc?(request: CniRequest): void;
}

/** Plugins that may be called within the process, by the name of their executable. */
export type Delegates = Readonly<Record<string, Plugin>>;

/** One call of one verb. */
export interface Call {
  readonly environment: CallEnvironment;
  readonly config: NetworkConfig;
  /** Standard input as it came: what a delegate that is executed gets. */
  readonly input: Uint8Array;
  readonly system: System;
  readonly delegates: Delegates;
  /** The container's namespace; `undefined` for STATUS and GC, and where it is gone or not needed. */
  readonly namespace: NetworkNamespace | undefined;
}

/** What a plugin gets to see of a call. */
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
   * The result of the plugin before in the chain, or for CHECK and DEL of the last ADD; `undefined` when there is none.
   * Decoded when first asked for, so that a plugin which does not look at it cannot fail by it. Throws `CniError` 7.
   */
  get prevResult(): Result | undefined {
    if (this.#prevResult === undefined) {
      const object = this.config.optionalObject("prevResult");
      const value = object === undefined ? undefined : decodeResult(object, this.call.config.version);
      this.#prevResult = { value };
    }
    return this.#prevResult.value;
  }

  /** `prevResult` for those who cannot do without. Throws `CniError` 7. */
  requirePrevResult(): Result {
    if (this.prevResult !== undefined) return this.prevResult;
    throw this.config.invalid("prevResult", "the result of the plugin before this one in the chain");
  }

  /** The container's namespace for those who cannot do without. Throws `CniError` 4. */
  requireNamespace(): NetworkNamespace {
    if (this.namespace !== undefined) return this.namespace;
    throw new CniError(ErrorCode.invalidEnvironment, `CNI_NETNS: "${this.netnsPath}" is not there any more`);
  }

  /** The key under `runtimeConfig`, for capabilities. */
  get runtimeConfig(): ConfigObject {
    return this.config.object("runtimeConfig");
  }

  /** `args.cni` of the configuration: per-container wishes, stronger than CNI_ARGS, weaker than `runtimeConfig`. */
  get configArgs(): ConfigObject {
    return this.config.object("args").object("cni");
  }

  /** What GC must keep. Throws `CniError` 7 when the list is missing. */
  get validAttachments(): readonly ValidAttachment[] {
    return readValidAttachments(this.config);
  }
}
