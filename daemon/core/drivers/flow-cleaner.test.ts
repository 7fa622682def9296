import { expect, test } from "vitest";
import { addressToBytes, parseAddress } from "../../../pkg/ip/address.ts";
import { parseConnection } from "../../../pkg/kernel/connection.ts";
import type { FlowSearch } from "../../../pkg/kernel/flow-search.ts";
import { IPCTNL_MSG_CT_DELETE, IPCTNL_MSG_CT_GET } from "../../../pkg/netlink/conntrack.ts";
import { NetlinkError } from "../../../pkg/netlink/errors.ts";
import { decode, type Encodable, type Message, type Query, query, type Request } from "../../../pkg/netlink/message.ts";
import { FlowCleaner } from "./flow-cleaner.ts";

const asMessage = ({ type, body }: Encodable): Message => ({ type, flags: 0, sequence: 0, portId: 0, payload: body });
const bytes = (text: string) => addressToBytes(parseAddress(text));
const selector = {
  family: 4,
  protocol: 17,
  destination: parseAddress("10.96.0.10"),
  destinationPort: 53,
  zone: 0,
} as const;
const search: FlowSearch = {
  selector,
  exact: selector,
  matches: (message) => parseConnection(message)?.answeredBy?.value !== 1n,
};

const LIMITS = { held: 300, flushedFrom: 50 };
const EINVAL = 22;
const ENOENT = 2;
const EOPNOTSUPP = 95;

/** A table of UDP flows; ids count from 1. Refuses requests for which `refuses` has an errno. */
class Table {
  readonly flows = new Map<number, string>();
  readonly sent: string[] = [];
  readonly #refuses: (item: Encodable) => number | undefined;

  constructor(count: number, refuses: (item: Encodable) => number | undefined = () => undefined, by = "10.244.1.1") {
    for (let id = 1; id <= count; id++) this.flows.set(id, by);
    this.#refuses = refuses;
  }

  async dump(item: Query, isWanted: (message: Message) => boolean = () => true): Promise<readonly Message[]> {
    this.sent.push(
      `dump${decode(IPCTNL_MSG_CT_GET, asMessage(item)).attributes.zone === undefined ? " of all zones" : ""}`,
    );
    const refusal = this.#error(item);
    if (refusal) throw refusal;
    return [...this.flows].map(([id, by]) => tracked(id, by)).filter(isWanted);
  }

  async exchange(items: readonly (Request | Query)[]) {
    return items.map((item) => {
      const { id, filter } = decode(IPCTNL_MSG_CT_DELETE, asMessage(item)).attributes;
      if (filter !== undefined) this.sent.push("flush");
      const error = this.#error(item);
      if (error === undefined && filter !== undefined) this.flows.clear();
      const isGone = filter === undefined && !this.flows.delete(id ?? 0);
      return { error: error ?? (isGone ? new NetlinkError(item, ENOENT, undefined, "a test") : undefined) } as never;
    });
  }

  #error(item: Request | Query): NetlinkError | undefined {
    const errno = this.#refuses(item);
    return errno === undefined ? undefined : new NetlinkError(item, errno, undefined, "a test");
  }
}

const tracked = (id: number, by: string) =>
  asMessage(
    query(
      IPCTNL_MSG_CT_GET,
      "",
      { family: 2 },
      {
        original: {
          ip: { source4: bytes("10.244.9.9"), destination4: bytes("10.96.0.10") },
          protocol: { number: 17, sourcePort: id % 60_000, destinationPort: 53 },
        },
        reply: { ip: { source4: bytes(by) }, protocol: { number: 17, sourcePort: 53 } },
        id,
      },
    ),
  );
const isFlush = (item: Encodable) =>
  item.type === IPCTNL_MSG_CT_DELETE.type &&
  decode(IPCTNL_MSG_CT_DELETE, asMessage(item)).attributes.filter !== undefined;

test("deletes few flows one by one; one that has ended meanwhile is not a failure", async () => {
  const table = new Table(3);
  expect(await new FlowCleaner(table, LIMITS).clean(search)).toBe(3);
  expect(table.sent).toEqual(["dump"]);
  const racing = new Table(3);
  const { dump } = racing;
  racing.dump = async (...args) => {
    const found = await dump.apply(racing, args);
    racing.flows.delete(2);
    return found;
  };
  expect(await new FlowCleaner(racing, LIMITS).clean(search)).toBe(2);
});

test("keeps flows that are not stale", async () => {
  const table = new Table(2, undefined, "0.0.0.1");
  expect(await new FlowCleaner(table, LIMITS).clean(search)).toBe(0);
  expect(table.flows.size).toBe(2);
});

test("flushes many flows by filter", async () => {
  const table = new Table(100);
  expect(await new FlowCleaner(table, LIMITS).clean(search)).toBe(100);
  expect(table.sent).toEqual(["dump", "flush"]);
  expect(table.flows.size).toBe(0);
});

test("tries to flush by filter once on a kernel that cannot, and then deletes in several rounds", async () => {
  const table = new Table(400, (item) => (isFlush(item) ? EINVAL : undefined));
  const cleaner = new FlowCleaner(table, LIMITS);
  expect(await cleaner.clean(search)).toBe(400);
  expect(table.sent).toEqual(["dump", "flush", "dump"]);
  expect(table.flows.size).toBe(0);
});

test("never flushes flows that no selector describes exactly", async () => {
  const table = new Table(100);
  expect(await new FlowCleaner(table, LIMITS).clean({ ...search, exact: undefined })).toBe(100);
  expect(table.sent).toEqual(["dump"]);
});

test("queries a kernel without zones without a zone", async () => {
  const table = new Table(1, (item) =>
    decode(IPCTNL_MSG_CT_GET, asMessage(item)).attributes.filter &&
    decode(IPCTNL_MSG_CT_GET, asMessage(item)).attributes.zone === 0
      ? EOPNOTSUPP
      : undefined,
  );
  const cleaner = new FlowCleaner(table, LIMITS);
  expect(await cleaner.clean(search)).toBe(1);
  await cleaner.clean(search);
  expect(table.sent).toEqual(["dump", "dump of all zones", "dump of all zones"]);
});

test("throws other refusals", async () => {
  const table = new Table(1, () => 1);
  await expect(new FlowCleaner(table, LIMITS).clean(search)).rejects.toThrow(
    /conntrack -L -f ipv4 -p udp --orig-dst 10.96.0.10/,
  );
});
