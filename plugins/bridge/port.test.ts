import { expect, test } from "vitest";
import type { Link } from "../../pkg/kernel/link.ts";
import { RTM_NEWLINK } from "../../pkg/netlink/link.ts";
import { query } from "../../pkg/netlink/message.ts";
import { waitForPort } from "./port.ts";

/** IF_OPER_UP (include/uapi/linux/if.h). */
const UP = 6;
const bridge = { index: 3, name: "cni0" } as Link;

/** Waits for a port with these attributes. */
function wait(attributes: { readonly master?: number; readonly operState: number }): void {
  const asked = query(RTM_NEWLINK, "ip link show veth0", { index: 4 }, { ifname: "veth0", ...attributes });
  const message = { type: RTM_NEWLINK.type, flags: 0, sequence: 1, portId: 0, payload: asked.body };
  const host = { run: () => [message, message] };
  waitForPort(host as never, { sleep: () => undefined } as never, "veth0", bridge);
}

test("accepts a port of the bridge that is up", () => {
  expect(() => wait({ master: 3, operState: UP })).not.toThrow();
});

test("rejects a link that has lost its bridge, even if it is up", () => {
  expect(() => wait({ operState: UP })).toThrow(/no longer a port of the bridge cni0/);
});

test("fails after a while if the port stays down", () => {
  expect(() => wait({ master: 3, operState: 2 })).toThrow(/veth0 did not come up/);
});
