import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { limitMs } from "./test/fuzz/samples.ts";

/** How many times longer everything takes here than on a machine of one's own: the emulated one (hack/vm) sets it. */
const patience = Number(process.env.WEFT_PATIENCE ?? 1);

/** The file that takes longest begins first: the last one of two lanes would otherwise run alone for minutes. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isLongest = ({ moduleId }: TestSpecification) => moduleId.endsWith("/differential.live.test.ts");
    return [...sorted.filter(isLongest), ...sorted.filter((file) => !isLongest(file))];
  }
}

export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          name: "unit",
          include: ["{plugins,command,daemon,pkg,hack,test}/**/*.test.ts"],
          exclude: ["**/*.live.test.ts", "**/*.vm.test.ts", "**/*.arm64.test.ts", "**/*.release.test.ts"],
          // Half of the time went into new processes and their imports. Tests leave no state in the modules that they import.
          isolate: false,
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
          name: "live",
          include: ["test/**/*.live.test.ts"],
          globalSetup: "test/live/harness/setup.ts",
          maxWorkers: patience > 1 ? 1 : 2,
          // A number of workers of its own needs a group of its own.
          sequence: { groupOrder: 1 },
          testTimeout: 180_000 * patience,
          hookTimeout: 180_000 * patience,
        },
      },
    ],
  },
});
