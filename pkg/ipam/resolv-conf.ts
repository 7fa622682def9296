/** Parses the resolver's configuration file, resolv.conf(5), limited to the settings that CNI results have. */

import type { ResultDns } from "../cni/result.ts";

/** Skips unknown keywords and lines without a value, as the resolver does. */
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
