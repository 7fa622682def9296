/**
 * What a container runtime makes of a container in a pod: the configuration that runc gets (OCI runtime specification 1.0).
 * Everything that the manifest says of the container comes from there; the rest is what containerd adds to each.
 */
import type { Container, Mount } from "../manifests/pod.ts";
import { runtimeDefault } from "./seccomp.ts";

export interface Surroundings {
  /** The image's root file system, unpacked. */
  readonly root: string;
  /** The node's network namespace: the pod has hostNetwork. */
  readonly networkNamespace: string;
  /** Where each of the pod's volumes lies on this machine, by its name. */
  readonly volumes: Readonly<Record<string, string>>;
  /** What the kubelet adds to the environment. */
  readonly environment: Readonly<Record<string, string>>;
  readonly cgroup: string;
}

/** Folders of /proc that containerd hides, and those that it makes read-only. */
const MASKED = ["acpi", "asound", "kcore", "keys", "latency_stats", "timer_list", "timer_stats", "sched_debug", "scsi"];
const READ_ONLY = ["bus", "fs", "irq", "sys", "sysrq-trigger"];
const NO = ["nosuid", "noexec", "nodev"];

/** config.json. Throws where the container mounts a volume that is nowhere. */
export function runtimeConfig(container: Container, surroundings: Surroundings): object {
  const { securityContext, command, args } = container;
  const { root, networkNamespace, environment, cgroup } = surroundings;
  const { capabilities, runAsUser, runAsGroup } = securityContext;
  if (securityContext.privileged || !capabilities.drop.includes("ALL"))
    throw new Error(
      `${container.name} keeps what runtimes give by default: only containers that drop it can be run here`,
    );
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
  if (source === undefined) throw new Error(`the volume ${name} lies nowhere`);
  return { destination: mountPath, type: "bind", source, options: ["rbind", "rprivate", readOnly ? "ro" : "rw"] };
}
