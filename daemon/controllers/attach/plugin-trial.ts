/** Tests a network configuration with weft's own plugins before the runtime reads it (pkg/cni/trial.ts). */

import { execFile } from "node:child_process";
import { dirname, join } from "node:path";
import { ConfigObject } from "../../../pkg/cni/config.ts";
import { complaintOf, type Question, questionsOf, TRIAL_ENVIRONMENT, withoutRepeats } from "../../../pkg/cni/trial.ts";
import { EXECUTABLE } from "../../../pkg/footprint.ts";

const TIME_LIMIT_MS = 10_000;

/**
 * Returns the path of this build's plugins. It is relative to weftd's launcher, in the image and in an unpacked archive
 * alike.
 */
export function ownExecutable(): string {
  return join(dirname(process.argv[1] ?? ""), "..", "bin", EXECUTABLE);
}

export class PluginTrial {
  readonly #executable: string;
  /** The names of the plugins in the file, read once. */
  #plugins: readonly string[] | undefined;
  #last: { readonly conflist: string; readonly complaints: readonly string[] } | undefined;

  constructor(executable: string) {
    this.#executable = executable;
  }

  /**
   * Returns, in words with plugin and key, the parts of `conflist` (JSON) that would fail every ADD. Tests only weft's
   * plugins. The answers for the last text are cached. Rejects if a plugin does not answer in time.
   */
  async complaints(conflist: string): Promise<readonly string[]> {
    if (this.#last?.conflist !== conflist) {
      this.#plugins ??= await this.#pluginNames();
      const list = new ConfigObject(JSON.parse(conflist));
      const asked = questionsOf(list.requiredString("name"), list.objectList("plugins"), this.#plugins);
      const answers = await Promise.all(asked.map((question) => this.#ask(question)));
      this.#last = { conflist, complaints: textsOf(answers) };
    }
    return this.#last.complaints;
  }

  /** Empty if the file does not exist, as when weftd runs from its sources. */
  async #pluginNames(): Promise<readonly string[]> {
    const { status, output } = await this.#call(["version", "-o", "json"], "");
    return status === 0 ? (JSON.parse(output) as { plugins: string[] }).plugins : [];
  }

  async #ask({ plugin, input }: Question): Promise<string | undefined> {
    const { status, output } = await this.#call([plugin], input);
    return complaintOf(plugin, status, output);
  }

  #call(args: readonly string[], input: string): Promise<{ readonly status: 0 | 1; readonly output: string }> {
    return new Promise((resolve, reject) => {
      const options = { env: TRIAL_ENVIRONMENT, timeout: TIME_LIMIT_MS };
      const child = execFile(this.#executable, args, options, (error, output) => {
        const hasEnded = error === null || typeof error.code === "number" || (error.code as unknown) === "ENOENT";
        if (hasEnded) resolve({ status: error === null ? 0 : 1, output });
        else reject(new Error(`${this.#executable} ${args.join(" ")}: ${error.message}`, { cause: error }));
      });
      // A plugin may end before it has read all input.
      child.stdin?.on("error", () => undefined);
      child.stdin?.end(input);
    });
  }
}

function textsOf(answers: readonly (string | undefined)[]): string[] {
  const complaints = answers.flatMap((text) => (text === undefined ? [] : [{ text }]));
  return withoutRepeats(complaints).map(({ text }) => text);
}
