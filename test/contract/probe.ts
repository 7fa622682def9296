/**
 * The executable's entry point for the contract: runs the scenario named on standard input, on the C host, and writes
 * its observations. Each scenario gets a new process.
 */
import { quickjs } from "../../pkg/sys/quickjs.ts";
import { filesScenarios } from "./files.ts";
import { bytesOf, type Outcome, textOf } from "./outcome.ts";
import { systemScenarios, type World } from "./system.ts";
import { textScenarios } from "./text.ts";

export interface Question {
  readonly contract: "files" | "system" | "text";
  readonly scenario: string;
  readonly world: World;
}

export function run(): number {
  const question = JSON.parse(textOf(quickjs.readInput())) as Question;
  quickjs.writeOutput(bytesOf(JSON.stringify(answer(question))));
  return 0;
}

function answer({ contract, scenario, world }: Question): Outcome {
  const seen = {
    files: () => filesScenarios[scenario]?.run(quickjs, world.folder),
    system: () => systemScenarios[scenario]?.run(quickjs, world),
    text: () => textScenarios[scenario]?.(),
  }[contract]();
  if (seen === undefined) throw new Error(`there is no scenario "${scenario}" of ${contract}`);
  return seen;
}
