/** Lists third-party works in the files: npm packages, QuickJS, and the C and compiler libraries. */
import { readdirSync, readFileSync, realpathSync } from "node:fs";
import { readBundledPackages } from "../compile/bundled-packages.ts";
import { ROOT, WORK } from "../compile/paths.ts";
import { output } from "../compile/run.ts";
import { NATIVE, type Target } from "../compile/target.ts";

export interface Ingredient {
  readonly name: string;
  readonly version: string;
  /** An SPDX expression. */
  readonly licence: string;
  /** https://github.com/package-url/purl-spec */
  readonly purl: string;
  /** The SHA-512 of the fetched package in hex. Undefined for signed packages of Debian. */
  readonly sha512?: string;
  /** Notices that its authors require to be distributed with it. */
  readonly notices: readonly string[];
}

/** An entry of package-lock.json, in npm's format lockfileVersion 3. */
interface Locked {
  readonly version?: string;
  readonly license?: string;
  readonly integrity?: string;
}

const BUNDLES = ["plugins.js", "command.js", "weftd.cjs"];
const NOTICE_FILE = /^(licen[cs]e|notice|copying)/i;

/**
 * Returns the third-party works in the last build for `target`. Throws if they cannot be determined, since a release
 * has to list them.
 */
export function ingredientsOf(target: Target): Ingredient[] {
  const lock = JSON.parse(readFileSync(`${ROOT}/package-lock.json`, "utf8")) as { packages: Record<string, Locked> };
  const folders = new Set(BUNDLES.flatMap((bundle) => readBundledPackages(`${WORK}/${bundle}`)));
  return [
    ...[...folders].sort().map((folder) => npmIngredient(folder, lock.packages[folder])),
    quickjsIngredient(target),
    muslIngredient(target),
    libgccIngredient(target),
  ];
}

/** `folder` is the package's path in package-lock.json. */
export function npmIngredient(folder: string, locked: Locked | undefined): Ingredient {
  const { version, license, integrity } = locked ?? {};
  const [algorithm, digest = ""] = integrity?.split("-", 2) ?? [];
  if (version === undefined || license === undefined || algorithm !== "sha512")
    throw new Error(`package-lock.json: ${folder}: expected its version, license and SHA-512`);
  const name = folder.slice(folder.lastIndexOf("node_modules/") + "node_modules/".length);
  const files = readdirSync(`${ROOT}/${folder}`).filter((file) => NOTICE_FILE.test(file));
  return {
    name,
    version,
    licence: license,
    purl: `pkg:npm/${name.replace("@", "%40")}@${version}`,
    sha512: Buffer.from(digest, "base64").toString("hex"),
    notices: files.sort().map((file) => readFileSync(`${ROOT}/${folder}/${file}`, "utf8")),
  };
}

function quickjsIngredient({ quickjs }: Target): Ingredient {
  const version = readFileSync(`${quickjs}/version`, "utf8").trim();
  return {
    name: "quickjs",
    version,
    licence: "MIT",
    purl: `pkg:deb/debian/quickjs@${version}?arch=source`,
    notices: [readFileSync(`${quickjs}/copyright`, "utf8")],
  };
}

/** The C library, from the package that the set-up unpacks. */
function muslIngredient({ quickjs, arch }: Target): Ingredient {
  const version = readFileSync(`${quickjs}/musl/version`, "utf8").trim();
  return {
    name: "musl-dev",
    version,
    licence: "MIT",
    purl: `pkg:deb/debian/musl-dev@${encodeURIComponent(version)}?arch=${arch}`,
    notices: [readFileSync(`${quickjs}/musl/copyright`, "utf8")],
  };
}

/** The compiler's own library. */
function libgccIngredient(target: Target): Ingredient {
  const name = packageOf("libgcc.a", target);
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own
  const version = output(["dpkg-query", "-W", "-f", "${Version}", name]);
  // A cross compiler's package is built from the same sources. Its own copyright file describes how it is built.
  const papers = `/usr/share/doc/${packageOf("libgcc.a", NATIVE)}/copyright`;
  return {
    name,
    version,
    licence: "GPL-3.0-or-later WITH GCC-exception-3.1",
    purl: `pkg:deb/debian/${name}@${encodeURIComponent(version)}?arch=${target === NATIVE ? target.arch : "all"}`,
    notices: [readFileSync(papers, "utf8")],
  };
}

/** Returns the Debian package that contains a library of the compiler. */
function packageOf(file: string, { toolPrefix }: Target): string {
  const path = realpathSync(output([`${toolPrefix}gcc`, `-print-file-name=${file}`]).trim());
  const [name = ""] = output(["dpkg", "-S", path]).split(":");
  return name;
}
