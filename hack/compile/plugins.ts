/** Bundles all plugins into one script for QuickJS, so that shared code is included once. */
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { basename } from "node:path";
import { build, type Plugin } from "esbuild";
import { noteBundledPackages } from "./bundled-packages.ts";
import { lazyConstants } from "./library-constants.ts";
import { ROOT, WORK } from "./paths.ts";

export interface Programs {
  /** The names by which the executable is called, one for each folder of plugins/. */
  readonly names: readonly string[];
  /** The path of the bundle. */
  readonly script: string;
  /** The script of the `weft` command. Without it, the executable has only plugins. */
  readonly command?: string;
}

/** A plugin's executable and the module that exports it as `plugin`. */
export interface PluginSource {
  readonly name: string;
  readonly main: string;
}

/** Returns the folders of plugins/. Throws if one is not a plugin, so that none is skipped silently. */
export function ownPlugins(): PluginSource[] {
  return readdirSync(`${ROOT}/plugins`)
    .sort()
    .map((name) => sourceIn(`${ROOT}/plugins/${name}`));
}

/**
 * Returns plugins in other folders, named after their folders. Throws if a folder is not a plugin, or its name is
 * taken.
 */
export function foreignPlugins(folders: readonly string[], own: readonly PluginSource[]): PluginSource[] {
  const taken = new Set(["weft", "weftd", ...own.map(({ name }) => name)]);
  return folders.map((folder) => {
    const source = sourceIn(folder);
    if (taken.has(source.name))
      throw new Error(`${folder}: there is a plugin ${source.name} already; rename the folder`);
    taken.add(source.name);
    return source;
  });
}

function sourceIn(folder: string): PluginSource {
  const main = `${folder}/main.ts`;
  if (!existsSync(main)) throw new Error(`${folder}: a plugin's folder must contain main.ts`);
  return { name: basename(folder), main };
}

export async function bundlePlugins(sources: readonly PluginSource[]): Promise<Programs> {
  mkdirSync(WORK, { recursive: true });
  const script = `${WORK}/plugins.js`;
  await bundle(entry(sources), script, { plugins: [WITHOUT] });
  return { names: sources.map(({ name }) => name), script };
}

/** A part of each backend (pkg/backend/contract.ts): a file that exports a value of the same name. */
export type BackendPart = "announcement" | "channels" | "inline" | "inspection" | "manual";

/** Omits parts of backends that a program does not use, since code in the image or in bytecode costs space. */
export function withoutParts(...parts: readonly BackendPart[]): Plugin {
  const filter = new RegExp(`/pkg/backend/[^/]+/(${parts.join("|")})\\.ts$`);
  return {
    name: "without-parts-of-backends",
    setup({ onLoad }) {
      onLoad({ filter }, ({ path }) => ({ contents: `export const ${filter.exec(path)?.[1]} = undefined;` }));
    },
  };
}

/**
 * Parts that plugins do not use. Announcements are for weftd, channels for weftd and the `weft` command, inspections for
 * the `weft` command, and manuals for the documentation.
 */
const WITHOUT = withoutParts("announcement", "channels", "inspection", "manual");

/** The global that has the image's classes of ip-address, which the command's script uses, too: 33 KB of bytecode. */
export const SHARED = "weftShared";
export const SHARED_CLASSES = ["Address4", "Address6"] as const;

/** Returns the image's script. Each main.ts exports `plugin`. A plugin can delegate to any other within the process. */
export function entry(sources: readonly PluginSource[]): string {
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
   * True to shorten names. [false: names are not read at run time, but internal errors show them, and in the image they
   * cost little]
   */
  readonly hasShortNames?: boolean;
}

/** Bundles the module `contents`. Its imports are relative to the repository's folder. */
export async function bundle(
  contents: string,
  script: string,
  { plugins = [], hasShortNames = false }: BundleOptions = {},
): Promise<void> {
  await build({
    stdin: { contents, resolveDir: ROOT, sourcefile: "entry.ts", loader: "ts" },
    outfile: script,
    bundle: true,
    // A plain script instead of a module, so that the host needs neither a module loader nor promises.
    format: "iife",
    platform: "neutral",
    mainFields: ["module", "main"],
    target: "es2023",
    minifySyntax: true,
    minifyWhitespace: true,
    minifyIdentifiers: hasShortNames,
    logLevel: "warning",
    // For imports of plugins outside this tree, such as "weft/pkg/cni/plugin.ts".
    alias: { weft: ROOT },
    metafile: true,
    // A separate file, for `npm run profile`. The script is the same without it.
    sourcemap: "external",
    sourcesContent: false,
    plugins: [lazyConstants, noteBundledPackages(script), ...plugins],
  });
}
