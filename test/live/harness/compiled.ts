/** C programs that tests run. */
import { existsSync } from "node:fs";
import { basename } from "node:path";
import type { Cleanup } from "./cleanup.ts";
import { succeed } from "./command.ts";
import { makeFolder } from "./folder.ts";

/** The emulated machine has no compiler: hack/vm stores all compiled programs here. */
const COMPILED = new URL("../../../.cache/compiled/", import.meta.url).pathname;

/** The executable of the C program `source`. */
export async function compiled(source: URL, cleanup: Cleanup): Promise<string> {
  const name = basename(source.pathname, ".c");
  if (process.env.WEFT_VM !== undefined && existsSync(COMPILED + name)) return COMPILED + name;
  const executable = `${makeFolder(name, cleanup)}/${name}`;
  await succeed("gcc", ["-Wall", "-o", executable, source.pathname]);
  return executable;
}
