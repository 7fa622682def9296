/**
 * Recognises nf_tables messages about one table without decoding them. The table's family is the first byte of struct
 * nfgenmsg. Its name is the first attribute of every object's message: NFTA_TABLE_NAME, NFTA_CHAIN_TABLE,
 * NFTA_RULE_TABLE, NFTA_SET_TABLE, NFTA_SET_ELEM_LIST_TABLE, NFTA_OBJ_TABLE and NFTA_FLOWTABLE_TABLE are all 1, and the
 * kernel writes them first (net/netfilter/nf_tables_api.c, nf_tables_fill_*_info, 5.10 to 6.18).
 */
import type { TablePlace } from "../../pkg/nft/ruleset.ts";

/** struct nfgenmsg: family, version, resource id. */
const NFGENMSG = 4;
/** struct nlattr: length, type. */
const ATTRIBUTE_HEADER = 4;
const TABLE_ATTRIBUTE = 1;

const encoder = new TextEncoder();

export class TablePattern {
  readonly table: TablePlace;
  /** The complete attribute: header, name, NUL. */
  readonly #attribute: Uint8Array;

  constructor(table: TablePlace) {
    this.table = table;
    const name = encoder.encode(`${table.table}\0`);
    const length = ATTRIBUTE_HEADER + name.length;
    this.#attribute = Uint8Array.of(length & 0xff, length >> 8, TABLE_ATTRIBUTE, 0, ...name);
  }

  /** True if the payload from `start` to `end` belongs to a message about the table. */
  matches(datagram: Uint8Array, start: number, end: number): boolean {
    const attribute = this.#attribute;
    const from = start + NFGENMSG;
    if (datagram[start] !== this.table.family || from + attribute.length > end) return false;
    // Among thousands of messages, most differ in the first byte, which has the name's length.
    for (let at = 0; at < attribute.length; at++) if (datagram[from + at] !== attribute[at]) return false;
    return true;
  }
}
