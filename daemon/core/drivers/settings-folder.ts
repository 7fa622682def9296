/**
 * Kernel settings where a container finds those of its host: its own /proc/sys is read-only, so the host's /proc/sys/net is
 * mounted somewhere else. What is seen there are the settings of the network namespace of whoever looks.
 */
import type { Files } from "../../../pkg/sys/system.ts";

export const PROC_SYS = "/proc/sys";
const NET = `${PROC_SYS}/net/`;

/** Where what is asked for by `path` is found, when the host's settings are in `folder`. */
export function settingPath(folder: string, path: string): string {
  return path.startsWith(NET) ? `${folder}${path.slice(PROC_SYS.length)}` : path;
}

/** `files`, with what is asked for below /proc/sys/net found below `<folder>/net`. */
export function withSettingsIn(folder: string, files: Files): Files {
  if (folder === PROC_SYS) return files;
  const moved = (path: string) => settingPath(folder, path);
  return {
    ...files,
    readFile: (path) => files.readFile(moved(path)),
    writeFile: (path, data, options) => files.writeFile(moved(path), data, options),
  };
}

/** Throws where no network settings are found in `folder`: each would look like one that this kernel lacks. */
export function assertSettingsIn(folder: string, files: Pick<Files, "status">): void {
  const known = settingPath(folder, `${NET}ipv4/ip_forward`);
  if (files.status(known) !== undefined) return;
  throw new Error(`--proc-sys ${folder}: there is no ${known}; mount the host's /proc/sys/net at ${folder}/net`);
}
