/** The target of the build, and its tools. */
import { DIST, QUICKJS, ROOT } from "./paths.ts";

export interface Target {
  /** Debian's name of the processor, which Go and container images use, too. */
  readonly arch: "amd64" | "arm64";
  /** The prefix of gcc's and objcopy's names. */
  readonly toolPrefix: string;
  /** The command that runs a program of this target. Empty if this machine runs it directly. */
  readonly emulator: readonly string[];
  /**
   * A folder with the target's libquickjs.a, with qjsc (for this machine) and quickjs.h of the same source, and with musl,
   * the C library.
   */
  readonly quickjs: string;
  /** The folder of `bin` and `lib`. */
  readonly dist: string;
}

/** This machine. The set-up checks that it is an amd64. */
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
