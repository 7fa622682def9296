import { errnoName, errnoText } from "../sys/errors.ts";
import type { Query, Request } from "./message.ts";

/**
 * The kernel refused a request: which one, with which errno, and what its extended acknowledgement says.
 * `where` names the namespace the socket speaks to.
 */
export class NetlinkError extends Error {
  readonly request: Request | Query;
  readonly errno: number;
  readonly code: string;
  readonly extendedText: string | undefined;

  constructor(request: Request | Query, errno: number, extendedText: string | undefined, where: string) {
    const detail = extendedText === undefined ? "" : `: ${extendedText}`;
    super(`${request.text} in ${where}: ${errnoText(errno)} (${errnoName(errno)})${detail}`);
    this.name = "NetlinkError";
    this.request = request;
    this.errno = errno;
    this.code = errnoName(errno);
    this.extendedText = extendedText;
  }
}

/** True when `error` is the kernel's answer with one of these errno names. */
export function isNetlinkError(error: unknown, ...codes: readonly string[]): error is NetlinkError {
  return error instanceof NetlinkError && (codes.length === 0 || codes.includes(error.code));
}

/** The object to be made is there already. */
export function isExists(error: unknown): error is NetlinkError {
  return isNetlinkError(error, "EEXIST");
}

/** The object to be read or removed is not there: links, addresses, routes and neighbours each say it differently. */
export function isGone(error: unknown): error is NetlinkError {
  return isNetlinkError(error, "ENODEV", "ENOENT", "ESRCH", "EADDRNOTAVAIL", "ENXIO");
}
