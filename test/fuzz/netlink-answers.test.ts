/**
 * Replays a kernel's (Linux 6.18) answers to whole calls in memory. Unchanged, each call succeeds. With bits flipped,
 * cut, lost or repeated, it ends with status 0 or with a CNI error, and a failed ADD keeps no address.
 *
 * A change of a plugin's requests to the kernel needs new recordings: as root, `hack/in-node node test/fuzz/record.ts`.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { runPlugin } from "../../pkg/cni/loop.ts";
import type { Plugin } from "../../pkg/cni/plugin.ts";
import { FakeSystem } from "../../pkg/sys/fake.ts";
import { FakeFiles } from "../../pkg/sys/fake-files.ts";
import type { NetlinkPeer } from "../../pkg/sys/fake-sockets.ts";
import { flipped } from "./arbitrary.ts";
import { STUMBLE } from "./outcome.ts";
import { CALL, formatAnswers, type Recorded, readRecorded } from "./recorded.ts";
import { recordNetlink, socketKind } from "./recording.ts";
import { runs } from "./samples.ts";

const RECORDED = [...readRecorded()];
const BIN = "/opt/cni/bin";
const NETWORK = "/var/lib/cni/networks/net";
/** The pod's namespace. */
const POD = "4:1";

type Answers = ReadonlyMap<string, readonly (readonly Uint8Array[])[]>;

const decoded = ({ answers }: Recorded): Answers =>
  new Map(
    Object.entries(answers).map(([socket, turns]) => [
      socket,
      turns.map((turn) => turn.map((text) => new Uint8Array(Buffer.from(text, "base64")))),
    ]),
  );

function node(verb: string): FakeFiles {
  const files = new FakeFiles();
  files.makeDirectory(BIN);
  files.writeFile(`${BIN}/weft`, new Uint8Array());
  for (const name of ["bridge", "host-local"]) files.link(`${BIN}/weft`, `${BIN}/${name}`);
  files.makeDirectory(NETWORK);
  if (verb !== "ADD") {
    for (const address of ["10.1.0.2", "fd00:1::2"])
      files.writeFile(`${NETWORK}/${address}`, new TextEncoder().encode("c1\r\neth0"));
  }
  const podSettings = `/proc/namespace/${POD}/sys/net/ipv6/conf/eth0`;
  const hostSettings = ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"];
  const settings = ["disable_ipv6", "accept_dad", "keep_addr_on_down"].map((name) => `${podSettings}/${name}`);
  const localnet = "/proc/sys/net/ipv4/conf/cni0/route_localnet";
  for (const path of [...hostSettings, ...settings, localnet]) {
    files.makeDirectory(path.slice(0, path.lastIndexOf("/")));
    files.writeFile(path, new TextEncoder().encode(path === localnet && verb !== "ADD" ? "1" : "0"));
  }
  return files;
}

/** Replays the call. Requests after the end of the recording get no answer. */
async function play(recorded: Recorded, answers: Answers) {
  const { plugin, verb, input } = recorded;
  const loaded = async (name: string) =>
    ((await import(`../../plugins/${name}/main.ts`)) as { readonly plugin: Plugin }).plugin;
  const files = node(verb);
  const turns = new Map<string, number>();
  const system = new FakeSystem({
    files,
    executablePath: `${BIN}/weft`,
    namespaces: { [CALL.CNI_NETNS]: POD },
    input: JSON.stringify(input),
    environment: { ...CALL, CNI_COMMAND: verb, CNI_PATH: BIN },
    netlink: (_sent, peer: NetlinkPeer) => {
      const socket = socketKind(peer.protocol, peer.namespace === POD);
      const turn = turns.get(socket) ?? 0;
      turns.set(socket, turn + 1);
      return [...(answers.get(socket)?.[turn] ?? [])];
    },
  });
  const turnsTaken = recordNetlink(system);
  const status = runPlugin(await loaded(plugin), system, { "host-local": await loaded("host-local") });
  return {
    status,
    system,
    /** The messages that the call received, as a recording's `answers`. */
    received: formatAnswers(turnsTaken),
    reserved: files.readDirectory(NETWORK).filter((name) => /[.:]\d/.test(name) && !name.startsWith("last")),
  };
}

test.each(RECORDED)("%s succeeds with the recorded answers", async (_name, recorded) => {
  const { status, system } = await play(recorded, decoded(recorded));
  expect([status, system.output]).toEqual([0, recorded.verb === "ADD" ? expect.stringContaining('"ips"') : ""]);
});

test.each(RECORDED)("%s receives everything recorded, and nothing else", async (_name, recorded) => {
  const { received } = await play(recorded, decoded(recorded));
  expect(received).toEqual(recorded.answers);
});

test.each(RECORDED)("%s ends properly with any answers", async (_name, recorded) => {
  const original = decoded(recorded);
  const places = [...original].flatMap(([socket, turns]) =>
    turns.flatMap((turn, at) => turn.map((_, position) => ({ socket, at, position }))),
  );
  const damage = fc
    .tuple(fc.constantFrom(...places), fc.constantFrom("flip", "flip", "flip", "lose", "repeat"))
    .chain(([place, how]) => {
      const datagram = original.get(place.socket)?.[place.at]?.[place.position] as Uint8Array;
      return flipped(fc.constant(datagram)).map((bytes) => ({ ...place, how, bytes }));
    });
  await fc.assert(
    fc.asyncProperty(fc.array(damage, { minLength: 1, maxLength: 3 }), async (damages) => {
      const answers = new Map(
        [...original].map(([socket, turns]) => [
          socket,
          turns.map((turn, at) =>
            turn.flatMap((datagram, position) => {
              const hit = damages.find((one) => one.socket === socket && one.at === at && one.position === position);
              if (hit === undefined) return [datagram];
              return hit.how === "lose" ? [] : hit.how === "repeat" ? [datagram, datagram] : [hit.bytes];
            }),
          ),
        ]),
      );
      const { status, system, reserved } = await play(recorded, answers);
      expect(system.openCount).toBe(0);
      if (status === 0) return;
      const { code, msg } = JSON.parse(system.output) as Record<string, unknown>;
      expect([code, msg]).toEqual([expect.any(Number), expect.stringMatching(/./)]);
      expect(msg).not.toMatch(STUMBLE);
      if (recorded.verb === "ADD") expect(reserved).toEqual([]);
    }),
    { numRuns: runs(40, 1000) },
  );
});
