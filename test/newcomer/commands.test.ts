import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { commandsOf } from "./commands.ts";

test("marked blocks are returned complete and in order; others are omitted", () => {
  const markdown = [
    "```sh newcomer",
    "one # and why",
    "two",
    "```",
    "text",
    "```sh",
    "not this",
    "```",
    "```sh newcomer-node",
    "echo '```' |",
    "  three",
    "```",
    "",
  ].join("\n");
  expect(commandsOf(markdown)).toEqual([
    { place: "newcomer", script: "one # and why\ntwo\n" },
    { place: "newcomer-node", script: "echo '```' |\n  three\n" },
  ]);
});

test("the README leads a newcomer from an empty machine through the demo, the tests and the build to a plugin's call", () => {
  const scripts = commandsOf(readFileSync("README.md", "utf8")).map(({ script }) => script);
  const all = scripts.join("");
  const steps = [
    "apt-get install",
    "git clone",
    "npm run demo",
    "npm run test:unit",
    "npm run build",
    "weft install",
    "CNI_COMMAND=ADD",
  ];
  expect(steps.filter((step) => !all.includes(step))).toEqual([]);
  const places = steps.map((step) => all.indexOf(step));
  expect(places).toEqual(places.toSorted((a, b) => a - b));
});
