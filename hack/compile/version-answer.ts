/**
 * What a plugin answers to VERSION: asked of the plugin itself, by running its bundle on a host of a few functions. The
 * executable then holds the answer as text, and gives it without starting JavaScript.
 */
import { readFileSync } from "node:fs";
import { runInNewContext } from "node:vm";

class Exit {
  readonly status: number;
  constructor(status: number) {
    this.status = status;
  }
}

export function versionAnswer(script: string): string {
  let answer = "";
  const weftHost = {
    setFailureFactory: () => undefined,
    environment: () => ({ CNI_COMMAND: "VERSION" }),
    write: (_fd: number, bytes: Uint8Array) => {
      answer += new TextDecoder().decode(bytes);
    },
    exit: (status: number) => {
      throw new Exit(status);
    },
  };
  try {
    runInNewContext(readFileSync(script, "utf8"), { weftHost, TextEncoder, TextDecoder });
  } catch (error) {
    if (!(error instanceof Exit)) throw error;
    if (error.status === 0 && Array.isArray(JSON.parse(answer).supportedVersions)) return answer;
  }
  throw new Error(`${script}: VERSION was answered by ${JSON.stringify(answer)}: expected a list of supportedVersions`);
}
