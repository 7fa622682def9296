/** Each plugin's entry, plugins/<name>/main.ts, becomes one script for QuickJS. */
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { build } from "esbuild";
import { lazyConstants } from "./library-constants.ts";
import { ROOT, WORK } from "./paths.ts";

export interface Program {
  /** The name the executable is called by. */
  readonly name: string;
  /** The bundle. */
  readonly script: string;
}

export async function bundlePlugins(): Promise<Program[]> {
  mkdirSync(WORK, { recursive: true });
  const names = readdirSync(`${ROOT}/plugins`).sort();
  const missing = names.filter((name) => !existsSync(`${ROOT}/plugins/${name}/main.ts`));
  if (missing.length > 0)
    throw new Error(`plugins/${missing.join(", plugins/")}: expected a main.ts in each plugin's folder`);
  return Promise.all(names.map(bundle));
}

async function bundle(name: string): Promise<Program> {
  const script = `${WORK}/${name}.js`;
  await build({
    entryPoints: [`${ROOT}/plugins/${name}/main.ts`],
    outfile: script,
    bundle: true,
    // A module: QuickJS binds a module's variables once, but searches a function's for each closure made in it.
    format: "esm",
    platform: "neutral",
    mainFields: ["module", "main"],
    target: "es2023",
    minifySyntax: true,
    minifyWhitespace: true,
    // Names stay: they cost bytes that are never read at run time, and an internal error then says where it happened.
    minifyIdentifiers: false,
    logLevel: "warning",
    plugins: [lazyConstants],
  });
  return { name, script };
}
