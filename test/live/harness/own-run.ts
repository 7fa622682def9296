import type { Inside } from "./inside.ts";

/** Namespaces that are made later go on showing up. */
const SCRIPT = [
  "mkdir /var/lib/netns && mount --rbind /run/netns /var/lib/netns && mount -t tmpfs tmpfs /run",
  "mkdir /run/netns /run/cni && mount --rbind /var/lib/netns /run/netns && umount -l /var/lib/netns && rmdir /var/lib/netns",
].join(" && ");

/** Gives an agent that has a state folder of its own a /run of its own, too, of which only /run/netns is the machine's. */
export async function giveOwnRun(inside: Inside): Promise<void> {
  await inside.succeed("sh", ["-c", SCRIPT]);
}
