/**
 * nftables objects on the wire (include/uapi/linux/netfilter/nf_tables.h, nfnetlink.h). Numbers in attributes are in
 * network byte order. The content of registers has the byte order of the packet or of the key's type.
 */
import {
  attribute,
  attributes,
  be16,
  be32,
  be64,
  bytes,
  cstring,
  list,
  nest,
  struct,
  u8,
  type ValueOf,
  variant,
} from "./codec.ts";
import type { MessageType } from "./message.ts";

/** struct nfgenmsg. `resourceId` is the ruleset's generation in a batch, otherwise 0. */
export const nfgenmsg = struct({ family: u8, version: u8, resourceId: be16 });

export const NFPROTO = { inet: 1, ip: 2, bridge: 7, ip6: 10 } as const;
/** No specific family. */
export const NFPROTO_UNSPEC = 0;
export const NF_INET_HOOK = { prerouting: 0, input: 1, forward: 2, output: 3, postrouting: 4 } as const;
export const NFT_SET = {
  anonymous: 1,
  constant: 2,
  interval: 4,
  map: 8,
  timeout: 0x10,
  dynamic: 0x20,
  concat: 0x80,
} as const;
export const NFT_SET_ELEM_INTERVAL_END = 1;

/** NFT_REG_VERDICT, and the first two 16-byte data registers. */
export const NFT_REG = { verdict: 0, r1: 1, r2: 2 } as const;
/**
 * The first of the 4-byte registers (NFT_REG32_00), which are parts of the 16-byte ones: it is the first four bytes of
 * r1.
 */
export const NFT_REG32_00 = 8;
/** Verdict codes: netfilter's codes are not negative, nf_tables' own are negative. */
export const VERDICT = { drop: 0, accept: 1, jump: -3, goto: -4, return: -5 } as const;
export const NFT_CMP = { eq: 0, neq: 1, lt: 2, lte: 3, gt: 4, gte: 5 } as const;
export const NFT_PAYLOAD_BASE = { link: 0, network: 1, transport: 2 } as const;
export const NFT_META = {
  length: 0,
  protocol: 1,
  packetPriority: 2,
  mark: 3,
  iif: 4,
  oif: 5,
  iifname: 6,
  oifname: 7,
  nfproto: 15,
  l4proto: 16,
} as const;
/** Address keys are per family, because the generic `destination` key does not define a length. */
export const NFT_CT = {
  state: 0,
  direction: 1,
  status: 2,
  protocolDestination: 12,
  destinationIpv4: 20,
  destinationIpv6: 22,
} as const;
/** IP_CT_DIR_ORIGINAL */
export const CT_DIRECTION_ORIGINAL = 0;
export const NFT_FIB_RESULT = { oif: 1, oifname: 2, addrtype: 3 } as const;
export const NFT_FIB_FLAG = { saddr: 1, daddr: 2 } as const;
export const NFT_NAT = { snat: 0, dnat: 1 } as const;
export const NFT_LOOKUP_F_INV = 1;
/** NFT_NG_RANDOM: a new random number for each packet. */
export const NFT_NG_RANDOM = 1;
/** NFT_HASH_JENKINS: the kernel's jhash(). */
export const NFT_HASH_JENKINS = 0;
export const NFT_DYNSET_OP = { add: 0, update: 1, delete: 2 } as const;
/** NFT_REJECT_ICMPX_UNREACH with NFT_REJECT_ICMPX_PORT_UNREACH: the same rejection for both families of `inet`. */
export const NFT_REJECT_ICMPX = { unreachable: 2, portUnreachable: 1 } as const;
/** NFT_REJECT_TCP_RST */
export const NFT_REJECT_TCP_RESET = 1;
/** NF_NAT_RANGE_MAP_IPS, _PROTO_SPECIFIED, _PROTO_RANDOM_FULLY (include/uapi/linux/netfilter/nf_nat.h). */
export const NF_NAT_RANGE = { mapIps: 1, protoSpecified: 2, randomFully: 1 << 4 } as const;

const verdict = attributes({
  code: attribute(1, "NFTA_VERDICT_CODE", be32),
  chain: attribute(2, "NFTA_VERDICT_CHAIN", cstring),
});
const data = attributes({
  value: attribute(1, "NFTA_DATA_VALUE", bytes),
  verdict: attribute(2, "NFTA_DATA_VERDICT", nest(verdict)),
});
export type NftData = ValueOf<typeof data>;

const expressionData = {
  immediate: attributes({
    dreg: attribute(1, "NFTA_IMMEDIATE_DREG", be32),
    data: attribute(2, "NFTA_IMMEDIATE_DATA", nest(data)),
  }),
  cmp: attributes({
    sreg: attribute(1, "NFTA_CMP_SREG", be32),
    op: attribute(2, "NFTA_CMP_OP", be32),
    data: attribute(3, "NFTA_CMP_DATA", nest(data)),
  }),
  bitwise: attributes({
    sreg: attribute(1, "NFTA_BITWISE_SREG", be32),
    dreg: attribute(2, "NFTA_BITWISE_DREG", be32),
    length: attribute(3, "NFTA_BITWISE_LEN", be32),
    mask: attribute(4, "NFTA_BITWISE_MASK", nest(data)),
    xor: attribute(5, "NFTA_BITWISE_XOR", nest(data)),
    /** Present in dumps since Linux 5.6; 0 is mask-and-xor. */
    op: attribute(6, "NFTA_BITWISE_OP", be32),
    data: attribute(7, "NFTA_BITWISE_DATA", nest(data)),
  }),
  lookup: attributes({
    set: attribute(1, "NFTA_LOOKUP_SET", cstring),
    sreg: attribute(2, "NFTA_LOOKUP_SREG", be32),
    dreg: attribute(3, "NFTA_LOOKUP_DREG", be32),
    setId: attribute(4, "NFTA_LOOKUP_SET_ID", be32),
    flags: attribute(5, "NFTA_LOOKUP_FLAGS", be32),
  }),
  payload: attributes({
    dreg: attribute(1, "NFTA_PAYLOAD_DREG", be32),
    base: attribute(2, "NFTA_PAYLOAD_BASE", be32),
    offset: attribute(3, "NFTA_PAYLOAD_OFFSET", be32),
    length: attribute(4, "NFTA_PAYLOAD_LEN", be32),
  }),
  meta: attributes({
    dreg: attribute(1, "NFTA_META_DREG", be32),
    key: attribute(2, "NFTA_META_KEY", be32),
    sreg: attribute(3, "NFTA_META_SREG", be32),
  }),
  ct: attributes({
    dreg: attribute(1, "NFTA_CT_DREG", be32),
    key: attribute(2, "NFTA_CT_KEY", be32),
    direction: attribute(3, "NFTA_CT_DIRECTION", u8),
    sreg: attribute(4, "NFTA_CT_SREG", be32),
  }),
  fib: attributes({
    dreg: attribute(1, "NFTA_FIB_DREG", be32),
    result: attribute(2, "NFTA_FIB_RESULT", be32),
    flags: attribute(3, "NFTA_FIB_FLAGS", be32),
  }),
  /** xtables extensions (nft_compat); `info` is the extension's own struct, padded to eight bytes. */
  match: attributes({
    name: attribute(1, "NFTA_MATCH_NAME", cstring),
    revision: attribute(2, "NFTA_MATCH_REV", be32),
    info: attribute(3, "NFTA_MATCH_INFO", bytes),
  }),
  target: attributes({
    name: attribute(1, "NFTA_TARGET_NAME", cstring),
    revision: attribute(2, "NFTA_TARGET_REV", be32),
    info: attribute(3, "NFTA_TARGET_INFO", bytes),
  }),
  /** The registers with the minimum and maximum of the new address and port. */
  nat: attributes({
    type: attribute(1, "NFTA_NAT_TYPE", be32),
    family: attribute(2, "NFTA_NAT_FAMILY", be32),
    addressMin: attribute(3, "NFTA_NAT_REG_ADDR_MIN", be32),
    addressMax: attribute(4, "NFTA_NAT_REG_ADDR_MAX", be32),
    portMin: attribute(5, "NFTA_NAT_REG_PROTO_MIN", be32),
    portMax: attribute(6, "NFTA_NAT_REG_PROTO_MAX", be32),
    flags: attribute(7, "NFTA_NAT_FLAGS", be32),
  }),
  masq: attributes({ flags: attribute(1, "NFTA_MASQ_FLAGS", be32) }),
  counter: attributes({
    bytes: attribute(1, "NFTA_COUNTER_BYTES", be64),
    packets: attribute(2, "NFTA_COUNTER_PACKETS", be64),
  }),
  /** A number in [offset, offset + modulus). */
  numgen: attributes({
    dreg: attribute(1, "NFTA_NG_DREG", be32),
    modulus: attribute(2, "NFTA_NG_MODULUS", be32),
    type: attribute(3, "NFTA_NG_TYPE", be32),
    offset: attribute(4, "NFTA_NG_OFFSET", be32),
  }),
  /** A hash of `length` bytes that start at `sreg`, scaled to [offset, offset + modulus). */
  hash: attributes({
    sreg: attribute(1, "NFTA_HASH_SREG", be32),
    dreg: attribute(2, "NFTA_HASH_DREG", be32),
    length: attribute(3, "NFTA_HASH_LEN", be32),
    modulus: attribute(4, "NFTA_HASH_MODULUS", be32),
    seed: attribute(5, "NFTA_HASH_SEED", be32),
    offset: attribute(6, "NFTA_HASH_OFFSET", be32),
    type: attribute(7, "NFTA_HASH_TYPE", be32),
  }),
  /** Changes a set or map from within a rule. `timeout` is in milliseconds. */
  dynset: attributes({
    set: attribute(1, "NFTA_DYNSET_SET_NAME", cstring),
    setId: attribute(2, "NFTA_DYNSET_SET_ID", be32),
    op: attribute(3, "NFTA_DYNSET_OP", be32),
    sregKey: attribute(4, "NFTA_DYNSET_SREG_KEY", be32),
    sregData: attribute(5, "NFTA_DYNSET_SREG_DATA", be32),
    timeout: attribute(6, "NFTA_DYNSET_TIMEOUT", be64),
    flags: attribute(9, "NFTA_DYNSET_FLAGS", be32),
  }),
  /** Logs to a group of nfnetlink_log; `snapLength` bytes of the packet, 0 for all. */
  log: attributes({
    group: attribute(1, "NFTA_LOG_GROUP", be16),
    prefix: attribute(2, "NFTA_LOG_PREFIX", cstring),
    snapLength: attribute(3, "NFTA_LOG_SNAPLEN", be32),
    queueThreshold: attribute(4, "NFTA_LOG_QTHRESHOLD", be16),
    /** For the kernel's log instead of a group. */
    level: attribute(5, "NFTA_LOG_LEVEL", be32),
    flags: attribute(6, "NFTA_LOG_FLAGS", be32),
  }),
  /** A token bucket: `rate` packets (or bytes) in `unit` seconds, at most `burst` more at once. */
  limit: attributes({
    rate: attribute(1, "NFTA_LIMIT_RATE", be64),
    unit: attribute(2, "NFTA_LIMIT_UNIT", be64),
    burst: attribute(3, "NFTA_LIMIT_BURST", be32),
    type: attribute(4, "NFTA_LIMIT_TYPE", be32),
    flags: attribute(5, "NFTA_LIMIT_FLAGS", be32),
  }),
  reject: attributes({
    type: attribute(1, "NFTA_REJECT_TYPE", be32),
    code: attribute(2, "NFTA_REJECT_ICMP_CODE", u8),
  }),
} as const;

const expression = variant(
  { type: 1, identifier: "NFTA_EXPR_NAME" },
  { type: 2, identifier: "NFTA_EXPR_DATA" },
  expressionData,
);
export type Expression = ValueOf<typeof expression>;

/** NFTA_LIST_ELEM */
const LIST_ELEM = 1;

const table = attributes({
  name: attribute(1, "NFTA_TABLE_NAME", cstring),
  flags: attribute(2, "NFTA_TABLE_FLAGS", be32),
  /** The number of chains, sets and other objects in the table. */
  use: attribute(3, "NFTA_TABLE_USE", be32),
  handle: attribute(4, "NFTA_TABLE_HANDLE", be64),
  userdata: attribute(6, "NFTA_TABLE_USERDATA", bytes),
});

const hook = attributes({
  number: attribute(1, "NFTA_HOOK_HOOKNUM", be32),
  /** A signed number in two's complement. */
  priority: attribute(2, "NFTA_HOOK_PRIORITY", be32),
  device: attribute(3, "NFTA_HOOK_DEV", cstring),
});

const chain = attributes({
  table: attribute(1, "NFTA_CHAIN_TABLE", cstring),
  handle: attribute(2, "NFTA_CHAIN_HANDLE", be64),
  name: attribute(3, "NFTA_CHAIN_NAME", cstring),
  hook: attribute(4, "NFTA_CHAIN_HOOK", nest(hook)),
  /** NF_DROP or NF_ACCEPT. */
  policy: attribute(5, "NFTA_CHAIN_POLICY", be32),
  /** The number of rules in the chain plus the number of references to the chain. */
  use: attribute(6, "NFTA_CHAIN_USE", be32),
  type: attribute(7, "NFTA_CHAIN_TYPE", cstring),
  userdata: attribute(12, "NFTA_CHAIN_USERDATA", bytes),
});

/**
 * The expressions of a rule. It is a codec of its own, because parsing expressions costs more than parsing the rest.
 */
export const expressionList = list(LIST_ELEM, expression);

const rule = attributes({
  table: attribute(1, "NFTA_RULE_TABLE", cstring),
  chain: attribute(2, "NFTA_RULE_CHAIN", cstring),
  handle: attribute(3, "NFTA_RULE_HANDLE", be64),
  expressions: attribute(4, "NFTA_RULE_EXPRESSIONS", expressionList),
  position: attribute(6, "NFTA_RULE_POSITION", be64),
  userdata: attribute(7, "NFTA_RULE_USERDATA", bytes),
});

const ruleOutline = attributes({
  table: attribute(1, "NFTA_RULE_TABLE", cstring),
  chain: attribute(2, "NFTA_RULE_CHAIN", cstring),
  handle: attribute(3, "NFTA_RULE_HANDLE", be64),
  expressions: attribute(4, "NFTA_RULE_EXPRESSIONS", bytes),
  userdata: attribute(7, "NFTA_RULE_USERDATA", bytes),
});

/** The fields of a concatenated key, with their lengths in bytes (required for intervals since Linux 5.6). */
const setField = attributes({ length: attribute(1, "NFTA_SET_FIELD_LEN", be32) });
const setDescription = attributes({
  size: attribute(1, "NFTA_SET_DESC_SIZE", be32),
  concat: attribute(2, "NFTA_SET_DESC_CONCAT", list(LIST_ELEM, nest(setField))),
});

const set = attributes({
  table: attribute(1, "NFTA_SET_TABLE", cstring),
  name: attribute(2, "NFTA_SET_NAME", cstring),
  flags: attribute(3, "NFTA_SET_FLAGS", be32),
  /** A number from nft's table of data types; the kernel does not interpret it. */
  keyType: attribute(4, "NFTA_SET_KEY_TYPE", be32),
  keyLength: attribute(5, "NFTA_SET_KEY_LEN", be32),
  dataType: attribute(6, "NFTA_SET_DATA_TYPE", be32),
  dataLength: attribute(7, "NFTA_SET_DATA_LEN", be32),
  description: attribute(9, "NFTA_SET_DESC", nest(setDescription)),
  /** Identifies a set within a batch, before it has a handle. */
  id: attribute(10, "NFTA_SET_ID", be32),
  /** The default timeout of elements, in milliseconds. */
  timeout: attribute(11, "NFTA_SET_TIMEOUT", be64),
  userdata: attribute(13, "NFTA_SET_USERDATA", bytes),
  handle: attribute(16, "NFTA_SET_HANDLE", be64),
  /** The expression that each element gets: a counter. */
  expression: attribute(17, "NFTA_SET_EXPR", expression),
});

const element = attributes({
  key: attribute(1, "NFTA_SET_ELEM_KEY", nest(data)),
  data: attribute(2, "NFTA_SET_ELEM_DATA", nest(data)),
  flags: attribute(3, "NFTA_SET_ELEM_FLAGS", be32),
  /** In milliseconds, like `expiration`, the remaining time. */
  timeout: attribute(4, "NFTA_SET_ELEM_TIMEOUT", be64),
  expiration: attribute(5, "NFTA_SET_ELEM_EXPIRATION", be64),
  userdata: attribute(6, "NFTA_SET_ELEM_USERDATA", bytes),
  expression: attribute(7, "NFTA_SET_ELEM_EXPR", expression),
  keyEnd: attribute(10, "NFTA_SET_ELEM_KEY_END", nest(data)),
});
export type SetElement = ValueOf<typeof element>;

const elementList = attributes({
  table: attribute(1, "NFTA_SET_ELEM_LIST_TABLE", cstring),
  set: attribute(2, "NFTA_SET_ELEM_LIST_SET", cstring),
  elements: attribute(3, "NFTA_SET_ELEM_LIST_ELEMENTS", list(LIST_ELEM, nest(element))),
});

const generation = attributes({
  id: attribute(1, "NFTA_GEN_ID", be32),
  processId: attribute(2, "NFTA_GEN_PROC_PID", be32),
  processName: attribute(3, "NFTA_GEN_PROC_NAME", cstring),
});

const NFNL_SUBSYS_NFTABLES = 10;
type Nf<A> = MessageType<ValueOf<typeof nfgenmsg>, A>;

function message<A>(identifier: string, number: number, table: Nf<A>["attributes"]): Nf<A> {
  return { identifier, type: (NFNL_SUBSYS_NFTABLES << 8) | number, header: nfgenmsg, attributes: table };
}

export const NFT_MSG_NEWTABLE = message("NFT_MSG_NEWTABLE", 0, table);
export const NFT_MSG_GETTABLE = message("NFT_MSG_GETTABLE", 1, table);
export const NFT_MSG_DELTABLE = message("NFT_MSG_DELTABLE", 2, table);
export const NFT_MSG_NEWCHAIN = message("NFT_MSG_NEWCHAIN", 3, chain);
export const NFT_MSG_GETCHAIN = message("NFT_MSG_GETCHAIN", 4, chain);
export const NFT_MSG_DELCHAIN = message("NFT_MSG_DELCHAIN", 5, chain);
export const NFT_MSG_NEWRULE = message("NFT_MSG_NEWRULE", 6, rule);
/** NFT_MSG_NEWRULE with undecoded expressions, for readers that parse them (`expressionList`) only if necessary. */
export const NFT_MSG_NEWRULE_OUTLINE = message("NFT_MSG_NEWRULE", 6, ruleOutline);
export const NFT_MSG_GETRULE = message("NFT_MSG_GETRULE", 7, rule);
export const NFT_MSG_DELRULE = message("NFT_MSG_DELRULE", 8, rule);
export const NFT_MSG_NEWSET = message("NFT_MSG_NEWSET", 9, set);
export const NFT_MSG_GETSET = message("NFT_MSG_GETSET", 10, set);
export const NFT_MSG_DELSET = message("NFT_MSG_DELSET", 11, set);
export const NFT_MSG_NEWSETELEM = message("NFT_MSG_NEWSETELEM", 12, elementList);
export const NFT_MSG_GETSETELEM = message("NFT_MSG_GETSETELEM", 13, elementList);
export const NFT_MSG_DELSETELEM = message("NFT_MSG_DELSETELEM", 14, elementList);
export const NFT_MSG_NEWGEN = message("NFT_MSG_NEWGEN", 15, generation);
export const NFT_MSG_GETGEN = message("NFT_MSG_GETGEN", 16, generation);
