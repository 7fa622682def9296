/**
 * Redirects kernel settings to the place where a container finds those of its host. The container's own /proc/sys is
 * read-only, so the host's /proc/sys/net is mounted elsewhere. The mount shows the settings of the reader's network
 * namespace.
 */
import type { Files } from "../../../pkg/sys/system.ts";

export const PROC_SYS = "/proc/sys";
const NET = `${PROC_SYS}/net/`;

/** Returns the actual location of `path` if the host's settings are mounted in `folder`. */
export function settingPath(folder: string, path: string): string {
  return path.startsWith(NET) ? `${folder}${path.slice(PROC_SYS.length)}` : path;
}

/** Returns `files` with paths below /proc/sys/net redirected to `<folder>/net`. */
export function withSettingsIn(folder: string, files: Files): Files {
  if (folder === PROC_SYS) return files;
  const moved = (path: string) => settingPath(folder, path);
  return {
    ...files,
    readFile: (path) => files.readFile(moved(path)),
    writeFile: (path, data, options) => files.writeFile(moved(path), data, options),
  };
}

/** Throws if `folder` has no network settings. Otherwise every setting would look like one that this kernel lacks. */
export function assertSettingsIn(folder: string, files: Pick<Files, "status">): void {
  const known = settingPath(folder, `${NET}ipv4/ip_forward`);
  if (files.status(known) !== undefined) return;
  throw new Error(`--proc-sys ${folder}: ${known} does not exist; mount the host's /proc/sys/net at ${folder}/net`);
}
