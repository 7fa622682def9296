/** The probe, compiled like the plugins. */
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { compileExecutable } from "../../hack/compile/executable.ts";
import { WORK } from "../../hack/compile/paths.ts";
import { bundle } from "../../hack/compile/plugins.ts";
import { NATIVE, type Target } from "../../hack/compile/target.ts";
import type { Outcome } from "./outcome.ts";
import type { Question } from "./probe.ts";

const ENTRY = `
import { provide } from "./pkg/sys/quickjs.ts";
import { run } from "./test/contract/probe.ts";
provide("probe", run);
`;

export class Probe {
  readonly #folder = `${WORK}/contract-${process.pid}`;
  readonly #executable = `${this.#folder}/probe`;
  readonly #target: Target;

  constructor(target: Target = NATIVE) {
    this.#target = target;
  }

  async compile(): Promise<void> {
    mkdirSync(this.#folder, { recursive: true });
    await bundle(ENTRY, `${this.#folder}/probe.js`);
    compileExecutable({ names: ["probe"], script: `${this.#folder}/probe.js` }, this.#executable, this.#target);
  }

  /** If the probe does not answer, throws with its standard error. */
  ask(question: Question): Outcome {
    const [command, ...args] = this.#commandLine();
    const { status, stdout, stderr } = spawnSync(command, args, {
      input: JSON.stringify(question),
      encoding: "utf8",
    });
    if (status !== 0 || stderr !== "") throw new Error(`the probe ended with ${status}: ${stdout}${stderr}`);
    return JSON.parse(stdout) as Outcome;
  }

  /** Sends the question with standard output closed. */
  askDeaf(question: Question): void {
    const { status } = spawnSync("sh", ["-c", 'exec "$0" "$@" >&-', ...this.#commandLine()], {
      input: JSON.stringify(question),
    });
    if (status !== 0) throw new Error(`the probe ended with ${status}`);
  }

  #commandLine(): [string, ...string[]] {
    const [first = this.#executable, ...rest] = [...this.#target.emulator, this.#executable];
    return [first, ...rest];
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
