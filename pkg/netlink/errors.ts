import { errnoName, errnoText } from "../sys/errors.ts";
import type { Query, Request } from "./message.ts";

/**
 * The kernel's refusal of a request, with the errno and the text of the extended acknowledgement. `where` names the
 * namespace of the socket.
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

/** True if `error` is a refusal by the kernel with one of these errno names, or any errno if none is given. */
export function isNetlinkError(error: unknown, ...codes: readonly string[]): error is NetlinkError {
  return error instanceof NetlinkError && (codes.length === 0 || codes.includes(error.code));
}

/** True if the object to be created already exists. */
export function isExists(error: unknown): error is NetlinkError {
  return isNetlinkError(error, "EEXIST");
}

/** Links, addresses, routes and neighbours each have their own errno for an object that does not exist. */
const GONE: readonly string[] = ["ENODEV", "ENOENT", "ESRCH", "EADDRNOTAVAIL", "ENXIO"];

/** True if the object to be read or removed does not exist. */
export function isGone(error: unknown): error is NetlinkError {
  return isNetlinkError(error, ...GONE);
}

/** Like `isGone`, for the errno of a reply. */
export function isGoneErrno(errno: number): boolean {
  return errno > 0 && GONE.includes(errnoName(errno));
}
