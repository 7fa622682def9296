/** What the executables and weftd's addon are built for, and with which tools. */
import { DIST, QUICKJS, ROOT } from "./paths.ts";

export interface Target {
  /** Debian's name of the processor, which is Go's and the container images', too. */
  readonly arch: "amd64" | "arm64";
  /** In front of the names of gcc and objcopy. */
  readonly toolPrefix: string;
  /** In front of a command that runs what was built; empty where this machine runs it. */
  readonly emulator: readonly string[];
  /** A folder with its libquickjs.a, and the qjsc (for this machine) and quickjs.h of the same source. */
  readonly quickjs: string;
  /** `bin` and `lib` are made here. */
  readonly dist: string;
}

/** This machine's: the set-up makes sure that it is an amd64. */
export const NATIVE: Target = { arch: "amd64", toolPrefix: "", emulator: [], quickjs: QUICKJS, dist: DIST };

/**
 * The image holds addresses of its own executable, so only the arm64 executable can write it: the build runs it under qemu-user.
 * Its segments are 64 KiB apart, because arm64 kernels may have pages of that size.
 */
export const ARM64: Target = {
  arch: "arm64",
  toolPrefix: "aarch64-linux-gnu-",
  emulator: ["qemu-aarch64-static"],
  quickjs: `${ROOT}/.cache/quickjs-arm64`,
  dist: `${DIST}/arm64`,
};

export const TARGETS: readonly Target[] = [NATIVE, ARM64];
