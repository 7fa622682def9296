import { expect, test } from "vitest";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import { addressToBytes, parseAddress } from "../../../pkg/ip/address.ts";
import { type Prefix, parsePrefix } from "../../../pkg/ip/prefix.ts";
import { IPCTNL_MSG_CT_GET, RAW_CT_DELETE } from "../../../pkg/netlink/conntrack.ts";
import { NetlinkError } from "../../../pkg/netlink/errors.ts";
import { AF_INET, AF_INET6, RTM_DELLINK, RTM_NEWLINK } from "../../../pkg/netlink/link.ts";
import { decode, type Encodable, type Message, type Query, query, type Request } from "../../../pkg/netlink/message.ts";
import type { Logger } from "../../core/log.ts";
import { Topic } from "../../core/topic.ts";
import { FormerFlows } from "./former-flows.ts";
import { formerFlowsController } from "./index.ts";

const ENOENT = 2;
const asMessage = ({ type, body }: Encodable): Message => ({ type, flags: 0, sequence: 0, portId: 0, payload: body });
const bytes = (text: string) => addressToBytes(parseAddress(text));

type Flow = readonly [source: string, destination: string, answers?: string, answeredTo?: string];

/** The kernel's table. `walks` counts dumps by family. */
class Table {
  readonly flows: Map<number, Flow>;
  readonly walks: number[] = [];
  refusal: Error | undefined;
  /** Ends the dumps, if set. */
  gate: Promise<void> = Promise.resolve();

  constructor(...flows: readonly Flow[]) {
    this.flows = new Map(flows.map((flow, at) => [at + 1, flow]));
  }

  async dump(item: Query, isWanted: (message: Message) => boolean = () => true): Promise<readonly Message[]> {
    const family = decode(IPCTNL_MSG_CT_GET, asMessage(item)).header.family === AF_INET ? 4 : 6;
    this.walks.push(family);
    await this.gate;
    if (this.refusal !== undefined) throw this.refusal;
    return [...this.flows]
      .filter(([, [source]]) => source.includes(":") === (family === 6))
      .map(([id, flow]) => tracked(id, flow))
      .filter(isWanted);
  }

  async exchange(items: readonly (Request | Query)[]) {
    return items.map((item) => {
      const { original, id = 0 } = decode(RAW_CT_DELETE, asMessage(item)).attributes;
      expect(original?.length).toBeGreaterThan(0);
      const error = this.flows.delete(id) ? undefined : new NetlinkError(item, ENOENT, undefined, "a test");
      return { error } as never;
    });
  }

  get left(): string[] {
    return [...this.flows.values()].map((flow) => flow.join(" "));
  }
}

/** An ICMP connection, which has no ports. */
function tracked(id: number, [source, destination, answers = destination, answeredTo = source]: Flow): Message {
  const isIpv4 = !source.includes(":");
  const ip = (from: string, to: string) =>
    isIpv4 ? { source4: bytes(from), destination4: bytes(to) } : { source6: bytes(from), destination6: bytes(to) };
  const tuples = {
    original: { ip: ip(source, destination), protocol: { number: 1 } },
    reply: { ip: ip(answers, answeredTo), protocol: { number: 1 } },
  };
  return asMessage(query(IPCTNL_MSG_CT_GET, "", { family: isIpv4 ? AF_INET : AF_INET6 }, { ...tuples, id }));
}

const POD = ["10.244.1.7", "fd00:1::7"];

function bench(table: Table) {
  const clock = new ManualClock();
  const logged: unknown[] = [];
  const log = { info: (fields: unknown) => void logged.push(fields) } as unknown as Logger;
  const flows = new FormerFlows({ connections: table, clock, log });
  const attach = (containerId: string, addresses: readonly string[] = POD, isIsolated = true) =>
    flows.attached({ containerId, ifName: "eth0", addresses: addresses.map(parseAddress) }, isIsolated);
  /** The link of `containerId` is gone and the background cleans. */
  const end = async (...gone: readonly string[]) => {
    clock.advance(3000);
    return flows.compare((containerId) => !gone.includes(containerId));
  };
  return { clock, flows, attach, end, logged };
}

test("the first use of an address deletes every connection of it, in both directions and translated", async () => {
  const table = new Table(
    ["10.244.1.7", "10.0.0.1"],
    ["10.0.0.1", "10.244.1.7"],
    ["10.0.0.1", "10.96.0.10", "10.244.1.7", "10.0.0.1"],
    ["10.0.0.1", "10.9.9.9", "10.9.9.9", "10.244.1.7"],
    ["10.244.1.70", "10.0.0.1"],
    ["fd00:1::7", "fd00:2::1"],
    ["fd00:2::1", "fd00:1::7"],
    ["fd00:1::70", "fd00:2::1"],
  );
  const { attach, logged } = bench(table);
  await attach("c1");
  expect(table.left).toEqual(["10.244.1.70 10.0.0.1", "fd00:1::70 fd00:2::1"]);
  expect(table.walks).toEqual([4, 6]);
  expect(logged).toEqual([
    { family: 4, deleted: 4, addresses: 1 },
    { family: 6, deleted: 2, addresses: 1 },
  ]);
});

test("after a survey, only addresses that pods use or that connections have cost a walk", async () => {
  const table = new Table(["10.244.1.7", "10.0.0.1"], ["10.0.0.1", "10.96.0.10", "10.244.1.8", "10.0.0.1"]);
  const { flows, attach } = bench(table);
  await flows.survey(["10.244.1.0/24", "fd00:1::/64"].map(parsePrefix), [parseAddress("10.244.1.9")]);
  expect(table.walks).toEqual([4, 6]);
  await attach("c1", ["10.244.1.1", "fd00:1::1"]);
  expect(table.walks).toEqual([4, 6]);
  for (const [at, address] of ["10.244.1.7", "10.244.1.8", "10.244.1.9", "10.244.2.1"].entries()) {
    await attach(`d${at}`, [address]);
    expect(table.walks.length).toBe(3 + at);
  }
  expect(table.left).toEqual([]);
  await attach("c2", ["10.244.1.1"]);
  expect(table.walks.length).toBe(7);
});

test("a pod that takes an address during a survey leaves it unclean", async () => {
  const table = new Table();
  const { flows, attach } = bench(table);
  let open: (() => void) | undefined;
  table.gate = new Promise((resolve) => {
    open = resolve;
  });
  const survey = flows.survey([parsePrefix("10.244.1.0/24")], []);
  const attached = attach("c1", ["10.244.1.1"]);
  open?.();
  await Promise.all([survey, attached]);
  const before = table.walks.length;
  await attach("c2", ["10.244.1.1"]);
  expect(table.walks.length).toBe(before + 1);
});

test("a reused address costs no walk if the background has cleaned it", async () => {
  const table = new Table();
  const { attach, end } = bench(table);
  await attach("c1");
  table.flows.set(1, ["10.244.1.7", "10.0.0.1"]);
  table.walks.length = 0;
  expect(await end("c1")).toBe(true);
  expect([table.walks, table.left]).toEqual([[4, 6], []]);
  await attach("c2");
  expect(table.walks).toEqual([4, 6]);
});

test("a reuse before the background has cleaned waits for a walk, and the background then leaves the new pod's connections", async () => {
  const table = new Table();
  const { attach, end } = bench(table);
  await attach("c1");
  table.flows.set(1, ["10.244.1.7", "10.0.0.1"]);
  await attach("c2");
  expect(table.left).toEqual([]);
  table.flows.set(2, ["10.244.1.7", "10.0.0.2"]);
  table.walks.length = 0;
  await end("c1");
  expect([table.walks, table.left]).toEqual([[], ["10.244.1.7 10.0.0.2"]]);
  // The address is not among the clean ones: the second pod uses it.
  await attach("c3");
  expect(table.left).toEqual([]);
});

test("a pod that takes an address while the background cleans it leaves it unclean", async () => {
  const table = new Table();
  const { attach, end } = bench(table);
  await attach("c1", ["10.244.1.7"]);
  let open = (): void => undefined;
  table.gate = new Promise((resolve) => {
    open = resolve;
  });
  const cleaning = end("c1");
  const attaching = attach("c2", ["10.244.1.7"]);
  open?.();
  await Promise.all([cleaning, attaching]);
  table.walks.length = 0;
  await attach("c3", ["10.244.1.7"]);
  expect(table.walks).toEqual([4]);
});

test("a pod without isolation does not wait, and its end is cleaned", async () => {
  const table = new Table(["10.244.1.7", "10.0.0.1"]);
  const { attach, end } = bench(table);
  await attach("c1", POD, false);
  expect(table.walks).toEqual([]);
  await end("c1");
  expect(table.left).toEqual([]);
});

test("attachments at the same time share a walk that begins after all of them", async () => {
  const table = new Table();
  const { attach } = bench(table);
  let open = (): void => undefined;
  table.gate = new Promise((resolve) => {
    open = resolve;
  });
  const first = attach("c0", ["10.244.1.100"]);
  await new Promise((resolve) => setImmediate(resolve));
  expect(table.walks).toEqual([4]);
  const others = Array.from({ length: 20 }, (_, at) => attach(`c${at + 1}`, [`10.244.1.${at + 1}`]));
  open?.();
  await Promise.all([first, ...others]);
  expect(table.walks).toEqual([4, 4]);
});

test("an attachment that is younger than a snapshot may be is judged later", async () => {
  const table = new Table();
  const { attach, clock, flows } = bench(table);
  await attach("c1");
  table.walks.length = 0;
  clock.advance(100);
  expect(await flows.compare(() => false)).toBe(false);
  expect(table.walks).toEqual([]);
  clock.advance(2000);
  expect(await flows.compare(() => false)).toBe(true);
  expect([table.walks, flows.hasAttachments]).toEqual([[4, 6], false]);
});

test("a refusal fails the attachment, and the next one walks again", async () => {
  const table = new Table(["10.244.1.7", "10.0.0.1"]);
  const { attach } = bench(table);
  table.refusal = new Error("no buffer space");
  await expect(attach("c1")).rejects.toThrow(/no buffer space/);
  table.refusal = undefined;
  await attach("c1");
  expect(table.left).toEqual([]);
});

test("a connection that ends during the cleaning is no failure", async () => {
  const table = new Table(["10.244.1.7", "10.0.0.1"]);
  const { dump } = table;
  table.dump = async (...args) => {
    const found = await dump.apply(table, args);
    table.flows.clear();
    return found;
  };
  await bench(table).attach("c1");
  expect(table.left).toEqual([]);
});

test("the controller compares the marks of links when a link is gone, and surveys once", async () => {
  const asked: boolean[] = [];
  const surveys: unknown[] = [];
  const later: string[] = [];
  const flows = {
    hasAttachments: true,
    compare: async (hasLink: (containerId: string, ifName: string) => boolean) => {
      asked.push(hasLink("c1", "eth0"), hasLink("c1", "net1"), hasLink("c2", "eth0"));
      return false;
    },
    survey: async (...given: readonly unknown[]) => void surveys.push(given),
  };
  const used = [parseAddress("10.244.1.9")];
  let subnets: Prefix[] | undefined;
  const { subscriptions, run } = formerFlowsController(flows, {
    topic: new Topic("subnets"),
    subnets: () => subnets,
    used: () => used,
  });
  const message = (type: number) => ({ type }) as Message;
  expect(subscriptions.reasonFor?.(message(RTM_DELLINK.type))).toMatchObject({ reason: "a link is gone" });
  expect(subscriptions.reasonFor?.(message(RTM_NEWLINK.type))).toBeUndefined();
  const state = { links: [{ alias: "cni:cbr0/c1/eth0" }, { alias: "another program's" }, {}] };
  const pass = {
    reasons: [],
    kernel: { snapshot: async () => ({ state, port: 0 }) as never },
    later: (reason: string) => void later.push(reason),
  };
  await run(pass);
  expect([asked, later, surveys]).toEqual([[true, false, false], ["an attachment is young"], []]);
  subnets = [parsePrefix("10.244.1.0/24")];
  await run(pass);
  await run(pass);
  expect(surveys).toEqual([[subnets, used]]);
});
