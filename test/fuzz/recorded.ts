/** The recorded calls, test/vectors/netlink: `record.ts` writes them, and netlink-answers.test.ts replays them. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import type { Turns } from "./recording.ts";

/** Interfaces of a CNI result. `sandbox` is the namespace of interfaces that are not on the node. */
export type Interfaces = readonly { readonly name: string; readonly mac: string; readonly sandbox?: string }[];

export interface Recorded {
  readonly plugin: string;
  readonly verb: string;
  /** The configuration, with the result of the earlier plugins, if any. */
  readonly input: {
    readonly type: string;
    readonly prevResult?: { readonly interfaces: Interfaces } | undefined;
  };
  /** By kind of socket: the answering datagrams for each datagram sent, in Base64. */
  readonly answers: Readonly<Record<string, readonly (readonly string[])[]>>;
}

/** The environment of every recorded call, except CNI_COMMAND and CNI_PATH. */
export const CALL = { CNI_CONTAINERID: "c1", CNI_NETNS: "/run/netns/a", CNI_IFNAME: "eth0" } as const;

const FOLDER = new URL("../vectors/netlink/", import.meta.url);

/** By the names of their files. */
export function readRecorded(): ReadonlyMap<string, Recorded> {
  const names = readdirSync(FOLDER).sort();
  return new Map(
    names.map((name) => [
      name.replace(".json", ""),
      JSON.parse(readFileSync(new URL(name, FOLDER), "utf8")) as Recorded,
    ]),
  );
}

export function writeRecorded(name: string, recorded: Recorded): void {
  writeFileSync(new URL(`${name}.json`, FOLDER), `${JSON.stringify(recorded, null, 2)}\n`);
}

/** The recorded datagrams as a recording's `answers`. */
export function formatAnswers(turns: Turns): Recorded["answers"] {
  const inBase64 = (datagram: readonly number[]) => Buffer.from(datagram).toString("base64");
  return Object.fromEntries(
    Object.entries(turns).map(([kind, list]) => [kind, list.map((turn) => turn.map(inBase64))]),
  );
}
