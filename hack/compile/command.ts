/**
 * The `weft` command becomes a script of its own: bytecode that is loaded when a person calls it, so that the plugins'
 * image does not grow by it. What it shares with the plugins is in it once more, which costs less than to keep it in
 * the image: bytecode is a fifth as large. A library that the image has anyhow is taken from there.
 */
import type { Plugin } from "esbuild";
import { WORK } from "./paths.ts";
import { bundle, SHARED, SHARED_CLASSES, withoutParts } from "./plugins.ts";

const ENTRY = `
import { runCommand } from "./command/main.ts";
import { build, provide, quickjs } from "./pkg/sys/quickjs.ts";
// commander asks V8's for it; QuickJS gives errors a stack without being asked.
Error.captureStackTrace ??= () => {};
provide("weft", () => runCommand(quickjs, build));
`;

/** Returns the script's name. */
export async function bundleCommand(script = `${WORK}/command.js`): Promise<string> {
  // Its bytecode is a fifth of the file, and short names make it smaller by the size of a plugin.
  await bundle(ENTRY, script, {
    plugins: [withoutNode, sharedLibraries, withoutParts("announcement", "inline", "manual")],
    hasShortNames: true,
  });
  return script;
}

/** What the image has of libraries is not in the script once more (`entry` of plugins.ts). */
const sharedLibraries: Plugin = {
  name: "shared-libraries",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^ip-address\// }, ({ path }) => ({ path, namespace: "shared" }));
    onLoad({ filter: /.*/, namespace: "shared" }, () => ({
      contents: `export const { ${SHARED_CLASSES.join(", ")} } = globalThis.${SHARED};`,
    }));
  },
};

/**
 * What commander imports of Node.js: it emits events when options are read, asks for the process where nobody tells it
 * the arguments, and would start programs and look for files only for subcommands that are executables of their own.
 */
const withoutNode: Plugin = {
  name: "without-node",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:/ }, ({ path }) => ({ path, namespace: "node" }));
    onLoad({ filter: /.*/, namespace: "node" }, ({ path }) => {
      const contents = MODULES[path];
      if (contents === undefined) throw new Error(`${path}: the command is not known to need it`);
      return { contents };
    });
  },
};

const NOTHING = "export default {};";
const MODULES: Readonly<Record<string, string>> = {
  "node:events": `export class EventEmitter {
    #listeners = new Map();
    on(name, listener) { this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), listener]); return this; }
    emit(name, ...values) {
      const listeners = this.#listeners.get(name) ?? [];
      for (const listener of listeners) listener.apply(this, values);
      return listeners.length > 0;
    }
    listenerCount(name) { return (this.#listeners.get(name) ?? []).length; }
  }`,
  // Output goes through configureOutput, and nothing is read from here.
  "node:process": "export default { argv: [], execArgv: [], env: {}, versions: {}, stdout: {}, stderr: {} };",
  "node:util": 'export const stripVTControlCharacters = (text) => text.replace(/\\u001b\\[[0-9;]*m/g, "");',
  "node:child_process": NOTHING,
  "node:fs": NOTHING,
  "node:path": NOTHING,
};
