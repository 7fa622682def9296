/** What fills a node before the calls. */
import { writeFileSync } from "node:fs";

/**
 * Reserves the first addresses of a /16 one after another in host-local's directory, as on a node that was never full.
 * `prefix` is the first half of the addresses.
 */
export function reserveAddresses(directory: string, prefix: string, count: number): void {
  let last = "";
  for (let at = 0; at < count; at++) {
    last = `${prefix}.${(at + 2) >> 8}.${(at + 2) & 255}`;
    writeFileSync(`${directory}/${last}`, `${at.toString(16).padStart(64, "0")}\r\neth0`, { mode: 0o600 });
  }
  if (count > 0) writeFileSync(`${directory}/last_reserved_ip.0`, last, { mode: 0o600 });
}

/** Writes a table of another program, for nft -f: chains with two rules each, like those of kube-proxy for a Service. */
export function writeForeignChains(file: string, count: number): void {
  const chains = Array.from({ length: count }, (_, at) => {
    const address = `10.${96 + (at >> 16)}.${(at >> 8) & 255}.${at & 255}`;
    return `  chain service-${at} {\n    ip saddr ${address} counter return\n    ip daddr ${address} counter accept\n  }\n`;
  });
  writeFileSync(file, `table ip foreign {\n${chains.join("")}}\n`);
}
