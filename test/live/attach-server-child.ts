/**
 * Runs inside a node's namespace: the server of the policy socket with an installer that isolates pods by nft. Each line
 * of standard input replaces the settings, and "ok" confirms it.
 */
import { execFile } from "node:child_process";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { AttachServer } from "../../daemon/controllers/policy/attach-server.ts";
import type { AttachedPod, PodInstaller } from "../../daemon/controllers/policy/pod-installer.ts";
import { openLog } from "../../daemon/core/log.ts";
import { SYSTEM_CLOCK, sleep } from "../../pkg/cluster/clock.ts";
import { formatAddress } from "../../pkg/ip/address.ts";

export interface Settings {
  /** How the pods of the next requests become known. */
  readonly known: "at once" | "by the watch" | "by a read" | "never";
  /** When the watch or the read brings a pod, in milliseconds after the request. */
  readonly afterMs?: number;
  /** The nft command for each address; ADDRESS and FAMILY are replaced. Empty: nothing is installed. */
  readonly command?: string;
}

const run = promisify(execFile);
let settings: Settings = { known: "at once" };
const known = new Set<string>();

const installer: PodInstaller = {
  knows: ({ uid }) => settings.known === "at once" || known.has(uid),
  async awaitPod({ uid }, signal) {
    await sleep(SYSTEM_CLOCK, settings.known === "by the watch" ? (settings.afterMs ?? 0) : 1e9, signal);
    signal.throwIfAborted();
    known.add(uid);
  },
  async readPod({ uid }, signal) {
    if (settings.known === "never") throw new Error("the API server has no such pod");
    await sleep(SYSTEM_CLOCK, settings.afterMs ?? 0, signal);
    signal.throwIfAborted();
    known.add(uid);
  },
  async install({ addresses }: AttachedPod) {
    const { command = "" } = settings;
    if (command === "") return { isIsolated: false };
    const commands = addresses.map((address) =>
      command.replaceAll("ADDRESS", formatAddress(address)).replaceAll("FAMILY", String(address.family)),
    );
    await run("nft", [commands.join("; ")]);
    return { isIsolated: true };
  },
};

const server = new AttachServer({
  ...{ path: process.argv[2] ?? "", installer, clock: SYSTEM_CLOCK, log: openLog("error", "node") },
});
await server.start();
console.log("ready");
createInterface({ input: process.stdin })
  .on("line", (line) => {
    settings = JSON.parse(line);
    console.log("ok");
  })
  .on("close", () => void server.stop().then(() => process.exit(0)));
