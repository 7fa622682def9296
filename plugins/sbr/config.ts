/** Parses how packets are routed by their source. */
import type { ConfigObject } from "../../pkg/cni/config.ts";
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import { type Address, type Family, formatAddress } from "../../pkg/ip/address.ts";

export interface SbrConfig {
  /** A table that another program fills. Undefined if free tables are used and filled. */
  readonly table: number | undefined;
  /** Gateways that replace those of the previous result. */
  readonly gateways: ReadonlyMap<Family, Address>;
  /** True if the main table keeps the interface's networks, with the address to send from. */
  readonly addSourceHints: boolean;
}

/** Table numbers have 32 bits. RT_TABLE_UNSPEC (0) is not a table. */
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
    throw new CniError(
      ErrorCode.invalidConfig,
      `${key}: cannot be combined with table, since another program fills that table`,
    );
  }
  return { table, gateways, addSourceHints };
}
