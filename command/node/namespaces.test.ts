import { expect, test } from "vitest";
import { parsePrefix } from "../../pkg/ip/prefix.ts";
import { addAddress } from "../../pkg/kernel/address.ts";
import { FakeKernel } from "../../pkg/kernel/fake-kernel.ts";
import { FakeSystem } from "../../pkg/sys/fake.ts";
import { findViews, readNamespaces } from "./namespaces.ts";
import { isNowhere, pathBelow } from "./views.ts";

/** A fake /proc: `links` by path, and `namespaces` in the format of `FakeSystem`. */
class FakeNode extends FakeSystem {
  readonly links: Map<string, string>;

  constructor(links: Readonly<Record<string, string>>, namespaces: Readonly<Record<string, string>> = {}) {
    super({ namespaces, netlink: (datagram, { namespace }) => kernelOf(namespace).answer(datagram) });
    this.links = new Map(
      Object.entries({ "/proc/self/ns/pid": "pid:[4026531836]", ...processOf("self", 1, "/", 1), ...links }),
    );
    for (const path of this.links.keys()) {
      const [, pid] = /^\/proc\/([0-9]+)\//.exec(path) ?? [];
      if (pid !== undefined) this.tellMounts(pid, "");
    }
  }

  tellMounts(pid: string, mountInfo: string): void {
    this.makeDirectory(`/proc/${pid}`);
    this.writeFile(`/proc/${pid}/mountinfo`, new TextEncoder().encode(mountInfo));
  }

  override readLink(path: string): string | undefined {
    return this.links.get(path);
  }
}

/** The kernel of a namespace with inode N has the address 10.22.0.N. */
function kernelOf(namespace: string): FakeKernel {
  const kernel = new FakeKernel();
  kernel.do(addAddress({ index: 1, prefix: parsePrefix(`10.22.0.${namespace.split(":").at(-1)}/24`) }));
  return kernel;
}

function processOf(pid: string, mounts: number, root: string, network: number): Record<string, string> {
  return {
    [`/proc/${pid}/ns/net`]: `net:[${network}]`,
    [`/proc/${pid}/ns/mnt`]: `mnt:[${mounts}]`,
    [`/proc/${pid}/root`]: root,
  };
}

const mount = (network: number, path: string) => `350 25 0:4 net:[${network}] ${path} rw shared:1 - nsfs nsfs rw\n`;
const seenIn = (system: FakeNode) => {
  const { addresses, obstacle } = readNamespaces(system);
  expect(system.openCount).toBe(0);
  return { addresses: addresses.map(({ address, namespace }) => `${address} in ${namespace}`), obstacle };
};

test("in a chroot, reaches a namespace through the root of a process that sees its name", () => {
  const system = new FakeNode(
    { ...processOf("self", 2, "/host", 1), ...processOf("30", 2, "/", 1) },
    { "/proc/30/ns/net": "4:1", "/proc/30/root/host/run/netns/a": "4:7" },
  );
  system.tellMounts("30", mount(7, "/host/run/netns/a"));
  expect(seenIn(system)).toEqual({
    addresses: ["10.22.0.7 in /proc/30/root/host/run/netns/a", "10.22.0.1 in /proc/30/ns/net"],
    obstacle: undefined,
  });
});

test("uses another process of the namespace if the first one ends", () => {
  const system = new FakeNode(
    { ...processOf("30", 1, "/", 7), ...processOf("31", 1, "/", 7) },
    { "/proc/31/ns/net": "4:7" },
  );
  expect(seenIn(system)).toEqual({ addresses: ["10.22.0.7 in /proc/31/ns/net"], obstacle: undefined });
});

test("reaches a hidden name through another mount namespace, but prefers its own", () => {
  const links = { ...processOf("30", 2, "/", 1), ...processOf("31", 1, "/", 1) };
  const far = { "/proc/30/ns/net": "4:1", "/proc/30/root/run/netns/a": "4:7" };
  const node = (namespaces: Record<string, string>) => {
    const system = new FakeNode(links, { ...far, ...namespaces });
    for (const pid of ["30", "31"]) system.tellMounts(pid, mount(7, "/run/netns/a"));
    return seenIn(system).addresses;
  };
  expect(node({})).toContain("10.22.0.7 in /proc/30/root/run/netns/a");
  expect(node({ "/run/netns/a": "4:7" })).toContain("10.22.0.7 in /run/netns/a");
});

test.each([
  ["nothing", {}],
  ["another namespace", { "/run/netns/a": "4:8" }],
])("reports a namespace as not read if its only name leads to %s", (_what, namespaces) => {
  const system = new FakeNode(processOf("30", 1, "/", 1), { "/proc/30/ns/net": "4:1", ...namespaces });
  system.tellMounts("30", mount(7, "/run/netns/a"));
  expect(seenIn(system)).toEqual({
    addresses: ["10.22.0.1 in /proc/30/ns/net"],
    obstacle: { kind: "namespace", identity: "net:[7]", path: "/run/netns/a" },
  });
});

test("a namespace that is removed meanwhile is no obstacle", () => {
  const links = { ...processOf("30", 1, "/", 1), ...processOf("31", 1, "/", 7) };
  const system = new FakeNode(links, { "/proc/30/ns/net": "4:1" });
  const open = system.openNamespace.bind(system);
  system.openNamespace = (path) => {
    if (path === "/proc/31/ns/net")
      for (const link of Object.keys(processOf("31", 1, "/", 7))) system.links.delete(link);
    return open(path);
  };
  expect(readNamespaces(system)).toMatchObject({ count: 1, obstacle: undefined });
});

test("a container sees only its own processes", () => {
  const system = new FakeNode({ "/proc/self/ns/pid": "pid:[4026532200]", ...processOf("1", 1, "/", 1) });
  expect(seenIn(system).obstacle).toEqual({ kind: "container" });
});

test("a path is nowhere if no process sees it", () => {
  const system = new FakeNode({
    ...{ ...processOf("30", 1, "/", 1), ...processOf("31", 2, "/", 1) },
    ...{ "/proc/31/root/var/run": "/run", "/proc/31/root/run/latest": "netns" },
  });
  system.makeDirectory("/proc/31/root/run/netns/a");
  system.makeDirectory("/run/netns/b");
  const { views } = readNamespaces(system);
  const isGone = (path: string) => isNowhere(path, views, () => findViews(system), system);
  expect(["/var/run/netns/a", "/run/latest/a", "/run/latest/../netns/./a"].map(isGone)).toEqual([false, false, false]);
  expect(["/run/netns/b", "/run/netns/c"].map(isGone)).toEqual([false, true]);
});

test("looks for new processes if all processes of a mount namespace have ended", () => {
  const system = new FakeNode({ ...processOf("30", 1, "/", 1), ...processOf("31", 2, "/", 1) });
  const { views } = readNamespaces(system);
  const isGone = () => isNowhere("/run/netns/a", views, () => findViews(system), system);
  for (const link of Object.keys(processOf("31", 2, "/", 1))) system.links.delete(link);
  expect(isGone()).toBe(true);
  for (const [link, target] of Object.entries(processOf("32", 2, "/", 1))) system.links.set(link, target);
  system.makeDirectory("/proc/32/root/run/netns/a");
  system.tellMounts("32", "");
  expect(isGone()).toBe(false);
});

test("assumes that a path exists if a process's files may not be read", () => {
  const system = new FakeNode({ ...processOf("30", 1, "/", 1), ...processOf("31", 2, "/", 1) });
  const { views } = readNamespaces(system);
  const isGone = () => isNowhere("/run/netns/a", views, () => findViews(system), system);
  expect(isGone()).toBe(true);
  system.files.fault = (_call, path) => (path.startsWith("/proc/31/root") ? 13 : undefined);
  expect(isGone()).toBe(false);
});

test("does not follow circular links and links of /proc", () => {
  const system = new FakeNode({
    "/proc/31/root/circle": "/circle",
    "/proc/31/root/proc/5/ns/net": "net:[7]",
  });
  expect(pathBelow("/proc/31/root", "/circle/a", system)).toBe("/proc/31/root/circle/a");
  expect(pathBelow("/proc/31/root", "/proc/5/ns/net", system)).toBe("/proc/31/root/proc/5/ns/net");
});
