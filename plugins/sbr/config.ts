/** How packets are to be routed by their source. */
import type { ConfigObject } from "../../pkg/cni/config.ts";
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import { type Address, type Family, formatAddress } from "../../pkg/ip/address.ts";

export interface SbrConfig {
  /** A table that somebody else fills; undefined where free ones are taken and filled. */
  readonly table: number | undefined;
  /** In place of those that the result before tells. */
  readonly gateways: ReadonlyMap<Family, Address>;
  /** The main table keeps the interface's networks, with the address to send from. */
  readonly addSourceHints: boolean;
}

/** RT_TABLE_UNSPEC (0) is none; tables are numbered in 32 bits. */
const TABLES = { min: 1, max: 2 ** 32 - 1 };

/** Throws `CniError` 7. */
export function parseSbrConfig(config: ConfigObject): SbrConfig {
  const table = config.optionalInteger("table", TABLES);
  const gateways = new Map<Family, Address>();
  for (const gateway of config.addressList("gateways")) {
    const other = gateways.get(gateway.family);
    if (other !== undefined) {
      const got = `${formatAddress(other)} and ${formatAddress(gateway)}`;
      throw new CniError(ErrorCode.invalidConfig, `gateways: expected at most one of each family, got ${got}`);
    }
    gateways.set(gateway.family, gateway);
  }
  const addSourceHints = config.optionalBoolean("addSourceHints") ?? false;
  if (table !== undefined && (gateways.size > 0 || addSourceHints)) {
    const key = gateways.size > 0 ? "gateways" : "addSourceHints";
    throw new CniError(ErrorCode.invalidConfig, `${key}: cannot stand beside table, whose routes somebody else makes`);
  }
  return { table, gateways, addSourceHints };
}
