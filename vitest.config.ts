import { defineConfig } from "vitest/config";

/** How many times longer everything takes here than on a machine of one's own: the emulated one (hack/vm) sets it. */
const patience = Number(process.env.WEFT_PATIENCE ?? 1);

export default defineConfig({
  test: {
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
