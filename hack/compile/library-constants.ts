/**
 * Makes constants of the `ip-address` library lazy. The library creates some eighty address objects when it is loaded,
 * for classifications that weft never uses: 2 of the 2.7 ms that a plugin took to start. Here these constants are
 * created on first use. The library is otherwise unchanged.
 */
import { readFileSync } from "node:fs";
import type { Plugin } from "esbuild";

/** A constant of the module, made of addresses: `const LOOPBACK_V4 = new Address4('127.0.0.0/8');` */
const CONSTANT = /^const ([A-Z][A-Z0-9_]*) = ([^;]*\bnew Address[46]\([^;]*);$/gm;

export const lazyConstants: Plugin = {
  name: "lazy-constants",
  setup(build) {
    build.onLoad({ filter: /\/ip-address\/dist\/ipv[46]\.js$/ }, ({ path }) => ({
      contents: makeLazy(readFileSync(path, "utf8"), path),
      loader: "js",
    }));
  },
};

/** Throws if the library's source has changed. Measure the start time again then. */
export function makeLazy(source: string, path: string): string {
  const names = [...source.matchAll(CONSTANT)].map((match) => match[1] as string);
  if (names.length === 0)
    throw new Error(`${path}: expected constants made of addresses, found none; measure the start time again`);
  const use = new RegExp(`(?<![\\w.])(${names.join("|")})(?!\\w)`, "g");
  const declared = source.replace(
    CONSTANT,
    (_all, name: string, value: string) => `const lazy_${name} = weftLazy(() => ${value});`,
  );
  const used = declared.replace(use, (name) => `lazy_${name}()`);
  return `${used}\nfunction weftLazy(make) { let made; return () => (made ??= make()); }\n`;
}
