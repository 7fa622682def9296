/** Validates network configurations with the plugins of the running executable (pkg/cni/trial.ts). */
import { isCniError } from "../../pkg/cni/errors.ts";
import { complaintOf, questionsOf, TRIAL_ENVIRONMENT, withoutRepeats } from "../../pkg/cni/trial.ts";
import type { System } from "../../pkg/sys/system.ts";
import type { Build } from "../subcommand.ts";
import type { NetworkFile } from "./networks.ts";

export interface Complaint {
  /** The name of the file. */
  readonly file: string;
  /** Empty if the file is not a valid chain of plugins. */
  readonly plugin: string;
  /** Includes the plugin and the key. */
  readonly text: string;
}

/** Returns the errors that weft's plugins report for `files`. Plugins of other programs are not called. */
export function tryNetworks(system: System, files: readonly NetworkFile[], { pluginNames }: Build): Complaint[] {
  return files.flatMap(({ name: file, problem, network, plugins }) => {
    if (problem !== undefined) return [];
    try {
      const complaints = questionsOf(network, plugins, pluginNames).flatMap(({ plugin, input }) => {
        const { status, output } = system.execute(system.executablePath, {
          args: [plugin],
          environment: TRIAL_ENVIRONMENT,
          input: new TextEncoder().encode(input),
        });
        const text = complaintOf(plugin, status, new TextDecoder().decode(output));
        return text === undefined ? [] : [{ file, plugin, text }];
      });
      return withoutRepeats(complaints);
    } catch (error) {
      if (isCniError(error)) return [{ file, plugin: "", text: error.message }];
      throw error;
    }
  });
}
