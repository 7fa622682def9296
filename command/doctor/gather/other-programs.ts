/** Reads how systemd-networkd and NetworkManager are configured to treat objects of other programs. */
import type { System } from "../../../pkg/sys/system.ts";
import { namesIn } from "../../node/networks.ts";
import type { NetworkdFacts, NetworkManagerFacts } from "../facts.ts";

/**
 * Folders in the order of precedence: of drop-ins with the same name, only the first folder's is used
 * (systemd.syntax(7), "drop-ins").
 */
const SYSTEMD = ["/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd"];
/** networkd keeps the state of each link here while it runs. */
const NETWORKD_STATE = "/run/systemd/netif/links";

export function readNetworkd(system: System): NetworkdFacts {
  const isRunning = namesIn(system, NETWORKD_STATE).length > 0;
  const lines = isRunning ? settingsOf(system, SYSTEMD, "networkd.conf") : [];
  return {
    isRunning,
    managesForeignRoutes: isYes(lastValue(lines, "ManageForeignRoutes")),
    managesForeignRules: isYes(lastValue(lines, "ManageForeignRoutingPolicyRules")),
  };
}

/** Both settings are on by default (networkd.conf(5)). */
function isYes(value: string | undefined): boolean {
  return value === undefined || /^(1|yes|true|on|y|t)$/i.test(value);
}

function lastValue(lines: readonly string[], key: string): string | undefined {
  const found = lines.flatMap((line) => new RegExp(`^\\s*${key}\\s*=\\s*(.*?)\\s*$`).exec(line)?.[1] ?? []);
  return found.at(-1);
}

const NETWORK_MANAGER = ["/etc/NetworkManager", "/run/NetworkManager", "/usr/lib/NetworkManager"];

export function readNetworkManager(system: System): NetworkManagerFacts {
  const isRunning = namesIn(system, "/run/NetworkManager/devices").length > 0;
  const lines = isRunning ? settingsOf(system, NETWORK_MANAGER, "NetworkManager.conf", "conf.d") : [];
  const unmanaged = lines
    .flatMap((line) => /^\s*unmanaged-devices\+?\s*=\s*(.*?)\s*$/.exec(line)?.[1] ?? [])
    .flatMap((value) => value.split(/[;,]/))
    .flatMap((part) => /^(?:interface-name:)?([^:]+)$/.exec(part.trim())?.[1] ?? []);
  return { isRunning, unmanaged };
}

/**
 * Returns all lines of the first main file that exists, then of the drop-ins in the order of their names. Later lines
 * override earlier ones.
 */
function settingsOf(
  system: System,
  folders: readonly string[],
  main: string,
  dropIns = `${main}.d`,
): readonly string[] {
  const mainFile = folders.map((folder) => `${folder}/${main}`).find((path) => system.status(path) !== undefined);
  const byName = new Map<string, string>();
  for (const folder of folders) {
    for (const name of namesIn(system, `${folder}/${dropIns}`)) {
      if (name.endsWith(".conf") && !byName.has(name)) byName.set(name, `${folder}/${dropIns}/${name}`);
    }
  }
  const files = [
    ...(mainFile === undefined ? [] : [mainFile]),
    ...[...byName.keys()].sort().map((name) => byName.get(name) ?? ""),
  ];
  return files.flatMap((file) => new TextDecoder().decode(system.readFile(file)).split("\n"));
}
