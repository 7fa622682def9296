import { expect, test } from "vitest";
import { runPlugin } from "../../pkg/cni/loop.ts";
import { FakeKernel } from "../../pkg/kernel/fake-kernel.ts";
import { NETLINK_NETFILTER, NETLINK_ROUTE } from "../../pkg/netlink/message.ts";
import { SystemError } from "../../pkg/sys/errors.ts";
import { FakeSystem } from "../../pkg/sys/fake.ts";
import { FakeFiles } from "../../pkg/sys/fake-files.ts";
import { plugin as hostLocal } from "../host-local/main.ts";
import { plugin as bridge } from "./main.ts";

const RESERVATION = "/var/lib/cni/networks/net/10.22.0.2";
const BIN = "/opt/cni/bin";

/** Runs DEL without a namespace, on a node where sockets of `brokenProtocol` fail. */
function del(brokenProtocol: number): { readonly status: number; readonly output: string; readonly files: FakeFiles } {
  const files = new FakeFiles();
  files.makeDirectory("/var/lib/cni/networks/net");
  files.writeFile(RESERVATION, new TextEncoder().encode("c1\r\neth0"));
  files.makeDirectory(BIN);
  for (const name of ["bridge", "host-local"]) files.writeFile(`${BIN}/${name}`, new Uint8Array());
  const kernel = new FakeKernel();
  const system = new FakeSystem({
    files,
    executablePath: `${BIN}/host-local`,
    input: JSON.stringify({
      ...{ cniVersion: "1.1.0", name: "net", type: "bridge", ipMasq: true },
      ipam: { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }]] },
    }),
    environment: { CNI_COMMAND: "DEL", CNI_CONTAINERID: "c1", CNI_NETNS: "", CNI_IFNAME: "eth0", CNI_PATH: BIN },
    netlink: (datagram, peer) => {
      if (peer.protocol === brokenProtocol) throw new SystemError("send", "netlink", 105);
      return kernel.answer(datagram);
    },
  });
  const status = runPlugin(bridge, system, { "host-local": hostLocal });
  return { status, output: system.output, files };
}

test("releases the address and reports the error if a masquerade entry cannot be removed", () => {
  const { status, output, files } = del(NETLINK_NETFILTER);
  expect(status).toBe(1);
  expect(output).toContain("ENOBUFS");
  expect(files.status(RESERVATION)).toBeUndefined();
});

test("keeps the address if the device cannot be removed, since the pod may still use it", () => {
  const { status, files } = del(NETLINK_ROUTE);
  expect(status).toBe(1);
  expect(files.status(RESERVATION)).toBeDefined();
});
