/** Networks' configurations tried out on the plugins of the running file (pkg/cni/trial.ts). */
import { isCniError } from "../../pkg/cni/errors.ts";
import { complaintOf, questionsOf, TRIAL_ENVIRONMENT, withoutRepeats } from "../../pkg/cni/trial.ts";
import type { System } from "../../pkg/sys/system.ts";
import type { Build } from "../subcommand.ts";
import type { NetworkFile } from "./networks.ts";

export interface Complaint {
  /** The file's name. */
  readonly file: string;
  /** Empty where the file cannot be read as a chain of plugins. */
  readonly plugin: string;
  /** With plugin and key. */
  readonly text: string;
}

/** What weft's plugins do not take of `files`; others' plugins are not asked. */
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
