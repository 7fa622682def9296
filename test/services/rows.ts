/** The rows of test/vectors/services/packets: objects and settings of a node, and the fate of packets there. */
import { readdirSync, readFileSync } from "node:fs";
import { parse } from "yaml";
import { type Address, formatAddress } from "../../pkg/ip/address.ts";

export type Verdict = "reject" | "drop" | "untouched";

export interface Row {
  readonly name: string;
  readonly from: string;
  readonly to: string;
  readonly port: number;
  readonly protocol: "TCP" | "UDP" | "SCTP";
  /** "address:port" of each endpoint that is reached, or the verdict on the packet. */
  readonly expect: readonly string[] | Verdict;
  /** True if the endpoints see the node as the client, or the endpoints that do. */
  readonly masqueraded: boolean | readonly string[];
  /** The fields above that differ with weft. */
  readonly weft: Partial<Pick<Row, "expect" | "masqueraded">>;
}

/** The settings that a case may change. */
export interface CaseOptions {
  readonly masqueradeAll: boolean;
  /** The node's pods. */
  readonly podCIDRs: readonly string[];
  /** Prefixes of the node's addresses that serve NodePorts. */
  readonly nodePortAddresses: readonly string[];
  /** "address:port" of the API server. */
  readonly reserved: readonly string[];
  /** As `NodeFacts.externalIPs`. */
  readonly externalIPs: "all" | "none" | readonly string[];
}

export interface Case {
  /** The title of the file and of the case. */
  readonly title: string;
  readonly family: 4 | 6;
  readonly options: CaseOptions;
  /** Addresses of the node in addition to NODE_ADDRESSES. */
  readonly boundToNode: readonly string[];
  readonly serviceCIDRs: readonly string[];
  /** Primary first. */
  readonly nodeAddresses: readonly string[];
  /** As the API server sends them. */
  readonly services: readonly object[];
  readonly slices: readonly object[];
  readonly rows: readonly Row[];
  readonly isMirrored: boolean;
  /** True if the case is not one of kube-proxy's. */
  readonly isOurs: boolean;
  /** True if the case also applies to IPv6. */
  readonly mirrors: boolean;
}

/** IPPROTO_* */
export const PROTOCOLS = { TCP: 6, UDP: 17, SCTP: 132 } as const;

export const NODE_NAME = "test-node";

const NODE = {
  options: {
    masqueradeAll: false,
    podCIDRs: ["10.0.0.0/8", "fd00:10::/64"],
    nodePortAddresses: ["192.168.0.2/32", "2001:db8::1/128"],
    reserved: [],
    externalIPs: "all",
  } satisfies CaseOptions,
  boundToNode: [],
  serviceCIDRs: ["172.30.0.0/16", "fd00:10:96::/112"],
  nodeAddresses: ["192.168.0.2", "192.168.1.2", "192.168.99.11", "2001:db8::1", "2001:db8:1::2"],
  services: [],
  slices: [],
};

export interface CaseInFile extends Partial<Omit<Case, "options" | "rows">> {
  readonly title: string;
  readonly options?: Partial<CaseOptions>;
  readonly rows: readonly (Partial<Row> & Pick<Row, "name" | "from" | "to" | "port" | "expect">)[];
}

interface CasesFile {
  readonly title: string;
  readonly ours?: boolean;
  readonly cases: readonly CaseInFile[];
}

const FOLDER = new URL("../vectors/services/packets/", import.meta.url);

/** All cases of the files in order; those that also apply to IPv6 appear a second time, in IPv6. */
export function allCases(): Case[] {
  return readCases().flatMap((each) => (each.family === 4 && each.mirrors ? [each, mirror(each)] : [each]));
}

function readCases(): Case[] {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith(".yaml"))
    .sort()
    .flatMap((file) => {
      const { title, ours = false, cases } = parse(readFileSync(new URL(file, FOLDER), "utf8")) as CasesFile;
      return cases.map((each) => caseOf(title, { isOurs: ours, ...each }));
    });
}

/** Adds the values that all cases have in common. */
export function caseOf(file: string, { title, options = {}, rows, ...rest }: CaseInFile): Case {
  return {
    ...NODE,
    family: 4,
    isMirrored: false,
    isOurs: false,
    mirrors: true,
    ...rest,
    title: `${file}: ${title}`,
    options: { ...NODE.options, ...options },
    rows: rows.map((row) => ({ protocol: "TCP", masqueraded: false, weft: {}, ...row })),
  };
}

const DOTTED = /(?<![0-9.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9.])/;
const PORT = new RegExp(`(${DOTTED.source}):([0-9]+)`);
const PREFIX = new RegExp(`(${DOTTED.source})/([0-9]+)`);

/**
 * Converts a case of IPv4 to IPv6: a.b.c.d becomes fd77:77::a.b.c.d, and /n becomes /(96 + n). Removes the node's own
 * IPv6 addresses.
 */
export function mirror(from: Case): Case {
  if (from.family !== 4) throw new Error(`${from.title}: only cases of IPv4 can be mirrored`);
  const isIPv4 = (text: string) => !text.includes(":");
  const one = {
    ...from,
    serviceCIDRs: from.serviceCIDRs.filter(isIPv4),
    nodeAddresses: from.nodeAddresses.filter(isIPv4),
    options: {
      ...from.options,
      podCIDRs: from.options.podCIDRs.filter(isIPv4),
      nodePortAddresses: from.options.nodePortAddresses.filter(isIPv4),
    },
  };
  return { ...(inIPv6(one) as Case), title: `${from.title}, mirrored`, family: 6, isMirrored: true };
}

function inIPv6(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inIPv6);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, inIPv6(inner)]));
  }
  if (typeof value !== "string") return value;
  if (value === "IPv4") return "IPv6";
  return value
    .replace(
      new RegExp(PREFIX, "g"),
      (_, address: string, length: string) => `${mapped(address)}/${Number(length) + 96}`,
    )
    .replace(new RegExp(PORT, "g"), (_, address: string, port: string) => `[${mapped(address)}]:${port}`)
    .replace(new RegExp(DOTTED, "g"), mapped);
}

/** The canonical form of IPv6, in which all programs print it. */
function mapped(dotted: string): string {
  const [a = 0, b = 0, c = 0, d = 0] = dotted.split(".").map(Number);
  const hex = (high: number, low: number) => ((high << 8) | low).toString(16);
  return `fd77:77::${hex(a, b)}:${hex(c, d)}`;
}

/** The format of `expect`. */
export function endpointText({ address, port }: { readonly address: Address; readonly port: number }): string {
  const text = formatAddress(address);
  return address.family === 4 ? `${text}:${port}` : `[${text}]:${port}`;
}

export interface Expectation {
  readonly expect: Row["expect"];
  /** The endpoints that see the node as the client. */
  readonly masqueraded: readonly string[];
}

/** The result of a row's packet with weft. Endpoints are sorted as text. */
export function expectationOf(row: Row): Expectation {
  const { expect, masqueraded } = { ...row, ...row.weft };
  if (typeof expect === "string") return { expect, masqueraded: [] };
  const all = [...expect].sort();
  return {
    expect: all,
    masqueraded: typeof masqueraded === "object" ? [...masqueraded].sort() : masqueraded ? all : [],
  };
}
