/**
 * The folder in which the container runtime looks for networks: who stands in it beside weftd, which file the runtime
 * takes, and whose network is taken over.
 */

import { readdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { isNetworkFile } from "../../pkg/cni/network.ts";
import { CONFLIST_NAME, DISABLED_SUFFIX } from "../../pkg/footprint.ts";
import { NotAFileError, readRegularFile } from "../core/regular-file.ts";
import { type Predecessor, parsePredecessor } from "./predecessor.ts";

export interface ConflistFolder {
  /** Whose names and settings stay; its file may be out of use already. */
  readonly predecessor: Predecessor | undefined;
  /** Files of a network that is taken over and that a runtime could still choose. */
  readonly superseded: readonly string[];
  /** Files of others that sort before ours: the runtime takes the first. */
  readonly foreignFirst: readonly string[];
  /** In words: why a network of flannel's is not taken over, and what is no file. */
  readonly problems: readonly string[];
}

/** Reads the folder; an absent one is empty. `own` is the name of weftd's own file. */
export async function readConflistFolder(folder: string, own = CONFLIST_NAME): Promise<ConflistFolder> {
  const names = (await entriesOf(folder)).sort();
  const irregular: string[] = [];
  const others: { readonly name: string; readonly content: Predecessor | string | undefined }[] = [];
  for (const name of names.filter((name) => name !== own && (isNetworkFile(name) || name.endsWith(DISABLED_SUFFIX)))) {
    const text = await contentOf(join(folder, name));
    if (text instanceof NotAFileError) irregular.push(describe(name, text));
    else others.push({ name, content: parsePredecessor(name, text) });
  }
  // The runtime's choice before what is out of use.
  const inUse = others.filter(({ name }) => isNetworkFile(name));
  const taken = [...inUse, ...others.filter(({ name }) => !isNetworkFile(name))].flatMap(({ content }) =>
    typeof content === "object" ? [content] : [],
  );
  const superseded = inUse.flatMap(({ name, content }) => (typeof content === "object" ? [name] : []));
  return {
    predecessor: taken[0],
    superseded,
    foreignFirst: inUse.flatMap(({ name }) => (name < own && !superseded.includes(name) ? [name] : [])),
    problems: [...inUse.flatMap(({ content }) => (typeof content === "string" ? [content] : [])), ...irregular],
  };
}

/** Takes files out of the runtime's sight. */
export async function disable(folder: string, names: readonly string[]): Promise<void> {
  for (const name of names) await rename(join(folder, name), join(folder, `${name}${DISABLED_SUFFIX}`));
}

/** Runtimes pass over directories alone (libcni's ConfFiles). */
function describe(name: string, { kind }: NotAFileError): string {
  const what = `${name} is ${kind}, no file`;
  return kind === "a directory"
    ? `${what}: it is passed over`
    : `${what}: some runtimes load no network then; move it away`;
}

async function entriesOf(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** A file that was removed meanwhile says nothing. */
async function contentOf(path: string): Promise<string | NotAFileError> {
  try {
    return await readRegularFile(path);
  } catch (error) {
    if (error instanceof NotAFileError) return error;
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}
