/**
 * JSON with exact counts of addresses: an IPv6 subnet has more addresses than a floating-point number can represent.
 * Pure.
 */

/** Begins with a control character. No text that weft prints begins with one. */
const MARK = "\u0001integer ";
const MARKED = /"\\u0001integer (-?\d+)"/g;

/** Works like `JSON.stringify` with an indentation of two. A bigint becomes a number with all its digits. */
export function jsonText(data: unknown): string {
  const text = JSON.stringify(data, (_, value) => (typeof value === "bigint" ? `${MARK}${value}` : value), 2);
  return text.replace(MARKED, "$1");
}
