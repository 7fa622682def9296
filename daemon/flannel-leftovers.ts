/** What flanneld has left on a node that weftd took over from it: its rules, removed once ours stand. */
import { flannelQuestions, planFlannelRemoval } from "../pkg/kernel/flannel-rules.ts";
import { isNetlinkError } from "../pkg/netlink/errors.ts";
import type { EventedNetlink } from "../pkg/netlink/evented.ts";
import type { Message } from "../pkg/netlink/message.ts";

/** Returns the `nft` commands that would have done the same; none where nothing was left. */
export async function removeFlannelRules(
  nftables: Pick<EventedNetlink, "dump" | "exchange" | "commit">,
): Promise<readonly string[]> {
  const seen: Message[] = [];
  for (const dump of flannelQuestions.dumps()) {
    try {
      seen.push(...(await nftables.dump(dump)));
    } catch (error) {
      if (!isNetlinkError(error, "ENOENT")) throw error;
    }
  }
  for (const { error, messages } of await nftables.exchange(flannelQuestions.single())) {
    if (error !== undefined && !isNetlinkError(error, "ENOENT")) throw error;
    seen.push(...messages);
  }
  const requests = planFlannelRemoval(seen);
  await nftables.commit(requests);
  return requests.map(({ text }) => text);
}
