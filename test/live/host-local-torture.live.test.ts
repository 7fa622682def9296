/**
 * Hundreds of concurrent calls of weft's host-local and the reference's in one directory, many killed at a random
 * moment. WEFT_TORTURE_ROUNDS sets a longer run than the few seconds of the normal tests.
 */
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { afterAll, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { makeFolder } from "./harness/folder.ts";
import { OURS, REFERENCE } from "./harness/plugin-bed.ts";

const ROUNDS = Number(process.env.WEFT_TORTURE_ROUNDS ?? 2);
const PARALLEL = 200;
/** The share of killed calls. The moment is random within the duration of all calls. */
const KILLED_SHARE = 0.3;
const KILLED_WITHIN_MS = 700;

const cleanup = new Cleanup();
afterAll(() => cleanup.run());
const dataDir = makeFolder("torture", cleanup);
const directory = `${dataDir}/net`;
const configuration = {
  ...{ cniVersion: "1.1.0", name: "net", type: "bridge" },
  ipam: { type: "host-local", ranges: [[{ subnet: "10.33.0.0/22" }], [{ subnet: "fd00:33::/64" }]], dataDir },
};

interface Outcome {
  readonly wasKilled: boolean;
  readonly status: number | null;
  readonly output: string;
}

function call(bin: string, verb: string, containerId: string, mayBeKilled = true, more: object = {}): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const env = {
      ...{ CNI_COMMAND: verb, CNI_CONTAINERID: containerId, CNI_IFNAME: "eth0", CNI_PATH: bin },
      CNI_NETNS: "/run/netns/weft-torture-none",
    };
    const child = spawn(`${bin}/host-local`, { env, stdio: ["pipe", "pipe", "inherit"] });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    const isVictim = mayBeKilled && Math.random() < KILLED_SHARE;
    const timer = isVictim ? setTimeout(() => child.kill("SIGKILL"), Math.random() * KILLED_WITHIN_MS) : undefined;
    child.on("error", reject);
    child.on("close", (status, signal) => {
      clearTimeout(timer);
      resolve({ wasKilled: signal === "SIGKILL", status, output });
    });
    child.stdin.on("error", () => undefined); // The process was killed before it read its input.
    child.stdin.end(JSON.stringify({ ...configuration, ...more }));
  });
}

const either = () => (Math.random() < 0.5 ? OURS : REFERENCE);

/** Address -> owner, of every reservation on disk. */
function reservations(): Map<string, string> {
  const names = readdirSync(directory).filter((name) => /^10\.|^fd00:/.test(name));
  return new Map(names.map((name) => [name, readFileSync(`${directory}/${name}`, "utf8").split("\r\n")[0] ?? ""]));
}

const gc = (...ids: readonly string[]) =>
  call(OURS, "GC", "", false, {
    "cni.dev/valid-attachments": ids.map((containerID) => ({ containerID, ifname: "eth0" })),
  });

const attached = new Map<string, readonly string[]>();
let killed = 0;

async function attachAll(ids: readonly string[]): Promise<void> {
  await Promise.all(
    ids.map(async (id) => {
      const { wasKilled, status, output } = await call(either(), "ADD", id);
      if (wasKilled) killed++;
      else expect([status, output]).toEqual([0, expect.stringContaining("10.33.")]);
      // A call that was killed after its complete answer has attached its container too.
      if (output.endsWith("}\n") || (!wasKilled && status === 0)) {
        const ips: { address: string }[] = JSON.parse(output).ips;
        attached.set(
          id,
          ips.map(({ address }) => address.replace(/\/.*/, "")),
        );
      }
    }),
  );
}

async function detachAll(ids: readonly string[]): Promise<void> {
  await Promise.all(
    ids.map(async (id) => {
      attached.delete(id);
      const { wasKilled, status, output } = await call(either(), "DEL", id);
      if (wasKilled) killed++;
      else expect([status, output]).toEqual([0, ""]);
    }),
  );
}

/** Every attached container has its addresses, and no other has them. */
function assertDistinct(): void {
  const given = [...attached.values()].flat();
  expect(new Set(given).size).toBe(given.length);
  const owners = reservations();
  for (const [id, addresses] of attached) for (const address of addresses) expect(owners.get(address)).toBe(id);
}

test(
  `${ROUNDS} rounds of ${PARALLEL} concurrent calls assign no address twice, and GC leaves nothing`,
  async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const ids = Array.from({ length: PARALLEL }, (_, at) => `r${round}-${at}`);
      await attachAll(ids);
      assertDistinct();
      // Half of the containers stay for the next round. The runtime deletes those whose ADD failed.
      const leaving = [...attached.keys()].filter((id) => !ids.includes(id) || Math.random() < 0.5);
      await Promise.all([
        detachAll([...leaving, ...ids.filter((id) => !attached.has(id))]),
        attachAll([`late-${round}`]),
      ]);
      assertDistinct();
      expect(await gc(...attached.keys())).toMatchObject({ status: 0, output: "" });
      expect([...reservations()].sort()).toEqual(
        [...attached].flatMap(([id, addresses]) => addresses.map((address) => [address, id])).sort(),
      );
    }
    expect(killed).toBeGreaterThan(ROUNDS * 10);
    expect(await gc()).toMatchObject({ status: 0, output: "" });
    expect(readdirSync(directory).sort()).toEqual(["last_reserved_ip.0", "last_reserved_ip.1", "lock"]);
  },
  ROUNDS * 60_000,
);
