/**
 * The parameters that a runtime passes in CNI_* variables (CNI specification 1.1.0, section 2, "Parameters"). Every
 * invalid parameter is a `CniError` 4 that names the variable.
 */

import { CniArguments, isTrue } from "./arguments.ts";
import { CniError, ErrorCode } from "./errors.ts";

export type Verb = "ADD" | "DEL" | "CHECK" | "STATUS" | "GC";

/** The variables that each verb requires, in the order of the specification. An empty variable counts as missing. */
const REQUIRED: Readonly<Record<Verb, readonly string[]>> = {
  ADD: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
  DEL: ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
  CHECK: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
  STATUS: ["CNI_PATH"],
  GC: ["CNI_PATH"],
};

const CONTAINER_ID = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** IFNAMSIZ without the terminating zero byte (linux/if.h). */
const IFNAME_BYTES = 15;

export interface CallEnvironment {
  readonly verb: Verb;
  /** Empty for STATUS and GC. */
  readonly containerId: string;
  /** Empty for STATUS and GC. May be empty for DEL, and may then name a namespace that no longer exists. */
  readonly netnsPath: string;
  /** Empty for STATUS and GC. */
  readonly ifName: string;
  /** The directories in which delegates are searched. */
  readonly path: readonly string[];
  readonly args: CniArguments;
  /** True if the runtime allows CNI_NETNS to be the plugin's own namespace. */
  readonly isOwnNamespaceAllowed: boolean;
}

/** Reads and validates the variables. Throws `CniError` 4. */
export function readEnvironment(variables: Readonly<Record<string, string>>): CallEnvironment {
  const verb = assertVerb(variables.CNI_COMMAND ?? "");
  const missing = REQUIRED[verb].filter((name) => !variables[name]);
  if (missing.length > 0) {
    throw invalid(`${verb} needs the environment variables ${missing.join(", ")}: missing or empty`);
  }
  const isAboutContainer = verb === "ADD" || verb === "DEL" || verb === "CHECK";
  return {
    verb,
    containerId: isAboutContainer ? assertContainerId(variables.CNI_CONTAINERID ?? "") : "",
    netnsPath: isAboutContainer ? (variables.CNI_NETNS ?? "") : "",
    ifName: isAboutContainer ? assertIfName(variables.CNI_IFNAME ?? "") : "",
    path: (variables.CNI_PATH ?? "").split(":").filter((directory) => directory !== ""),
    args: new CniArguments(variables.CNI_ARGS ?? ""),
    isOwnNamespaceAllowed: isTrue(variables.CNI_NETNS_OVERRIDE ?? ""),
  };
}

function assertVerb(text: string): Verb {
  if (Object.hasOwn(REQUIRED, text)) return text as Verb;
  throw invalid(`unknown CNI_COMMAND: "${text}", expected ${Object.keys(REQUIRED).join(", ")} or VERSION`);
}

function assertContainerId(text: string): string {
  if (CONTAINER_ID.test(text)) return text;
  throw invalid(
    `CNI_CONTAINERID: expected letters, digits, _, . and -, beginning with a letter or digit, got ${JSON.stringify(text)}`,
  );
}

/** Checks the kernel's rules for interface names (dev_valid_name in net/core/dev.c). */
function assertIfName(text: string): string {
  const isValid = text !== "." && text !== ".." && !/[/:\s]/.test(text) && utf8Length(text) <= IFNAME_BYTES;
  if (isValid) return text;
  throw invalid(
    `CNI_IFNAME: expected at most ${IFNAME_BYTES} bytes without "/", ":" and white space, and neither "." nor "..", ` +
      `got ${JSON.stringify(text)}`,
  );
}

function utf8Length(text: string): number {
  return new TextEncoder().encode(text).length;
}

function invalid(message: string): CniError {
  return new CniError(ErrorCode.invalidEnvironment, message);
}
