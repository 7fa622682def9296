/** `weft install`: puts this file, and a link to it for each plugin, where the container runtime looks. */

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

/** Leads to the running file even after it was replaced or removed. */
const OWN_FILE = "/proc/self/exe";
const DIRECTORY_MODE = 0o755;

export const install = declareSubcommand({
  name: "install",
  group: "Change this node",
  summary: "put the plugins where the container runtime looks for them",
  description: [
    "Copies this file into DIR as `weft`, once, and gives it a hard link for each plugin (a copy, where the file system has no links). Each takes its place by rename: a plugin that is called meanwhile is the old file or the new one, and both are whole. What is right already is not touched.",
    "Other programs' files of the plugins' names, such as those of the reference plugins, are replaced, and kept in DIR/.weft-replaced: --undo and `weft cleanup` put them back. Files of other names are left alone, but for hard links to the `weft` of an earlier build, under names that are no plugins any more.",
    "--undo is the way back while pods run. For each pod that weft attached it writes the rules that the reference plugins would have made (ipMasq, portmap, firewall, macspoofchk; in iptables or nftables, as the pod's configuration says), takes weft's tables away, and puts the replaced files back. The reference's CHECK and DEL then work for these pods. Connections are not interrupted: weft's rules go after the others are there. What cannot be handed over is listed, keeps weft's rules, and the same call again goes on with it.",
    "It may be killed at any moment, and called twice at once: the second call waits for the first.",
  ],
  arguments: {
    directory: { value: "DIR", about: "the runtime's plugin directory, made if it is missing", completes: "directory" },
  },
  options: {
    only: {
      kind: "list",
      value: "NAME,...",
      about: "these plugins; all others are left as they are",
      completes: "plugin",
    },
    keepExisting: { kind: "flag", about: "leave other programs' files where they are" },
    discardReplaced: { kind: "flag", about: "do not keep the files that are replaced" },
    undo: { kind: "flag", about: "put back what was replaced, and hand the pods' rules over" },
    cniConfDir: {
      ...CNI_CONF_DIR,
      about:
        "where the runtime's configurations are: those that the plugins would not take are named, and --undo lets stay what they need",
    },
    cacheDir: { ...CACHE_DIR, about: "--undo: the runtime's results of ADD, beside those in /var/lib/cni" },
    dryRun: { kind: "flag", about: "say what would be done, and change nothing" },
  },
  examples: [
    { line: "install /opt/cni/bin", about: "all plugins" },
    { line: "install /opt/cni/bin --dry-run", about: "only say what would change" },
    { line: "install /opt/cni/bin --keep-existing", about: "beside the reference plugins, in nobody's place" },
    { line: "install /opt/cni/bin --only vxlan,host-gw", about: "two of them" },
    { line: "install /opt/cni/bin --undo --dry-run", about: "the commands that lead back to the replaced plugins" },
    { line: "install /opt/cni/bin --undo", about: "back to them, while pods run" },
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
    throw new CommandError("--undo goes without --only, --keep-existing and --discard-replaced", {
      status: ExitStatus.usage,
      remedy: "Nothing was done. It puts back every file that weft install has replaced.",
    });
  }
  if (attempt(path, () => system.status(path)?.kind) !== "directory") {
    throw new CommandError(`${path} is no directory`, {
      status: ExitStatus.usage,
      remedy: "Nothing was done. Name the directory that weft install was called with.",
    });
  }
  const places = { directory: path, cniConfDir, cacheDir };
  progress("looking at the node ...");
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
    throw new CommandError(`--only: "${unknown}" is no plugin of this file`, {
      status: ExitStatus.usage,
      remedy: `It has ${pluginNames.join(", ")}.`,
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
    remedy: "Nothing was changed. Move it away, and run the same again.",
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
    if (lock === undefined) throw new Error("a lock that is waited for was not given");
    return lock;
  });
}

/** What the kernel refuses is told with the directory, and with what to do. */
function attempt<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!isSystemError(error)) throw error;
    const remedy = REMEDIES[error.code] ?? `Mend that, ${AGAIN}`;
    throw new CommandError(`cannot install into ${path}: ${error.message}`, { remedy, cause: error });
  }
}

const AGAIN = "and run the same again; until then each name leads to a whole file, its old one or the new one.";
const REMEDIES: Readonly<Record<string, string>> = {
  ENOSPC: `Make room on its file system, ${AGAIN}`,
  EDQUOT: `Make room within the quota, ${AGAIN}`,
  EROFS: "Some systems have /usr and /opt read-only: give the directory that the runtime is configured with (bin_dir).",
  EACCES: "Run it as root.",
  EPERM: "Run it as root; where a file is immutable (lsattr shows it), take that off first.",
};

function isEqual(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false;
  // Words of four bytes: byte by byte it takes a tenth of a second.
  const [left, right] = [wordsOf(one), wordsOf(other)];
  for (let at = 0; at < left.length; at++) if (left[at] !== right[at]) return false;
  for (let at = left.byteLength; at < one.length; at++) if (one[at] !== other[at]) return false;
  return true;
}

/** Without what is left of less than four bytes. What `readFile` gives is aligned. */
function wordsOf({ buffer, byteOffset, length }: Uint8Array): Int32Array {
  return new Int32Array(buffer, byteOffset, Math.floor(length / 4));
}

/** Networks with which no pod could be started by the plugins that `plan` puts there. */
function warningsOf(plan: InstallationPlan, system: System, build: Build, confDir: string): string[] {
  const left = namesOf(plan, "leave");
  const wanted = plan.files.map(({ name }) => name).filter((name) => !left.includes(name));
  return tryNetworks(system, readNetworks(system, confDir).files, build)
    .filter(({ plugin }) => wanted.includes(plugin))
    .map(({ file, text: complaint }) => `${confDir}/${file}: ${complaint}: no pod can be started by this file`);
}

function outcomeOf(plan: InstallationPlan, build: Build, isDryRun: boolean, warnings: readonly string[]): Outcome {
  const { directory, files, keeps } = plan;
  return {
    // Not another status: what calls it before weftd starts would not go on.
    status: ExitStatus.done,
    blocks: [...blocksOf(plan, build, isDryRun), ...warnings.map((warning) => text(`Warning: ${warning}`))],
    data: { directory, buildId: build.id, dryRun: isDryRun, changed: !isEmpty(plan), files, kept: keeps, warnings },
  };
}

const WORDS: readonly (readonly [action: Action, done: string, planned: string])[] = [
  ["add", "added", "would add"],
  ["update", "updated", "would update"],
  ["replace", "replaced", "would replace"],
  ["leave", "left as it is", "would leave as it is"],
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
    const others = left.length === 0 ? "" : ` Other programs' files stay: ${left.join(", ")}.`;
    return [text(`${directory} has weft ${build.version} (build ${build.id}) already: nothing to do.${others}`)];
  }
  const blocks: Block[] = [
    text(`weft ${build.version} (build ${build.id}) ${isDryRun ? "would be put into" : "is in"} ${directory}:`),
    { kind: "table", head: [isDryRun ? "WHAT" : "DONE", "FILES"], rows },
  ];
  if (keeps.length > 0 && !isDryRun) {
    blocks.push(text(`The files that were replaced are in ${directory}/${REPLACED_DIR}.`));
  }
  return blocks;
}

function withoutTrailingSlashes(path: string): string {
  return path.replace(/(?<=.)\/+$/, "");
}
