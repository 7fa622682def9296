/**
 * Checks whether plugins accept a configuration before a runtime uses it. Each plugin parses the configuration when it
 * is called with STATUS. Errors of STATUS about the node (50, 51) do not concern the configuration.
 */
import type { ConfigObject } from "./config.ts";
import { ErrorCode } from "./errors.ts";
import { parseJsonObject } from "./network.ts";
import { LATEST_VERSION } from "./versions.ts";

/** One call of STATUS. */
export interface Question {
  /** The plugin to call: one of the chain, or the IPAM plugin that it names. */
  readonly plugin: string;
  /** Its standard input. */
  readonly input: string;
}

/** IPAM plugins are called directly, so no plugin has to be found in CNI_PATH. */
export const TRIAL_ENVIRONMENT = { CNI_COMMAND: "STATUS", CNI_PATH: "/nonexistent" } as const;

const COMPLAINTS: readonly unknown[] = [ErrorCode.unsupportedField, ErrorCode.decodingFailure, ErrorCode.invalidConfig];

/**
 * Returns the calls for the plugins of the network `network`, in the order of the chain. Excludes plugins that are not
 * among `known`, and the IPAM plugins that they name: these may get a different configuration. Throws `CniError` 7.
 */
export function questionsOf(network: string, plugins: readonly ConfigObject[], known: readonly string[]): Question[] {
  const isKnown = (name: unknown): name is string => typeof name === "string" && known.includes(name);
  return plugins
    .filter((plugin) => isKnown(plugin.value("type")))
    .flatMap((plugin) => {
      const input = JSON.stringify({ ...plugin.values(), name: network, cniVersion: LATEST_VERSION });
      const names = [plugin.value("type"), plugin.object("ipam").value("type")].filter(isKnown);
      return names.map((name) => ({ plugin: name, input }));
    });
}

/** Returns the reason why `plugin` refuses the configuration. Undefined if it accepts it. */
export function complaintOf(plugin: string, status: number, output: string): string | undefined {
  if (status === 0) return undefined;
  let answer: Readonly<Record<string, unknown>>;
  try {
    answer = parseJsonObject(new TextEncoder().encode(output), `answer of ${plugin}`);
  } catch {
    // A plugin that crashed says nothing about the configuration.
    return undefined;
  }
  return COMPLAINTS.includes(answer.code) ? `${plugin}: ${answer.msg}` : undefined;
}

/**
 * Removes repeated texts: the main plugin and its IPAM plugin read the same configuration and may report the same
 * error.
 */
export function withoutRepeats<T extends { readonly text: string }>(complaints: readonly T[]): T[] {
  const textOf = ({ text }: T) => text.replace(/^[^:]*: /, "");
  return complaints.filter((one, at) => complaints.findIndex((other) => textOf(other) === textOf(one)) === at);
}
