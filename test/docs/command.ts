/** Generates docs/command.md from the declarations of the subcommands. */
import { ABOUT, ENVIRONMENT } from "../../command/main.ts";
import { EXIT_STATUS_MEANING } from "../../command/outcome.ts";
import { type Argument, flagOf, GROUPS, type Option, type Subcommand } from "../../command/subcommand.ts";
import { SUBCOMMANDS } from "../../command/subcommands.ts";
import { code, table } from "./markdown.ts";

export function commandText(): string {
  const listed = GROUPS.flatMap((group) => SUBCOMMANDS.filter((each) => each.group === group));
  const rows = listed.map(({ name, summary }) => [`[${code(`weft ${name}`)}](#${anchorOf(name)})`, summary]);
  const statuses = Object.entries(EXIT_STATUS_MEANING).map(([status, meaning]) => [status, meaning]);
  const variables = Object.entries(ENVIRONMENT).map(([name, meaning]) => [code(name), meaning]);
  return `# The weft command

${ABOUT} It is part of the same executable as the plugins, and needs no Node.js on the node.
This page is generated from the code (\`npm run docs\`). \`weft help SUBCOMMAND\` prints the same text.

${table(["subcommand", "what it does"], rows)}

[looking.md](looking.md) explains the output of \`doctor\`, \`status\`, \`services\` and \`explain\`.

${listed.map(subcommandText).join("\n\n")}

## Exit status

${table(["status", "meaning"], statuses)}

## Environment

${table(["variable", "meaning"], variables)}
`;
}

function anchorOf(name: string): string {
  return `weft-${name.replaceAll(" ", "-")}`;
}

function subcommandText(subcommand: Subcommand): string {
  const { name, description, options, examples } = subcommand;
  const parameters = Object.values(subcommand.arguments);
  const rows = [
    ...parameters.map((each) => [code(each.value), "", meaningOf(each.about, each)]),
    ...Object.entries(options).map(([key, option]) => [
      code(flagText(key, option)),
      standardOf(option),
      meaningOf(option.about, option),
    ]),
    ...(subcommand.printsData
      ? [[code("-o, --output FORMAT"), code("table"), "print a table, or `json` for scripts"]]
      : []),
  ];
  const words = parameters.map(({ value, isOptional = false }) => (isOptional ? `[${value}]` : value));
  const widest = Math.max(...examples.map(({ line }) => line.length));
  return [
    `## weft ${name}`,
    code(["weft", name, ...words, ...(rows.length > parameters.length ? ["[options]"] : [])].join(" ")),
    ...description,
    ...(rows.length === 0 ? [] : [table(["argument or option", "default", "meaning"], rows)]),
    ["```sh", ...examples.map(({ line, about }) => `weft ${line.padEnd(widest)}  # ${about}`), "```"].join("\n"),
  ].join("\n\n");
}

function flagText(name: string, option: Option): string {
  return option.kind === "flag" ? flagOf(name) : `${flagOf(name)} ${option.value}`;
}

function standardOf(option: Option): string {
  return (option.kind === "text" || option.kind === "number") && option.default !== undefined
    ? code(String(option.default))
    : "";
}

function meaningOf(about: string, of: Argument | Option): string {
  const choices = "choices" in of && of.choices !== undefined ? `: ${of.choices.map(code).join(", ")}` : "";
  return `${about}${choices}`;
}
