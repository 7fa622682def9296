/**
 * A failed system call, from any implementation of `System`.
 *
 * `code` is the symbolic errno (`"ENOENT"`), `errno` its positive number on Linux (asm-generic/errno.h), `call` the
 * system call, and `subject` the path or object of the call.
 */
export class SystemError extends Error {
  readonly call: string;
  readonly subject: string;
  readonly errno: number;
  readonly code: string;

  constructor(call: string, subject: string, errno: number) {
    super(`${call} ${subject}: ${errnoText(errno)} (${errnoName(errno)})`);
    this.name = "SystemError";
    this.call = call;
    this.subject = subject;
    this.errno = errno;
    this.code = errnoName(errno);
  }
}

/** True if `error` is a `SystemError` with one of `codes`. */
export function isSystemError(error: unknown, ...codes: readonly string[]): error is SystemError {
  return error instanceof SystemError && (codes.length === 0 || codes.includes(error.code));
}

/** Linux errno numbers (asm-generic/errno-base.h, errno.h) of files, sockets and netlink. */
const ERRNO: Readonly<Record<number, readonly [name: string, text: string]>> = {
  1: ["EPERM", "operation not permitted"],
  2: ["ENOENT", "no such file or object"],
  3: ["ESRCH", "no such process or object"],
  4: ["EINTR", "interrupted"],
  5: ["EIO", "input/output error"],
  6: ["ENXIO", "no such device or address"],
  7: ["E2BIG", "argument list too long"],
  8: ["ENOEXEC", "not an executable format"],
  9: ["EBADF", "bad file descriptor"],
  11: ["EAGAIN", "resource temporarily unavailable"],
  12: ["ENOMEM", "out of memory"],
  13: ["EACCES", "permission denied"],
  14: ["EFAULT", "bad address"],
  16: ["EBUSY", "device or resource busy"],
  17: ["EEXIST", "already exists"],
  18: ["EXDEV", "crosses file systems"],
  19: ["ENODEV", "no such device"],
  20: ["ENOTDIR", "not a directory"],
  21: ["EISDIR", "is a directory"],
  22: ["EINVAL", "invalid argument"],
  23: ["ENFILE", "too many open files on the system"],
  24: ["EMFILE", "too many open files"],
  25: ["ENOTTY", "not a terminal or namespace"],
  26: ["ETXTBSY", "file is being executed"],
  27: ["EFBIG", "file too large"],
  28: ["ENOSPC", "no space left"],
  30: ["EROFS", "read-only file system"],
  31: ["EMLINK", "too many links"],
  32: ["EPIPE", "broken pipe"],
  34: ["ERANGE", "out of range"],
  36: ["ENAMETOOLONG", "name too long"],
  39: ["ENOTEMPTY", "directory not empty"],
  40: ["ELOOP", "too many levels of symbolic links"],
  61: ["ENODATA", "no data available"],
  71: ["EPROTO", "protocol error"],
  75: ["EOVERFLOW", "value too large"],
  85: ["ERESTART", "changed by another process meanwhile"],
  90: ["EMSGSIZE", "message too long"],
  92: ["ENOPROTOOPT", "protocol option not available"],
  93: ["EPROTONOSUPPORT", "protocol not supported"],
  95: ["EOPNOTSUPP", "not supported by the kernel"],
  97: ["EAFNOSUPPORT", "address family not supported"],
  98: ["EADDRINUSE", "address in use"],
  99: ["EADDRNOTAVAIL", "address not available"],
  100: ["ENETDOWN", "network is down"],
  101: ["ENETUNREACH", "network is unreachable"],
  105: ["ENOBUFS", "no buffer space"],
  107: ["ENOTCONN", "not connected"],
  110: ["ETIMEDOUT", "timed out"],
  111: ["ECONNREFUSED", "connection refused"],
  113: ["EHOSTUNREACH", "no route to host"],
  122: ["EDQUOT", "quota exceeded"],
};

/** The symbolic name of a positive errno; `"errno 999"` if unknown. */
export function errnoName(errno: number): string {
  return ERRNO[errno]?.[0] ?? `errno ${errno}`;
}

/** The description of a positive errno. */
export function errnoText(errno: number): string {
  return ERRNO[errno]?.[1] ?? "unknown error";
}
