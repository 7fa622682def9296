/**
 * Computes the configuration for the delegate of `flannel`, from flannel's own configuration and flanneld's file. Pure.
 */
import type { ConfigObject } from "../../pkg/cni/config.ts";
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import type { NetworkConfig } from "../../pkg/cni/network.ts";
import { formatPrefix } from "../../pkg/ip/prefix.ts";
import type { SubnetEnv } from "./subnet-env.ts";

/** Keys that the runtime adds to a plugin's configuration, and that the delegate needs. */
const FROM_RUNTIME = ["runtimeConfig", "args", "prevResult", "cni.dev/valid-attachments", "cni.dev/attachments"];

export interface Rendered {
  /** The delegate's executable. */
  readonly type: string;
  readonly config: Readonly<Record<string, unknown>>;
}

/**
 * Keeps the keys of `delegate`, and takes missing ones from flanneld's file. Without `env` (DEL and GC after flanneld's
 * file was removed), the delegate gets no ranges, which are needed only to assign addresses. Throws `CniError` 7.
 */
export function renderDelegate({ name, version, object }: NetworkConfig, env: SubnetEnv | undefined): Rendered {
  const delegate = object.object("delegate");
  refuseReserved(delegate);
  const type = delegate.optionalString("type") || "bridge";
  if (type === "flannel") throw delegate.invalid("type", "a plugin that attaches the container, like bridge");
  const defaults: Record<string, unknown> = {
    // If it is not known whether flanneld masquerades, the delegate searches for entries to remove.
    ipMasq: env === undefined || !env.isMasquerading,
    ...(env === undefined ? {} : { mtu: env.mtu }),
    ...(type === "bridge" ? { isGateway: true } : {}),
  };
  const missing = Object.entries(defaults).filter(([key]) => !delegate.hasKey(key));
  const passed = FROM_RUNTIME.filter((key) => object.hasKey(key)).map((key) => [key, object.value(key) ?? null]);
  return {
    type,
    config: {
      ...delegate.values(),
      ...Object.fromEntries([...missing, ...passed]),
      ...{ name, cniVersion: version, type, ipam: renderIpam(object.object("ipam"), env) },
    },
  };
}

function refuseReserved(delegate: ConfigObject): void {
  for (const key of ["name", "ipam"]) {
    if (!delegate.hasKey(key)) continue;
    const message = `delegate: must not have "${key}", which flannel itself sets; remove it`;
    throw new CniError(
      ErrorCode.invalidConfig,
      key === "ipam" ? `${message} (an "ipam" next to "delegate" is used)` : message,
    );
  }
}

function renderIpam(ipam: ConfigObject, env: SubnetEnv | undefined): Record<string, unknown> {
  const ranges = (env?.subnets ?? []).map((subnet) => [{ subnet: formatPrefix(subnet) }]);
  const routes = (env?.networks ?? []).map((network) => ({ dst: formatPrefix(network) }));
  return {
    ...ipam.values(),
    type: ipam.optionalString("type") || "host-local",
    ranges,
    routes: [...ipam.list("routes"), ...routes],
  };
}
