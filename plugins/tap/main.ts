/**
 * `tap`: gives a container a tap device, which a program there (a virtual machine's, say) opens. Takes the reference
 * plugin's configuration.
 */
import { interfacePlugin, type Making } from "../../pkg/attachment/interface-plugin.ts";
import { removeLink } from "../../pkg/attachment/links.ts";
import { mtuOption, requestedMac } from "../../pkg/attachment/options.ts";
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import type { Request } from "../../pkg/cni/plugin.ts";
import { changeLink, type LinkChange } from "../../pkg/kernel/link.ts";
import { findLink } from "../../pkg/kernel/read.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { TapOptions } from "../../pkg/sys/system.ts";

interface TapConfig extends TapOptions {
  readonly mac: string | undefined;
  readonly mtu: number | undefined;
  /** A bridge in the pod that the device becomes a port of. */
  readonly bridge: string | undefined;
}

/** (uid_t) -1 and (gid_t) -1 stand for nobody. */
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
      mac: requestedMac(config, request.args) ?? config.optionalMac("mac"),
      mtu: mtuOption(config),
      bridge: config.optionalString("bridge") || undefined,
    };
  },
  make,
  expected: ({ mtu }) => ({ kind: "tun", mtu }),
});

/**
 * The kernel gives a tap the context of the process that makes it (selinux_tun_dev_alloc_security), and there is no way
 * to name another; the reference starts ip(8) in that context.
 */
function refuseContext({ config }: Request): void {
  const context = config.optionalString("selinuxContext");
  if (context === undefined || context === "") return;
  throw new CniError(
    ErrorCode.unsupportedField,
    `selinuxContext: "${context}" is not supported: the device gets the context that this plugin runs in`,
  );
}

function make({ request, namespace, sides, undo }: Making, config: TapConfig): void {
  const { ifName, system } = request;
  const masterIndex = config.bridge === undefined ? undefined : findBridge(sides.pod, config.bridge);
  try {
    system.inNamespace(namespace, () => system.createTap(ifName, config));
  } catch (error) {
    if (!isSystemError(error)) throw error;
    const advice = isSystemError(error, "ENOENT", "ENODEV") ? '; "modprobe tun" may load what is missing' : "";
    throw new CniError(ErrorCode.internal, `tap ${ifName} in ${namespace.path}: ${error.message}${advice}`, {
      cause: error,
    });
  }
  undo.push(() => removeLink(sides.pod, ifName));
  const change: LinkChange = {
    ...(config.mac === undefined ? {} : { mac: config.mac }),
    ...(config.mtu === undefined ? {} : { mtu: config.mtu }),
    ...(masterIndex === undefined ? {} : { masterIndex }),
  };
  if (Object.keys(change).length > 0) sides.pod.run(changeLink(ifName, change));
}

function findBridge(pod: Making["sides"]["pod"], name: string): number {
  const bridge = findLink(pod, name);
  if (bridge?.kind === "bridge") return bridge.index;
  const found = bridge === undefined ? "there is none of this name" : `it is ${bridge.kind || "a physical device"}`;
  throw new CniError(ErrorCode.invalidConfig, `bridge: expected ${name} to be a bridge in ${pod.where}: ${found}`);
}
