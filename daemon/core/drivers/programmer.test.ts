import { describe, expect, test } from "vitest";
import { RTPROT_WEFT } from "../../../pkg/footprint.ts";
import { BaseChains } from "../../../pkg/foreign/base-chains.ts";
import { addressToBytes, parseAddress } from "../../../pkg/ip/address.ts";
import { parseMac } from "../../../pkg/ip/mac.ts";
import { parseSubnet } from "../../../pkg/ip/prefix.ts";
import { addRoute, type ObservedRoute } from "../../../pkg/kernel/route.ts";
import type { KernelSnapshot } from "../../../pkg/kernel/snapshot.ts";
import { vtepDevice } from "../../../pkg/kernel/vtep-device.ts";
import { NetlinkError } from "../../../pkg/netlink/errors.ts";
import type { Reply } from "../../../pkg/netlink/exchange.ts";
import { RTM_NEWLINK } from "../../../pkg/netlink/link.ts";
import {
  type Encodable,
  identityText,
  type Message,
  type Query,
  query,
  type Request,
} from "../../../pkg/netlink/message.ts";
import { NF_INET_HOOK, NFT_MSG_NEWCHAIN, NFT_MSG_NEWTABLE, VERDICT } from "../../../pkg/netlink/nftables.ts";
import { RT_TABLE_MAIN } from "../../../pkg/netlink/route.ts";
import { type DataPath, planDataPath } from "../../../pkg/reconcile/data-path.ts";
import { requestStep } from "../../../pkg/reconcile/plan-step.ts";
import { type Gate, OPEN_GATE } from "../../../pkg/reconcile/repair-gate.ts";
import { FakeFiles } from "../../../pkg/sys/fake-files.ts";
import { nodeMasquerade } from "../../../pkg/tables/masquerade.ts";
import type { Controller, PlanOutcome } from "../controller.ts";
import { errorsOf, runnable } from "../controller-pass.ts";
import { Drivers } from "./drivers.ts";
import { Programmer, RefusedError } from "./programmer.ts";

const EPERM = 1;
const ENOENT = 2;
const ESRCH = 3;
const EBUSY = 16;
const ENETUNREACH = 101;

const nothing: KernelSnapshot = { links: [], addresses: [], routes: [], neighbours: [], forwarding: [] };
const noDevices: DataPath = { devices: [], routes: [], neighbours: [], forwarding: [] };

/** A fake kernel that answers each request with the errno that `answer` returns (0: done). */
class FakeKernel {
  readonly sent: string[] = [];
  readonly committed: Request[] = [];
  links: Message[] = [];
  answer: (text: string) => number = () => 0;
  /** Returns the answer to a query, by its text. */
  answers: (text: string) => Message[] = (text) => (text === "ip link show" ? this.links : []);
  refuseCommit: (requests: readonly Request[]) => number = () => 0;

  async exchange(requests: readonly (Request | Query)[]): Promise<Reply[]> {
    return requests.map((one) => {
      this.sent.push(one.text);
      const errno = this.answer(one.text);
      const error = errno === 0 ? undefined : new NetlinkError(one, errno, undefined, "a test");
      return {
        request: one,
        messages: error === undefined ? this.answers(one.text) : [],
        error,
        errno,
        interrupted: false,
      };
    });
  }

  async dump(one: Query): Promise<readonly Message[]> {
    const errno = this.answer(one.text);
    if (errno !== 0) throw new NetlinkError(one, errno, undefined, "a test");
    return this.answers(one.text);
  }

  async commit(requests: readonly Request[]): Promise<readonly Message[]> {
    const errno = this.refuseCommit(requests);
    if (errno !== 0) throw new NetlinkError(requests[0] as Request, errno, undefined, "a test");
    this.committed.push(...requests);
    return [];
  }
}

const asMessage = ({ type, body }: Encodable): Message => ({ type, flags: 0, sequence: 0, portId: 0, payload: body });

function bench() {
  const kernel = new FakeKernel();
  return { kernel, programmer: new Programmer(kernel, kernel, new BaseChains()) };
}

/** Runs one pass that programs `desired`. Returns the requests, the refusals, and the error of the pass. */
async function program(programmer: Programmer, desired: DataPath, observed: KernelSnapshot, gate?: Gate) {
  let outcome: PlanOutcome<DataPath, KernelSnapshot> | undefined;
  let seen: KernelSnapshot | undefined = observed;
  const controller: Controller<DataPath, KernelSnapshot> = {
    name: "programming",
    subscriptions: {},
    desired: () => desired,
    observe: async (kernel) => {
      const state = seen ?? (await kernel.snapshot()).state;
      seen = undefined;
      return state;
    },
    plan: (wanted, state) => {
      const { requests, ...plan } = planDataPath(wanted, state);
      return { ...plan, steps: requests.map((one) => requestStep(one, gate !== undefined)) };
    },
    errorsOf: ({ isComplete, failures }) => (isComplete ? [] : errorsOf(failures)),
    settled: (_pass, settled) => {
      outcome = settled;
    },
  };
  const processes = { keep: async () => ({ done: [], failures: [] }) };
  const drivers = new Drivers({ kernel: programmer, settings: new FakeFiles(), processes });
  const kernel = { snapshot: () => programmer.observe() };
  const pass = runnable(controller, { drivers, gate: gate ?? OPEN_GATE }).run({
    reasons: [],
    kernel,
    later: () => undefined,
  });
  const error = await pass.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  const requests = outcome?.done.flatMap((step) => (step.kind === "request" ? [step.request] : [])) ?? [];
  const refusals = outcome?.failures.flatMap(({ error }) => (error instanceof NetlinkError ? [error] : [])) ?? [];
  return { requests, refusals, error };
}

const routeTo = (subnet: string, gateway: string) => ({
  destination: parseSubnet(subnet),
  gateway: parseAddress(gateway),
  by: { index: 2 },
});

const heldRoute: ObservedRoute = {
  destination: parseSubnet("10.244.9.0/24"),
  gateway: parseAddress("192.0.2.9"),
  outputIndex: 2,
  protocol: RTPROT_WEFT,
  table: RT_TABLE_MAIN,
  scope: 0,
  type: 1,
  isMultipath: false,
};

test("an observation has the port through which this process programs", async () => {
  const { kernel, programmer } = bench();
  const { type, body } = query(RTM_NEWLINK, "", { index: 2 }, { ifname: "eth0" });
  kernel.links = [{ type, flags: 0, sequence: 1, portId: 4242, payload: body }];
  const { state, port } = await programmer.observe();
  expect([state.links.map(({ name }) => name), port]).toEqual([["eth0"], 4242]);
});

test("onSend is called when requests are sent and again when they are answered", async () => {
  const kernel = new FakeKernel();
  const heard: number[] = [];
  const programmer = new Programmer(kernel, kernel, new BaseChains(), () => heard.push(kernel.sent.length));
  await programmer.send([addRoute({ destination: parseSubnet("10.244.2.0/24") })]);
  expect(heard).toEqual([0, 1]);
});

describe("program", () => {
  const desired = {
    ...noDevices,
    routes: [routeTo("10.244.2.0/24", "192.0.2.2"), routeTo("10.244.3.0/24", "192.0.2.3")],
  };

  test("reports refused requests after it carried out the others", async () => {
    const { kernel, programmer } = bench();
    kernel.answer = (text) => (text.includes("10.244.2.0/24") ? ENETUNREACH : 0);
    const { requests, refusals } = await program(programmer, desired, nothing);
    expect([...requests, ...refusals]).toHaveLength(2);
    expect(kernel.sent[1]).toMatch(/^ip route add 10\.244\.3\.0\/24 via 192\.0\.2\.3/);
    expect(refusals.map(({ code }) => code)).toEqual(["ENETUNREACH"]);
    expect(new RefusedError([...refusals, ...refusals]).message).toMatch(
      /^the kernel refused: ip route add 10\.244\.2\.0\/24 .* network is unreachable .* \(and 1 more\)$/,
    );
  });

  test("counts an absent object as removed, but not a busy one", async () => {
    const { kernel, programmer } = bench();
    const observed = { ...nothing, routes: [heldRoute] };
    kernel.answer = () => ESRCH;
    expect((await program(programmer, noDevices, observed)).refusals).toEqual([]);
    kernel.answer = () => EBUSY;
    expect((await program(programmer, noDevices, observed)).refusals).toHaveLength(1);
  });

  const vtep = vtepDevice({
    name: "flannel.1",
    vni: 1,
    port: 8472,
    local: parseAddress("192.0.2.1"),
    underlayIndex: 2,
    mac: "0a:00:00:00:00:01",
    mtu: 1450,
    addresses: [],
  });

  test("fails if the kernel refuses its own device", async () => {
    const { kernel, programmer } = bench();
    kernel.answer = (text) => (text.startsWith("ip link add") ? EBUSY : 0);
    const { error } = await program(programmer, { ...noDevices, devices: [vtep] }, nothing);
    expect(error).toBeInstanceOf(RefusedError);
    expect(kernel.sent).toHaveLength(1);
  });

  test("gives up on a device that vanishes each time it is made", async () => {
    const { kernel, programmer } = bench();
    const { error } = await program(programmer, { ...noDevices, devices: [vtep] }, nothing);
    expect(String(error)).toContain("another program removes it");
    expect(kernel.sent).toHaveLength(3);
  });
});

describe("a repair that another program undoes", () => {
  const desired = {
    ...noDevices,
    routes: [routeTo("10.244.2.0/24", "192.0.2.2"), routeTo("10.244.3.0/24", "192.0.2.3")],
  };
  const gate: Gate = {
    mayPutBack: ({ kind, key }) => !key.includes("10.244.2.0/24") && kind !== "link",
    refused: () => undefined,
    assertNothingRests: () => {
      throw new Error("it rests");
    },
  };

  test("is not sent during its back-off, and other repairs are", async () => {
    const { kernel, programmer } = bench();
    const { requests } = await program(programmer, desired, nothing, gate);
    expect(requests.map(({ text }) => text)).toEqual(kernel.sent);
    expect(kernel.sent).toEqual([expect.stringContaining("10.244.3.0/24")]);
  });

  test("counts once if a device is created and then brought up, regardless of the steps", async () => {
    const { kernel, programmer } = bench();
    const vtep = vtepDevice({
      ...{ name: "flannel.1", vni: 1, port: 8472, local: parseAddress("192.0.2.1"), underlayIndex: 2 },
      ...{ mac: "0a:00:00:00:00:01", mtu: 1450, addresses: [] },
    });
    const data = { vni: 1, port: 8472, link: 2, local: addressToBytes(vtep.local), learning: 0 };
    const linkInfo = { device: { kind: "vxlan" as const, data } };
    const made = { ifname: vtep.name, address: parseMac(vtep.mac), mtu: 1450, linkInfo };
    kernel.links = [asMessage(query(RTM_NEWLINK, "", { index: 7 }, made))];
    const asked: string[] = [];
    const once: Gate = { ...gate, mayPutBack: (object) => asked.push(identityText(object)) === 1 };
    await program(programmer, { ...noDevices, devices: [vtep] }, nothing, once);
    expect(kernel.sent).toEqual([
      expect.stringMatching(/^ip link add flannel\.1 /),
      expect.stringMatching(/^ip link set flannel\.1 .* up$/),
    ]);
    expect(asked).toEqual(["link flannel.1"]);
  });

  test("holds back the steps that depend on it", async () => {
    const { kernel, programmer } = bench();
    const devices = [
      vtepDevice({
        ...{ name: "flannel.1", vni: 1, port: 8472, local: parseAddress("192.0.2.1"), underlayIndex: 2 },
        ...{ mac: "0a:00:00:00:00:01", mtu: 1450, addresses: [] },
      }),
    ];
    const { error } = await program(programmer, { ...noDevices, devices }, nothing, gate);
    expect(String(error)).toContain("it rests");
    expect(kernel.sent).toEqual([]);
  });
});

test("reads a forward chain again if another program changes it at the same time", async () => {
  const { kernel, programmer } = bench();
  const place = { table: "site", name: "forward" };
  kernel.answers = (text) => {
    if (text === "nft list tables") return [asMessage(query(NFT_MSG_NEWTABLE, "", { family: 2 }, { name: "site" }))];
    if (text !== "nft list chains ip" && text !== "nft list chain ip site forward (without rules)") return [];
    const hook = { number: NF_INET_HOOK.forward, priority: 0 };
    return [asMessage(query(NFT_MSG_NEWCHAIN, "", { family: 2 }, { ...place, hook, policy: VERDICT.drop }))];
  };
  let refusals = 2;
  kernel.refuseCommit = () => (refusals-- > 0 ? ENOENT : 0);
  const { sent } = await programmer.acceptForwarded([parseSubnet("10.244.0.0/16")]);
  expect(sent.map(({ text }) => text)).toEqual([
    'nft insert rule ip site forward ip saddr 10.244.0.0/16 counter accept comment "weft:pods 10.244.0.0/16"',
    'nft insert rule ip site forward ip daddr 10.244.0.0/16 counter accept comment "weft:pods 10.244.0.0/16"',
  ]);
  expect(kernel.committed).toHaveLength(2);
  expect((await programmer.acceptForwarded([parseSubnet("10.244.0.0/16")], () => false)).sent).toEqual([]);
  kernel.refuseCommit = () => EBUSY;
  await expect(programmer.acceptForwarded([parseSubnet("10.244.0.0/16")])).rejects.toThrow("(EBUSY)");
});

test("changes the next table if the first belongs to an owner that excludes other programs", async () => {
  const { kernel, programmer } = bench();
  const chain = (table: string) => {
    const hook = { number: NF_INET_HOOK.forward, priority: 0 };
    return asMessage(
      query(NFT_MSG_NEWCHAIN, "", { family: 2 }, { table, name: "forward", hook, policy: VERDICT.drop }),
    );
  };
  kernel.answers = (text) => {
    if (text === "nft list tables")
      return ["owned", "site"].map((name) => asMessage(query(NFT_MSG_NEWTABLE, "", { family: 2 }, { name })));
    if (text === "nft list chains ip") return ["owned", "site"].map(chain);
    const [, name] = /^nft list chain ip (\S+) forward \(without rules\)$/.exec(text) ?? [];
    return name === undefined ? [] : [chain(name)];
  };
  kernel.refuseCommit = (requests) => (requests[0]?.text.includes(" owned ") === true ? EPERM : 0);
  const { sent, blocked } = await programmer.acceptForwarded([parseSubnet("10.244.0.0/16")]);
  expect(sent.map(({ text }) => text)).toEqual([
    expect.stringContaining("ip site forward ip saddr"),
    expect.stringContaining("ip site forward ip daddr"),
  ]);
  expect(blocked.map(({ code }) => code)).toEqual(["EPERM"]);
});

describe("replaceTable", () => {
  const table = nodeMasquerade({ podRanges: [parseSubnet("10.244.0.0/16")], exempt: [] });

  test("creates a missing table", async () => {
    const { kernel, programmer } = bench();
    kernel.answer = (text) => (/list (set|table|sets) /.test(text) ? ENOENT : 0);
    expect(await programmer.replaceTable(table)).toBe(true);
    expect(kernel.committed.length).toBeGreaterThan(3);
  });

  test("does not mistake another failure for a missing table", async () => {
    const { kernel, programmer } = bench();
    kernel.answer = () => EBUSY;
    await expect(programmer.replaceTable(table)).rejects.toThrow("(EBUSY)");
    expect(kernel.committed).toEqual([]);
  });
});
