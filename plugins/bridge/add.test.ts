import { expect, test } from "vitest";
import { runPlugin } from "../../pkg/cni/loop.ts";
import { FakeKernel } from "../../pkg/kernel/fake-kernel.ts";
import { deleteLink } from "../../pkg/kernel/link.ts";
import { RTM_NEWLINK } from "../../pkg/netlink/link.ts";
import { decode } from "../../pkg/netlink/message.ts";
import { FakeSystem, OWN_NAMESPACE } from "../../pkg/sys/fake.ts";
import { plugin as bridge } from "./main.ts";

const NETNS = "/run/netns/c1";
const EINVAL = 22;

/**
 * Runs ADD for an interface that stays down, on a node where another ADD removes the bridge `vanishings` times before
 * the port is attached.
 */
function add(vanishings: number) {
  const host = new FakeKernel();
  const pod = new FakeKernel();
  let left = vanishings;
  host.refuse = (message) => {
    const isVeth = message.type === RTM_NEWLINK.type && decode(RTM_NEWLINK, message).attributes.master !== undefined;
    if (!isVeth || left === 0) return 0;
    left -= 1;
    host.do(deleteLink("cni0"));
    // The kernel's error for a master that does not exist.
    return EINVAL;
  };
  const system = new FakeSystem({
    input: JSON.stringify({ cniVersion: "1.1.0", name: "net", type: "bridge", disableContainerInterface: true }),
    environment: {
      ...{ CNI_COMMAND: "ADD", CNI_CONTAINERID: "c1", CNI_NETNS: NETNS, CNI_IFNAME: "eth0", CNI_PATH: "/opt/cni/bin" },
    },
    namespaces: { [NETNS]: "pod" },
    netlink: (datagram, peer) => (peer.namespace === OWN_NAMESPACE ? host : pod).answer(datagram),
  });
  return { status: runPlugin(bridge, system, {}), output: system.output };
}

test("ADD creates the bridge again if another ADD removes it before the port is attached", () => {
  expect(add(0).status).toBe(0);
  expect(add(2).status).toBe(0);
});

test("ADD fails if the bridge vanishes each time", () => {
  const { status, output } = add(9);
  expect(status).toBe(1);
  expect(JSON.parse(output)).toMatchObject({
    code: 11,
    msg: expect.stringMatching(/the bridge cni0 vanished.*try again/),
  });
});
