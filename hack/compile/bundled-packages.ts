/** Which npm packages a bundle has code of: what hack/pack says of them goes along with the files. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { Metafile, Plugin } from "esbuild";

const noteOf = (bundle: string) => `${bundle}.packages.json`;

/** Notes them beside `bundle`, for `readBundledPackages`. The build needs `metafile: true`. */
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

/** As package-lock.json names them: `node_modules/ip-address`. Throws when that bundle was not built. */
export function readBundledPackages(bundle: string): string[] {
  return JSON.parse(readFileSync(noteOf(bundle), "utf8")) as string[];
}

/** Those of which something is left in an output. */
export function bundledPackages({ outputs }: Pick<Metafile, "outputs">): string[] {
  const files = Object.values(outputs).flatMap(({ inputs }) =>
    Object.entries(inputs).flatMap(([file, { bytesInOutput }]) => (bytesInOutput > 0 ? [file] : [])),
  );
  const folders = files.flatMap((file) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? []);
  return [...new Set(folders)].sort();
}
