/**
 * The profile RuntimeDefault as a runtime passes it to runc: the containers project's own file (in moby's format, whose
 * rules name the capabilities and processors they apply to), without the rules that do not apply to this container.
 */
import { readFileSync } from "node:fs";
import { RUNTIMES } from "../runtimes/machine.ts";

interface Conditions {
  readonly caps?: readonly string[];
  readonly arches?: readonly string[];
  readonly minKernel?: string;
}

interface Profile {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  readonly syscalls: readonly {
    readonly names: readonly string[];
    readonly action: string;
    readonly errnoRet?: number;
    readonly args?: readonly unknown[] | null;
    readonly includes?: Conditions;
    readonly excludes?: Conditions;
  }[];
}

/** `linux.seccomp` of the OCI runtime specification, for a container with these capabilities ("CAP_..."). */
export function runtimeDefault(capabilities: readonly string[]): object {
  const { defaultAction, defaultErrnoRet, syscalls } = JSON.parse(
    readFileSync(`${RUNTIMES}/usr/share/containers/seccomp.json`, "utf8"),
  ) as Profile;
  const holds = ({ caps = [], arches = [], minKernel }: Conditions = {}) =>
    caps.every((one) => capabilities.includes(one)) &&
    (arches.length === 0 || arches.includes("amd64")) &&
    // All kernels that weft supports are newer than those named in the file.
    (minKernel === undefined || minKernel === "4.8");
  const isExcluded = ({ caps = [], arches = [] }: Conditions = {}) =>
    caps.some((one) => capabilities.includes(one)) || arches.includes("amd64");
  return {
    ...{ defaultAction, defaultErrnoRet, architectures: ["SCMP_ARCH_X86_64"] },
    syscalls: syscalls
      .filter(({ includes, excludes }) => holds(includes) && !isExcluded(excludes))
      .map(({ names, action, errnoRet, args }) => ({
        ...{ names, action },
        ...(errnoRet === undefined ? {} : { errnoRet }),
        ...(args ? { args } : {}),
      })),
  };
}
