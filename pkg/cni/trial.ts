/**
 * Whether plugins take a configuration, asked before a runtime uses it: each reads it by its own parser when it is called
 * with STATUS. What STATUS says of the node (50, 51) is no matter of the configuration.
 */
import type { ConfigObject } from "./config.ts";
import { ErrorCode } from "./errors.ts";
import { parseJsonObject } from "./network.ts";
import { LATEST_VERSION } from "./versions.ts";

/** One call of STATUS. */
export interface Question {
  /** The plugin that is to answer: one of the chain, or the address manager that one names. */
  readonly plugin: string;
  /** What it reads from standard input. */
  readonly input: string;
}

/** Address managers are asked themselves: none has to be found. */
export const TRIAL_ENVIRONMENT = { CNI_COMMAND: "STATUS", CNI_PATH: "/nonexistent" } as const;

const COMPLAINTS: readonly unknown[] = [ErrorCode.unsupportedField, ErrorCode.decodingFailure, ErrorCode.invalidConfig];

/**
 * What to ask of the plugins of the network `network`, in the order of the chain. Plugins that are not among `known` are not
 * asked, nor are the address managers that they name: these may get another configuration. Throws `CniError` 7.
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

/** In words, what `plugin` does not take; undefined where it has nothing against the configuration. */
export function complaintOf(plugin: string, status: number, output: string): string | undefined {
  if (status === 0) return undefined;
  let answer: Readonly<Record<string, unknown>>;
  try {
    answer = parseJsonObject(new TextEncoder().encode(output), `answer of ${plugin}`);
  } catch {
    // One that died says nothing about the configuration.
    return undefined;
  }
  return COMPLAINTS.includes(answer.code) ? `${plugin}: ${answer.msg}` : undefined;
}

/** Bridge and address manager read the same configuration: what both say is said once. */
export function withoutRepeats<T extends { readonly text: string }>(complaints: readonly T[]): T[] {
  const textOf = ({ text }: T) => text.replace(/^[^:]*: /, "");
  return complaints.filter((one, at) => complaints.findIndex((other) => textOf(other) === textOf(one)) === at);
}
