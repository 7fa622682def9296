/** firewall with a broken D-Bus. Substitutes for the bus listen on a socket of the node. */
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { OURS, PluginBed } from "./harness/plugin-bed.ts";
import { PATIENCE } from "./harness/process.ts";

/** For two addresses. weft waits four seconds for a bus; D-Bus libraries wait 25 seconds for each call. */
const LONGEST_MS = 15_000 * PATIENCE;
const PREVIOUS = {
  cniVersion: "1.1.0",
  interfaces: [{ name: "eth0", sandbox: "/x" }],
  ips: [
    { address: "10.22.0.2/24", interface: 0 },
    { address: "fd00:22::2/64", interface: 0 },
  ],
};

let bed: PluginBed;
let server: Server;
const connected = new Set<Socket>();
let bus: string;

beforeEach(async () => {
  bed = await PluginBed.make();
  bus = join(bed.stateDir, "bus");
});
afterEach(async () => {
  for (const socket of connected) socket.destroy();
  connected.clear();
  await new Promise((resolve) => server.close(resolve));
  await bed.close();
});

async function stand(serve: (socket: Socket) => void): Promise<void> {
  server = createServer((socket) => {
    connected.add(socket);
    socket.on("error", () => undefined);
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(bus, resolve));
}

async function call(verb: string, more: object = {}) {
  const input = { cniVersion: "1.1.0", name: "net", type: "firewall", prevResult: PREVIOUS, ...more };
  const began = performance.now();
  const { status, stdout, stderr } = await bed.node.run(`${OURS}/firewall`, [], JSON.stringify(input), {
    ...{ CNI_COMMAND: verb, CNI_CONTAINERID: "c1", CNI_NETNS: bed.podNamespace.path, CNI_IFNAME: "eth0" },
    ...{ CNI_PATH: OURS, DBUS_SYSTEM_BUS_ADDRESS: `unix:path=/var/lib/cni/bus` },
  });
  expect(performance.now() - began, `${verb} took`).toBeLessThan(LONGEST_MS);
  return { status, stderr, msg: status === 0 ? "" : String(JSON.parse(stdout).msg) };
}

const rules = async () => (await bed.node.run("nft", ["list", "ruleset"])).stdout;

describe.each<[string, (socket: Socket) => void, RegExp]>([
  ["is silent", (socket) => void socket.resume(), /does not answer/],
  ["closes the connection", (socket) => void socket.end(), /closed the connection/],
  ["refuses", (socket) => void socket.end("REJECTED EXTERNAL\r\n"), /refused the authentication: "REJECTED EXTERNAL"/],
  [
    "sends garbage",
    (socket) => void socket.write("HTTP/1.1 400 Bad Request\r\n\r\n"),
    /refused the authentication: "HTTP/,
  ],
  ["sends garbage after authentication", (socket) => void socket.write(`DATA\r\nOK 1\r\n${"x".repeat(64)}`), /speak/],
  [
    "drips",
    (socket) => {
      const drip = setInterval(() => socket.write("."), 500);
      socket.on("close", () => clearInterval(drip));
    },
    /does not answer/,
  ],
])("a bus that %s", (_, serve, reason) => {
  test("is ignored if firewalld is not configured, and is an error with its path if it is", async () => {
    await stand(serve);
    const added = await call("ADD");
    expect(added.status).toBe(0);
    expect(added.stderr).toMatch(/^firewall: D-Bus at \/var\/lib\/cni\/bus .*nftables.*backend/);
    expect(added.stderr).toMatch(reason);
    expect(await rules()).toMatch(/10\.22\.0\.2/);
    expect(await call("CHECK")).toMatchObject({ status: 0 });
    expect(await call("DEL")).toMatchObject({ status: 0 });
    expect(await rules()).not.toMatch(/10\.22\.0\.2|fd00:22::2/);

    const before = await rules();
    const { status, msg } = await call("ADD", { backend: "firewalld" });
    expect(status).toBe(1);
    expect(msg).toMatch(/backend firewalld: D-Bus at \/var\/lib\/cni\/bus .*set backend to "nftables"/);
    expect(msg).toMatch(reason);
    expect(await rules()).toBe(before);
    expect(await call("ADD", { backend: "nftables" })).toMatchObject({ status: 0, stderr: "" });
  });
});

test("firewalld's table in the kernel shows that firewalld runs, even with a broken bus", async () => {
  await stand((socket) => void socket.end());
  expect((await bed.node.run("nft", ["add", "table", "inet", "firewalld"])).status).toBe(0);
  const before = await rules();
  const { status, msg } = await call("ADD");
  expect([status, await rules()]).toEqual([1, before]);
  expect(msg).toMatch(/firewalld, which has a table in the kernel: D-Bus at .*set backend to "nftables"/);
  expect(await call("ADD", { backend: "nftables" })).toMatchObject({ status: 0 });
});
