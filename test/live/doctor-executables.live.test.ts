/** weft doctor on a node with only the executables, and on one whose weftd is not running. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { OURS, PluginBed } from "./harness/plugin-bed.ts";

let bed: PluginBed;

beforeEach(async () => {
  bed = await PluginBed.make();
  // In the node's own mount namespace.
  await bed.node.succeed("sh", ["-c", "mkdir -p /var/lib/cni/conf && echo 1 >/proc/sys/net/ipv4/ip_forward"]);
});
afterEach(() => bed.close());

const [RUN, CONF] = ["/var/lib/cni/run", "/var/lib/cni/conf"];

async function doctor() {
  const directories = ["--run-dir", RUN, "--cni-conf-dir", CONF, "--cni-bin-dir", OURS];
  const checks = ["weftd-alive", "weftd-ready", "node-table", "conflist-first", "conflist-valid", "plugins", "peers"];
  const { status, stdout } = await bed.node.run(`${OURS}/weft`, [
    ...["doctor", "-o", "json", "--only", checks.join(","), ...directories],
  ]);
  const { findings } = JSON.parse(stdout) as { findings: { check: string; severity: string }[] };
  return { status, findings: findings.map(({ check, severity }) => `${severity} ${check}`) };
}

const network = (type: string) =>
  JSON.stringify({ cniVersion: "1.0.0", name: "net", plugins: [{ type: "bridge" }, { type }] });
const write = (name: string, text: string) =>
  bed.node.succeed("sh", ["-c", `printf %s "$1" >${CONF}/${name}`, "sh", text]);

test("executables without weftd are no fault, with or without a network that uses them", async () => {
  expect(await doctor()).toEqual({ status: 0, findings: ["note weftd-alive"] });
  await write("10-net.conflist", network("portmap"));
  expect(await doctor()).toEqual({ status: 0, findings: ["note weftd-alive"] });
});

const DOWN = ["error weftd-alive", "error node-table", "error node-table"];

test.each<[string, () => Promise<unknown>, string[]]>([
  ["its run directory", () => bed.node.succeed("mkdir", [RUN]), [...DOWN, "error conflist-first"]],
  ["its network", () => write("05-weft.conflist", network("portmap")), DOWN],
  ["a network that needs it", () => write("10-net.conflist", network("vxlan")), [...DOWN, "error conflist-first"]],
])("recognises by %s that weftd should be running", async (_, plant, findings) => {
  await plant();
  expect(await doctor()).toEqual({ status: 5, findings });
});
