/** `weft install`: installs this file, and a link to it for each plugin, into the runtime's plugin directory. */

import { REPLACED_DIR } from "../../pkg/footprint.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { FileLock, System } from "../../pkg/sys/system.ts";
import { CACHE_DIR } from "../ipam/look.ts";
import { readNetworks } from "../node/networks.ts";
import { CNI_CONF_DIR } from "../node/options.ts";
import { tryNetworks } from "../node/trial.ts";
import { type Block, CommandError, ExitStatus, type Outcome, text } from "../outcome.ts";
import { type Build, declareSubcommand } from "../subcommand.ts";
import { type BinDirectory, observeBinDirectory } from "./bin-directory.ts";
import { carryOut } from "./carry-out.ts";
import { type Action, type InstallationPlan, type InstallOptions, isEmpty, namesOf, planInstallation } from "./plan.ts";
import { dryRun, undoInstallation } from "./undo/run.ts";

/** Refers to the running file even if it was replaced or removed. */
const OWN_FILE = "/proc/self/exe";
const DIRECTORY_MODE = 0o755;

export const install = declareSubcommand({
  name: "install",
  group: "Change this node",
  summary: "install the plugins for the container runtime",
  description: [
    "Copies this file to DIR/weft, and creates a hard link to it for each plugin, or a copy if the file system has no hard links. Each file is replaced by rename, so a plugin that is called meanwhile is either the old file or the new one. Correct files are not touched.",
    "Replaces files of the plugins' names that belong to other programs, such as the reference plugins, and keeps them in DIR/.weft-replaced. `weft install --undo` and `weft cleanup` restore them. Files of other names are left alone, except hard links to an earlier build of weft whose names are no longer plugins.",
    "--undo returns to the replaced plugins while pods run. For each pod that weft attached, it writes the rules that the reference plugins would have created (ipMasq, portmap, firewall and macspoofchk; in iptables or nftables, as the pod's configuration says). Then it removes weft's tables and restores the replaced files, so that the reference's CHECK and DEL work for these pods. Connections are not interrupted, since weft's rules are removed after the others exist. Rules that cannot be converted are listed and kept; run the command again to continue.",
    "The command may be killed at any moment. A second call waits until the first has finished.",
  ],
  arguments: {
    directory: { value: "DIR", about: "the runtime's plugin directory; created if missing", completes: "directory" },
  },
  options: {
    only: {
      kind: "list",
      value: "NAME,...",
      about: "install only these plugins, and leave all others unchanged",
      completes: "plugin",
    },
    keepExisting: { kind: "flag", about: "do not replace files of other programs" },
    discardReplaced: { kind: "flag", about: "do not keep replaced files" },
    undo: { kind: "flag", about: "restore replaced files, and convert pods' rules for them" },
    cniConfDir: {
      ...CNI_CONF_DIR,
      about:
        "the runtime's network configurations: warns of those that the plugins reject; --undo keeps the plugins that they need",
    },
    cacheDir: {
      ...CACHE_DIR,
      about: "with --undo: another directory of the runtime's cached results, besides those in /var/lib/cni",
    },
    dryRun: { kind: "flag", about: "print the changes, and change nothing" },
  },
  examples: [
    { line: "install /opt/cni/bin", about: "install all plugins" },
    { line: "install /opt/cni/bin --dry-run", about: "show what would change" },
    { line: "install /opt/cni/bin --keep-existing", about: "keep the reference plugins, and add the others" },
    { line: "install /opt/cni/bin --only vxlan,host-gw", about: "install two plugins" },
    { line: "install /opt/cni/bin --undo --dry-run", about: "print the commands that return to the replaced plugins" },
    { line: "install /opt/cni/bin --undo", about: "return to the replaced plugins while pods run" },
  ],
  printsData: true,
  run({ system, build, arguments: { directory }, options, progress }) {
    const path = withoutTrailingSlashes(directory);
    if (options.undo) return undo({ system, build, path, options, progress });
    const wanted = installOptionsOf(options, build);
    const outcome = (plan: InstallationPlan) =>
      outcomeOf(plan, build, options.dryRun, warningsOf(plan, system, build, options.cniConfDir));
    if (options.dryRun) return outcome(observe(path, wanted, system).plan);
    const lock = lockDirectory(path, system, progress);
    try {
      const { plan, image } = observe(path, wanted, system);
      if (!isEmpty(plan)) attempt(path, () => carryOut(plan, image, system));
      return outcome(plan);
    } finally {
      lock.release();
    }
  },
});

interface Undoing {
  readonly system: System;
  readonly build: Build;
  readonly path: string;
  readonly options: {
    readonly only: readonly string[];
    readonly keepExisting: boolean;
    readonly discardReplaced: boolean;
    readonly dryRun: boolean;
    readonly cniConfDir: string;
    readonly cacheDir: string | undefined;
  };
  readonly progress: (text: string) => void;
}

function undo({ system, build, path, options, progress }: Undoing): Outcome {
  const { only, keepExisting, discardReplaced, cniConfDir, cacheDir } = options;
  if (only.length > 0 || keepExisting || discardReplaced) {
    throw new CommandError("--undo cannot be combined with --only, --keep-existing or --discard-replaced", {
      status: ExitStatus.usage,
      remedy: "Nothing was changed. --undo restores every file that weft install replaced.",
    });
  }
  if (attempt(path, () => system.status(path)?.kind) !== "directory") {
    throw new CommandError(`${path} is not a directory`, {
      status: ExitStatus.usage,
      remedy: "Nothing was changed. Give the directory that weft was installed into.",
    });
  }
  const places = { directory: path, cniConfDir, cacheDir };
  progress("reading the state of the node ...");
  if (options.dryRun) return dryRun(system, build, places);
  const lock = lockDirectory(path, system, progress);
  try {
    return undoInstallation(system, build, places);
  } finally {
    lock.release();
  }
}

function installOptionsOf(
  { only, keepExisting, discardReplaced }: { only: readonly string[]; keepExisting: boolean; discardReplaced: boolean },
  { pluginNames }: Build,
): InstallOptions {
  const unknown = only.find((name) => !pluginNames.includes(name));
  if (unknown !== undefined) {
    throw new CommandError(`--only: "${unknown}" is not a plugin of this file`, {
      status: ExitStatus.usage,
      remedy: `It contains ${pluginNames.join(", ")}.`,
    });
  }
  return {
    names: only.length > 0 ? only : pluginNames,
    knownNames: only.length > 0 ? undefined : pluginNames,
    keepsForeign: keepExisting,
    discards: discardReplaced,
  };
}

function observe(path: string, wanted: InstallOptions, system: System): { plan: InstallationPlan; image: Uint8Array } {
  const observed = attempt<BinDirectory>(path, () => observeBinDirectory(path, system));
  const image = system.readFile(OWN_FILE);
  const plan = planInstallation(
    observed,
    wanted,
    ({ name, buildId }) => buildId !== undefined && isEqual(system.readFile(`${path}/${name}`), image),
  );
  const [obstacle] = plan.obstacles;
  if (obstacle === undefined) return { plan, image };
  throw new CommandError(`cannot install into ${path}: ${path}/${obstacle} is not a file`, {
    status: ExitStatus.refused,
    remedy: "Nothing was changed. Move it to another place, and run the command again.",
  });
}

function lockDirectory(path: string, system: System, progress: (text: string) => void): FileLock {
  return attempt(path, () => {
    system.makeDirectory(path, DIRECTORY_MODE);
    let lock = system.lockDirectory(path, { wait: false });
    if (lock === undefined) {
      progress(`waiting for another installation into ${path} ...`);
      lock = system.lockDirectory(path);
    }
    if (lock === undefined) throw new Error("a blocking request for the lock returned no lock");
    return lock;
  });
}

/** Adds the directory and a remedy to errors of the kernel. */
function attempt<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!isSystemError(error)) throw error;
    const remedy = REMEDIES[error.code] ?? `Fix the cause, ${AGAIN}`;
    throw new CommandError(`cannot install into ${path}: ${error.message}`, { remedy, cause: error });
  }
}

const AGAIN = "and run the command again. Until then, each plugin is a complete file, old or new.";
const REMEDIES: Readonly<Record<string, string>> = {
  ENOSPC: `Free some space on its file system, ${AGAIN}`,
  EDQUOT: `Free some space within the quota, ${AGAIN}`,
  EROFS:
    "On some systems /usr and /opt are read-only. Give the directory that the runtime is configured with (bin_dir).",
  EACCES: "Run the command as root.",
  EPERM: "Run the command as root. If a file is immutable (see lsattr), remove that attribute first (chattr -i).",
};

function isEqual(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false;
  // Compares words of four bytes: comparing single bytes takes a tenth of a second.
  const [left, right] = [wordsOf(one), wordsOf(other)];
  for (let at = 0; at < left.length; at++) if (left[at] !== right[at]) return false;
  for (let at = left.byteLength; at < one.length; at++) if (one[at] !== other[at]) return false;
  return true;
}

/** Drops the last bytes if they are fewer than four. The array that `readFile` returns is aligned. */
function wordsOf({ buffer, byteOffset, length }: Uint8Array): Int32Array {
  return new Int32Array(buffer, byteOffset, Math.floor(length / 4));
}

/** Returns warnings for networks with which no pod could start with the plugins of `plan`. */
function warningsOf(plan: InstallationPlan, system: System, build: Build, confDir: string): string[] {
  const left = namesOf(plan, "leave");
  const wanted = plan.files.map(({ name }) => name).filter((name) => !left.includes(name));
  return tryNetworks(system, readNetworks(system, confDir).files, build)
    .filter(({ plugin }) => wanted.includes(plugin))
    .map(({ file, text: complaint }) => `${confDir}/${file}: ${complaint}; no pod can start with this file`);
}

function outcomeOf(plan: InstallationPlan, build: Build, isDryRun: boolean, warnings: readonly string[]): Outcome {
  const { directory, files, keeps } = plan;
  return {
    // Warnings do not change the status: an init container that runs this before weftd must succeed.
    status: ExitStatus.done,
    blocks: [...blocksOf(plan, build, isDryRun), ...warnings.map((warning) => text(`Warning: ${warning}`))],
    data: { directory, buildId: build.id, dryRun: isDryRun, changed: !isEmpty(plan), files, kept: keeps, warnings },
  };
}

const WORDS: readonly (readonly [action: Action, done: string, planned: string])[] = [
  ["add", "added", "would add"],
  ["update", "updated", "would update"],
  ["replace", "replaced", "would replace"],
  ["leave", "not replaced", "would not replace"],
  ["remove", "removed", "would remove"],
];

function blocksOf(plan: InstallationPlan, build: Build, isDryRun: boolean): Block[] {
  const { directory, keeps } = plan;
  const left = namesOf(plan, "leave");
  const rows = WORDS.flatMap(([action, done, planned]) => {
    const names = namesOf(plan, action);
    return names.length === 0 ? [] : [[isDryRun ? planned : done, names.join(", ")]];
  });
  if (isEmpty(plan)) {
    const others = left.length === 0 ? "" : ` Files of other programs were not replaced: ${left.join(", ")}.`;
    return [text(`${directory} has weft ${build.version} (build ${build.id}) already; nothing to do.${others}`)];
  }
  const blocks: Block[] = [
    text(
      `weft ${build.version} (build ${build.id}) ${isDryRun ? "would be installed in" : "is installed in"} ${directory}:`,
    ),
    { kind: "table", head: [isDryRun ? "ACTION" : "DONE", "FILES"], rows },
  ];
  if (keeps.length > 0 && !isDryRun) {
    blocks.push(text(`Replaced files are kept in ${directory}/${REPLACED_DIR}.`));
  }
  return blocks;
}

function withoutTrailingSlashes(path: string): string {
  return path.replace(/(?<=.)\/+$/, "");
}
