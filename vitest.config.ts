import { defineConfig } from "vitest/config";

/** How many times longer everything takes here than on a machine of one's own: the emulated one (hack/vm) sets it. */
const patience = Number(process.env.WEFT_PATIENCE ?? 1);

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["{plugins,daemon,pkg,hack,test}/**/*.test.ts"],
          exclude: ["**/*.live.test.ts", "**/*.vm.test.ts"],
        },
      },
      {
        // What needs the emulated machine's kernel: only hack/vm runs it.
        test: {
          name: "vm",
          include: ["test/**/*.vm.test.ts"],
          globalSetup: "test/live/harness/setup.ts",
          fileParallelism: false,
          testTimeout: 60_000 * patience,
          hookTimeout: 60_000 * patience,
        },
      },
      {
        // They share the kernel's tables and this machine's two or four processors: one file at a time.
        test: {
          name: "live",
          include: ["test/**/*.live.test.ts"],
          globalSetup: "test/live/harness/setup.ts",
          fileParallelism: false,
          testTimeout: 60_000 * patience,
          hookTimeout: 60_000 * patience,
        },
      },
    ],
  },
});
