/** Reading what an administrator or another program has put into a directory, whatever kind of file it may be. */
import { constants, type Stats } from "node:fs";
import { open } from "node:fs/promises";

/** Something else stands where a file was expected. */
export class NotAFileError extends Error {
  /** "a directory", "a FIFO". */
  readonly kind: string;

  constructor(path: string, kind: string) {
    super(`${path} is ${kind}: expected a file`);
    this.kind = kind;
  }
}

/**
 * The content of the regular file `path`, or of the one that a link leads to. Never waits, as opening a FIFO would. Throws
 * `NotAFileError`, and Node's own errors.
 */
export async function readRegularFile(path: string): Promise<string> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: NodeJS.ErrnoException) => {
    // What open(2) says of a socket.
    throw error.code === "ENXIO" ? new NotAFileError(path, "a socket") : error;
  });
  try {
    const status = await file.stat();
    if (!status.isFile()) throw new NotAFileError(path, kindOf(status));
    return await file.readFile("utf8");
  } finally {
    await file.close();
  }
}

function kindOf(status: Stats): string {
  if (status.isDirectory()) return "a directory";
  return status.isFIFO() ? "a FIFO" : "a device";
}
