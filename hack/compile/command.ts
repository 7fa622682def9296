/**
 * Bundles the `weft` command as a separate script. Its bytecode is loaded only when a person runs the command, so that
 * it does not enlarge the plugins' image. Code that it shares with the plugins is included twice, which costs less than
 * keeping it in the image, since bytecode is a fifth as large. A library that the image contains anyway is taken from
 * there.
 */
import type { Plugin } from "esbuild";
import { WORK } from "./paths.ts";
import { bundle, SHARED, SHARED_CLASSES, withoutParts } from "./plugins.ts";

const ENTRY = `
import { runCommand } from "./command/main.ts";
import { build, provide, quickjs } from "./pkg/sys/quickjs.ts";
// commander calls this function of V8. QuickJS sets an error's stack without it.
Error.captureStackTrace ??= () => {};
provide("weft", () => runCommand(quickjs, build));
`;

/** Returns the path of the script. */
export async function bundleCommand(script = `${WORK}/command.js`): Promise<string> {
  // Its bytecode is a fifth of the file. Short names save as much as a plugin takes.
  await bundle(ENTRY, script, {
    plugins: [withoutNode, sharedLibraries, withoutParts("announcement", "inline", "manual")],
    hasShortNames: true,
  });
  return script;
}

/** Libraries in the image are not included in the script (`entry` of plugins.ts). */
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
 * Replacements for Node.js modules that commander imports. It emits events when it reads options, reads the process if
 * it gets no arguments, and starts programs and reads files only for subcommands that are separate executables.
 */
const withoutNode: Plugin = {
  name: "without-node",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:/ }, ({ path }) => ({ path, namespace: "node" }));
    onLoad({ filter: /.*/, namespace: "node" }, ({ path }) => {
      const contents = MODULES[path];
      if (contents === undefined)
        throw new Error(`${path}: unexpected import of the command; add a replacement to MODULES`);
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
