import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { limitMs } from "./test/fuzz/samples.ts";

/** How many times longer everything takes here than on a machine of one's own: the emulated one (hack/vm) sets it. */
const patience = Number(process.env.WEFT_PATIENCE ?? 1);

/** The longest test files, longest first: the order until Vitest has recorded durations of its own. */
const LONGEST = [
  ...[
    "test/differential/differential.live",
    "test/policy/truth-tables.live",
    "test/live/undo.live",
    "test/live/firewall.live",
    "test/live/doctor.live",
    "test/live/families.live",
  ],
  ...["test/live/pod-rules.live", "test/live/portmap.live", "test/live/status-explain.live", "test/live/cleanup.live"],
  ...["test/live/ptp.live", "test/services/rows.live", "test/live/upgrade.live", "test/live/take-over.live"],
  ...["test/live/proxy-take-over.live", "test/kind/kind"],
].map((path) => `/${path}.test.ts`);

/**
 * Begins with the files that take longest: a long file that began last would run alone for minutes. Vitest sorts by the
 * durations of the last run; without such a record (a fresh clone) it sorts by size, which says little about these files.
 */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    if (files.every((file) => this.ctx.cache.getTestSpecificationResult(file) !== undefined)) return sorted;
    const rank = ({ moduleId }: TestSpecification) => {
      const at = LONGEST.findIndex((path) => moduleId.endsWith(path));
      return at < 0 ? LONGEST.length : at;
    };
    return sorted.sort((one, other) => groupOf(one) - groupOf(other) || rank(one) - rank(other));
  }
}

function groupOf({ project }: TestSpecification): number {
  return project.config.sequence.groupOrder;
}

/** Live tests that measure or promise times: other files beside them would be measured, too. */
const TIMED = ["healing", "services-healing", "bandwidth"].map((name) => `test/live/${name}.live.test.ts`);

/** Tests start hundreds of programs from their sources. With their compiled code in a cache, these start in half the time. */
const env = { NODE_COMPILE_CACHE: fileURLToPath(new URL(".cache/compiled-scripts", import.meta.url)) };

/** What all projects of live tests have in common. */
const LIVE = {
  globalSetup: "test/live/harness/setup.ts",
  testTimeout: 180_000 * patience,
  hookTimeout: 180_000 * patience,
  env,
};

export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          name: "unit",
          include: ["{plugins,command,daemon,pkg,hack,test}/**/*.test.ts"],
          exclude: ["**/*.live.test.ts", "**/*.vm.test.ts", "**/*.arm64.test.ts", "**/*.release.test.ts"],
          // A process and its imports for each file would take as long as the tests. Tests restore what they change, so that
          // files may share a process, in any order.
          isolate: false,
          env,
          setupFiles: ["test/fuzz/setup.ts"],
          // vitest leaves one core idle by default: on two cores it would run one file at a time.
          maxWorkers: "100%",
          // vitest requires a group for each number of workers.
          sequence: { groupOrder: 3 },
          testTimeout: limitMs * patience,
        },
      },
      {
        // What was built for arm64, in an emulator of the processor: hack/test arm64.
        test: {
          name: "arm64",
          include: ["test/**/*.arm64.test.ts"],
          maxWorkers: "100%",
          sequence: { groupOrder: 4 },
          testTimeout: 60_000 * patience,
        },
      },
      {
        // Builds all of it twice from the commit: hack/test release.
        test: { name: "release", include: ["test/**/*.release.test.ts"] },
      },
      {
        // What needs the emulated machine's kernel: only hack/vm runs it.
        test: {
          name: "vm",
          include: ["test/**/*.vm.test.ts"],
          globalSetup: "test/live/harness/setup.ts",
          fileParallelism: false,
          testTimeout: 180_000 * patience,
          hookTimeout: 180_000 * patience,
        },
      },
      {
        // Each file has namespaces, folders and processes of its own, named after its process. They wait more than they
        // compute: two run at a time, in the emulated machine one.
        test: {
          ...LIVE,
          name: "live",
          include: ["test/**/*.live.test.ts"],
          exclude: TIMED,
          maxWorkers: patience > 1 ? 1 : 2,
          // A number of workers of its own needs a group of its own.
          sequence: { groupOrder: 1 },
        },
      },
      {
        // One at a time, when all others have ended.
        test: { ...LIVE, name: "live-timed", include: TIMED, maxWorkers: 1, sequence: { groupOrder: 2 } },
      },
    ],
  },
});
