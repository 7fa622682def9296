/**
 * The configuration that a container runtime gives runc for a container of a pod (OCI runtime specification 1.0). It
 * has everything that the manifest says about the container, and the settings that containerd adds to each.
 */
import type { Container, Mount } from "../manifests/pod.ts";
import { runtimeDefault } from "./seccomp.ts";

export interface Surroundings {
  /** The image's unpacked root file system. */
  readonly root: string;
  /** The node's network namespace: the pod has hostNetwork. */
  readonly networkNamespace: string;
  /** The folder of each of the pod's volumes on this machine, by name. */
  readonly volumes: Readonly<Record<string, string>>;
  /** Environment variables that kubelet adds. */
  readonly environment: Readonly<Record<string, string>>;
  readonly cgroup: string;
}

/** Folders of /proc that containerd hides, and those that it makes read-only. */
const MASKED = ["acpi", "asound", "kcore", "keys", "latency_stats", "timer_list", "timer_stats", "sched_debug", "scsi"];
const READ_ONLY = ["bus", "fs", "irq", "sys", "sysrq-trigger"];
const NO = ["nosuid", "noexec", "nodev"];

/** Returns config.json. Throws if the container mounts an unknown volume. */
export function runtimeConfig(container: Container, surroundings: Surroundings): object {
  const { securityContext, command, args } = container;
  const { root, networkNamespace, environment, cgroup } = surroundings;
  const { capabilities, runAsUser, runAsGroup } = securityContext;
  if (securityContext.privileged || !capabilities.drop.includes("ALL"))
    throw new Error(`${container.name} keeps the default capabilities: only containers that drop all can be run here`);
  const granted = (capabilities.add ?? []).map((name) => `CAP_${name}`);
  return {
    ociVersion: "1.0.2",
    process: {
      user: { uid: runAsUser, gid: runAsGroup },
      args: [...command, ...args],
      env: Object.entries(environment).map(([name, value]) => `${name}=${value}`),
      cwd: "/",
      capabilities: { bounding: granted, effective: granted, permitted: granted },
      noNewPrivileges: !securityContext.allowPrivilegeEscalation,
    },
    root: { path: root, readonly: securityContext.readOnlyRootFilesystem },
    hostname: "node",
    mounts: [
      { destination: "/proc", type: "proc", source: "proc", options: NO },
      { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "strictatime", "mode=755"] },
      { destination: "/sys", type: "sysfs", source: "sysfs", options: [...NO, "ro"] },
      ...container.volumeMounts.map((mount) => bind(mount, surroundings)),
    ],
    linux: {
      cgroupsPath: cgroup,
      namespaces: [
        ...["pid", "ipc", "uts", "mount"].map((type) => ({ type })),
        { type: "network", path: networkNamespace },
      ],
      maskedPaths: MASKED.map((name) => `/proc/${name}`),
      readonlyPaths: READ_ONLY.map((name) => `/proc/${name}`),
      seccomp: runtimeDefault(granted),
    },
  };
}

function bind({ name, mountPath, readOnly }: Mount, { volumes }: Surroundings): object {
  const source = volumes[name];
  if (source === undefined) throw new Error(`the volume ${name} has no folder`);
  return { destination: mountPath, type: "bind", source, options: ["rbind", "rprivate", readOnly ? "ro" : "rw"] };
}
