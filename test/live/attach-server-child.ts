/**
 * Runs inside a node's namespace: the server of the policy socket with an installer that isolates pods by nft. Each line
 * of standard input replaces the settings, and "ok" confirms it.
 */
import { execFile } from "node:child_process";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { FormerFlows } from "../../daemon/controllers/former-flows/former-flows.ts";
import { AttachServer } from "../../daemon/controllers/policy/attach-server.ts";
import type { AttachedPod, PodInstaller } from "../../daemon/controllers/policy/pod-installer.ts";
import { openLog } from "../../daemon/core/log.ts";
import { SYSTEM_CLOCK, sleep } from "../../pkg/cluster/clock.ts";
import { formatAddress } from "../../pkg/ip/address.ts";
import { linkDump, parseLink } from "../../pkg/kernel/link.ts";
import { EventedNetlink } from "../../pkg/netlink/evented.ts";
import { NETLINK_NETFILTER, NETLINK_ROUTE } from "../../pkg/netlink/message.ts";
import { openEventNetlink } from "../../pkg/sys/node-netlink.ts";

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

const log = openLog("error", "node");
const sockets = [NETLINK_NETFILTER, NETLINK_ROUTE].map(
  (protocol) => new EventedNetlink(openEventNetlink(protocol), "the test's namespace", SYSTEM_CLOCK),
);
const [connections, route] = sockets as [EventedNetlink, EventedNetlink];
const flows = new FormerFlows({ connections, clock: SYSTEM_CLOCK, log });
const server = new AttachServer({ path: process.argv[2] ?? "", installer, flows, clock: SYSTEM_CLOCK, log });

/** The controller's pass after a link is gone. Returns false if an attachment is too young. */
async function cleanEnded(): Promise<boolean> {
  const marks = (await route.dump(linkDump())).flatMap((message) => parseLink(message).alias ?? []);
  return flows.compare((containerId, ifName) => marks.some((mark) => mark.endsWith(`/${containerId}/${ifName}`)));
}
await server.start();
console.log("ready");
createInterface({ input: process.stdin })
  .on("line", (line) => {
    if (line === "clean") void cleanEnded().then((isAll) => console.log(isAll ? "cleaned" : "young"));
    else {
      settings = JSON.parse(line);
      console.log("ok");
    }
  })
  .on("close", () => void server.stop().then(() => process.exit(0)));
