import type { Inside } from "./inside.ts";

/** Namespaces made later still appear. */
const SCRIPT = [
  "mkdir /var/lib/netns && mount --rbind /run/netns /var/lib/netns && mount -t tmpfs tmpfs /run",
  "mkdir /run/netns /run/cni && mount --rbind /var/lib/netns /run/netns && umount -l /var/lib/netns && rmdir /var/lib/netns",
].join(" && ");

/** Gives an agent with its own state folder its own /run as well; only /run/netns is shared with the machine. */
export async function giveOwnRun(inside: Inside): Promise<void> {
  await inside.succeed("sh", ["-c", SCRIPT]);
}
