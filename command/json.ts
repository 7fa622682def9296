/** JSON in which counts of addresses are exact: an IPv6 subnet has more than a floating-point number can tell. Pure. */

/** A control character: no text that weft prints begins with it. */
const MARK = "\u0001integer ";
const MARKED = /"\\u0001integer (-?\d+)"/g;

/** As `JSON.stringify`, indented by two; a bigint is a number with all its digits. */
export function jsonText(data: unknown): string {
  const text = JSON.stringify(data, (_, value) => (typeof value === "bigint" ? `${MARK}${value}` : value), 2);
  return text.replace(MARKED, "$1");
}
