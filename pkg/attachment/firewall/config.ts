/** The configuration of `firewall`: the reference plugin's keys, defaults and rules. */

import type { ConfigObject } from "../../cni/config.ts";
import { DEFAULT_ADMIN_CHAIN } from "../../footprint.ts";
import type { BridgePolicy } from "../../foreign/reference-state.ts";

export interface FirewallConfig {
  /**
   * Undefined means firewalld if it runs on the host, otherwise nftables. "nftables" is specific to weft: legacy
   * iptables is left alone.
   */
  readonly backend: "nftables" | "iptables" | "firewalld" | undefined;
  /** The warning that ADD prints if it replaces the configured backend. */
  readonly notice: string | undefined;
  readonly adminChain: string;
  readonly zone: string;
  /** Undefined is the reference plugin's "open". */
  readonly ingressPolicy: BridgePolicy | undefined;
}

const DEFAULT_ZONE = "trusted";
/** Names that iptables accepts for a chain (XT_EXTENSION_MAXNAMELEN). */
const CHAIN_NAME = /^[^\s!-][^\s]{0,27}$/;
const POLICIES = ["open", "same-bridge", "isolated"] as const;

/** Throws `CniError` 7 for an invalid value. */
export function parseFirewallConfig(object: ConfigObject): FirewallConfig {
  const adminChain = object.optionalString("iptablesAdminChainName") || DEFAULT_ADMIN_CHAIN;
  if (!CHAIN_NAME.test(adminChain)) throw object.invalid("iptablesAdminChainName", "a name of at most 28 characters");
  return {
    ...backend(object),
    adminChain,
    zone: object.optionalString("firewalldZone") || DEFAULT_ZONE,
    ingressPolicy: ingressPolicy(object),
  };
}

/** For DEL and GC: rules must be removed even if ADD would refuse the configuration. Never throws. */
export function lenientConfig(object: ConfigObject): Pick<FirewallConfig, "adminChain" | "zone"> {
  const textOf = (key: string) => {
    const value = object.value(key);
    return typeof value === "string" ? value : "";
  };
  const [adminChain, zone] = [textOf("iptablesAdminChainName"), textOf("firewalldZone")];
  return {
    adminChain: CHAIN_NAME.test(adminChain) ? adminChain : DEFAULT_ADMIN_CHAIN,
    zone: zone || DEFAULT_ZONE,
  };
}

/** The reference plugin treats an unknown backend as none. */
function backend(object: ConfigObject): Pick<FirewallConfig, "backend" | "notice"> {
  const name = object.optionalString("backend");
  if (name === undefined || name === "") return { backend: undefined, notice: undefined };
  if (name === "nftables" || name === "firewalld") return { backend: name, notice: undefined };
  if (name === "iptables") {
    const notice = 'backend "iptables": weft writes the same rules by nftables, also into the chains of iptables';
    return { backend: name, notice };
  }
  const notice = `backend "${name}" is unknown and ignored: weft uses firewalld if it runs, else nftables`;
  return { backend: undefined, notice };
}

function ingressPolicy(object: ConfigObject): BridgePolicy | undefined {
  const name = object.optionalString("ingressPolicy");
  if (name === undefined || name === "" || name === "open") return undefined;
  const policy = POLICIES.find((known) => known === name);
  if (policy === undefined || policy === "open")
    throw object.invalid("ingressPolicy", '"open", "same-bridge" or "isolated"');
  return policy;
}
