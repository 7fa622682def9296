/**
 * The configuration of `firewall`: the reference plugin's keys, defaults and rules.
 */
import type { ConfigObject } from "../../pkg/cni/config.ts";
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import type { BridgePolicy } from "../../pkg/kernel/firewall.ts";

export interface FirewallConfig {
  /** `undefined` leaves it to the host: firewalld where it runs. */
  readonly backend: "nftables" | "firewalld" | undefined;
  readonly adminChain: string;
  readonly zone: string;
  /** `undefined` is the reference's "open". */
  readonly ingressPolicy: BridgePolicy | undefined;
}

const DEFAULT_ADMIN_CHAIN = "CNI-ADMIN";
const DEFAULT_ZONE = "trusted";
/** What iptables takes for the name of a chain (XT_EXTENSION_MAXNAMELEN). */
const CHAIN_NAME = /^[^\s!-][^\s]{0,27}$/;
const POLICIES = ["open", "same-bridge", "isolated"] as const;

/** Throws `CniError` 7 for a value that is wrong, 2 for the backend that is not served. */
export function parseFirewallConfig(object: ConfigObject): FirewallConfig {
  const adminChain = object.optionalString("iptablesAdminChainName") || DEFAULT_ADMIN_CHAIN;
  if (!CHAIN_NAME.test(adminChain)) throw object.invalid("iptablesAdminChainName", "a name of at most 28 characters");
  return {
    backend: backend(object),
    adminChain,
    zone: object.optionalString("firewalldZone") || DEFAULT_ZONE,
    ingressPolicy: ingressPolicy(object),
  };
}

/** For DEL and GC: a configuration that ADD would refuse must not keep rules alive. Never throws. */
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

function backend(object: ConfigObject): FirewallConfig["backend"] {
  const name = object.optionalString("backend");
  if (name === undefined || name === "") return undefined;
  if (name === "nftables" || name === "firewalld") return name;
  if (name !== "iptables") throw object.invalid("backend", '"nftables" or "firewalld", or none');
  throw new CniError(
    ErrorCode.unsupportedField,
    'backend: "iptables" is not supported: leave the key out. nftables is used then, or firewalld where it runs; tables of ' +
      "iptables (on nf_tables) that drop forwarded packets get rules that let the container's through",
  );
}

function ingressPolicy(object: ConfigObject): BridgePolicy | undefined {
  const name = object.optionalString("ingressPolicy");
  if (name === undefined || name === "" || name === "open") return undefined;
  const policy = POLICIES.find((known) => known === name);
  if (policy === undefined || policy === "open")
    throw object.invalid("ingressPolicy", '"open", "same-bridge" or "isolated"');
  return policy;
}
