import { describe, expect, test } from "vitest";
import { SystemError } from "./errors.ts";
import { FakeSystem, OWN_NAMESPACE } from "./fake.ts";
import { FakeFiles } from "./fake-files.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (data: Uint8Array): string => new TextDecoder().decode(data);

function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof SystemError) return error.code;
    throw error;
  }
  return "no error";
}

describe("fake files", () => {
  test("fail as Linux does", () => {
    const files = new FakeFiles();
    files.makeDirectory("/a/b");
    files.writeFile("/a/file", bytes("x"));
    expect(codeOf(() => files.readFile("/a/missing"))).toBe("ENOENT");
    expect(codeOf(() => files.readFile("/a/file/below"))).toBe("ENOTDIR");
    expect(codeOf(() => files.readFile("/a/b"))).toBe("EISDIR");
    expect(codeOf(() => files.writeFile("/a/file", bytes(""), { exclusive: true }))).toBe("EEXIST");
    expect(codeOf(() => files.writeFile("/a/new", bytes(""), { existing: true }))).toBe("ENOENT");
    expect(codeOf(() => files.writeFile("/missing/new", bytes("")))).toBe("ENOENT");
    expect(codeOf(() => files.writeFile("/a/b", bytes("")))).toBe("EISDIR");
    expect(codeOf(() => files.readDirectory("/a/file"))).toBe("ENOTDIR");
    expect(codeOf(() => files.makeDirectory("/a/file"))).toBe("EEXIST");
    expect(codeOf(() => files.makeDirectory("/a/file/below"))).toBe("ENOTDIR");
    expect(codeOf(() => files.link("/a/file", "/a/b"))).toBe("EEXIST");
    expect(codeOf(() => files.link("/a/missing", "/a/new"))).toBe("ENOENT");
    expect(codeOf(() => files.link("/a/b", "/a/new"))).toBe("EPERM");
    expect(codeOf(() => files.rename("/a/missing", "/a/new"))).toBe("ENOENT");
    expect(codeOf(() => files.rename("/a/file", "/a/b"))).toBe("EISDIR");
    expect(codeOf(() => files.rename("/a/b", "/a/file"))).toBe("ENOTDIR");
    expect(codeOf(() => files.rename("/a", "/a/b/c"))).toBe("EINVAL");
    expect(codeOf(() => files.unlink("/a/missing"))).toBe("ENOENT");
    expect(codeOf(() => files.unlink("/a/b"))).toBe("EISDIR");
    expect(codeOf(() => files.writeFile(`/a/${"n".repeat(256)}`, bytes("")))).toBe("ENAMETOOLONG");
    expect(files.status("/a/missing")).toBeUndefined();
    expect(files.status("/a/file/below")).toBeUndefined();
  });

  test("two links are one file, also after a rename", () => {
    const files = new FakeFiles();
    files.writeFile("/one", bytes("x"), { mode: 0o600 });
    files.link("/one", "/two");
    files.rename("/two", "/three");
    files.writeFile("/three", bytes("yy"));
    expect(text(files.readFile("/one"))).toBe("yy");
    expect(files.status("/one")).toMatchObject({ kind: "file", mode: 0o600, sizeBytes: 2 });
    expect(files.status("/one")).toEqual(files.status("/three"));
    expect(files.readDirectory("/").sort()).toEqual(["one", "three"]);
  });

  test("applies the umask to modes", () => {
    const files = new FakeFiles();
    files.makeDirectory("/d");
    files.writeFile("/d/f", bytes(""));
    expect(files.status("/d")).toMatchObject({ kind: "directory", mode: 0o755 });
    expect(files.status("/d/f")?.mode).toBe(0o644);
  });

  test("throws an injected fault as the error of the call", () => {
    const files = new FakeFiles();
    files.fault = (call) => (call === "link" ? 28 : undefined);
    files.writeFile("/f", bytes(""));
    expect(codeOf(() => files.link("/f", "/g"))).toBe("ENOSPC");
  });
});

describe("fake system", () => {
  test("a lock excludes a second process until it is released", () => {
    const files = new FakeFiles();
    const [one, two] = [new FakeSystem({ files }), new FakeSystem({ files })];
    const lock = one.lockFile("/lock");
    expect(two.lockFile("/lock", { wait: false })).toBeUndefined();
    expect(() => two.lockFile("/lock")).toThrow("is held");
    lock?.release();
    expect(two.lockFile("/lock", { wait: false })).toBeDefined();
    lock?.release();
    expect(one.lockFile("/lock", { wait: false })).toBeUndefined();
    expect([one.openCount, two.openCount]).toEqual([0, 1]);
  });

  test("namespaces have an identity, and a plain file is not a namespace", () => {
    const system = new FakeSystem({ namespaces: { "/run/netns/a": "4:1", "/proc/7/ns/net": "4:1" } });
    system.writeFile("/plain", bytes(""));
    expect(system.openNamespace("/run/netns/a").identity).toBe(system.openNamespace("/proc/7/ns/net").identity);
    expect(system.openNamespace().identity).toBe(OWN_NAMESPACE);
    expect(codeOf(() => system.openNamespace("/plain"))).toBe("EINVAL");
    expect(codeOf(() => system.openNamespace("/missing"))).toBe("ENOENT");
  });

  test("sysctls belong to the thread's current namespace", () => {
    const system = new FakeSystem({ namespaces: { "/run/netns/a": "4:1" } });
    const namespace = system.openNamespace("/run/netns/a");
    system.inNamespace(namespace, () => {
      system.makeDirectory("/proc/sys/net/ipv4");
      system.writeFile("/proc/sys/net/ipv4/ip_forward", bytes("1"));
    });
    expect(system.status("/proc/sys/net/ipv4/ip_forward")).toBeUndefined();
    expect(() => system.inNamespace(namespace, () => system.readFile("/none"))).toThrow(SystemError);
    expect(system.openNamespace().identity).toBe(OWN_NAMESPACE);
  });

  test("a netlink socket answers from the script, times out, and fails after close", () => {
    const system = new FakeSystem({ netlink: (datagram, peer) => [datagram, bytes(`${peer.protocol}`)] });
    const socket = system.openNetlink(12);
    socket.send(bytes("ask"));
    expect([text(socket.receive(100)), text(socket.receive(100))]).toEqual(["ask", "12"]);
    expect(codeOf(() => socket.receive(100))).toBe("ETIMEDOUT");
    socket.close();
    expect(codeOf(() => socket.send(bytes("ask")))).toBe("EBADF");
    expect(system.openCount).toBe(0);
  });

  test("runs a program from the table and records it", () => {
    const system = new FakeSystem({ programs: { "/bin/p": ({ input }) => ({ status: 3, output: input }) } });
    const result = system.execute("/bin/p", { environment: {}, input: bytes("in") });
    expect([result.status, text(result.output), text(result.errorOutput)]).toEqual([3, "in", ""]);
    expect(system.executed.map(({ path }) => path)).toEqual(["/bin/p"]);
    expect(codeOf(() => system.execute("/bin/missing", { environment: {}, input: bytes("") }))).toBe("ENOENT");
  });

  test("random bytes are the same in every run, and successive ones differ", () => {
    const [first, second] = [new FakeSystem().randomBytes(8), new FakeSystem().randomBytes(8)];
    expect(first).toEqual(second);
    expect(new Set(first).size).toBeGreaterThan(4);
  });
});
