/** Reads a file that an administrator or another program has put into a directory and that may be of any kind. */
import { constants, type Stats } from "node:fs";
import { open } from "node:fs/promises";

/** The path is not a regular file. */
export class NotAFileError extends Error {
  /** "a directory", "a FIFO". */
  readonly kind: string;

  constructor(path: string, kind: string) {
    super(`${path} is ${kind}: expected a file`);
    this.kind = kind;
  }
}

/**
 * Returns the content of the regular file `path`, or of the file to which a link leads. Never blocks, as opening a FIFO
 * would. Throws `NotAFileError` and Node's own errors.
 */
export async function readRegularFile(path: string): Promise<string> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: NodeJS.ErrnoException) => {
    // The error of open(2) for a socket.
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
