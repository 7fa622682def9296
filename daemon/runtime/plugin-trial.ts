/** A network configuration tried out on weft's own plugins before the runtime gets it (pkg/cni/trial.ts). */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { ConfigObject } from "../../pkg/cni/config.ts";
import { complaintOf, type Question, questionsOf, TRIAL_ENVIRONMENT, withoutRepeats } from "../../pkg/cni/trial.ts";

const TIME_LIMIT_MS = 10_000;

/** Where the plugins of this weftd's own build are: beside its launcher, in the image as in an unpacked archive. */
export function ownBinDir(): string {
  return join(dirname(process.argv[1] ?? ""), "..", "bin");
}

export class PluginTrial {
  readonly #binDir: string;
  #last: { readonly conflist: string; readonly complaints: readonly string[] } | undefined;

  /** `binDir` is where weft's own plugins are. */
  constructor(binDir: string) {
    this.#binDir = binDir;
  }

  /**
   * In words, each with plugin and key, what of `conflist` (JSON) would fail every ADD. Plugins of others are not asked. The
   * answers for one and the same text are kept.
   */
  async complaints(conflist: string): Promise<readonly string[]> {
    if (this.#last?.conflist !== conflist) {
      const list = new ConfigObject(JSON.parse(conflist));
      const asked = questionsOf(list.requiredString("name"), list.objectList("plugins"));
      const answers = await Promise.all(asked.map((question) => this.#ask(question)));
      this.#last = { conflist, complaints: textsOf(answers) };
    }
    return this.#last.complaints;
  }

  #ask({ plugin, input }: Question): Promise<string | undefined> {
    const file = join(this.#binDir, plugin);
    if (plugin.includes("/") || !existsSync(file)) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const options = { env: TRIAL_ENVIRONMENT, timeout: TIME_LIMIT_MS };
      const child = execFile(file, options, (error, output) =>
        resolve(complaintOf(plugin, error === null ? 0 : 1, output)),
      );
      // A plugin that ends before it has read everything.
      child.stdin?.on("error", () => undefined);
      child.stdin?.end(input);
    });
  }
}

function textsOf(answers: readonly (string | undefined)[]): string[] {
  const complaints = answers.flatMap((text) => (text === undefined ? [] : [{ text }]));
  return withoutRepeats(complaints).map(({ text }) => text);
}
