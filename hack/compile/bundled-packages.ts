/** Finds the npm packages with code in a bundle. hack/pack adds their licences to the files. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { Metafile, Plugin } from "esbuild";

const noteOf = (bundle: string) => `${bundle}.packages.json`;

/** Writes the list of packages next to `bundle`, for `readBundledPackages`. The build needs `metafile: true`. */
export function noteBundledPackages(bundle: string): Plugin {
  return {
    name: "note-bundled-packages",
    setup({ onEnd }) {
      onEnd(({ metafile }) => {
        if (metafile === undefined) return;
        mkdirSync(dirname(bundle), { recursive: true });
        writeFileSync(noteOf(bundle), JSON.stringify(bundledPackages(metafile)));
      });
    },
  };
}

/** Returns paths as in package-lock.json, such as `node_modules/ip-address`. Throws if the bundle was not built. */
export function readBundledPackages(bundle: string): string[] {
  return JSON.parse(readFileSync(noteOf(bundle), "utf8")) as string[];
}

/** Returns packages with code in an output. */
export function bundledPackages({ outputs }: Pick<Metafile, "outputs">): string[] {
  const files = Object.values(outputs).flatMap(({ inputs }) =>
    Object.entries(inputs).flatMap(([file, { bytesInOutput }]) => (bytesInOutput > 0 ? [file] : [])),
  );
  const folders = files.flatMap((file) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? []);
  return [...new Set(folders)].sort();
}
