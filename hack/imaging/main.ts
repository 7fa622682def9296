/**
 * hack/image without a container engine: makes the root file system, and the image as an archive that every engine
 * loads.
 */
import { mkdirSync, readFileSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { Command, Option } from "commander";
import { DIST, ROOT } from "../compile/paths.ts";
import { output } from "../compile/run.ts";
import { NATIVE, TARGETS } from "../compile/target.ts";
import { writeArchive } from "./archive.ts";
import { ENTRYPOINT, LAYERS, makeRoot } from "./root.ts";

const command = new Command("hack/image")
  .description("Builds weft's container image for docker, podman and kind, without needing any of them.")
  .addOption(
    new Option("--arch <name>", "build for this processor")
      .choices(TARGETS.map(({ arch }) => arch))
      .default(NATIVE.arch),
  )
  .option("--tag <name>", "name of the image", "weft:dev")
  .option("--out <file>", "path of the archive", "dist/image/weft-<arch>.tar")
  .option("--root-only <folder>", "write only the root file system, to <folder>/base and <folder>/weft")
  .addHelpText(
    "after",
    "\nSOURCE_DATE_EPOCH sets the time of all files. The default is the time of the last commit.\n\nThen:\n  docker load -i dist/image/weft-amd64.tar\n  kind load image-archive dist/image/weft-amd64.tar",
  )
  .parse();
const { arch, tag, out, rootOnly } = command.opts<{ arch: string; tag: string; out: string; rootOnly?: string }>();
// No engine is used, so the same commit gives the same bytes, and the tests need none. The Containerfile runs this script, too.
const target = TARGETS.find((one) => one.arch === arch) ?? NATIVE;

if (rootOnly !== undefined) {
  makeRoot(target, resolve(rootOnly));
  console.log(`image: ${rootOnly} contains the root file system for ${arch}`);
} else makeImage();

function makeImage(): void {
  const root = `${ROOT}/.cache/image/root-${arch}`;
  makeRoot(target, root);
  const path = resolve(ROOT, out.replace("<arch>", arch));
  mkdirSync(dirname(path), { recursive: true });
  const { version, description, license } = JSON.parse(readFileSync(`${ROOT}/package.json`, "utf8")) as Record<
    string,
    string
  >;
  const digest = writeArchive(
    {
      layers: LAYERS.map((layer) => `${root}/${layer}`),
      ...{ arch, reference: tag, created: created() },
      entrypoint: ENTRYPOINT,
      labels: {
        "org.opencontainers.image.title": "weft",
        "org.opencontainers.image.description": description ?? "",
        "org.opencontainers.image.version": version ?? "",
        "org.opencontainers.image.licenses": license ?? "",
        "org.opencontainers.image.revision": revision(),
      },
    },
    path,
  );
  const mebibytes = (statSync(path).size / 2 ** 20).toFixed(1);
  console.log(`image: ${path} (${tag}, linux/${arch}, ${mebibytes} MiB, ${digest})`);
  if (path.startsWith(DIST)) console.log(`image: docker load -i ${path}, or kind load image-archive ${path}`);
}

function created(): number {
  const { SOURCE_DATE_EPOCH: given } = process.env;
  if (given === undefined || given === "") return Number(git("log", "-1", "--format=%ct") || 0);
  if (/^\d+$/.test(given)) return Number(given);
  throw new Error(`SOURCE_DATE_EPOCH=${given}: expected seconds since 1970`);
}

function revision(): string {
  return git("rev-parse", "HEAD") || "unknown";
}

/** Runs git. Returns an empty string outside a clone, since a tarball has no history. */
function git(...args: readonly string[]): string {
  try {
    return output(["git", "-C", ROOT, ...args]).trim();
  } catch {
    return "";
  }
}
