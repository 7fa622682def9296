/** The resolver's configuration file, resolv.conf(5), as far as CNI results have a place for it. */

import type { ResultDns } from "../cni/result.ts";

/** Unknown keywords and lines without a value are passed over, as the resolver does. */
export function parseResolvConf(text: string): ResultDns {
  const nameservers: string[] = [];
  const search: string[] = [];
  const options: string[] = [];
  let domain = "";
  for (const line of text.split("\n")) {
    if (line.startsWith("#") || line.startsWith(";")) continue;
    const [keyword, first, ...rest] = line.trim().split(/\s+/);
    if (first === undefined) continue;
    if (keyword === "nameserver") nameservers.push(first);
    else if (keyword === "domain") domain = first;
    else if (keyword === "search") search.push(first, ...rest);
    else if (keyword === "options") options.push(first, ...rest);
  }
  return { nameservers, search, options, ...(domain === "" ? {} : { domain }) };
}
