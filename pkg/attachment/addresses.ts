/** Selects the addresses of a result that belong to the attachment's own interface. Pure. */
import type { Result, ResultAddress } from "../cni/result.ts";

/** Includes addresses that name no interface. Excludes addresses of another interface of the result. */
export function ownAddresses({ ips, interfaces }: Result, ifName: string): ResultAddress[] {
  return ips.filter(({ interface: at }) => {
    const owner = at === undefined ? undefined : interfaces[at];
    return owner === undefined || (owner.name === ifName && Boolean(owner.sandbox));
  });
}
