/** `weftd translate-kube-proxy-config`: prints what a kube-proxy's configuration means for weftd. */
import { readFileSync } from "node:fs";
import { Command } from "commander";
import { readConfiguration } from "./configuration.ts";
import { type NoteKind, type Translation, translate } from "./translate.ts";

export const TRANSLATE = "translate-kube-proxy-config";

/** Arguments behind the name. Prints, and ends the process with a status other than 0 where the file is not as expected. */
export function runTranslation(args: readonly string[]): void {
  translationCommand((file, isJson) => {
    try {
      const translation = translate(readConfiguration(readFileSync(file === "-" ? 0 : file, "utf8")));
      process.stdout.write(isJson ? `${JSON.stringify(translation, undefined, 2)}\n` : translationText(translation));
    } catch (error) {
      process.stderr.write(`weftd ${TRANSLATE}: ${file}: ${error instanceof Error ? error.message : String(error)}\n`);
      process.exitCode = 1;
    }
  }).parse([...args], { from: "user" });
}

function translationCommand(run: (file: string, isJson: boolean) => void): Command {
  return new Command(`weftd ${TRANSLATE}`)
    .description("Translates a kube-proxy's configuration into weftd's flags, and names each setting that has none.")
    .argument("<file>", "a KubeProxyConfiguration or the ConfigMap that holds one, in YAML; - for standard input")
    .option("--json", "for machines")
    .addHelpText("after", EXAMPLE)
    .action((file: string, { json = false }: { json?: boolean }) => run(file, json));
}

const EXAMPLE = `
Example:
  kubectl -n kube-system get configmap kube-proxy -o yaml | weftd ${TRANSLATE} -`;

const HEADINGS: readonly (readonly [NoteKind, string])[] = [
  ["warning", "weftd does otherwise:"],
  ["do", "Left to you:"],
  ["same", "The same with weftd:"],
  ["none", "Without a counterpart:"],
];

/** For people: the flags first, then all settings, what matters most first. */
export function translationText({ flags, notes }: Translation): string {
  const widest = Math.max(0, ...notes.map(({ setting }) => (setting.length > WIDEST ? 0 : setting.length)));
  const groups = HEADINGS.flatMap(([kind, heading]) => {
    const lines = notes
      .filter((note) => note.kind === kind)
      .map(({ setting, text }) =>
        setting.length > widest
          ? `  ${setting}\n  ${" ".repeat(widest)}  ${text}`
          : `  ${setting.padEnd(widest)}  ${text}`,
      );
    return lines.length === 0 ? [] : ["", heading, ...lines];
  });
  return `${["weftd's flags:", `  ${flags.join(" ")}`, ...groups].join("\n")}\n`;
}

const WIDEST = 36;
