/** `weftd translate-kube-proxy-config`: translates a kube-proxy's configuration into weftd's flags. */
import { readFileSync } from "node:fs";
import { Command } from "commander";
import { readConfiguration } from "./configuration.ts";
import { type NoteKind, type Translation, translate } from "./translate.ts";

export const TRANSLATE = "translate-kube-proxy-config";

/**
 * `args` are the arguments after the subcommand. Prints the translation. If the file is invalid, prints an error and
 * sets the exit status to 1.
 */
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
    .description("Translate a kube-proxy's configuration into weftd's flags, and list each setting without one.")
    .argument("<file>", "a KubeProxyConfiguration, or the ConfigMap that contains one, in YAML; - for standard input")
    .option("--json", "print JSON")
    .addHelpText("after", EXAMPLE)
    .action((file: string, { json = false }: { json?: boolean }) => run(file, json));
}

const EXAMPLE = `
Example:
  kubectl -n kube-system get configmap kube-proxy -o yaml | weftd ${TRANSLATE} -`;

const HEADINGS: readonly (readonly [NoteKind, string])[] = [
  ["warning", "weftd differs:"],
  ["do", "To do:"],
  ["same", "Same with weftd:"],
  ["none", "No counterpart:"],
];

/** Formats a translation as text: the flags first, then all settings, the most important ones first. */
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
  return `${["Flags for weftd:", `  ${flags.join(" ")}`, ...groups].join("\n")}\n`;
}

const WIDEST = 36;
