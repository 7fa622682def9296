/** All plugins become one script for QuickJS: what they share is in it once. */
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { basename } from "node:path";
import { build, type Plugin } from "esbuild";
import { noteBundledPackages } from "./bundled-packages.ts";
import { lazyConstants } from "./library-constants.ts";
import { ROOT, WORK } from "./paths.ts";

export interface Programs {
  /** The names the executable is called by, one for each folder of plugins/. */
  readonly names: readonly string[];
  /** The bundle. */
  readonly script: string;
  /** The script of the `weft` command; an executable without it has plugins alone. */
  readonly command?: string;
}

/** A plugin's executable and the module that exports it as `plugin`. */
export interface PluginSource {
  readonly name: string;
  readonly main: string;
}

/** The folders of plugins/. Throws when one is no plugin: nothing is left out silently. */
export function ownPlugins(): PluginSource[] {
  return readdirSync(`${ROOT}/plugins`)
    .sort()
    .map((name) => sourceIn(`${ROOT}/plugins/${name}`));
}

/** Others' folders, by the names that the executables get. Throws when one is no plugin or has a name that is taken. */
export function foreignPlugins(folders: readonly string[], own: readonly PluginSource[]): PluginSource[] {
  const taken = new Set(["weft", "weftd", ...own.map(({ name }) => name)]);
  return folders.map((folder) => {
    const source = sourceIn(folder);
    if (taken.has(source.name))
      throw new Error(`${folder}: there is a plugin ${source.name} already: rename the folder`);
    taken.add(source.name);
    return source;
  });
}

function sourceIn(folder: string): PluginSource {
  const main = `${folder}/main.ts`;
  if (!existsSync(main)) throw new Error(`${folder}: expected a main.ts in a plugin's folder`);
  return { name: basename(folder), main };
}

export async function bundlePlugins(sources: readonly PluginSource[]): Promise<Programs> {
  mkdirSync(WORK, { recursive: true });
  const script = `${WORK}/plugins.js`;
  await bundle(entry(sources), script, { plugins: [WITHOUT] });
  return { names: sources.map(({ name }) => name), script };
}

/** A part of each backend (pkg/backend/contract.ts): a file that exports something of its name. */
export type BackendPart = "announcement" | "channels" | "inline" | "inspection" | "manual";

/** Leaves parts of backends out that a program does not ask for: what is in an image, or in bytecode, is dear. */
export function withoutParts(...parts: readonly BackendPart[]): Plugin {
  const filter = new RegExp(`/pkg/backend/[^/]+/(${parts.join("|")})\\.ts$`);
  return {
    name: "without-parts-of-backends",
    setup({ onLoad }) {
      onLoad({ filter }, ({ path }) => ({ contents: `export const ${filter.exec(path)?.[1]} = undefined;` }));
    },
  };
}

/** weftd announces, and lets go; the `weft` command tells. */
const WITHOUT = withoutParts("announcement", "channels", "inspection", "manual");

/** Where the image keeps the classes of ip-address, for the command's script as well: 33 KB of bytecode. */
export const SHARED = "weftShared";
export const SHARED_CLASSES = ["Address4", "Address6"] as const;

/** Each main.ts exports `plugin`; each plugin may delegate to any other within the process. */
function entry(sources: readonly PluginSource[]): string {
  return [
    'import { runPlugin } from "./pkg/cni/loop.ts";',
    'import { provide, quickjs } from "./pkg/sys/quickjs.ts";',
    'import { Address4 } from "ip-address/dist/ipv4.js";',
    'import { Address6 } from "ip-address/dist/ipv6.js";',
    `globalThis.${SHARED} = { ${SHARED_CLASSES.join(", ")} };`,
    ...sources.map(({ main }, at) => `import { plugin as plugin${at} } from ${JSON.stringify(main)};`),
    `const plugins = { ${sources.map(({ name }, at) => `${JSON.stringify(name)}: plugin${at}`).join(", ")} };`,
    "for (const name in plugins) provide(name, () => runPlugin(plugins[name], quickjs, plugins));",
  ].join("\n");
}

export interface BundleOptions {
  readonly plugins?: readonly Plugin[];
  /**
   * Names are shortened. [false: they are never read at run time, and an internal error says by them where it happened;
   * in the image they cost little]
   */
  readonly hasShortNames?: boolean;
}

/** `contents` is a module, with imports relative to the repository's folder. */
export async function bundle(
  contents: string,
  script: string,
  { plugins = [], hasShortNames = false }: BundleOptions = {},
): Promise<void> {
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
    minifyIdentifiers: hasShortNames,
    logLevel: "warning",
    // What plugins outside of this tree import: "weft/pkg/cni/plugin.ts".
    alias: { weft: ROOT },
    metafile: true,
    plugins: [lazyConstants, noteBundledPackages(script), ...plugins],
  });
}
