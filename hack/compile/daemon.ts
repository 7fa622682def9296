/** The daemon: one bundle for Node.js with the netlink addon beside it, and a launcher. */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { build, type Plugin } from "esbuild";
import { DIST, ROOT } from "./paths.ts";

const ADDON = `${ROOT}/node_modules/netlink/prebuilds/linux-${process.arch}/node.napi.node`;

export async function buildDaemon(): Promise<void> {
  const lib = `${DIST}/lib`;
  mkdirSync(lib, { recursive: true });
  mkdirSync(`${DIST}/bin`, { recursive: true });
  await build({
    entryPoints: [`${ROOT}/daemon/main.ts`],
    outfile: `${lib}/weftd.cjs`,
    bundle: true,
    format: "cjs",
    platform: "node",
    target: "node22",
    minifySyntax: true,
    minifyWhitespace: true,
    logLevel: "warning",
    plugins: [addonBeside, withoutUnusedParts],
  });
  if (!existsSync(ADDON))
    throw new Error(`${ADDON}: the npm package "netlink" carries no addon for this processor (${process.arch})`);
  copyFileSync(ADDON, `${lib}/netlink.node`);
  // The launcher's Node.js is the one that built it: new enough, whatever the machine's own is.
  rmSync(`${lib}/node`, { force: true });
  symlinkSync(process.execPath, `${lib}/node`);
  writeFileSync(`${DIST}/bin/.weftd`, LAUNCHER);
  chmodSync(`${DIST}/bin/.weftd`, 0o755);
  renameSync(`${DIST}/bin/.weftd`, `${DIST}/bin/weftd`);
}

const LAUNCHER = `#!/bin/sh
# Starts weftd on the Node.js beside its bundle, else on the machine's own (22.19 or newer). exec: the process is weftd itself.
lib=$(dirname "$(readlink -f "$0")")/../lib
if [ -x "$lib/node" ]; then node=$lib/node; else node=node; fi
exec "$node" "$lib/weftd.cjs" "$@"
`;

/** The package looks for its addon beside its own sources; in a bundle it lies beside the bundle. */
const addonBeside: Plugin = {
  name: "addon-beside",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node-gyp-build$/ }, () => ({ path: "addon", namespace: "addon-beside" }));
    onLoad({ filter: /.*/, namespace: "addon-beside" }, () => ({
      contents:
        'const { join } = require("node:path"); module.exports = () => require(join(__dirname, "netlink.node"));',
    }));
  },
};

/**
 * Of the Kubernetes client only KubeConfig is used. It imports the generated API and an HTTP client for helpers that
 * weftd never calls: without them the bundle is a third, and starts in two thirds of the time.
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
