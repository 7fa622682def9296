/** All plugins become one script for QuickJS: what they share is in it once. */
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { build } from "esbuild";
import { lazyConstants } from "./library-constants.ts";
import { ROOT, WORK } from "./paths.ts";

export interface Programs {
  /** The names the executable is called by, one for each folder of plugins/. */
  readonly names: readonly string[];
  /** The bundle. */
  readonly script: string;
}

/** Throws when a folder of plugins/ is no plugin: nothing is left out silently. */
export function pluginNames(): string[] {
  const names = readdirSync(`${ROOT}/plugins`).sort();
  const missing = names.filter((name) => !existsSync(`${ROOT}/plugins/${name}/main.ts`));
  if (missing.length > 0)
    throw new Error(`plugins/${missing.join(", plugins/")}: expected a main.ts in each plugin's folder`);
  return names;
}

export async function bundlePlugins(names: readonly string[]): Promise<Programs> {
  mkdirSync(WORK, { recursive: true });
  const script = `${WORK}/plugins.js`;
  await bundle(entry(names), script);
  return { names, script };
}

/** Each main.ts exports `plugin`; each plugin may delegate to any other within the process. */
function entry(names: readonly string[]): string {
  return [
    'import { runPlugin } from "./pkg/cni/loop.ts";',
    'import { provide, quickjs } from "./pkg/sys/quickjs.ts";',
    ...names.map((name, at) => `import { plugin as plugin${at} } from "./plugins/${name}/main.ts";`),
    `const plugins = { ${names.map((name, at) => `${JSON.stringify(name)}: plugin${at}`).join(", ")} };`,
    "for (const name in plugins) provide(name, () => runPlugin(plugins[name], quickjs, plugins));",
  ].join("\n");
}

/** `contents` is a module, with imports relative to the repository's folder. */
export async function bundle(contents: string, script: string): Promise<void> {
  await build({
    stdin: { contents, resolveDir: ROOT, sourcefile: "entry.ts", loader: "ts" },
    outfile: script,
    bundle: true,
    // A plain script, not a module: the host's context then needs neither a module loader nor promises.
    format: "iife",
    platform: "neutral",
    mainFields: ["module", "main"],
    target: "es2023",
    minifySyntax: true,
    minifyWhitespace: true,
    // Names stay: they are never read at run time, and an internal error then says where it happened.
    minifyIdentifiers: false,
    logLevel: "warning",
    plugins: [lazyConstants],
  });
}
