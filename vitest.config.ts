import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** How many times longer everything takes here than on a machine of one's own: the emulated one (hack/vm) sets it. */
const patience = Number(process.env.WEFT_PATIENCE ?? 1);

/** The longest live test files, longest first: the order until Vitest has recorded durations of its own. */
const LONGEST = [
  ...[
    "test/differential/differential",
    "test/live/undo",
    "test/live/firewall",
    "test/live/doctor",
    "test/live/families",
  ],
  ...["test/live/pod-rules", "test/live/portmap", "test/live/status-explain", "test/live/cleanup", "test/live/ptp"],
  ...["test/services/rows", "test/live/upgrade", "test/live/take-over", "test/live/proxy-take-over"],
].map((path) => `/${path}.live.test.ts`);

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

/** What all projects of live tests have in common. */
const LIVE = {
  globalSetup: "test/live/harness/setup.ts",
  testTimeout: 180_000 * patience,
  hookTimeout: 180_000 * patience,
  // Hundreds of programs of ours start from their sources: compiled once, they start in half the time.
  env: { NODE_COMPILE_CACHE: fileURLToPath(new URL(".cache/compiled-scripts", import.meta.url)) },
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
          // Five seconds are soon over on a busy machine.
          testTimeout: 60_000 * patience,
        },
      },
      {
        // What was built for arm64, in an emulator of the processor: hack/test arm64.
        test: { name: "arm64", include: ["test/**/*.arm64.test.ts"], testTimeout: 60_000 * patience },
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
