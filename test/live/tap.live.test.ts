/** tap on a real kernel: what a program that opens the device can do. test/differential compares its results. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { type CallOptions, OURS, PluginBed } from "./harness/plugin-bed.ts";

const DUAL = { type: "host-local", ranges: [[{ subnet: "10.32.0.0/24" }], [{ subnet: "fd00:32::/64" }]] };
const conf = (more: object = {}) => ({ cniVersion: "1.1.0", name: "net", type: "tap", ipam: DUAL, ...more });

let bed: PluginBed;
beforeEach(async () => {
  bed = await PluginBed.make();
});
afterEach(() => bed.close());

const tap = (verb: string, input: unknown = conf(), options: CallOptions = {}) =>
  bed.call(OURS, "tap", verb, input, options);

const taps = () => bed.pod.json<object[]>("ip", ["-j", "-d", "link", "show", "type", "tun"]);

test("the pod receives frames from a program that opens the device, and the device outlives the program", async () => {
  expect(await tap("ADD", conf({ owner: 0, group: 1000 }))).toMatchObject({ status: 0 });
  const asked = await bed.pod.run("perl", ["-e", ASKS]);
  expect(asked).toMatchObject({ status: 0, stdout: "10.32.0.2 is at home\n" });
  expect(await taps()).toMatchObject([{ ifname: "eth0", linkinfo: { info_data: { type: "tap", persist: true } } }]);
});

/**
 * Opens the tap device as a virtual machine would, and sends an ARP request for the pod's address every second: the
 * kernel sends nothing until it has processed the new carrier. Needs no perl modules.
 */
const ASKS = `
  open(my $tap, "+<:unix", "/dev/net/tun") or die "open: $!";
  my $request = pack("a16 s x22", "eth0", 0x1002);
  ioctl($tap, 0x400454ca, $request) or die "TUNSETIFF: $!";
  my $mac = "\\x0a\\0\\0\\0\\0\\1";
  my $question = "\\xff" x 6 . $mac . pack("n n n C C n", 0x0806, 1, 0x0800, 6, 4, 1) . $mac . pack("C4", 10, 32, 0, 9) . "\\0" x 6 . pack("C4", 10, 32, 0, 2);
  my $asked = 0;
  sub ask { die "no answer" if $asked++ == 20; syswrite($tap, $question); alarm 1; }
  $SIG{ALRM} = \\&ask;
  ask();
  while (1) {
    defined sysread($tap, my $frame, 2000) or next;
    next unless unpack("n", substr($frame, 12, 2)) == 0x0806 && unpack("n", substr($frame, 20, 2)) == 2;
    print join(".", unpack("C4", substr($frame, 28, 4))), " is at home\\n"; exit 0;
  }`;

test.each([
  ["an unreachable gateway", { ipam: { ...DUAL, routes: [{ dst: "10.9.0.0/16", gw: "10.99.0.1" }] } }, 999, /10\.99/],
  ["an MTU that the device cannot have", { mtu: 65_535 }, 999, /mtu 65535/],
  ["an unknown bridge", { bridge: "br0" }, 7, /^bridge: /],
  ["a bridge that is another kind of device", { bridge: "lo" }, 7, /^bridge: /],
  ["an unknown owner", { owner: 2 ** 32 - 1 }, 7, /^owner: /],
  ["a context for SELinux", { selinuxContext: "system_u:system_r:container_t:s0" }, 2, /^selinuxContext: /],
])("rejects %s, and leaves no tap", async (_name, more, code, message) => {
  const before = await bed.state();
  const added = await tap("ADD", conf(more));
  expect(added).toMatchObject({ status: 1, json: { code, msg: expect.stringMatching(message) } });
  expect(await bed.state()).toEqual(before);
});

test.each([
  ["another owner", { owner: 1001 }, /owner/],
  ["another group", { group: 7 }, /group/],
  ["one queue", { multiQueue: false }, /multiQueue/],
  ["a bridge", { bridge: "br0" }, /not a port of br0/],
])("CHECK detects that it lacks %s", async (_name, more, message) => {
  const input = conf({ owner: 1000, group: 1000, multiQueue: true, mtu: 1400 });
  await bed.pod.succeed("ip", ["link", "add", "br0", "type", "bridge"]);
  const added = await tap("ADD", input);
  expect(await tap("CHECK", { ...input, prevResult: added.json })).toMatchObject({ status: 0, output: "" });
  expect(await tap("CHECK", { ...input, ...more, prevResult: added.json })).toMatchObject({
    status: 1,
    json: { code: 999, msg: expect.stringMatching(message) },
  });
});

test("DEL, twice and without a namespace, leaves no device and no address", async () => {
  const added = await tap("ADD");
  const input = { ...conf(), prevResult: added.json };
  expect(await tap("DEL", input, { netns: "" })).toMatchObject({ status: 0, output: "" });
  expect(await bed.reservations()).toBe("");
  expect(await tap("DEL", input)).toMatchObject({ status: 0, output: "" });
  expect(await tap("DEL", input)).toMatchObject({ status: 0, output: "" });
  expect(await taps()).toEqual([]);
});

test("STATUS succeeds if taps can be made, and returns code 50 if they cannot", async () => {
  expect(await tap("STATUS")).toMatchObject({ status: 0, output: "" });
  // The node has a private mount namespace.
  await bed.node.succeed("sh", ["-c", "mount -t tmpfs tmpfs /dev/net"]);
  expect(await tap("STATUS")).toMatchObject({ status: 1, json: { code: 50, msg: expect.stringContaining("tun") } });
  expect(await tap("ADD")).toMatchObject({ status: 1, json: { msg: expect.stringMatching(/modprobe tun/) } });
  expect(await bed.reservations()).toBe("");
});
