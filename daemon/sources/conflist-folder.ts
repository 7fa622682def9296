/**
 * Reads the directory of the container runtime's network configurations: the files of other networks, the file that the
 * runtime chooses, and the network that weftd takes over.
 */

import { readdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { isNetworkFile } from "../../pkg/cni/network.ts";
import { CONFLIST_NAME, DISABLED_SUFFIX } from "../../pkg/footprint.ts";
import { NotAFileError, readRegularFile } from "../core/regular-file.ts";
import { type Predecessor, parsePredecessor } from "./predecessor.ts";

export interface ConflistFolder {
  /** The network whose names and settings are kept. Its file may already be disabled. */
  readonly predecessor: Predecessor | undefined;
  /** Files of a network that is taken over and that a runtime could still choose. */
  readonly superseded: readonly string[];
  /** Files of other networks that sort before weftd's. The runtime uses the first file. */
  readonly foreignFirst: readonly string[];
  /** In words: why a network of flannel's is not taken over, and which entries are not files. */
  readonly problems: readonly string[];
}

/** Reads the directory; a missing one counts as empty. `own` is the name of weftd's own file. */
export async function readConflistFolder(folder: string, own = CONFLIST_NAME): Promise<ConflistFolder> {
  const names = (await entriesOf(folder)).sort();
  const irregular: string[] = [];
  const others: { readonly name: string; readonly content: Predecessor | string | undefined }[] = [];
  for (const name of names.filter((name) => name !== own && (isNetworkFile(name) || name.endsWith(DISABLED_SUFFIX)))) {
    const text = await contentOf(join(folder, name));
    if (text instanceof NotAFileError) irregular.push(describe(name, text));
    else others.push({ name, content: parsePredecessor(name, text) });
  }
  // Active files, from which the runtime chooses, come before disabled ones.
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

/** Renames files so that the runtime no longer reads them. */
export async function disable(folder: string, names: readonly string[]): Promise<void> {
  for (const name of names) await rename(join(folder, name), join(folder, `${name}${DISABLED_SUFFIX}`));
}

/** Describes an entry that is not a file. Runtimes skip only directories (libcni's ConfFiles). */
function describe(name: string, { kind }: NotAFileError): string {
  const what = `${name} is ${kind}, not a file`;
  return kind === "a directory"
    ? `${what}; it is ignored`
    : `${what}; some runtimes then load no network at all; move it away`;
}

async function entriesOf(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** Returns the content; "" if the file was removed in the meantime. */
async function contentOf(path: string): Promise<string | NotAFileError> {
  try {
    return await readRegularFile(path);
  } catch (error) {
    if (error instanceof NotAFileError) return error;
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}
