/**
 * `tap`: gives a container a tap device, which a program in the container opens, for example a virtual machine. Takes
 * the reference plugin's configuration.
 */
import { wrong } from "../../pkg/attachment/check.ts";
import { type AttachContext, type Checked, interfacePlugin } from "../../pkg/attachment/interface-plugin.ts";
import { removeLink } from "../../pkg/attachment/links.ts";
import { configuredMac, mtuOption } from "../../pkg/attachment/options.ts";
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import type { CniRequest } from "../../pkg/cni/plugin.ts";
import { changeLink, type LinkChange } from "../../pkg/kernel/link.ts";
import { findLink } from "../../pkg/kernel/read.ts";
import { readDevice } from "../../pkg/kernel/single-link.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { TapOptions } from "../../pkg/sys/system.ts";

interface TapConfig extends TapOptions {
  readonly mac: string | undefined;
  readonly mtu: number | undefined;
  /** A bridge in the pod to which the device is attached. */
  readonly bridge: string | undefined;
}

/** The file with which tun and tap devices are created (drivers/net/tun.c). */
const TUN = "/dev/net/tun";
const ADVICE = '"modprobe tun" may load the missing module';
/** IFLA_TUN_TYPE of a tap device (include/uapi/linux/if_tun.h). */
const IFF_TAP = 2;
/** (uid_t) -1 and (gid_t) -1 mean no owner. */
const LARGEST_ID = 2 ** 32 - 2;

export const plugin = interfacePlugin<TapConfig>({
  name: "tap",
  about: "gives a container a tap device",
  parse(request) {
    const { config } = request;
    refuseContext(request);
    return {
      multiQueue: config.optionalBoolean("multiQueue") ?? false,
      owner: config.optionalInteger("owner", { min: 0, max: LARGEST_ID }),
      group: config.optionalInteger("group", { min: 0, max: LARGEST_ID }),
      mac: configuredMac(config, request.args),
      mtu: mtuOption(config),
      bridge: config.optionalString("bridge") || undefined,
    };
  },
  prepare(context, config) {
    const masterIndex = config.bridge === undefined ? undefined : findBridge(context.sockets.pod, config.bridge);
    return () => make(context, config, masterIndex);
  },
  expected: () => ({ kind: "tun" }),
  check,
  status({ system }) {
    if (system.status(TUN) !== undefined) return;
    throw new CniError(ErrorCode.notAvailable, `${TUN} is missing, which is needed to create tap devices: ${ADVICE}`);
  },
});

function check({ sockets, link }: Checked, config: TapConfig): void {
  const where = `${link.name} in ${sockets.pod.where}`;
  const device = readDevice(sockets.pod, link.index);
  const data = device?.kind === "tun" ? device.data : undefined;
  if (data?.type !== IFF_TAP) throw wrong(`the interface ${where} is not a tap device`);
  const expect = (key: string, is: unknown, expected: unknown) => {
    if (is !== expected) throw wrong(`the ${key} of ${where} is ${is ?? "not set"}: expected ${expected ?? "none"}`);
  };
  expect("multiQueue", data.multiQueue === 1, config.multiQueue);
  if (config.owner !== undefined) expect("owner", data.owner, config.owner);
  if (config.group !== undefined) expect("group", data.group, config.group);
  if (config.bridge === undefined) return;
  if (link.masterIndex !== findBridge(sockets.pod, config.bridge))
    throw wrong(`${where} is not a port of ${config.bridge}`);
}

/**
 * Rejects `selinuxContext`. The kernel gives a tap the context of the process that creates it
 * (selinux_tun_dev_alloc_security), and no other can be set. The reference starts ip(8) in that context.
 */
function refuseContext({ config }: CniRequest): void {
  const context = config.optionalString("selinuxContext");
  if (context === undefined || context === "") return;
  throw new CniError(
    ErrorCode.unsupportedField,
    `selinuxContext: "${context}" is not supported: the device gets the context of this plugin`,
  );
}

function make(
  { request, namespace, sockets, undo }: AttachContext,
  config: TapConfig,
  masterIndex: number | undefined,
): void {
  const { ifName, system } = request;
  try {
    system.inNamespace(namespace, () => system.createTap(ifName, config));
  } catch (error) {
    if (!isSystemError(error)) throw error;
    const advice = isSystemError(error, "ENOENT", "ENODEV") ? `; ${ADVICE}` : "";
    throw new CniError(ErrorCode.internal, `tap ${ifName} in ${namespace.path}: ${error.message}${advice}`, {
      cause: error,
    });
  }
  undo.push(() => removeLink(sockets.pod, ifName));
  const change: LinkChange = {
    ...(config.mac === undefined ? {} : { mac: config.mac }),
    ...(config.mtu === undefined ? {} : { mtu: config.mtu }),
    ...(masterIndex === undefined ? {} : { masterIndex }),
  };
  if (Object.keys(change).length > 0) sockets.pod.run(changeLink(ifName, change));
}

function findBridge(pod: AttachContext["sockets"]["pod"], name: string): number {
  const bridge = findLink(pod, name);
  if (bridge?.kind === "bridge") return bridge.index;
  const found =
    bridge === undefined ? "there is no device of this name" : `it is ${bridge.kind || "a physical device"}`;
  throw new CniError(ErrorCode.invalidConfig, `bridge: expected ${name} to be a bridge in ${pod.where}: ${found}`);
}
